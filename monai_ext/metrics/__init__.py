"""Metrics."""

from monai_ext.metrics.dice_index import DiceIndexMetric, dice_index, index_mse
from monai_ext.metrics.segmentation import mean_scores, segmentation_scores, slice_scores

__all__ = [
    "DiceIndexMetric",
    "dice_index",
    "index_mse",
    "mean_scores",
    "segmentation_scores",
    "slice_scores",
]
