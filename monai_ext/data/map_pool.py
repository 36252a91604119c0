"""Structure maps that were drawn from noise, kept for training on them."""

from __future__ import annotations

import numpy as np
import torch


class MapPool:
    """Maps and masks to draw from, one byte a pixel.

    Args:
        maps: (N, 1, H, W) in {0, 1}.
        masks: (N, 1, H, W), 1 outside the brain.

    Raises:
        ValueError: when there is none, or a mask does not belong to each map.
    """

    def __init__(self, maps: torch.Tensor, masks: torch.Tensor) -> None:
        if len(maps) == 0 or maps.shape != masks.shape:
            raise ValueError(f"a pool needs maps and as many masks, got {tuple(maps.shape)} and {tuple(masks.shape)}")
        self.maps, self.masks = maps.to(torch.uint8), masks.to(torch.uint8)

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def nbytes(self) -> int:
        """Bytes of RAM."""
        return self.maps.nbytes + self.masks.nbytes

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A random map and its mask, each (1, H, W) float32; mirrored left to right in half of the draws."""
        index = int(rng.integers(len(self)))
        drawn = self.maps[index].float(), self.masks[index].float()
        return tuple(t.flip(1) for t in drawn) if rng.random() < 0.5 else drawn
