"""Write NIfTI files: atomically, and the same bytes for the same voxels."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_ext.data.atomic import atomic_path

BRATS_AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
"""Voxel to RAS millimetres of a BraTS volume: 1 mm, first axis to the left, second to the back, third up."""


def write_nifti(path: str | Path, array: np.ndarray, affine: np.ndarray = BRATS_AFFINE, level: int = 1) -> None:
    """Write one volume as ``.nii.gz``.

    Args:
        path: the file.
        array: voxels, in the dtype to write.
        affine: 4x4, voxel to RAS in mm.
        level: of the compression; 1 is three times as fast as 6 for a few per cent of size.
    """
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    with atomic_path(path) as temporary:
        # without the time of writing in the gzip header the bytes depend on the voxels alone
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=level, mtime=0))
