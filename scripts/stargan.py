"""Networks and a training step of StarGAN's shape, to measure against. They are for benchmark.py and train nothing.

Source: Choi et al., "StarGAN: unified generative adversarial networks for multi-domain image-to-image translation",
CVPR 2018, tables 4 and 5: layers, losses and their weights. Domains are the four modalities, images have one channel.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn as nn
import torch.nn.functional as F

DOMAINS = 4


def _block(layer: nn.Module, channels: int) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(channels, affine=True), nn.ReLU(inplace=True)]


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(nn.Conv2d(channels, channels, 3, padding=1, bias=False), channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.InstanceNorm2d(channels, affine=True),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Generator(nn.Module):
    """Image and one-hot domain -> image of that domain.

    Args:
        width: channels of the first layer, 64 in the paper.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers = _block(nn.Conv2d(1 + DOMAINS, width, 7, padding=3, bias=False), width)
        for _ in range(2):
            layers += _block(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), 2 * width)
            width *= 2
        layers += [_Residual(width) for _ in range(6)]
        for _ in range(2):
            layers += _block(nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), width // 2)
            width //= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 7, padding=3, bias=False), nn.Tanh())

    def forward(self, image: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) and (B, 4) -> (B, 1, H, W)."""
        planes = domain[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return self.layers(torch.cat([image, planes], 1))


class Discriminator(nn.Module):
    """Image -> real or fake, patch by patch, and logits of its domain.

    Args:
        size: side of the images, 64 or more.
        width: channels of the first layer, 64 in the paper; they double to 32 times as many.
    """

    def __init__(self, size: int = 240, width: int = 64) -> None:
        super().__init__()
        channels, layers = 1, []
        for level in range(6):
            layers += [nn.Conv2d(channels, width * 2**level, 4, 2, 1), nn.LeakyReLU(0.01)]
            channels = width * 2**level
        self.trunk = nn.Sequential(*layers)
        self.patch = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.domain = nn.Conv2d(channels, DOMAINS, size // 64, bias=False)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 1, H, W) -> patch logits and domain logits (B, 4)."""
        features = self.trunk(image)
        return self.patch(features), self.domain(features).flatten(1)


def generate_set(generator: Generator, image: torch.Tensor) -> torch.Tensor:
    """Four modalities (B, 4, H, W) from one image (B, 1, H, W): a forward for each."""
    domains = torch.eye(DOMAINS, device=image.device)
    with torch.no_grad():
        return torch.cat([generator(image, d.expand(len(image), -1)) for d in domains], 1)


def training_step(
    image: torch.Tensor, generator: Generator, discriminator: Discriminator, amp: bool = False
) -> Callable[[], None]:
    """A step of D and one of G: WGAN-GP, domain classes, reconstruction; one fake an image.

    Args:
        image: (B, 1, H, W) of the first domain.
        generator: trained in place.
        discriminator: likewise.
        amp: autocast to bfloat16.

    Returns:
        What takes one step.
    """
    device = image.device
    source, target = (
        F.one_hot(torch.tensor([0, 1], device=device), DOMAINS).float().expand(len(image), -1, -1).unbind(1)
    )
    optimizers = [torch.optim.Adam(m.parameters(), 1e-4, betas=(0.5, 0.999)) for m in (generator, discriminator)]

    def cast():
        return torch.autocast(device.type, dtype=torch.bfloat16) if amp else nullcontext()

    def classes(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="sum") / len(logits)

    def penalty(fake: torch.Tensor) -> torch.Tensor:
        mixed = torch.lerp(image, fake, torch.rand(len(image), 1, 1, 1, device=device)).requires_grad_(True)
        score = discriminator(mixed)[0]
        slope = torch.autograd.grad(score, mixed, torch.ones_like(score), create_graph=True)[0]
        return (slope.float().flatten(1).norm(dim=1) - 1).square().mean()

    def step() -> None:
        with cast():
            fake = generator(image, target).detach().float()
            real_score, real_class = discriminator(image)
            loss = discriminator(fake)[0].mean() - real_score.mean() + classes(real_class, source) + 10 * penalty(fake)
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        with cast():
            fake = generator(image, target)
            score, judged = discriminator(fake)
            loss = 10 * (generator(fake, source) - image).abs().mean() - score.mean() + classes(judged, target)
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()

    return step
