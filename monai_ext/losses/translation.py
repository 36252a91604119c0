"""Loss of translations between the modalities of registered studies."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.losses import SSIMLoss


class TranslationLoss(nn.Module):
    """``absolute`` * abs(x_t,i->j - x_j) + ``similarity`` * (1 - SSIM(x_t,i->j, x_j)), means over slices.

    The absolute error alone blurs what it is not sure of; structural similarity pays for edges and texture kept.
    Not in the paper, whose studies need not be registered.

    Args:
        absolute: weight of the absolute error.
        similarity: weight of MONAI's SSIM loss.
    """

    def __init__(self, absolute: float = 10.0, similarity: float = 2.0) -> None:
        super().__init__()
        self.absolute, self.similarity = absolute, similarity
        self.ssim = SSIMLoss(spatial_dims=2, data_range=1.0)

    def forward(self, translated: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Both (B, M, H, W) in [0, 1]."""
        # a modality is an image of its own: SSIM's windows see one at a time
        ssim = self.ssim(translated.flatten(0, 1)[:, None], images.flatten(0, 1)[:, None])
        return self.absolute * F.l1_loss(translated, images) + self.similarity * ssim
