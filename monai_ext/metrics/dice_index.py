"""The paper's Dice and MSE, on label-index maps of a slice. Not the BraTS Dice."""

from __future__ import annotations

import torch
from monai.metrics import CumulativeIterationMetric


def dice_index(pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """2 sum(ab) / (sum a^2 + sum b^2) of two label-index maps; 1 where both are empty (Qu et al., section 3).

    It weights classes by their index and rewards overlap of different classes, so compare it with the paper only.

    Args:
        pred: class indices (B, ...).
        label: class indices, same shape.

    Returns:
        (B,) float32.
    """
    a, b = pred.flatten(1).double(), label.flatten(1).double()
    below = (a * a).sum(1) + (b * b).sum(1)
    return torch.where(below > 0, 2 * (a * b).sum(1) / below.clamp(min=1), torch.ones_like(below)).float()


def index_mse(pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of two label-index maps.

    Args:
        pred: class indices (B, ...).
        label: class indices, same shape.

    Returns:
        (B,) float32.
    """
    return (pred.flatten(1).double() - label.flatten(1).double()).square().mean(1).float()


class DiceIndexMetric(CumulativeIterationMetric):
    """:func:`dice_index` of slices, averaged."""

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        if y is None or y.shape != y_pred.shape:
            raise ValueError(
                f"prediction and label must have one shape, got {y_pred.shape} and {None if y is None else y.shape}"
            )
        return dice_index(y_pred, y)[:, None]

    def aggregate(self) -> torch.Tensor:
        """Mean over every slice seen."""
        data = self.get_buffer()
        if not isinstance(data, torch.Tensor):
            raise ValueError("no slice has been compared yet")
        return data.mean()
