"""Segmentation scores of a case: the paper's per slice, the BraTS regions per volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.metrics import DiceMetric

from monai_ext.labels import REGIONS
from monai_ext.metrics.dice_index import dice_index, index_mse
from monai_ext.transforms import LesionRegions


def segmentation_scores(pred: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
    """Scores of one case, or of any stack of slices taken as one volume.

    Args:
        pred: canonical classes (Z, H, W).
        label: likewise.

    Returns:
        ``dice_index`` and ``mse``, the mean over slices; ``WT``, ``TC`` and ``ET``, the Dice of the stack as one volume
        (1 where label and prediction are both empty, as BraTS counts it).

    Raises:
        ValueError: when the shapes differ.
    """
    if pred.shape != label.shape:
        raise ValueError(f"prediction and label must have one shape, got {tuple(pred.shape)} and {tuple(label.shape)}")
    regions = LesionRegions()
    metric = DiceMetric(include_background=True, reduction="none", ignore_empty=False)
    dice = metric(regions(pred[None])[None], regions(label[None])[None])[0]
    return {
        "dice_index": float(dice_index(pred, label).mean()),
        "mse": float(index_mse(pred, label).mean()),
        **{name: float(d) for name, d in zip(REGIONS, dice)},
    }


def mean_scores(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each score over cases, rounded to 4 digits."""
    return {k: round(float(np.mean([r[k] for r in rows])), 4) for k in rows[0]} if rows else {}


def slice_scores(pred: torch.Tensor, label: torch.Tensor) -> dict[str, np.ndarray]:
    """Scores of each slice by itself.

    Args:
        pred: canonical classes (Z, H, W).
        label: likewise.

    Returns:
        ``dice_index``, ``mse``, ``WT``, ``TC`` and ``ET`` -> (Z,) float; a region's Dice is NaN where the label lacks
        it.
    """
    regions = LesionRegions()
    metric = DiceMetric(include_background=True, reduction="none", ignore_empty=True)
    dice = metric(regions(pred[None]).movedim(0, 1), regions(label[None]).movedim(0, 1))
    return {
        "dice_index": dice_index(pred, label).numpy(),
        "mse": index_mse(pred, label).numpy(),
        **{name: dice[:, i].numpy() for i, name in enumerate(REGIONS)},
    }
