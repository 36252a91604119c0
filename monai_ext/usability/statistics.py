"""From cells to a row's figures: mean, spread and best of its repeats, and how far it is from real data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_ext.labels import REGIONS

METRICS = ("mse", "dice_index", *REGIONS)
BY_SLICE = ("mse", "dice_index")


def by_patient(cases: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    """A score of each patient, the mean over the patient's cases."""
    found: dict[str, list[float]] = {}
    for case in cases:
        found.setdefault(case["patient_id"], []).append(case[metric])
    return {patient: float(np.mean(values)) for patient, values in found.items()}


def cell_scores(cases: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Scores of one training: ``mse`` and ``dice_index`` are means over slices, the regions means over patients.

    Args:
        cases: see :func:`monai_ext.validation.evaluate_cases`.
    """
    slices = [c["slices"] for c in cases]
    return {
        m: float(np.average([c[m] for c in cases], weights=slices))
        if m in BY_SLICE
        else float(np.mean(list(by_patient(cases, m).values())))
        for m in METRICS
    }


def mean_over_models(models: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Cases with the mean of several segmentors' scores; every segmentor judged the same cases, in the same order."""
    return [
        {**group[0], **{m: float(np.mean([c[m] for c in group])) for m in METRICS}}
        for group in zip(*models, strict=True)
    ]


def summarise(values: Sequence[float], metric: str) -> dict[str, Any]:
    """``mean``, ``std`` (of the sample; ``None`` for one value), ``best`` (lowest ``mse``, highest of the others) and
    the values, rounded to 4 digits."""
    return {
        "mean": round(float(np.mean(values)), 4),
        "std": round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None,
        "best": round(min(values) if metric == "mse" else max(values), 4),
        "repeats": [round(v, 4) for v in values],
    }


def mean_by_patient(repeats: Sequence[Sequence[Mapping[str, Any]]], metric: str = "WT") -> dict[str, float]:
    """A score of each patient, the mean over repeats."""
    rows = [by_patient(cases, metric) for cases in repeats]
    return {p: float(np.mean([r[p] for r in rows])) for p in rows[0]}


def paired_bootstrap(
    scores: Mapping[str, float], reference: Mapping[str, float], draws: int = 10000, seed: int = 0
) -> dict[str, Any] | None:
    """Mean difference over patients and its 95 % interval, by drawing patients with replacement (percentiles).

    Args:
        scores: patient -> score.
        reference: the same patients -> score to compare with.
        draws: samples of patients.
        seed: of the draws.

    Returns:
        ``difference``, ``low``, ``high`` and ``patients``; ``None`` for fewer than two patients, of whom no interval
        can be drawn.

    Raises:
        ValueError: when the patients differ.
    """
    if set(scores) != set(reference):
        raise ValueError(f"the two sides have different patients: {sorted(set(scores) ^ set(reference))}")
    differences = np.array([scores[p] - reference[p] for p in sorted(scores)])
    if len(differences) < 2:
        return None
    picked = np.random.default_rng(seed).integers(len(differences), size=(draws, len(differences)))
    low, high = np.percentile(differences[picked].mean(1), [2.5, 97.5])
    return {
        "difference": round(float(differences.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4),
        "patients": len(differences),
    }  # fmt: skip


def ratios(rows: Mapping[str, Mapping[str, Any]], over: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Train-on-synthetic over train-on-real, by segmentor, and the mean over the segmentors of one modality.

    Args:
        rows: segmentor -> metric -> summary, trained on synthetic slices alone.
        over: likewise, trained on real slices alone.

    Returns:
        Segmentor -> Dice score -> ratio; ``None`` over a score of 0.
    """
    scores = [m for m in METRICS if m != "mse"]
    out = {
        name: {
            m: round(rows[name][m]["mean"] / over[name][m]["mean"], 3) if over[name][m]["mean"] else None
            for m in scores
        }
        for name in rows
        if name != "mean"
    }
    single = [r for name, r in out.items() if name != "all"]
    if len(single) > 1:
        known = {m: [r[m] for r in single if r[m] is not None] for m in scores}
        out["mean"] = {m: round(float(np.mean(v)), 3) if v else None for m, v in known.items()}
    return out
