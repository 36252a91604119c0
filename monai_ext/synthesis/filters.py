"""The three filters that a candidate passes on its way into the data set (Qu et al., section 2.8)."""

from __future__ import annotations

import torch
import torch.nn as nn

from monai_ext.metrics import dice_index
from monai_ext.transforms import ContourMask


class MapFilter:
    """Algorithm 3: a map whose outline is closed, filled classically, equals the mask that the network gives it.

    The paper prints the loop as WHILE mae <= 0.05, which is inverted: a map is kept when the error is small.

    Args:
        threshold: largest mean absolute error kept; 1 switches the filter off.
    """

    def __init__(self, threshold: float = 0.05) -> None:
        self.threshold = threshold
        self.contour = ContourMask()

    def __call__(self, structure: torch.Tensor, mask: torch.Tensor) -> tuple[bool, float, torch.Tensor]:
        """Judge one map.

        Args:
            structure: (1, H, W) in {0, 1}.
            mask: of the MASK network, 1 outside the brain.

        Returns:
            Whether it is kept, the error, and the classical mask (1, H, W).
        """
        classical = torch.as_tensor(self.contour(structure))
        error = float((classical - mask).abs().mean())
        return error <= self.threshold, error, classical


class DiceFilter:
    """Keeps a study when a segmentor trained on real data finds the lesion that was asked for.

    Args:
        segmentor: images (B, M, H, W) -> logits (B, n + 1, H, W).
        threshold: smallest ``dice_index`` kept; 0 switches the filter off.
    """

    def __init__(self, segmentor: nn.Module, threshold: float = 0.95) -> None:
        self.segmentor, self.threshold = segmentor, threshold

    def __call__(self, images: torch.Tensor, label: torch.Tensor) -> tuple[list[bool], list[float]]:
        """Judge a batch.

        Args:
            images: (B, M, H, W) in [0, 1].
            label: canonical classes (B, 1, H, W).

        Returns:
            Whether each is kept, and its score.
        """
        with torch.no_grad():
            pred = self.segmentor(images).argmax(1, keepdim=True)
        scores = dice_index(pred, label).tolist()
        return [s >= self.threshold for s in scores], scores
