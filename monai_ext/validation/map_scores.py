"""What one set of maps scores against the maps of the training patients."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from monai_ext.metrics import (
    density_coverage,
    edge_profile,
    map_features,
    nearest_similarity,
    pair_similarity,
    profile_distance,
    quantiles,
)
from monai_ext.synthesis.filters import MapFilter
from monai_ext.validation.map_sets import MapSet, choose

logger = logging.getLogger(__name__)

RADIAL, ANGULAR = 12, 16  # bins of an edge profile
CHUNK = 500  # training maps compared with at a time


def closed_share(structures: torch.Tensor, masks: torch.Tensor, threshold: float = 0.05) -> float:
    """Share of maps (N, 1, H, W) that Algorithm 3 keeps, against masks that are 1 outside the brain."""
    keep = MapFilter(threshold)
    return float(np.mean([keep(s.float(), m.float())[0] for s, m in zip(structures, masks)]))


@dataclass(frozen=True)
class Measured:
    """A set of maps and what is measured of each.

    Args:
        maps: (N, 1, H, W) uint8.
        patients: one entry a map; empty for maps from noise.
        closed: share that passes Algorithm 3.
        density: (N,) share of edge pixels.
        profiles: (N, 28), see :func:`monai_ext.metrics.edge_profile`.
        features: (N, D), see :func:`monai_ext.metrics.map_features`.
        nearest: (N,) similarity to the nearest training map, where there are training maps.
    """

    maps: torch.Tensor
    patients: tuple[str, ...]
    closed: float
    density: torch.Tensor
    profiles: torch.Tensor
    features: torch.Tensor
    nearest: torch.Tensor | None = None


def measure(maps: MapSet, threshold: float = 0.05, training: Measured | None = None) -> Measured:
    """Measure a set.

    Args:
        maps: with the masks of the network.
        threshold: of Algorithm 3.
        training: maps of the training patients.
    """
    nearest = None
    if training is not None:
        parts = [nearest_similarity(maps.maps, part) for part in training.maps.split(CHUNK)]
        nearest = torch.stack(parts).amax(0)
    return Measured(
        maps.maps,
        maps.patients,
        closed_share(maps.maps, maps.masks, threshold),
        maps.maps.flatten(1).float().mean(1),
        edge_profile(maps.maps, maps.masks, RADIAL, ANGULAR),
        map_features(maps.maps),
        nearest,
    )


def score(
    measured: Measured, training: Measured | None, among_themselves: bool, count: int, pairs: int, seed: int
) -> dict[str, Any]:
    """Figures of one set.

    Args:
        measured: the set.
        training: maps of the training patients; figures that need them are left out without.
        among_themselves: pairs for the similarity are drawn in the set itself, not between it and the training maps.
        count: maps drawn for density and coverage; coverage grows with their number.
        pairs: drawn for the similarity.
        seed: of both.

    Returns:
        ``closed``, ``edge_density``, ``similarity``, ``profile_distance``, ``density``, ``coverage``,
        ``coverage_of_all`` (of every map of the set) and ``nearest_training``; without those that cannot be computed
        (said in the log).
    """
    figures: dict[str, Any] = {"closed": measured.closed, "edge_density": float(measured.density.mean())}
    if among_themselves:
        figures |= _similarity(measured.maps, pairs=pairs, seed=seed)
    if training is None:
        return figures
    if not among_themselves:
        figures |= _similarity(measured.maps, training.maps, pairs=pairs, seed=seed)
    drawn = measured.features[choose(len(measured.features), count, seed)]
    return {
        **figures,
        "profile_distance": profile_distance(measured.profiles, training.profiles, RADIAL),
        **_unless_refused(lambda: density_coverage(training.features, drawn, training.patients)),
        **_unless_refused(lambda: _coverage_of_all(measured, training)),
        "nearest_training": quantiles(measured.nearest),
    }


def _coverage_of_all(measured: Measured, training: Measured) -> dict[str, float]:
    covered = density_coverage(training.features, measured.features, training.patients)
    return {"coverage_of_all": covered["coverage"]}


def score_training(training: Measured, pairs: int, seed: int) -> dict[str, Any]:
    """``edge_density``, ``closed``, and ``similarity`` between maps of different training patients."""
    return {
        "edge_density": float(training.density.mean()),
        "closed": training.closed,
        **_similarity(training.maps, groups=training.patients, pairs=pairs, seed=seed),
    }


def _similarity(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return _unless_refused(lambda: {"similarity": pair_similarity(*args, **kwargs)})


def _unless_refused(figure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Nothing where there are too few maps or patients for a figure."""
    try:
        return figure()
    except ValueError as error:
        logger.warning("a figure is left out: %s", error)
        return {}
