"""How whole, how diverse and how new binary structure maps are, against reference maps.

All maps are (N, 1, H, W) in {0, 1}. Edges are one or two pixels wide, so two maps are compared after a dilation by one
pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

FEATURE_POOL = 8  # pixels
QUANTILES = (0.05, 0.5, 0.95)


def dilate_maps(maps: torch.Tensor, pixels: int = 1) -> torch.Tensor:
    """Dilate by a square of 2 * ``pixels`` + 1.

    Args:
        maps: (N, 1, H, W) in {0, 1}.
        pixels: 0 leaves them.

    Returns:
        (N, 1, H, W) float32 in {0, 1}.
    """
    return F.max_pool2d(maps.float(), 2 * pixels + 1, stride=1, padding=pixels)


def pairwise_dice(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Dice of every map of one set with every map of another, as they are.

    Args:
        first: (N, 1, H, W) in {0, 1}.
        second: (M, 1, H, W) in {0, 1}.

    Returns:
        (N, M) float32 in [0, 1]; 1 for two empty maps.
    """
    a, b = first.flatten(1).float(), second.flatten(1).float()
    total = a.sum(1)[:, None] + b.sum(1)[None]
    return torch.where(total > 0, 2 * (a @ b.T) / total.clamp(min=1), torch.ones_like(total))


def pair_similarity(
    first: torch.Tensor,
    second: torch.Tensor | None = None,
    groups: Sequence[object] | None = None,
    pairs: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Dice of random pairs of maps dilated by one pixel: the lower, the more diverse.

    Args:
        first: (N, 1, H, W) in {0, 1}.
        second: partners are drawn from these; from ``first`` when ``None``, never a map with itself.
        groups: with ``second=None``, one entry a map: partners come from another group (another patient).
        pairs: pairs drawn, with replacement.
        seed: of the drawing.

    Returns:
        ``mean`` and ``std`` over the pairs.

    Raises:
        ValueError: when no pair can be drawn.
    """
    rng = np.random.default_rng(seed)
    if second is None:
        names = range(len(first)) if groups is None else groups
        codes = np.unique([str(g) for g in names], return_inverse=True)[1]
        if len(codes) == 0 or (codes == codes[0]).all():
            raise ValueError(f"no pair of different {'maps' if groups is None else 'groups'} among {len(first)} maps")
        rows, columns = np.empty(0, int), np.empty(0, int)
        while len(rows) < pairs:
            i, j = rng.integers(len(first), size=(2, pairs))
            keep = codes[i] != codes[j]
            rows, columns = np.append(rows, i[keep]), np.append(columns, j[keep])
        rows, columns = rows[:pairs], columns[:pairs]
    else:
        if not len(first) or not len(second):
            raise ValueError("no pair can be drawn from an empty set of maps")
        rows, columns = rng.integers(len(first), size=pairs), rng.integers(len(second), size=pairs)
    a = dilate_maps(first).flatten(1)[rows]
    b = dilate_maps(first if second is None else second).flatten(1)[columns]
    total = a.sum(1) + b.sum(1)
    dice = torch.where(total > 0, 2 * (a * b).sum(1) / total.clamp(min=1), torch.ones_like(total))
    return {"mean": float(dice.mean()), "std": float(dice.std(correction=0))}


def nearest_similarity(maps: torch.Tensor, reference: torch.Tensor, mirror: bool = True) -> torch.Tensor:
    """Dice of each map with its nearest reference map, both dilated by one pixel: memorisation shows as values near 1.

    Args:
        maps: (N, 1, H, W) in {0, 1}.
        reference: (M, 1, H, W) in {0, 1}, the training maps.
        mirror: also compare with the left-right mirrored reference (axis 2, as slices lie here).

    Returns:
        (N,) float32 in [0, 1].
    """
    dilated, known = dilate_maps(maps), dilate_maps(reference)
    best = pairwise_dice(dilated, known).amax(1)
    return torch.maximum(best, pairwise_dice(dilated, known.flip(2)).amax(1)) if mirror else best


def quantiles(values: torch.Tensor, at: Sequence[float] = QUANTILES) -> dict[str, float]:
    """``{"p05": .., "p50": .., "p95": ..}`` of a set of values."""
    return {f"p{round(100 * q):02d}": float(np.quantile(values.numpy(), q)) for q in at}


def map_features(maps: torch.Tensor) -> torch.Tensor:
    """Where a map has its edges: the dilated map, averaged over tiles of 8 x 8 pixels.

    Args:
        maps: (N, 1, H, W) in {0, 1}.

    Returns:
        (N, H / 8 * W / 8) float32 in [0, 1].
    """
    return F.avg_pool2d(dilate_maps(maps), FEATURE_POOL).flatten(1)


def density_coverage(
    real: torch.Tensor, other: torch.Tensor, groups: Sequence[object] | None = None, k: int = 5
) -> dict[str, float]:
    """Density and coverage of one set of features about another.

    Around each real sample lies a ball that reaches to its k-th nearest real neighbour. Density is the mean number of
    balls that a sample of the other set falls into, over k; coverage is the share of balls that hold at least one.

    Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", equations 3 and 4. The
    neighbours of a slice in the same patient are nearly copies of it; with ``groups`` only neighbours of another
    patient count.

    Args:
        real: features (N, D).
        other: features (M, D).
        groups: patient of each real sample.
        k: neighbours.

    Returns:
        ``density`` (about 1 for equal distributions) and ``coverage`` in [0, 1].

    Raises:
        ValueError: when a sample has fewer than k neighbours to measure by.
    """
    distance = torch.cdist(real, real)
    codes = np.arange(len(real)) if groups is None else np.unique([str(g) for g in groups], return_inverse=True)[1]
    same = torch.from_numpy(codes[:, None] == codes[None])
    if not len(real) or int((~same).sum(1).min()) < k:
        raise ValueError(f"each real map needs {k} neighbours of other patients")
    radius = distance.masked_fill(same, float("inf")).kthvalue(k, dim=1).values
    inside = torch.cdist(real, other) < radius[:, None]
    return {"density": float(inside.float().sum(0).mean() / k), "coverage": float(inside.any(1).float().mean())}


def edge_profile(maps: torch.Tensor, masks: torch.Tensor, radial: int = 12, angular: int = 16) -> torch.Tensor:
    """Where in a brain the edges lie: one histogram over the radius and one over the angle, about the brain's centre.

    The radius is in units of that of a disc of the brain's area, so that size drops out; the last bin takes what lies
    beyond 1.5.

    Args:
        maps: (N, 1, H, W) in {0, 1}.
        masks: (N, 1, H, W), 1 OUTSIDE the brain.
        radial: bins of the radius.
        angular: bins of the angle.

    Returns:
        (N, radial + angular); each of the two parts sums to 1, or to 0 for an empty map or brain.
    """
    profiles = torch.zeros(len(maps), radial + angular)
    for n, (edges, brain) in enumerate(zip(maps[:, 0] > 0, masks[:, 0] == 0)):
        inside, points = brain.nonzero().float(), edges.nonzero().float()
        if not len(inside) or not len(points):
            continue
        offset = points - inside.mean(0)
        radius = offset.norm(dim=1) / math.sqrt(len(inside) / math.pi)
        angle = (torch.atan2(offset[:, 1], offset[:, 0]) / (2 * math.pi)) % 1
        rings = (radius / 1.5 * radial).long().clamp(max=radial - 1)
        sectors = (angle * angular).long().clamp(max=angular - 1)
        parts = torch.bincount(rings, minlength=radial), torch.bincount(sectors, minlength=angular)
        profiles[n] = torch.cat(parts) / len(points)
    return profiles


def profile_distance(first: torch.Tensor, second: torch.Tensor, radial: int = 12) -> dict[str, float]:
    """Total variation between the mean profiles of two sets: 0 equal, 1 disjoint.

    Args:
        first: of :func:`edge_profile`.
        second: likewise.
        radial: bins of the radius among them.

    Returns:
        ``radial`` and ``angular``.
    """
    gap = (first.mean(0) - second.mean(0)).abs() / 2
    return {"radial": float(gap[:radial].sum()), "angular": float(gap[radial:].sum())}
