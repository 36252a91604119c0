"""New studies from noise, with their labels."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag

from lib.cases import LABELLED, next_study
from lib.datastore import CaseDatastore
from lib.infers.bundle_task import StoringTask, result_file
from lib.infers.segment import LABELS
from lib.options import whole_number
from monai_ext.bundles import bundle_root, from_config
from monai_ext.data import study_name
from monai_ext.labels import MODALITIES
from monai_ext.synthesis.volumes import case_file

MOST = 64
"""Studies in one request, which nobody else's gets past."""


class Synthesise(StoringTask):
    """Runs ``generate.json`` of ``synthesis`` and stores studies as images, their labels as labels.

    Args:
        datastore: gives the datastore.
    """

    def __init__(self, datastore: Callable[[], CaseDatastore]) -> None:
        super().__init__(
            datastore,
            description="New studies of one slice from noise, in four modalities with a label; reads no image",
            config={"seed": "", "num_samples": 1},
        )

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Make ``num_samples`` studies of ``seed``; without one, of the number of the next study, so that calls differ.

        Returns:
            File of the first study's label, and by study the ids of its images and what its filters measured.

        Raises:
            CaseError: for a number that is not allowed.
            SynthesisError: when too many candidates were turned down.
        """
        datastore = self.datastore()
        first = next_study(datastore.list_images())
        count, seed = whole_number(request, "num_samples", 1, 1, MOST), whole_number(request, "seed", first)
        file = result_file()
        with tempfile.TemporaryDirectory() as folder:
            from_config(
                bundle_root("synthesis"), "generate.json", "run", output_dir=folder, num_samples=count, seed=seed
            )
            records = [json.loads(line) for line in (Path(folder) / "manifest.jsonl").read_text("utf-8").splitlines()]
            studies = {
                study_name(first + i): self._store(datastore, folder, study_name(first + i), record)
                for i, record in enumerate(records)
            }
            shutil.copyfile(case_file(folder, records[0]["name"], "seg"), file)
        return file, {"studies": studies, "label_names": LABELS, "seed": seed}

    def _store(self, datastore: CaseDatastore, folder: str, name: str, record: dict[str, Any]) -> dict[str, Any]:
        """Put one study into the datastore under its new name."""
        info = {"generated": "synthesise", **{key: record[key] for key in ("seed", "candidate", "scores")}}
        images = {
            m: datastore.add_image(f"{name}-{m}", str(case_file(folder, record["name"], m)), dict(info))
            for m in MODALITIES
        }
        label = str(case_file(folder, record["name"], "seg"))
        # final: it is the truth and trains; original: what 3D Slicer shows when it opens the image
        for tag in (DefaultLabelTag.FINAL, DefaultLabelTag.ORIGINAL):
            datastore.save_label(images[LABELLED], label, tag, {**info, "params": {"label_names": LABELS}})
        return {"images": images, **info}
