"""Blocks shared by the networks, built from MONAI's convolutions."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from monai.networks.nets import UNet


def conv_block(in_channels: int, out_channels: int, stride: int = 1, kernel_size: int = 3) -> nn.Module:
    """Convolution, instance normalisation, leaky ReLU (2-D)."""
    return Convolution(
        2, in_channels, out_channels, strides=stride, kernel_size=kernel_size, adn_ordering="NA",
        norm=("instance", {"affine": True}), act=("leakyrelu", {"negative_slope": 0.2}),
    )  # fmt: skip


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        stride: of the first convolution and the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_block(in_channels, out_channels, stride), conv_block(out_channels, out_channels))
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) -> (B, out, H/stride, W/stride)."""
        return self.body(x) + self.shortcut(x)


class PyramidEncoder(nn.Module):
    """Image -> features at H/2, H/4, H/8 and so on: a pixel-unshuffle stem and strided residual blocks.

    Args:
        in_channels: channels in.
        channels: of each level.
        dropout: of the input, in training.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...] | list[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), conv_block(4 * in_channels, channels[0]))
        self.levels = nn.ModuleList([ResidualBlock(a, b, 2) for a, b in zip(channels[:-1], channels[1:])])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, in, H, W) -> features from H/2 down to H/16; the last one is the paper's code."""
        features = [self.stem(self.dropout(x))]
        for level in self.levels:
            features.append(level(features[-1]))
        return features


class ConditionalBlock(nn.Module):
    """Residual block whose normalisation is scaled and shifted by a condition vector.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        condition_size: length of the condition vector.
    """

    def __init__(self, in_channels: int, out_channels: int, condition_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm = nn.InstanceNorm2d(out_channels)
        self.film1 = nn.Linear(condition_size, 2 * out_channels)
        self.film2 = nn.Linear(condition_size, 2 * out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def _modulate(self, x: torch.Tensor, film: torch.Tensor) -> torch.Tensor:
        scale, shift = film[:, :, None, None].chunk(2, dim=1)
        return F.leaky_relu(self.norm(x) * (1 + scale) + shift, 0.2)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) and (B, condition_size) -> (B, out, H, W)."""
        y = self._modulate(self.conv1(x), self.film1(condition))
        return self._modulate(self.conv2(y), self.film2(condition)) + self.shortcut(x)


class SelectiveConv(nn.Module):
    """1 x 1 convolution with weights of its own for every value of a one-hot condition, all in one batch.

    Scaling and shifting channels alone is slow to learn that one tissue is dark in one modality and bright in another.

    Args:
        channels: channels in and out.
        choices: length of the one-hot.
    """

    def __init__(self, channels: int, choices: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(choices, channels, channels) / channels**0.5)
        self.bias = nn.Parameter(torch.zeros(choices, channels))

    def forward(self, x: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) and one-hot (N, choices) -> (N, C, H, W)."""
        weight = torch.einsum("nk,koc->noc", choice.to(self.weight.dtype), self.weight)
        bias = choice.to(self.bias.dtype) @ self.bias
        return torch.baddbmm(bias[:, :, None].to(x.dtype), weight.to(x.dtype), x.flatten(2)).view_as(x)


class UnshuffleUNet(nn.Module):
    """MONAI's UNet on a pixel-unshuffled image, its logits shuffled back: no information lost, a quarter of the cost.

    Args:
        in_channels: channels in.
        out_channels: channels of the logits.
        channels: of the UNet, from the stem down; each step halves the size.
        factor: of the pixel unshuffle.
        num_res_units: of the UNet.
        dropout: of the input, in training.

    The image's sides must be multiples of ``factor * 2 ** (len(channels) - 1)``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: tuple[int, ...] | list[int] = (32, 64, 128, 192),
        factor: int = 2,
        num_res_units: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.multiple = factor * 2 ** (len(channels) - 1)
        self.dropout = nn.Dropout2d(dropout) if dropout > 0 else nn.Identity()
        self.unshuffle = nn.PixelUnshuffle(factor)
        self.unet = UNet(
            spatial_dims=2, in_channels=in_channels * factor**2, out_channels=out_channels * factor**2,
            channels=tuple(channels), strides=(2,) * (len(channels) - 1), num_res_units=num_res_units,
            norm=("instance", {"affine": True}), act=("leakyrelu", {"negative_slope": 0.2}),
        )  # fmt: skip
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) -> logits (B, out, H, W)."""
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(f"image sides must be multiples of {self.multiple}, got {x.shape[-2]} x {x.shape[-1]}")
        return self.shuffle(self.unet(self.unshuffle(self.dropout(x))))
