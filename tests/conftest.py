"""Small BraTS-like cases in every layout, and real cases when the environment says where they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.data import SliceDataset, find_cases
from monai_ext.engines import CGANObjective, FeatGenObjective
from monai_ext.labels import CONVENTIONS, DECATHLON_CHANNELS, MODALITIES
from monai_ext.networks import (
    CGAN,
    CodeDiscriminator,
    FeatGen,
    ImageDiscriminator,
    LesionGuidance,
    MapCodeDiscriminator,
    MapDiscriminator,
)

SHAPE = (24, 20, 10)
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, SHAPE[1] - 1], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
SUFFIXES = {
    "brats2017": {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"},
    "brats2015": {"t1n": "T1", "t1c": "T1c", "t2w": "T2", "t2f": "Flair"},
}


@dataclass
class Volumes:
    """Modality -> int16 volume with a background of 0, and a uint8 label of canonical classes."""

    images: dict[str, np.ndarray]
    label: np.ndarray


def make_volumes(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Volumes:
    """A noisy ellipse in every slice but the first and the last, with a lesion of three classes in slices 3 to 6."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.indices(shape)
    brain = ((x - (shape[0] - 1) / 2) / 9) ** 2 + ((y - (shape[1] - 1) / 2) / 7) ** 2 <= 1
    brain[..., [0, -1]] = False
    images = {m: (rng.integers(100, 1000, shape) * brain).astype(np.int16) for m in MODALITIES}
    label = np.zeros(shape, dtype=np.uint8)
    left, back = shape[0] // 2 - 4 + seed % 3, shape[1] // 2 - 3
    label[left : left + 6, back : back + 5, 3:7] = 2
    label[left + 1 : left + 5, back + 1 : back + 4, 3:7] = 3
    label[left + 2 : left + 4, back + 2 : back + 3, 3:7] = 1
    return Volumes(images, label)


def _write_mha(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    itk = pytest.importorskip("itk", reason=".mha is written with itk")
    world = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    image = itk.image_from_array(np.ascontiguousarray(array.transpose()))
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(o) for o in world[:3, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(world[:3, :3] / spacing)))
    path.parent.mkdir(parents=True, exist_ok=True)
    itk.imwrite(image, str(path))


def _write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def save_case(
    root: Path,
    layout: str,
    case_id: str,
    volumes: Volumes | None = None,
    label: bool = True,
    affine: np.ndarray = AFFINE,
    label_affine: np.ndarray | None = None,
    modalities: tuple[str, ...] = MODALITIES,
    file_label: np.ndarray | None = None,
) -> dict[str, Path]:
    """Write one case; ``file_label`` replaces the label by these very values. Returns kind -> file."""
    volumes = volumes or make_volumes()
    table = CONVENTIONS[layout].from_canonical
    classes = np.array([table[k] for k in sorted(table)], dtype=np.uint8)[volumes.label]
    classes = classes if file_label is None else file_label
    label_affine = affine if label_affine is None else label_affine
    files: dict[str, Path] = {}
    if layout == "decathlon":
        path = root / ("imagesTr" if label else "imagesTs") / f"{case_id}.nii.gz"
        _write_nifti(path, np.stack([volumes.images[m] for m in DECATHLON_CHANNELS], -1), affine)
        files = dict.fromkeys(MODALITIES, path)
        if label:
            files["seg"] = root / "labelsTr" / path.name
            _write_nifti(files["seg"], classes, label_affine)
        return files
    arrays: dict[str, np.ndarray] = {m: volumes.images[m] for m in modalities}
    if label:
        arrays["seg"] = classes
    for number, (kind, array) in enumerate(arrays.items()):
        this = label_affine if kind == "seg" else affine
        if layout == "brats2015":
            stem = "XX.XX.OT" if kind == "seg" else f"XX.O.MR_{SUFFIXES[layout][kind]}"
            stem = f"VSD.Brain{'_3more' if kind == 'seg' else ''}.{stem}.{54510 + number}"
            files[kind] = root / case_id / stem / f"{stem}.mha"
            _write_mha(files[kind], array, this)
        else:
            separator = "-" if layout == "brats2023" else "_"
            suffix = SUFFIXES.get(layout, {}).get(kind, kind)
            files[kind] = root / case_id / f"{case_id}{separator}{suffix}.nii.gz"
            _write_nifti(files[kind], array, this)
    return files


@pytest.fixture(scope="session")
def volumes() -> Callable[..., Volumes]:
    """:func:`make_volumes`."""
    return make_volumes


@pytest.fixture(scope="session")
def write_case() -> Callable[..., dict[str, Path]]:
    """:func:`save_case`."""
    return save_case


@pytest.fixture(scope="session")
def cases_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled cases of four patients, ``P0`` to ``P3``, in the layout of BraTS 2023; do not write to it."""
    root = tmp_path_factory.mktemp("cases")
    for seed in range(4):
        save_case(root, "brats2023", f"P{seed}", make_volumes(seed))
    return root


@pytest.fixture(scope="session")
def make_dataset(cases_dir: Path) -> Callable[..., SliceDataset]:
    """A :class:`SliceDataset` of ``cases_dir``: slices 2 to 7, cropped to 16 x 16, unless told otherwise."""

    def make(count: int = 4, **kwargs: Any) -> SliceDataset:
        settings: Mapping[str, Any] = {"slice_range": (2, 8), "roi_size": (16, 16), "progress": False, **kwargs}
        return SliceDataset(find_cases(cases_dir)[:count], **settings)

    return make


CGAN_WEIGHTS = dict.fromkeys(
    [
        "paired", "feature_matching", "adversarial", "modality", "structure", "lesion", "registration",
        "generated_code", "outside", "adversarial_code", "reconstruction", "paired_translated",
        "adversarial_translated", "modality_translated", "cycle", "cycle_consistency", "code", "lesion_real",
        "d_generated", "d_translated",
        "d_modality", "d_code",
    ],
    1.0,
)  # fmt: skip


@pytest.fixture(scope="session")
def cgan_objective() -> Callable[..., CGANObjective]:
    """Tiny networks of the image stage and every loss, for images of 48 x 48; ``weights`` changes single weights."""

    def make(
        seed: int = 0, weights: Mapping[str, float] | None = None, scheme: str = "nseg", condition: bool = True,
        **kwargs: Any,
    ) -> CGANObjective:  # fmt: skip
        torch.manual_seed(seed)
        return CGANObjective(
            CGAN(4, 3, noise_channels=1, channels=(4, 4, 6, 6)),
            ImageDiscriminator(4, 4 * condition, channels=4, num_layers=2),
            CodeDiscriminator(6, 4),
            LesionGuidance(scheme, channels=(4, 6, 8)),
            **{"weights": {**CGAN_WEIGHTS, **(weights or {})}, "canvas_size": (60, 60), **kwargs},
        )

    return make


@pytest.fixture(scope="session")
def featgen_objective() -> Callable[..., FeatGenObjective]:
    """Networks of the map stage and every loss, for images of 64 x 64; ``weights`` changes single weights."""

    def make(
        seed: int = 0, weights: Mapping[str, float] | None = None, prior: str = "flow", **kwargs: Any
    ) -> FeatGenObjective:
        torch.manual_seed(seed)
        network, settings = FeatGen((64, 64), prior=prior, prior_steps=2), {"canvas_size": (80, 80), **kwargs}
        return FeatGenObjective(
            network,
            MapDiscriminator(4, 2),
            MapCodeDiscriminator(network.latent_size, 8),
            **{"weights": {**dict.fromkeys(FeatGenObjective.TERMS, 1.0), **(weights or {})}, **settings},
        )

    return make


@pytest.fixture(scope="session")
def real_dir() -> Path:
    """Folder of real BraTS cases, from the environment variable BRATS_DATA_DIR."""
    root = os.environ.get("BRATS_DATA_DIR")
    if not root:
        pytest.skip("BRATS_DATA_DIR does not point to BraTS cases")
    if not Path(root).is_dir():
        pytest.skip(f"BRATS_DATA_DIR is {root}, which is not a folder")
    return Path(root)
