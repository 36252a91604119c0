"""The lesion guidance component in the paper's three schemes (Qu et al., section 2.7)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from monai_ext.networks.blocks import PyramidEncoder, UnshuffleUNet, conv_block

SCHEMES = ("1seg", "1enc_ndec", "nseg")


class LesionDecoder(nn.Module):
    """Decoder of one modality in scheme ``1enc_ndec``: features -> logits at full size."""

    def __init__(self, channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        pairs = list(zip(channels[::-1][:-1], channels[::-1][1:]))
        self.levels = nn.ModuleList([conv_block(a + b, b) for a, b in pairs])
        self.head = nn.Sequential(nn.Conv2d(channels[0], 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        x = features[-1]
        for level, skip in zip(self.levels, reversed(features[:-1])):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return self.head(x)


class LesionGuidance(nn.Module):
    """Segments the lesion in one image of a known modality; generation is guided through it.

    Args:
        scheme: ``1seg`` one segmentor for all modalities; ``1enc_ndec`` one encoder, a decoder per modality;
            ``nseg`` a segmentor per modality.
        num_modalities: modalities.
        num_classes: lesion classes, background not counted.
        channels: of each segmentor, from H/2 down.

    Raises:
        ValueError: for an unknown scheme.
    """

    def __init__(
        self,
        scheme: str = "nseg",
        num_modalities: int = 4,
        num_classes: int = 3,
        channels: tuple[int, ...] | list[int] = (16, 32, 64, 128),
    ) -> None:
        super().__init__()
        if scheme not in SCHEMES:
            raise ValueError(f"scheme is one of {', '.join(SCHEMES)}, got {scheme!r}")
        self.scheme, self.num_modalities = scheme, num_modalities
        channels, out = tuple(channels), num_classes + 1
        self.encoder = PyramidEncoder(1, channels) if scheme == "1enc_ndec" else None
        if scheme == "1enc_ndec":
            self.parts = nn.ModuleList([LesionDecoder(channels, out) for _ in range(num_modalities)])
        else:
            count = num_modalities if scheme == "nseg" else 1
            self.parts = nn.ModuleList([UnshuffleUNet(1, out, channels) for _ in range(count)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, M, H, W), modality m in channel m -> logits (B, M, n + 1, H, W)."""
        batch, modalities = images.shape[:2]
        if modalities != self.num_modalities:
            raise ValueError(f"expected {self.num_modalities} modalities, got {modalities}")
        if self.scheme == "1seg":
            logits = self.parts[0](images.flatten(0, 1)[:, None])
            return logits.view(batch, modalities, *logits.shape[1:])
        if self.encoder is None:
            return torch.stack([part(images[:, m : m + 1]) for m, part in enumerate(self.parts)], 1)
        features = [f.view(batch, modalities, *f.shape[1:]) for f in self.encoder(images.flatten(0, 1)[:, None])]
        return torch.stack([part([f[:, m] for f in features]) for m, part in enumerate(self.parts)], 1)
