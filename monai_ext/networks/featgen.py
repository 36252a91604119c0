"""Networks of the structure-map stage (Qu et al., section 2.3): EC_f, DC_f and MASK."""

from __future__ import annotations

import math

import torch
import torch.nn as nn

from monai_ext.networks.blocks import ResidualBlock, UnshuffleUNet, conv_block
from monai_ext.networks.code_prior import CodePrior
from monai_ext.networks.init import init_weights

MULTIPLE = 32  # of an image's sides: the prior works at H/16 and H/32


class MapEncoder(nn.Module):
    """EC_f: structure map -> mean and log-variance of its code, a small image.

    Args:
        code_channels: channels of the code.
        stride: pixels of the map for one of the code, 8 or 16.
        channels: of the stem (H/4) and the levels below it.
        dropout: of the input, in training.
    """

    def __init__(
        self, code_channels: int, stride: int = 8, channels: tuple[int, ...] = (48, 96, 192), dropout: float = 0.0
    ) -> None:
        super().__init__()
        channels = channels[: int(math.log2(stride)) - 1]
        self.dropout = nn.Dropout(dropout)
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), conv_block(16, channels[0]))
        self.levels = nn.Sequential(*[ResidualBlock(a, b, 2) for a, b in zip(channels[:-1], channels[1:])])
        self.code = nn.Conv2d(channels[-1], 2 * code_channels, 1)

    def forward(self, structure: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 1, H, W) -> mean and log-variance, each (B, code_channels, H / stride, W / stride)."""
        mean, logvar = self.code(self.levels(self.stem(self.dropout(structure)))).chunk(2, dim=1)
        return mean, logvar.clamp(-8, 4)


class MapDecoder(nn.Module):
    """DC_f: code -> logits of a structure map.

    Args:
        code_channels: channels of the code.
        stride: pixels of the map for one of the code, 8 or 16.
        channels: at H/16, H/8, H/4 and H/2; the first one is left out at stride 8.
    """

    def __init__(self, code_channels: int, stride: int = 8, channels: tuple[int, ...] = (192, 128, 64, 24)) -> None:
        super().__init__()
        channels = channels[4 - int(math.log2(stride)) :]
        self.stem = nn.Sequential(
            nn.Conv2d(code_channels, channels[0], 3, padding=1), ResidualBlock(channels[0], channels[0])
        )
        pairs = list(zip(channels[:-1], channels[1:]))
        # the finest level is a single convolution: it would cost more than all the others together
        self.levels = nn.Sequential(
            *[nn.Sequential(nn.Upsample(scale_factor=2.0), ResidualBlock(a, b)) for a, b in pairs[:-1]],
            nn.Sequential(nn.Upsample(scale_factor=2.0), conv_block(*pairs[-1])),
        )
        self.head = nn.Sequential(
            nn.Conv2d(channels[-1], 16, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(16, 4, 3, padding=1),
            nn.PixelShuffle(2),
        )  # fmt: skip

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        """Code (B, code_channels, h, w) -> logits (B, 1, H, W), positive on an edge."""
        return self.head(self.levels(self.stem(code)))


class FeatGen(nn.Module):
    """What the structure-map stage trains as a generator: EC_f, DC_f and MASK, and the way from noise to codes.

    Called with noise it is the generator itself: noise -> code -> map and mask.

    Args:
        image_size: (H, W) of a map, multiples of 32.
        code_channels: channels of a code.
        stride: pixels of a map for one of its code, 8 or 16.
        prior: ``flow`` or ``normal``, see :class:`monai_ext.networks.CodePrior`.
        prior_steps: likewise.
        init: see :func:`monai_ext.networks.init.init_weights`; the flow keeps its own.
        dropout: of the encoder's input, in training.

    Raises:
        ValueError: for a size that is no multiple of 32, or another stride.
    """

    def __init__(
        self,
        image_size: tuple[int, int] | list[int] = (160, 192),
        code_channels: int = 4,
        stride: int = 8,
        prior: str = "flow",
        prior_steps: int = 6,
        init: str = "default",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if any(s % MULTIPLE for s in image_size):
            raise ValueError(f"image_size must be multiples of {MULTIPLE}, got {tuple(image_size)}")
        if stride not in (8, 16):
            raise ValueError(f"stride is 8 or 16, got {stride}")
        self.image_size = tuple(image_size)
        shape = (code_channels, image_size[0] // stride, image_size[1] // stride)
        self.latent_size = math.prod(shape)
        self.encoder = init_weights(MapEncoder(code_channels, stride, dropout=dropout), init)
        self.decoder = init_weights(MapDecoder(code_channels, stride), init)
        self.prior = CodePrior(shape, prior, prior_steps, patch=16 // stride)
        self.mask = init_weights(UnshuffleUNet(1, 1, (24, 48, 96, 128), factor=4), init)

    def forward(self, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise (B, latent_size), N(0, 1) -> structure map and mask (B, 1, H, W), binary {0, 1} float.

        The mask is 1 outside the brain, where the map is empty.
        """
        structure = (self.decoder(self.prior(noise)) > 0).to(noise.dtype)
        mask = (self.mask(structure) > 0).to(noise.dtype)
        return structure * (1 - mask), mask
