"""Stand-ins for trained networks: maps whose outline, size and gap follow from the noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn as nn

from monai_ext.networks import CGAN, UnshuffleUNet
from monai_ext.synthesis import DiceFilter, MapFilter, ProceduralLesions, StudyStream

SIZE = (160, 192)


def ring_and_mask(radius: float = 60.0, gap: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A circle two pixels wide with a gap (a share of its length), and the mask outside it: (1, H, W) in {0, 1}."""
    x, y = np.indices(SIZE)
    x, y = x - (SIZE[0] - 1) / 2, y - (SIZE[1] - 1) / 2
    distance, angle = np.hypot(x, y), np.arctan2(y, x) / (2 * np.pi) + 0.5
    ring = (np.abs(distance - radius) <= 1) & (angle >= gap)
    structure, mask = (a[None].astype(np.float32) for a in (ring, distance > radius + 3))
    return torch.from_numpy(structure), torch.from_numpy(mask)


class RingGenerator(nn.Module):
    """Noise -> a closed ring; a broken one where code[0] > 0.5; one too small for a lesion where code[1] > 0.8."""

    latent_size = 4

    def forward(self, code: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = [
            ring_and_mask(10.0 if c[1] > 0.8 else 55.0 + 3 * float(c[2].clamp(-2, 2)), 0.2 if c[0] > 0.5 else 0.0)
            for c in code
        ]
        return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])


def tiny_cgan() -> CGAN:
    """Random weights, the same every time; the style matters."""
    torch.manual_seed(0)
    return CGAN(channels=(8, 8, 8, 8)).eval()


def tiny_segmentor() -> UnshuffleUNet:
    """Random weights, the same every time."""
    torch.manual_seed(0)
    return UnshuffleUNet(4, 4, (4, 8, 8, 8)).eval()


def make_stream(mae_threshold: float = 0.05, dice_threshold: float = 0.0, **kwargs: Any) -> StudyStream:
    """A stream of the stand-ins; its lesions are procedural unless given."""
    settings: dict[str, Any] = {
        "featgen": RingGenerator(), "cgan": tiny_cgan(), "lesions": ProceduralLesions(),
        "dice_filter": DiceFilter(tiny_segmentor(), dice_threshold), **kwargs,
    }  # fmt: skip
    return StudyStream(map_filter=MapFilter(mae_threshold), **settings)


@pytest.fixture(scope="session")
def ring() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """:func:`ring_and_mask`."""
    return ring_and_mask


@pytest.fixture(scope="session")
def ring_generator() -> type[nn.Module]:
    """:class:`RingGenerator`."""
    return RingGenerator


@pytest.fixture(scope="session")
def stream() -> Callable[..., StudyStream]:
    """:func:`make_stream`."""
    return make_stream
