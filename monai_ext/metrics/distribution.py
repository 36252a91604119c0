"""How far apart two sets of features lie: Frechet distance and maximum mean discrepancy.

MONAI's ``FIDMetric`` takes the root of a product of covariances with an argument that SciPy 1.18 drops, and its
``MMDMetric`` wants two sets of one size and a kernel that can be written out as features. Both are a few lines of
linear algebra; the tests compare them with MONAI's.
"""

from __future__ import annotations

import torch


def frechet_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Squared Frechet distance of the normal distributions that fit two sets of features (the FID).

    With covariances S and T, the trace of (S T)^(1/2) is the sum of the roots of the eigenvalues of the symmetric
    S^(1/2) T S^(1/2), which stays real for sets smaller than their features. The estimate is biased upwards, the more
    the smaller the sets: compare only figures of sets of the same sizes.

    Source: Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium".

    Args:
        first: (N, D).
        second: (K, D).

    Returns:
        At least 0, up to rounding.

    Raises:
        ValueError: for sets of other shapes, or of fewer than two.
    """
    a, b = _checked(first, second)
    s, t = (torch.cov(x.T).reshape(x.shape[1], x.shape[1]) for x in (a, b))
    values, vectors = torch.linalg.eigh(s)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ t @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + s.trace() + t.trace() - 2 * overlap)


def maximum_mean_discrepancy(first: torch.Tensor, second: torch.Tensor) -> float:
    """Unbiased squared MMD of two sets of features with the kernel (x y / D + 1)^3 (the KID).

    Unlike the Frechet distance it does not grow for small sets: two sets of one distribution give 0 on average, hence
    values below 0 too.

    Source: Binkowski et al. 2018, "Demystifying MMD GANs"; Gretton et al. 2012, "A kernel two-sample test", lemma 6.

    Args:
        first: (N, D).
        second: (K, D).

    Raises:
        ValueError: for sets of other shapes, or of fewer than two.
    """
    a, b = _checked(first, second)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def among(x: torch.Tensor) -> torch.Tensor:
        k = kernel(x, x)
        return (k.sum() - k.trace()) / (len(x) * (len(x) - 1))

    return float(among(a) + among(b) - 2 * kernel(a, b).mean())


def _checked(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"features are (N, D) and (K, D), got {tuple(first.shape)} and {tuple(second.shape)}")
    if min(len(first), len(second)) < 2:
        raise ValueError(f"a distribution needs at least two samples, got {len(first)} and {len(second)}")
    return first.double(), second.double()
