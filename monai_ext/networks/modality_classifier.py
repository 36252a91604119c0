"""Which modality is this image? A judge of generated images, and an extractor of features to compare sets by."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.blocks import Convolution


class ModalityClassifier(nn.Module):
    """Strided convolutions on the image at half its resolution, averaged over the image.

    The brain is shifted and scaled to mean 0 and deviation 1 first, so that neither its level nor its range tells the
    modality: a volume with a few saturated voxels is squeezed into a narrow one. Batch normalisation follows, not
    instance normalisation, which leaves little of contrast in a channel's mean.

    Args:
        num_modalities: classes.
        channels: of the strided blocks; the last is the number of features.
    """

    def __init__(self, num_modalities: int = 4, channels: tuple[int, ...] | list[int] = (16, 32, 64, 64)) -> None:
        super().__init__()
        self.num_features = channels[-1]
        settings = {"strides": 2, "adn_ordering": "NA", "norm": "batch", "act": ("leakyrelu", {"negative_slope": 0.2})}
        blocks = [Convolution(2, a, b, bias=False, **settings) for a, b in zip((1, *channels[:-1]), channels)]
        self.pool, self.blocks = nn.AvgPool2d(2), nn.Sequential(*blocks)
        self.head = nn.Linear(self.num_features, num_modalities)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classify images.

        Args:
            image: (B, 1, H, W) in [0, 1], background 0.

        Returns:
            Features (B, F) and logits (B, M).
        """
        features = self.blocks(self._standard(self.pool(image.float()))).mean((2, 3))
        return features, self.head(features)

    @staticmethod
    def _standard(image: torch.Tensor) -> torch.Tensor:
        """Brain of mean 0 and deviation 1 (a constant one of 0), background 0."""
        brain = (image > 0).float()
        pixels = brain.sum((2, 3), keepdim=True).clamp(min=1)
        centred = (image - image.sum((2, 3), keepdim=True) / pixels) * brain
        deviation = (centred.square().sum((2, 3), keepdim=True) / pixels).sqrt()
        return centred / deviation.clamp(min=0.01)
