"""Adversarial losses, on MONAI's ``PatchAdversarialLoss``."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.losses import PatchAdversarialLoss


class AdversarialLoss(nn.Module):
    """Both sides of the adversarial game; least squares is the paper's.

    Least squares, on logits without an activation: discriminator (D(real) - 1)^2 + D(fake)^2, generator
    (D(fake) - 1)^2. Several scales are averaged.

    Args:
        criterion: ``least_squares``, ``hinge`` or ``bce``, as in ``PatchAdversarialLoss``.
    """

    def __init__(self, criterion: str = "least_squares") -> None:
        super().__init__()
        self.loss = PatchAdversarialLoss(criterion=criterion, no_activation_leastsq=True)

    def discriminator(
        self, real: torch.Tensor | list[torch.Tensor], fake: torch.Tensor | list[torch.Tensor]
    ) -> torch.Tensor:
        """Loss of the discriminator from its logits on real and on fake samples."""
        return self.loss(real, True, True) + self.loss(fake, False, True)

    def generator(self, fake: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        """Loss of the generator from the discriminator's logits on fakes."""
        return self.loss(fake, True, False)


def modality_loss(logits: torch.Tensor, modality: torch.Tensor) -> torch.Tensor:
    """Modality class, ||c - i||^2 of Qu et al. (section 2.4) as a squared error of softmax against one-hot.

    Args:
        logits: (B, M).
        modality: one-hot (B, M).

    Returns:
        Scalar, mean over elements.
    """
    return F.mse_loss(logits.softmax(1), modality)


def feature_matching_loss(fake: list[torch.Tensor], real: list[torch.Tensor]) -> torch.Tensor:
    """L1 between the discriminator's features of a fake and of its own real image (Wang et al. 2018, pix2pixHD).

    Args:
        fake: features, one tensor per layer.
        real: likewise; no gradient flows to them.

    Returns:
        Scalar, the mean over layers.
    """
    return torch.stack([F.l1_loss(a, b.detach()) for a, b in zip(fake, real)]).mean()
