"""Volumes of a case on their way through networks that see slices, and back to the grid of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample

from monai_ext.data import Case, CaseError, read_case
from monai_ext.data.reading import SPACING, has_spacing
from monai_ext.data.slices import ORIENTATION
from monai_ext.transforms import BrainSpacing, ScaleBrainIntensity

MIN_WEIGHT = 1e-3  # of what is brain at 1 mm, for a voxel of the file to be interpolated from it


def case_file(output_dir: str | Path, case_id: str, kind: str) -> Path:
    """Where a volume of a case is written; ``kind`` is a modality or ``seg``."""
    return Path(output_dir) / case_id / f"{case_id}-{kind}.nii.gz"


@dataclass(frozen=True)
class Resampled:
    """A volume of 1 mm made from a file of another spacing.

    Args:
        affine: 4x4 of the volume of 1 mm, in the voxel order of the file.
        mask: bool, which voxels of the file are brain.
    """

    affine: np.ndarray
    mask: np.ndarray

    def restore(self, volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """Volume of 1 mm -> voxels of the file, 0 where the file is 0.

        Linear interpolation among the voxels that are not 0, so that the brain is no darker at its rim.

        Args:
            volume: float32 in [0, 1], in the voxel order of the file.
            affine: 4x4 of the file.
        """
        pair = torch.from_numpy(np.stack([volume, volume > 0]).astype(np.float32))
        grid = MetaTensor(pair, affine=torch.from_numpy(self.affine))
        value, weight = SpatialResample()(grid, torch.from_numpy(affine), self.mask.shape).numpy()
        near, made = self.mask & (weight > MIN_WEIGHT), np.zeros(self.mask.shape, dtype=np.float32)
        made[near] = np.minimum(value[near] / weight[near], 1)
        return made


@dataclass(frozen=True)
class BrainVolume:
    """Every axial slice of one volume, cut to a window around its brain, and the way back to the file's voxels.

    Args:
        slices: (Z, 1, H, W) float32 in [0, 1], background 0.
        start: first row and column of the window in the LPS volume; negative where it sticks out.
        shape: of the LPS volume, of 1 mm.
        affine: 4x4 of the file, voxel to RAS in mm.
        brain: voxels of the brain, of 1 mm.
        cut: voxels of the brain outside the window, likewise.
        resampled: how a file of another spacing was taken to 1 mm; ``None`` for a file of 1 mm.
    """

    slices: torch.Tensor
    start: tuple[int, int]
    shape: tuple[int, int, int]
    affine: np.ndarray
    brain: int
    cut: int
    resampled: Resampled | None = None

    def restore(self, slices: torch.Tensor) -> np.ndarray:
        """Slices (Z, H, W) of the window -> volume in the shape and voxel order of the file, zeros outside."""
        volume = np.zeros(self.shape, dtype=np.float32)
        inside, part = _overlap(self.start, tuple(slices.shape[1:]), self.shape)
        volume[inside] = slices.numpy().transpose(1, 2, 0)[part]
        affine = self.affine if self.resampled is None else self.resampled.affine
        turn = nib.orientations.ornt_transform(_lps(), nib.io_orientation(affine))
        volume = np.ascontiguousarray(nib.apply_orientation(volume, turn))
        return volume if self.resampled is None else self.resampled.restore(volume, self.affine)


def _lps() -> np.ndarray:
    return nib.orientations.axcodes2ornt(tuple(ORIENTATION))


def _overlap(
    start: tuple[int, int], size: tuple[int, int], shape: tuple[int, int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What a window and a volume share, in the volume's and in the window's pixels."""
    ends = [(max(s, 0), min(s + n, full)) for s, n, full in zip(start, size, shape)]
    inside, part = (tuple(slice(a - o, b - o) for (a, b), o in zip(ends, offsets)) for offsets in ((0, 0), start))
    return inside, part


def _window_start(size: int, full: int, low: int, high: int) -> int:
    """First pixel of a window: the middle of the volume as in training, moved no further than the brain needs.

    Args:
        size: of the window.
        full: of the volume.
        low: first pixel of the brain.
        high: the one after its last.
    """
    if high - low > size:
        return (low + high - size) // 2
    middle = full // 2 - size // 2 if full >= size else -((size - full) // 2)
    return min(max(middle, high - size), low)


def read_brain(case: Case, modality: str, roi_size: tuple[int, int]) -> BrainVolume:
    """Read one volume of a case, all its slices, at 1 mm.

    Args:
        case: the case; its other files are not read.
        modality: canonical name.
        roi_size: of the window, left-right x front-back, in pixels. It lies in the middle of the volume and moves where
            it would cut the brain.

    Raises:
        CaseError: see :func:`monai_ext.data.read_case`; for a volume without a brain too.
    """
    image, _ = read_case(case, (modality,), label=False, any_spacing=case.resample)
    affine = image.affine.numpy().astype(np.float64)
    resampled = None
    if not has_spacing(affine):
        stored = image[0].numpy()
        image = BrainSpacing(SPACING)(image)
        resampled = Resampled(image.affine.numpy().astype(np.float64), (stored != 0) & np.isfinite(stored))
    scaled = ScaleBrainIntensity()(image)[0].numpy()
    axes = nib.io_orientation(affine if resampled is None else resampled.affine)
    volume = nib.apply_orientation(scaled, nib.orientations.ornt_transform(axes, _lps()))
    brain = volume > 0
    if not brain.any():
        raise CaseError(f"case {case.case_id}: {case.images[modality].path.name} holds no brain, every voxel is 0")
    extents = [np.flatnonzero(brain.any(axis)) for axis in ((1, 2), (0, 2))]
    start = tuple(_window_start(n, f, e[0], e[-1] + 1) for n, f, e in zip(roi_size, volume.shape, extents))
    inside, part = _overlap(start, roi_size, volume.shape)
    slices = np.zeros((volume.shape[2], *roi_size), dtype=np.float32)
    slices[(slice(None), *part)] = volume[inside].transpose(2, 0, 1)
    total = int(brain.sum())
    cut = total - int((slices > 0).sum())
    return BrainVolume(torch.from_numpy(slices)[:, None], start, volume.shape, affine, total, cut, resampled)
