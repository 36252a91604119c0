"""Weight initialisations of the paper."""

from __future__ import annotations

import torch
import torch.nn as nn


def init_weights(network: nn.Module, init: str = "default", seed: int | None = None) -> nn.Module:
    """Initialise every convolution of a network, in place.

    Args:
        network: what to initialise.
        init: ``default`` leaves PyTorch's; ``mean_filter`` sets every weight of a convolution to 1 / (k * k * C) with
            noise of sigma 1e-6 to tell channels apart, bias 0 (Qu et al., section 3.4, generators);
            ``normal`` draws weights from N(0, 0.02), bias 0.
        seed: of the draws; PyTorch's global state when ``None``.

    Returns:
        The network.

    Raises:
        ValueError: for an unknown ``init``.
    """
    if init not in ("default", "mean_filter", "normal"):
        raise ValueError(f"init is default, mean_filter or normal, got {init!r}")
    if init == "default":
        return network
    rng = torch.Generator().manual_seed(seed) if seed is not None else None
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                shape = module.weight.shape
                noise = torch.randn(shape, generator=rng)
                if init == "normal":
                    module.weight.copy_(0.02 * noise)
                else:
                    fan = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
                    module.weight.copy_(1.0 / fan + 1e-6 * noise)
                if module.bias is not None:
                    module.bias.zero_()
    return network
