"""From noise to the codes of structure maps."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.nets import DiffusionModelUNet

KINDS = ("flow", "normal")


class CodePrior(nn.Module):
    """Turns N(0, 1) noise into codes distributed like those of real maps, and back.

    ``normal`` hands the noise through, as the paper: FD_f, loss_normal and the like must then make the codes N(0, 1).
    A code that a map can be rebuilt from is never quite that, and what the decoder draws from codes it has not seen is
    no brain. ``flow`` learns the way from noise to codes: a small UNet gives the velocity at which a point moves from
    noise (time 0) to a code (time 1), along straight lines in training (Liu et al. 2023, "Flow straight and fast",
    equation 1; Lipman et al. 2023, "Flow matching for generative modeling").

    Args:
        code_shape: (C, h, w) of a code.
        kind: ``flow`` or ``normal``.
        steps: Euler steps from noise to code.
        channels: of the UNet's levels, multiples of 32. A level of just 32 is blind to the time: each channel is then a
            group of its own, whose normalisation takes out what the time adds.
        patch: pixels of a code's side that the UNet sees as one; 2 makes it four times as fast.
        momentum: share of a step's codes in the running mean and deviation of each channel.

    Raises:
        ValueError: for another kind.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    place: torch.Tensor

    def __init__(
        self,
        code_shape: tuple[int, int, int],
        kind: str = "flow",
        steps: int = 6,
        channels: tuple[int, ...] = (96, 192),
        patch: int = 2,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"prior is {' or '.join(KINDS)}, got {kind!r}")
        self.code_shape, self.kind, self.steps, self.momentum = tuple(code_shape), kind, steps, momentum
        self.patch = patch
        count, height, width = self.code_shape
        self.register_buffer("mean", torch.zeros(count, 1, 1))
        self.register_buffer("deviation", torch.ones(count, 1, 1))
        if kind == "flow":
            # a convolution does not know where in the head it is
            rows, columns = (torch.linspace(-1, 1, s // patch) for s in (height, width))
            place = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
            self.register_buffer("place", place[None], persistent=False)
            self.velocity = DiffusionModelUNet(
                spatial_dims=2, in_channels=count * patch**2 + 2, out_channels=count * patch**2,
                channels=channels, num_res_blocks=1,
                attention_levels=[False] * (len(channels) - 1) + [True], num_head_channels=32,
            )  # fmt: skip

    @torch.no_grad()
    def update(self, code: torch.Tensor) -> None:
        """Let the running moments of each channel follow the codes (B, C, h, w) of a training step."""
        code = code.float()
        self.mean.lerp_(code.mean((0, 2, 3))[:, None, None], self.momentum)
        self.deviation.lerp_((code - self.mean).square().mean((0, 2, 3)).sqrt()[:, None, None], self.momentum)

    def standardise(self, code: torch.Tensor) -> torch.Tensor:
        """Codes (B, C, h, w) with the running mean and deviation of each channel taken out."""
        return (code.float() - self.mean) / self.deviation.clamp(min=1e-4)

    def move(self, point: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Velocity of points (B, C, h, w) at times (B,) between 0, noise, and 1, code."""
        place = self.place.to(point.dtype).expand(point.shape[0], -1, -1, -1)  # len() would fix a trace's batch
        patches = torch.cat([F.pixel_unshuffle(point, self.patch), place], 1)
        return F.pixel_shuffle(self.velocity(patches, 1000 * time).float(), self.patch)

    def _travel(self, point: torch.Tensor, forward: bool) -> torch.Tensor:
        for n in range(self.steps):
            time = (n if forward else self.steps - n) / self.steps
            velocity = self.move(point, torch.full((point.shape[0],), time, device=point.device))
            point = point + velocity / (self.steps if forward else -self.steps)
        return point

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Noise (B, C * h * w), N(0, 1) -> codes (B, C, h, w)."""
        point = noise.view(-1, *self.code_shape)
        if self.kind == "normal":
            return point
        return self._travel(point.float(), True) * self.deviation + self.mean

    def to_noise(self, code: torch.Tensor) -> torch.Tensor:
        """The way back: codes (B, C, h, w) -> what should be N(0, 1), (B, C * h * w)."""
        point = code if self.kind == "normal" else self._travel(self.standardise(code), False)
        return point.flatten(1)
