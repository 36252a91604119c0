"""All of synthesis as one network: noise and a lesion label in, registered modalities out."""

from __future__ import annotations

import torch
import torch.nn as nn

from monai_ext.networks import CGAN, FeatGen
from monai_ext.synthesis.stream import FLOOR
from monai_ext.transforms import erase_lesion, fuse_lesion


class StudyNetwork(nn.Module):
    """Noise -> map -> mask -> lesion -> modalities in one pass, as :class:`monai_ext.synthesis.StudyStream` makes them,
    without its filters: made to be exported, and deterministic, since all noise is an input.

    Args:
        featgen: noise -> map and mask.
        cgan: fused map -> images.
        floor: images below this are background.
    """

    def __init__(self, featgen: FeatGen, cgan: CGAN, floor: float = FLOOR) -> None:
        super().__init__()
        self.featgen, self.cgan, self.floor = featgen, cgan, floor
        self.latent_size, self.style_size, self.noise_channels = (
            featgen.latent_size, cgan.style_size, cgan.noise_channels
        )  # fmt: skip

    def forward(
        self,
        latent: torch.Tensor,
        label: torch.Tensor,
        threshold: torch.Tensor | None = None,
        style: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Paint studies.

        Args:
            latent: (B, latent_size), N(0, 1).
            label: (B, 1, H, W) of canonical classes.
            threshold: (B, 1), probability above which MASK's pixel is outside the brain; 0.5 unless given.
            style: (B, style_size), N(0, 1); the mean contrast of the training set unless given.
            noise: (B, noise_channels, H, W), N(0, 1), of the texture; none unless given.

        Returns:
            (B, M, H, W) in [0, 1], background 0.
        """
        structure = (self.featgen.decoder(self.featgen.prior(latent)) > 0).to(latent.dtype)
        limit = 0.0 if threshold is None else torch.logit(threshold).view(-1, 1, 1, 1)
        inside = (self.featgen.mask(structure) <= limit).to(latent.dtype)
        structure = erase_lesion(structure * inside, label, self.cgan.shown_classes)
        if style is None:
            style = latent.new_zeros(latent.shape[0], self.style_size)
        if noise is None:
            noise = torch.zeros_like(label, dtype=latent.dtype).repeat(1, self.noise_channels, 1, 1)
        images = self.cgan(fuse_lesion(structure, label, self.cgan.num_classes), style, noise) * inside
        return torch.where(images < self.floor, torch.zeros_like(images), images)
