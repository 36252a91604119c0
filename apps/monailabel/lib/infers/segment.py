"""The segmentor: four files of a case in, one label map out."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.cases import case_of_image, complete_case
from lib.infers.bundle_task import BundleTask, result_file
from lib.options import choice
from monai_ext.bundles import bundle_root, digests, from_config, model_file, segmentor_weights
from monai_ext.data import read_case, write_nifti
from monai_ext.labels import CLASSES, MODALITIES, parse_modalities

LABELS = {name: value for value, name in CLASSES.items() if value}


class Segment(BundleTask):
    """Runs ``inference.json`` of the segmentor on the case of an image.

    Args:
        trained: weights that a training of this app leaves; the shipped ones count as long as there are none.
    """

    def __init__(self, trained: Path) -> None:
        super().__init__(
            InferType.SEGMENTATION,
            labels=LABELS,
            dimension=3,
            description="Glioma on T1, T1c, T2 and FLAIR of a case, or on one of them: NCR, ED, ET",
            config={"modalities": ["all", *MODALITIES], "weights": ["newest", "shipped"]},
        )
        self.trained = trained

    def weights(self, modalities: str, which: str = "newest") -> Path:
        """File of the weights for these modalities; a training here is of all four."""
        channels = parse_modalities(modalities)
        if which == "newest" and channels == MODALITIES and self.trained.is_file():
            return self.trained
        return Path(model_file(bundle_root("segmentor"), segmentor_weights(modalities)))

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment the case of ``request["image"]``.

        Returns:
            File of the label map, in the geometry of that image, and what it was made with.

        Raises:
            CaseError: for a case that lacks a modality, or cannot be read.
            RuntimeError: for weights that do not fit.
        """
        start = time.perf_counter()
        modalities = request.get("modalities") or "all"
        weights = self.weights(modalities, choice(request, "weights", "newest", "shipped"))
        case = complete_case(request["image"], parse_modalities(modalities))
        with tempfile.TemporaryDirectory() as folder:
            from_config(
                bundle_root("segmentor"),
                "inference.json",
                "run",
                modalities=modalities,
                output_dir=folder,
                ckpt_path=str(weights),
                # strict, and a message that names the file; the handler of the bundle then loads it once more
                network="$monai_ext.bundles.load_weights(@network_def, @ckpt_path).to(@device)",
                data=[{"image": case}],
            )
            file = result_file()
            shutil.move(Path(folder) / f"{case.case_id}.nii.gz", file)
        self._into_geometry_of(request["image"], file)
        params = {
            "label_names": LABELS,  # all of them: 3D Slicer takes the n-th name for value n
            "case": case.case_id,
            "weights": digests(segmentor=weights)["segmentor"],
            "trained_here": weights == self.trained,
            "latencies": {"total": round(time.perf_counter() - start, 2)},
        }
        return file, params

    def _into_geometry_of(self, image: str, file: str) -> None:
        """Give a label map the affine of the image asked for: files of a case may differ in it by rounding."""
        case, modality = case_of_image(image)
        affine = read_case(case, (modality,), label=False)[0].affine.numpy()
        label = nib.load(file)
        if not np.array_equal(label.affine, affine):
            write_nifti(file, np.asarray(label.dataobj), affine)
