"""Random blur and noise for a batch of images, differentiable."""

from __future__ import annotations

import torch
from monai.networks.layers import GaussianFilter


class RandBlurNoise:
    """What a segmentor that guides generation reads the images through: a random Gaussian blur and noise.

    A generator guided by clean segmentors learns to print fine patterns that only they can see; blur and noise wipe
    such patterns out, so only contrast on the scale of a lesion pays.

    Args:
        sigma: largest standard deviation of the blur, in pixels.
        noise: largest standard deviation of the noise, for images in [0, 1].
    """

    def __init__(self, sigma: float = 1.2, noise: float = 0.05) -> None:
        self.sigma, self.noise = sigma, noise

    def __call__(self, images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Apply one draw to a batch.

        Args:
            images: (B, M, H, W) in [0, 1].
            rng: CPU generator of the draw.

        Returns:
            Same shape; the background stays 0.
        """
        sigma, noise = (torch.rand(2, generator=rng) * torch.tensor([self.sigma, self.noise])).tolist()
        out = images
        if sigma > 0.1:
            out = (
                GaussianFilter(2, sigma, truncated=3.0).to(images.device)(images.flatten(0, 1)[:, None]).view_as(images)
            )
        grain = torch.randn(images.shape, generator=rng).to(images)
        return (out + noise * grain) * (images > 0)
