"""Test-time augmentation: what a segmentor finds in an image and in its mirror image, averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer


class FlipInferer(Inferer):
    """Mean of the softmax over an image and its left-right mirror image, turned back; twice the time.

    Args:
        inferer: what infers each of the two; ``SimpleInferer`` when ``None``.
        enabled: off gives what that inferer gives.
        axis: left-right axis of the input, batch and channels counted: 2 in LPS orientation.
    """

    def __init__(self, inferer: Inferer | None = None, enabled: bool = True, axis: int = 2) -> None:
        super().__init__()
        self.inferer, self.enabled, self.axis = inferer or SimpleInferer(), enabled, axis

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Infer (B, C, spatial...).

        Returns:
            Probabilities (B, n + 1, spatial...) float32 in [0, 1]; logits when not enabled.
        """
        found = self.inferer(inputs, network, *args, **kwargs)
        if not self.enabled:
            return found
        mirrored = self.inferer(inputs.flip(self.axis), network, *args, **kwargs).flip(self.axis)
        return (found.float().softmax(1) + mirrored.float().softmax(1)) / 2
