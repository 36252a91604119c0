"""How well the modalities of a study lie on one another: their edges, and their mutual information."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch

from monai_ext.metrics.structure_maps import dilate_maps
from monai_ext.transforms import structural_feature_map

CHUNK = 16  # slices at a time: maps are drawn on the whole canvas


def edge_agreement(
    first: torch.Tensor, second: torch.Tensor, beta: float = 0.07, canvas_size: Sequence[int] | None = None
) -> torch.Tensor:
    """Dice of the structure maps of two images of each slice, both dilated by one pixel.

    Args:
        first: (N, 1, H, W) in [0, 1], 0 outside the brain.
        second: likewise.
        beta: of Algorithm 1.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.

    Returns:
        (N,) float32 in [0, 1]; NaN for a slice without edges.
    """
    parts = [
        _overlap(_edges(a, beta, canvas_size), _edges(b, beta, canvas_size))
        for a, b in zip(first.split(CHUNK), second.split(CHUNK))
    ]
    return torch.cat(parts)


def normalised_mutual_information(first: torch.Tensor, second: torch.Tensor, bins: int = 32) -> torch.Tensor:
    """(H(A) + H(B)) / H(A, B) of two images of each slice, over the pixels where both show brain.

    Source: Studholme, Hill, Hawkes 1999, "An overlap invariant entropy measure of 3D medical image alignment".

    Args:
        first: (N, 1, H, W) in [0, 1], 0 outside the brain.
        second: likewise.
        bins: of equal width, over [0, 1].

    Returns:
        (N,) float32 in [1, 2]: 1 for independent images, 2 where each tells the other; NaN where the entropy is 0 (no
        brain in common, or two constants).

    Raises:
        ValueError: for fewer than two bins.
    """
    if bins < 2:
        raise ValueError(f"bins must be at least 2, got {bins}")
    inside = ((first > 0) & (second > 0)).flatten(1)
    rows, columns = ((x.flatten(1) * bins).long().clamp(0, bins - 1) for x in (first, second))
    places = rows * bins + columns + torch.arange(len(first), device=first.device)[:, None] * bins**2
    counts = torch.bincount(places[inside], minlength=len(first) * bins**2).view(-1, bins, bins).double()
    joint = counts / counts.sum((1, 2), keepdim=True).clamp(min=1)
    both = _entropy(joint.flatten(1))
    apart = _entropy(joint.sum(2)) + _entropy(joint.sum(1))
    return torch.where(both > 0, apart / both, torch.nan).float()


def registration(
    images: torch.Tensor,
    modalities: Sequence[str],
    partners: torch.Tensor | None = None,
    beta: float = 0.07,
    canvas_size: Sequence[int] | None = None,
    bins: int = 32,
) -> dict[str, dict[str, object]]:
    """Edge agreement and normalised mutual information of every pair of modalities, averaged over slices.

    A slice that lacks one of the two (a volume that does not cover the whole brain) does not count for that pair.

    Args:
        images: (N, M, H, W) in [0, 1], 0 outside the brain.
        modalities: names of the M channels.
        partners: where a pair's second modality is taken from, (N, M, H, W); ``images`` when ``None``.
        beta: of Algorithm 1.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        bins: of the histograms.

    Returns:
        ``edge_agreement`` and ``nmi``, each with ``mean`` over pairs and ``by_pair`` (``t1n-t1c`` and so on); ``None``
        where no slice counts.
    """
    pairs = list(combinations(range(len(modalities)), 2))
    agreement, information = [], []
    for a, b in zip(images.split(CHUNK), (images if partners is None else partners).split(CHUNK)):
        first = _edges(a, beta, canvas_size)
        second = first if b is a else _edges(b, beta, canvas_size)
        shown = [(a[:, i] > 0).flatten(1).any(1) & (b[:, j] > 0).flatten(1).any(1) for i, j in pairs]
        dice = [_overlap(first[:, i : i + 1], second[:, j : j + 1]) for i, j in pairs]
        agreement.append(torch.stack(dice, 1).masked_fill(~torch.stack(shown, 1), torch.nan))
        nmi = [normalised_mutual_information(a[:, i : i + 1], b[:, j : j + 1], bins) for i, j in pairs]
        information.append(torch.stack(nmi, 1))
    names = [f"{modalities[i]}-{modalities[j]}" for i, j in pairs]
    return {"edge_agreement": _report(torch.cat(agreement), names), "nmi": _report(torch.cat(information), names)}


def _edges(images: torch.Tensor, beta: float, canvas_size: Sequence[int] | None) -> torch.Tensor:
    maps = structural_feature_map(images, beta, canvas_size)
    return dilate_maps(maps.flatten(0, 1)[:, None]).view_as(maps)


def _overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Dice of (N, 1, H, W) with (N, 1, H, W), NaN for two empty maps."""
    a, b = first.flatten(1), second.flatten(1)
    return 2 * (a * b).sum(1) / (a.sum(1) + b.sum(1))


def _entropy(share: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(share).sum(1)


def _report(values: torch.Tensor, names: Sequence[str]) -> dict[str, object]:
    """Mean over slices (N, P) by pair, and the mean of those."""
    by_pair = values.nanmean(0)
    mean = by_pair.nanmean()
    return {
        "mean": None if mean.isnan() else float(mean),
        "by_pair": {n: None if v.isnan() else float(v) for n, v in zip(names, by_pair)},
    }
