"""Segmentation scores of a case and of its slices: those of the paper, and Dice and HD95 of the BraTS regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.metrics import DiceMetric

from monai_ext.labels import NUM_CLASSES, regions
from monai_ext.metrics.dice_index import dice_index, index_mse
from monai_ext.metrics.surface_distance import hausdorff95
from monai_ext.transforms import LesionRegions


def segmentation_scores(
    pred: torch.Tensor, label: torch.Tensor, num_classes: int = NUM_CLASSES, surface: bool = False
) -> dict[str, float]:
    """Scores of one case, or of any stack of slices taken as one volume.

    Args:
        pred: canonical classes (Z, H, W).
        label: likewise.
        num_classes: lesion classes that there are; fewer tell fewer regions, see :func:`monai_ext.labels.regions`.
        surface: HD95 too; the slices are then neighbours, voxels are of 1 mm.

    Returns:
        ``dice_index`` and ``mse``, the mean over slices; ``WT``, ``TC`` and ``ET``, the Dice of the stack as one volume
        (1 where label and prediction are both empty, as BraTS counts it); with ``surface`` also ``hd95_WT``,
        ``hd95_TC`` and ``hd95_ET``, :func:`monai_ext.metrics.hausdorff95` of the stack in 3-D, in mm.

    Raises:
        ValueError: when the shapes differ.
    """
    if pred.shape != label.shape:
        raise ValueError(f"prediction and label must have one shape, got {tuple(pred.shape)} and {tuple(label.shape)}")
    masks = LesionRegions(num_classes)
    found, wanted = masks(pred[None])[None], masks(label[None])[None]
    metric = DiceMetric(include_background=True, reduction="none", ignore_empty=False)
    names = regions(num_classes)
    scores = {
        "dice_index": float(dice_index(pred, label).mean()),
        "mse": float(index_mse(pred, label).mean()),
        **{name: float(d) for name, d in zip(names, metric(found, wanted)[0])},
    }
    if surface:
        scores |= {f"hd95_{name}": float(d) for name, d in zip(names, hausdorff95(found, wanted)[0])}
    return scores


def mean_scores(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each score over cases, rounded to 4 digits."""
    return {k: round(float(np.mean([r[k] for r in rows])), 4) for k in rows[0]} if rows else {}


def slice_scores(
    pred: torch.Tensor, label: torch.Tensor, num_classes: int = NUM_CLASSES, surface: bool = False
) -> dict[str, np.ndarray]:
    """Scores of each slice by itself.

    Args:
        pred: canonical classes (Z, H, W).
        label: likewise.
        num_classes: see :func:`segmentation_scores`.
        surface: HD95 too; pixels are of 1 mm.

    Returns:
        ``dice_index``, ``mse``, ``WT``, ``TC`` and ``ET`` -> (Z,) float, with ``surface`` also ``hd95_WT``, ``hd95_TC``
        and ``hd95_ET``, in 2-D and in mm; Dice and HD95 of a region are NaN where the label lacks it.
    """
    masks = LesionRegions(num_classes)
    found, wanted = masks(pred[None]).movedim(0, 1), masks(label[None]).movedim(0, 1)
    metric = DiceMetric(include_background=True, reduction="none", ignore_empty=True)
    names, dice = regions(num_classes), metric(found, wanted)
    scores = {
        "dice_index": dice_index(pred, label).numpy(),
        "mse": index_mse(pred, label).numpy(),
        **{name: dice[:, i].numpy() for i, name in enumerate(names)},
    }
    if surface:
        distance = torch.where(wanted.flatten(2).any(2), hausdorff95(found, wanted), torch.nan)
        scores |= {f"hd95_{name}": distance[:, i].numpy() for i, name in enumerate(names)}
    return scores
