"""Quality of generated structure maps, beside reconstructed and real maps of held-out patients."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.metrics import DiceMetric

from monai_ext import __version__
from monai_ext.data import SliceDataset, guard_leak, write_json
from monai_ext.networks import FeatGen
from monai_ext.validation.map_codes import code_normality
from monai_ext.validation.map_figure import draw_maps, draw_metrics
from monai_ext.validation.map_scores import Measured, measure, score, score_training
from monai_ext.validation.map_sets import (
    MapSet,
    found_masks,
    generated_set,
    maps_per_second,
    mean_rebuilt,
    real_set,
    rebuilt_set,
)

logger = logging.getLogger(__name__)


def evaluate_maps(
    network: FeatGen,
    dataset: SliceDataset,
    output_dir: str | Path,
    reference: SliceDataset | None = None,
    num_samples: int = 500,
    every: int = 2,
    pairs: int = 1000,
    seed: int = 0,
    beta: float = 0.07,
    pad: int = 5,
    canvas_size: Sequence[int] | None = (240, 240),
    mae_threshold: float = 0.05,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Compare maps from noise, none filtered, with real ones; write ``metrics.json`` and pictures.

    Three columns hold the same figures: ``generated`` (maps from noise), ``reconstructed`` (held-out maps encoded to a
    sampled code and decoded) and ``real`` (held-out maps as they are), the last two being the best that the first
    can reach with this decoder, and at all. All are compared with the same maps of the training patients.

    - ``closed``: share that passes Algorithm 3 against MASK's mask.
    - ``edge_density``: mean share of edge pixels.
    - ``similarity``: mean and standard deviation over pairs of maps; low is diverse. Pairs of generated maps for
      ``generated``. For the other two a held-out map and a training map, hence two patients: for ``real`` it is what
      real maps of different people have in common.
    - ``profile_distance``, ``density``, ``coverage``: see :mod:`monai_ext.metrics.structure_maps`. Coverage grows with
      the number of maps, so that these two come from ``compared_maps`` maps of each column.
    - ``nearest_training``: quantiles of the similarity to the nearest training map; generated maps far above ``real``
      are copies.

    Args:
        network: the trained generator.
        dataset: slices of held-out patients; every modality gives a map of its own.
        output_dir: where ``metrics.json`` and three pictures go: ``metrics.png``, ``generated.png`` and, beside real
            maps of held-out patients, ``maps.png``.
        reference: slices of the training patients. Figures that need them are left out without.
        num_samples: maps drawn from noise.
        every: real slices judged and compared with, every n-th.
        pairs: pairs drawn for each similarity.
        seed: of the noise and of everything that is drawn.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        mae_threshold: of Algorithm 3.
        device: device to run on.

    Returns:
        What ``metrics.json`` holds: the three columns; ``training`` (edge density, closed, similarity between
        different patients); ``gap`` (generated minus reconstructed); ``code`` (see
        :func:`monai_ext.validation.map_codes.normality`, of training maps, or held-out ones without); ``mask_dice``
        (MASK against Algorithm 2 on held-out maps), ``reconstruction_dice`` (of the mean code), ``closed_generated``,
        ``closed_real``, ``edge_density_ratio``, ``maps_per_second``, and the numbers of maps and patients.

    Raises:
        LeakError: when a patient is in both data sets.
    """
    if reference is not None:
        guard_leak({"training": reference.patients, "held out": dataset.patients})
    else:
        logger.warning("no training patients at hand: figures that compare with their maps are left out")
    network = network.to(device).eval()
    cut = {"every": every, "beta": beta, "pad": pad, "canvas_size": canvas_size, "seed": seed}
    held = real_set(dataset, **cut)
    real = MapSet(held.maps, found_masks(network, held.maps, device), held.patients)
    training = None
    if reference is not None:
        known = real_set(reference, **cut)
        known = MapSet(known.maps, found_masks(network, known.maps, device), known.patients)
        training = measure(known, mae_threshold)
    sets = {
        "generated": generated_set(network, num_samples, seed, device),
        "reconstructed": rebuilt_set(network, real, seed, device),
        "real": real,
    }
    measured = {name: measure(one, mae_threshold, training) for name, one in sets.items()}
    columns = _columns(measured, training, pairs, seed)
    report = {
        "mask_dice": _dice(1 - real.masks, 1 - held.masks),
        "closed_generated": columns["generated"]["closed"],
        "closed_real": columns["real"]["closed"],
        "edge_density_ratio": float(measured["generated"].density.mean() / measured["real"].density.mean()),
        "reconstruction_dice": _dice(mean_rebuilt(network, held.maps, device), held.maps),
        **columns,
        "gap": gap(columns["generated"], columns["reconstructed"]),
        "code": code_normality(network, held.maps if training is None else training.maps, seed, device),
        "maps_per_second": maps_per_second(network, device),
        "generated_maps": num_samples, "real_maps": len(held.maps), "compared_maps": min(num_samples, len(held.maps)),
        "modalities": list(dataset.modalities), "patients": dataset.patients,
        **({} if reference is None else _of_training(training, reference)),
        "seed": seed, "mae_threshold": mae_threshold, "version": __version__,
    }  # fmt: skip
    report = rounded(report)
    write_json(Path(output_dir) / "metrics.json", report)
    draw_metrics({**measured, **({} if training is None else {"training": training})}, Path(output_dir) / "metrics.png")
    draw_maps([sets["generated"].maps], Path(output_dir) / "generated.png", seed)
    draw_maps([sets["generated"].maps, real.maps], Path(output_dir) / "maps.png", seed)
    logger.info("held-out maps: %s", {name: report[name] for name in ("generated", "reconstructed", "real", "gap")})
    return report


def gap(generated: Mapping[str, Any], reconstructed: Mapping[str, Any]) -> dict[str, float]:
    """Generated minus reconstructed: what is lost between a code of a real map and one from noise."""
    shared = [k for k in ("closed", "edge_density", "coverage") if k in generated and k in reconstructed]
    return {k: generated[k] - reconstructed[k] for k in shared}


def rounded(value: Any, digits: int = 4) -> Any:
    """A report with every float in it rounded."""
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    return round(value, digits) if isinstance(value, float) else value


def _columns(
    measured: Mapping[str, Measured], training: Measured | None, pairs: int, seed: int
) -> dict[str, dict[str, Any]]:
    count = min(len(measured["generated"].maps), len(measured["real"].maps))
    columns = {n: score(m, training, n == "generated", count, pairs, seed) for n, m in measured.items()}
    return columns if training is None else {**columns, "training": score_training(training, pairs, seed)}


def _dice(maps: torch.Tensor, truth: torch.Tensor) -> float:
    return float(DiceMetric(reduction="mean")(maps.float(), truth.float()).nanmean())


def _of_training(training: Measured, reference: SliceDataset) -> dict[str, Any]:
    return {"training_maps": len(training.maps), "training_patients": reference.patients}
