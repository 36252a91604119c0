"""Discriminators of the structure-map stage (Qu et al., section 2.3): D_f and FD_f."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.nets import PatchDiscriminator


class MapDiscriminator(nn.Module):
    """D_f: patch logits at two scales of a structure map (fine edges, and the outline as a whole).

    Args:
        channels: of MONAI's ``PatchDiscriminator`` at each scale.
        num_layers: strided layers of each.
    """

    def __init__(self, channels: int = 24, num_layers: int = 3) -> None:
        super().__init__()
        patch = {
            "spatial_dims": 2,
            "channels": channels,
            "in_channels": 1,
            "num_layers_d": num_layers,
            "norm": "instance",
        }
        self.fine = PatchDiscriminator(**patch)
        self.coarse = PatchDiscriminator(**patch)
        self.pool = nn.AvgPool2d(4)

    def forward(self, structure: torch.Tensor) -> list[torch.Tensor]:
        """(B, 1, H, W) -> patch logits, one tensor per scale."""
        return [self.fine(structure)[-1], self.coarse(self.pool(structure))[-1]]


class MapCodeDiscriminator(nn.Module):
    """FD_f: tells codes of real maps from N(0, 1).

    Args:
        latent_size: length of the code.
        hidden: width of the two hidden layers.
    """

    def __init__(self, latent_size: int = 256, hidden: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent_size, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        """(B, latent_size) -> logit (B, 1)."""
        return self.layers(code)
