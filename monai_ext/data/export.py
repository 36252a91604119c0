"""Write synthetic studies in the layouts that trainers read: BraTS 2023, Decathlon, nnU-Net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_ext.data.atomic import write_json
from monai_ext.data.nifti import write_nifti
from monai_ext.labels import DECATHLON_CHANNELS, MODALITIES, MODALITY_TITLES, NUM_CLASSES, class_names, file_values

LAYOUTS = ("brats", "decathlon", "nnunet")
CANVAS_SIZE = (240, 240)


SYNTHETIC_PREFIX = "BraTS-SYN-"


def is_synthetic(case_id: str) -> bool:
    """True for the name of a generated study: its intensities are in [0, 1] as they are, not to be scaled again."""
    return case_id.startswith(SYNTHETIC_PREFIX)


def study_name(index: int) -> str:
    """Name of the accepted sample ``index``, in the form of BraTS 2023."""
    return f"{SYNTHETIC_PREFIX}{index:05d}-000"


def on_canvas(array: np.ndarray, canvas_size: Sequence[int] = CANVAS_SIZE) -> np.ndarray:
    """Put a centre crop (..., H, W) back on its canvas, zeros around it.

    Raises:
        ValueError: when the crop is larger than the canvas.
    """
    spare = [c - s for c, s in zip(canvas_size, array.shape[-2:])]
    if min(spare) < 0:
        raise ValueError(f"{array.shape[-2:]} does not fit a canvas of {tuple(canvas_size)}")
    margins = [(0, 0)] * (array.ndim - 2) + [(s // 2, s - s // 2) for s in spare]
    return np.pad(array, margins)


def mask_on_canvas(mask: np.ndarray) -> np.ndarray:
    """Put a mask that is 1 outside the brain back on its canvas: around the crop it says "outside" too."""
    return 1 - on_canvas(1 - mask)


class StudyWriter:
    """Writes studies under one folder.

    - ``brats``: ``NAME/NAME-{t1n,t1c,t2w,t2f,seg}.nii.gz``, labels 1 NCR, 2 ED, 3 ET.
    - ``decathlon``: ``imagesTr/NAME.nii.gz`` (4-D, FLAIR, T1w, T1gd, T2w) and ``labelsTr/NAME.nii.gz`` (1 ED, 2 NCR,
      3 ET).
    - ``nnunet``: ``imagesTr/NAME_{0000..}.nii.gz`` and ``labelsTr/NAME.nii.gz``, labels as in ``brats``;
      ``dataset.json`` is
      then nnU-Net v2's with the Decathlon list beside it.

    Every file is 240 x 240 x 1, 1 mm, with the affine of BraTS.

    Args:
        output_dir: the folder.
        layout: see above.
        modalities: channels of the images, in this order.
        num_classes: lesion classes of the labels, see :func:`monai_ext.labels.class_names`.

    Raises:
        ValueError: for another layout.
    """

    def __init__(
        self,
        output_dir: str | Path,
        layout: str = "brats",
        modalities: Sequence[str] = MODALITIES,
        num_classes: int = NUM_CLASSES,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout is one of {', '.join(LAYOUTS)}, got {layout!r}")
        self.root, self.layout, self.modalities = Path(output_dir), layout, tuple(modalities)
        self.classes = class_names(num_classes)
        self.values = file_values("decathlon" if layout == "decathlon" else "brats2023", num_classes)

    def files(self, name: str) -> dict[str, Any]:
        """``image`` (a path, or a list with one a modality) and ``label`` of a study, relative to the folder."""
        if self.layout == "brats":
            return {
                "image": [f"{name}/{name}-{m}.nii.gz" for m in self.modalities],
                "label": f"{name}/{name}-seg.nii.gz",
            }
        label = f"labelsTr/{name}.nii.gz"
        if self.layout == "decathlon":
            return {"image": f"imagesTr/{name}.nii.gz", "label": label}
        return {"image": [f"imagesTr/{name}_{i:04d}.nii.gz" for i in range(len(self.modalities))], "label": label}

    def structure_files(self, name: str) -> dict[str, str]:
        """``map`` and ``mask`` a study was made from, relative to the folder."""
        return {kind: f"structure/{name}-{kind}.nii.gz" for kind in ("map", "mask")}

    def write_structure(self, name: str, structure: np.ndarray, mask: np.ndarray) -> None:
        """Write the map and the mask (H, W) in {0, 1} that a study was made from, beside the studies."""
        volumes = {"map": on_canvas(structure), "mask": mask_on_canvas(mask)}
        for kind, path in self.structure_files(name).items():
            write_nifti(self.root / path, volumes[kind].astype(np.uint8)[..., None])

    def write(self, name: str, images: np.ndarray, label: np.ndarray) -> None:
        """Write one study.

        Args:
            name: of the study.
            images: (M, H, W) in [0, 1], background 0; written as float32.
            label: canonical classes (H, W); written as uint8.
        """
        volumes = on_canvas(np.asarray(images, dtype=np.float32))[..., None]
        classes = on_canvas(np.asarray(label, dtype=np.uint8))[..., None]
        files = self.files(name)
        if self.layout == "decathlon":
            order = [self.modalities.index(m) for m in DECATHLON_CHANNELS if m in self.modalities]
            write_nifti(self.root / files["image"], np.stack([volumes[i] for i in order], axis=-1))
        else:
            for path, volume in zip(files["image"], volumes):
                write_nifti(self.root / path, volume)
        table = np.array([self.values[c] for c in sorted(self.values)], dtype=np.uint8)
        write_nifti(self.root / files["label"], table[classes])

    def write_datalist(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write ``dataset.json``, the Decathlon datalist of the accepted samples.

        Args:
            records: manifest lines, each with ``name``.
        """
        classes = {self.values[k]: v for k, v in self.classes.items()}
        channels = self.modalities
        if self.layout == "decathlon":
            channels = tuple(m for m in DECATHLON_CHANNELS if m in self.modalities)
        datalist: dict[str, Any] = {
            "name": "BraTS-SYN",
            "description": "Synthetic brain MRI with lesion labels. Not real patients; not for clinical use.",
            "tensorImageSize": "4D" if self.layout == "decathlon" else "3D",
            "modality": {str(i): MODALITY_TITLES[m] for i, m in enumerate(channels)},
            "labels": {str(k): classes[k] for k in sorted(classes)},
            "numTraining": len(records),
            "numTest": 0,
            "training": [self.files(r["name"]) for r in records],
            "test": [],
        }
        if self.layout == "nnunet":  # nnU-Net v2 wants names -> values, and two keys of its own
            datalist["channel_names"] = datalist["modality"]
            datalist["labels"] = {v: k for k, v in classes.items()}
            datalist["file_ending"] = ".nii.gz"
        write_json(self.root / "dataset.json", datalist)
