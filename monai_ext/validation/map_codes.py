"""Do the codes of real maps, turned into noise, look like the noise that maps are drawn from?"""

from __future__ import annotations

import torch

from monai_ext.data import seed_of
from monai_ext.networks import FeatGen
from monai_ext.validation.map_sets import BATCH, choose, sampled_codes

MOST_CODES = 512


def ks_distance(noise: torch.Tensor) -> torch.Tensor:
    """Kolmogorov-Smirnov distance of each column to N(0, 1).

    Args:
        noise: (N, D).

    Returns:
        (D,) float64 in [0, 1]: largest gap between the column's and the normal distribution function.
    """
    expected = torch.special.ndtr(noise.double().sort(dim=0).values)
    steps = torch.arange(len(noise) + 1, dtype=torch.float64)[:, None] / len(noise)
    return torch.maximum((steps[1:] - expected).amax(0), (expected - steps[:-1]).amax(0))


def normality(noise: torch.Tensor, seed: int = 0) -> dict[str, float]:
    """How near to N(0, 1) noise is, dimension by dimension.

    Args:
        noise: (N, D).
        seed: of the samples behind the floor.

    Returns:
        ``mean`` and ``variance`` (of each dimension, averaged), ``ks_mean`` and ``ks_max`` over dimensions, and
        ``ks_floor``, the mean of the same statistic on as many independent samples of N(0, 1).
    """
    noise = noise.float().cpu()
    distance = ks_distance(noise)
    floor = ks_distance(torch.randn(noise.shape, generator=torch.Generator().manual_seed(seed_of(seed, 2))))
    return {
        "mean": float(noise.mean()), "variance": float(noise.var(0, correction=0).mean()),
        "ks_mean": float(distance.mean()), "ks_max": float(distance.max()), "ks_floor": float(floor.mean()),
    }  # fmt: skip


@torch.no_grad()
def code_normality(network: FeatGen, maps: torch.Tensor, seed: int, device: str | torch.device) -> dict[str, float]:
    """:func:`normality` of real maps' codes as noise.

    Args:
        network: whose ``prior.to_noise`` turns codes into noise (B, latent_size).
        maps: (N, 1, H, W); at most 512 of them are drawn. They are slices of few patients, not independent samples,
            so that the floor is out of reach.
        seed: of the drawing and the codes.
        device: device to run on.
    """
    codes = sampled_codes(network, maps[choose(len(maps), MOST_CODES, seed)], seed, device)
    return normality(torch.cat([network.prior.to_noise(c.to(device)).cpu() for c in codes.split(BATCH)]), seed)
