"""Real slices for the tests of the transforms, when there are any."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def real_slices() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of T1 slices and their labels, (3, H, W) float32 and integer, of up to three cases."""
    root = os.environ.get("BRATS_DATA_DIR")
    if not root:
        pytest.skip("BRATS_DATA_DIR does not point to BraTS cases")
    nibabel = pytest.importorskip("nibabel")
    pairs = []
    for case in sorted(path for path in Path(root).iterdir() if path.is_dir()):
        images = sorted([*case.glob("*[_-]t1.nii.gz"), *case.glob("*[_-]t1n.nii.gz")])
        labels = sorted(case.glob("*[_-]seg.nii.gz"))
        if not images or not labels:
            continue
        depths = (70, 80, 90)
        image = np.asanyarray(nibabel.load(images[0]).dataobj)[..., depths].transpose(2, 0, 1)
        label = np.asanyarray(nibabel.load(labels[0]).dataobj)[..., depths].transpose(2, 0, 1)
        pairs.append((image.astype(np.float32), label.astype(np.int64)))
        if len(pairs) == 3:
            return pairs
    if not pairs:
        pytest.skip(f"no case with a T1 image and a label in {root}")
    return pairs
