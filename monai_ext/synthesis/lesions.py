"""Where the lesion labels of synthetic studies come from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from monai_ext.data import (
    CaseError,
    LesionBank,
    PlacementError,
    find_cases,
    random_lesion_slice,
    read_label_slices,
    read_split,
)
from monai_ext.labels import NUM_CLASSES, merged_classes

logger = logging.getLogger(__name__)


class Placed(NamedTuple):
    """A label inside a brain: (1, H, W) float32, where it came from, and the draws it took."""

    label: torch.Tensor
    source: str
    tries: int


class LesionSource(Protocol):
    """Anything that places a random lesion inside a brain."""

    def place(self, mask: torch.Tensor, rng: np.random.Generator) -> Placed:
        """Draw a label with ``sum(label * mask) == 0`` for a mask (1, H, W) that is 1 outside the brain.

        Raises:
            PlacementError: when none fits in the allowed draws.
        """


class RealLesions:
    """Labels of real patients under a random scale, rotation, shift and flip (Qu et al., section 2.8).

    Args:
        labels: slices (H, W) of canonical classes, each with a lesion.
        sources: case id of each.
        max_tries: draws before a brain is given up.
    """

    def __init__(self, labels: Sequence[np.ndarray], sources: Sequence[str], max_tries: int = 50) -> None:
        self.bank, self.sources = LesionBank(labels, max_tries=max_tries), list(sources)
        self.digest = hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in labels)).hexdigest()[:12]

    def place(self, mask: torch.Tensor, rng: np.random.Generator) -> Placed:
        """See :class:`LesionSource`."""
        label, source, tries = self.bank.place(mask, rng)
        return Placed(label, self.sources[source], tries)


class ProceduralLesions:
    """Labels drawn by :func:`monai_ext.data.random_lesion_slice`, for machines without real labels.

    Args:
        max_tries: draws before a brain is given up.
        num_classes: lesion classes of a label, see :func:`monai_ext.labels.merged_classes`.
    """

    def __init__(self, max_tries: int = 50, num_classes: int = NUM_CLASSES) -> None:
        self.max_tries = max_tries
        table = merged_classes(num_classes)
        self.classes = np.array([table[k] for k in sorted(table)], dtype=np.float32)

    def place(self, mask: torch.Tensor, rng: np.random.Generator) -> Placed:
        """See :class:`LesionSource`."""
        try:
            label = random_lesion_slice(mask[0].numpy() == 0, rng, max_tries=self.max_tries)
        except ValueError as error:
            raise PlacementError(str(error)) from error
        return Placed(torch.from_numpy(self.classes[label[None]]), "procedural", 1)


def open_lesions(
    label_dir: str | Path | None,
    split_file: str | Path | None = None,
    roi_size: Sequence[int] = (160, 192),
    slice_range: Sequence[int] = (55, 105),
    max_tries: int = 50,
    num_classes: int = NUM_CLASSES,
    resample: bool = False,
) -> LesionSource:
    """Lesions of the patients under a folder; procedural ones where there is no folder.

    Args:
        label_dir: data set in any layout whose segmentations are used, or ``None``.
        split_file: split that the weights were trained with; its validation and test patients lend no labels, since
            synthetic data is judged by them. Without one every patient does.
        roi_size: centre crop, as the networks see it.
        slice_range: slices that labels are taken from; clipped to a volume that has fewer.
        max_tries: draws before a brain is given up.
        num_classes: see :class:`monai_ext.data.Case`.
        resample: likewise.

    Raises:
        CaseError: when the folder holds no usable segmentation.
    """
    if not label_dir:
        logger.warning("no label_dir given: lesion labels are drawn by procedure, not taken from patients")
        return ProceduralLesions(max_tries, num_classes)
    found = find_cases(label_dir, (), num_classes=num_classes, resample=resample)
    cases = [c for c in found if c.segmentation is not None]
    if split_file:
        sides = read_split(split_file)
        held_out = {*sides["validation"], *sides["test"]}
        cases = [c for c in cases if c.patient_id not in held_out]
    if not cases:
        raise CaseError(
            f"no segmentation to take labels from under {str(label_dir)!r}: there are none, or all are of "
            f"patients that {split_file} holds out"
        )
    labels, sources = [], []
    for case in cases:
        for label in read_label_slices(case, slice_range, roi_size):
            labels.append(label)
            sources.append(case.case_id)
    if not labels:
        raise CaseError(f"no lesion in slices {tuple(slice_range)} of the {len(cases)} cases under {str(label_dir)!r}")
    logger.info("%d label slices of %d cases", len(labels), len(cases))
    return RealLesions(labels, sources, max_tries)
