"""MONAI Label app: segments, translates and synthesises brain MRI with the bundles of this package."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from lib.datastore import CaseDatastore
from lib.infers.segment import Segment
from lib.infers.synthesise import Synthesise
from lib.infers.translate import Translate
from lib.strategies import Generated, NextCase
from lib.trainers.segmentor import TrainSegmentor
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from monai_ext import __version__
from monai_ext.cli import user_error

logger = logging.getLogger(__name__)


@contextmanager
def answered() -> Iterator[None]:
    """Turn an error whose message was written for the user into an answer that says it."""
    try:
        yield
    except HTTPException:
        raise
    except Exception as error:
        known = user_error(error)
        if known is None:
            raise
        logger.warning("%s", known)
        raise HTTPException(status_code=422, detail=" ".join(str(known).split())) from error


class BrainTumourApp(MONAILabelApp):
    """Serves the bundles; weights trained here are kept in ``model`` of the app's folder.

    Args:
        app_dir: folder of this app, a copy.
        studies: folder of the datastore, see :mod:`lib.scratch`.
        conf: what ``--conf`` gave; nothing is read from it.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.model_dir = Path(app_dir) / "model"
        super().__init__(
            app_dir,
            studies,
            conf,
            name="monai-ext",
            description="Glioma on brain MRI: segments, trains, makes missing modalities and studies. Research only.",
            version=__version__,
        )

    def init_datastore(self) -> CaseDatastore:
        """The copies in the working folder."""
        return CaseDatastore(self.studies)

    def init_infers(self) -> dict[str, InferTask]:
        """The segmentor first: 3D Slicer takes the first model for its default."""
        return {
            "segmentor": Segment(self.model_dir / "segmentor.pt"),
            "translate": Translate(self.datastore),
            "synthesise": Synthesise(self.datastore),
        }

    def init_trainers(self) -> dict[str, TrainTask]:
        """The segmentor."""
        return {"segmentor": TrainSegmentor(self.model_dir)}

    def init_strategies(self) -> dict[str, Strategy]:
        """What is labelled next, and a way to look at what was made."""
        return {"next_case": NextCase(), "generated": Generated()}

    def infer(self, request: dict[str, Any], datastore: CaseDatastore | None = None) -> dict[str, Any]:
        """Run a model.

        Raises:
            HTTPException: 404 for an unknown model or image, 422 for a case or an option that does not fit; the body
                says what was expected.
        """
        task = self._known(self._infers, "model", request.get("model"))
        if not isinstance(task, Synthesise):
            self.datastore().require(request.get("image"))
        if task.type == InferType.OTHERS:
            request["save_label"] = False  # what it made is stored already
        with answered():
            return super().infer(request, datastore)

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a training; in a process of its own, an error is its last line, which clients see in the task's status.

        Raises:
            HTTPException: likewise.
        """
        try:
            self._known(self._trainers, "trainer", request.get("model"))
            with answered():
                return super().train(request)
        except HTTPException as error:
            if self._server_mode:
                raise
            sys.exit(f"error: {error.detail}")

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a strategy names.

        Raises:
            HTTPException: 404 for an unknown strategy.
        """
        self._known(self._strategies, "strategy", request.get("strategy"))
        return super().next_sample(request)

    @staticmethod
    def _known(tasks: dict[str, Any], kind: str, name: str | None) -> Any:
        if name not in tasks:
            raise HTTPException(404, f"there is no {kind} {name!r}, only {', '.join(tasks)}")
        return tasks[name]
