"""The missing modalities of a case, from one that it has."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from lib.cases import case_of_image, image_id
from lib.datastore import CaseDatastore
from lib.infers.bundle_task import StoringTask, result_file
from lib.options import choice, whole_number
from lib.translations import targets_of, translated_id
from monai_ext.bundles import bundle_root, from_config
from monai_ext.labels import MODALITIES
from monai_ext.synthesis.translate import STYLES
from monai_ext.synthesis.volumes import case_file

NAME = "translate"


class Translate(StoringTask):
    """Runs ``translate.json`` of ``cgan`` on one image and stores what it makes as images of the datastore.

    Args:
        datastore: gives the datastore.
    """

    def __init__(self, datastore: Callable[[], CaseDatastore]) -> None:
        super().__init__(
            datastore,
            description="Other modalities of a case from one of its images, stored as images",
            config={"target_modalities": ["missing", "all", *MODALITIES], "style": ["mean", "random"], "seed": 0},
        )

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Translate ``request["image"]``.

        A modality that the case lacks becomes one of its images, under the name it would have; one that it has is
        stored under a case of its own, ``CASE-from-SOURCE``.

        Returns:
            File of the first new image, and the ids of all by modality.

        Raises:
            CaseError: for an image that cannot be read, or holds no brain.
            ValueError: for a target that is unknown, or is the source.
        """
        datastore = self.datastore()
        case, source = case_of_image(request["image"])
        infos = {m: datastore.get_image_info(image_id(s.path)) for m, s in case.images.items()}
        given = [m for m, info in infos.items() if info.get("generated") != NAME]
        targets = targets_of(request.get("target_modalities") or "missing", source, given)
        settings = {"style": choice(request, "style", *STYLES), "seed": whole_number(request, "seed", 0)}
        with tempfile.TemporaryDirectory() as folder:
            from_config(
                bundle_root("cgan"),
                "translate.json",
                "run",
                source_modality=source,
                target_modalities=targets,
                output_dir=folder,
                **{"translator#cases": [case]},
                **settings,
            )
            info = {"generated": NAME, "source": image_id(request["image"]), **settings}
            made = [case_file(folder, case.case_id, m) for m in targets]
            images = {
                m: datastore.add_image(translated_id(case, source, m, given), str(path), dict(info))
                for m, path in zip(targets, made)
            }
            file = result_file()
            shutil.copyfile(made[0], file)
        return file, {"images": images, "label_names": {}, "source": source, **settings}
