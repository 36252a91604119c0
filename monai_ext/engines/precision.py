"""bfloat16 inference and training on CPU as on GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SimpleInferer


class AutocastInferer(SimpleInferer):
    """``SimpleInferer`` under autocast to bfloat16; MONAI's own ``amp`` is for CUDA alone.

    Args:
        amp: off gives a plain ``SimpleInferer``.
    """

    def __init__(self, amp: bool = True) -> None:
        super().__init__()
        self.amp = amp

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Network output as float32."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp):
            return super().__call__(inputs, network, *args, **kwargs).float()
