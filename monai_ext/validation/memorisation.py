"""Are generated studies copies of training patients? Beside how near real patients come to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from monai_ext.data import SliceDataset
from monai_ext.metrics import nearest_study, study_descriptors

CHUNK = 64
CLOSEST = 5


def memorisation(synthetic: SliceDataset, training: SliceDataset, held_out: SliceDataset) -> dict[str, Any]:
    """Similarity of each generated study to the nearest training slice, between two yardsticks.

    Held-out patients, whom the generator never met, say how near one comes without a copy; a training slice and the
    next one of the same patient, 1 mm away, say how near a copy is. Memory: 31 kB a training slice.

    Args:
        synthetic: generated studies.
        training: slices of the patients that the generator was trained on.
        held_out: slices of patients that it never met.

    Returns:
        ``synthetic``, ``held_out`` and ``next_slice``: ``n``, ``mean``, ``p95`` and ``max`` of the similarity (see
        :func:`monai_ext.metrics.memorisation.nearest_study`); ``nearer_than_held_out``, the share of the studies that
        are nearer to a training slice than any held-out slice is; ``copies``, the share as near as half of the
        neighbours are; ``closest``, the nearest studies with their training slices; ``patients`` of the training.
    """
    bank = torch.cat([study_descriptors(training.raw(i)["image"][None]) for i in range(len(training))])
    found, whose = _nearest(synthetic, bank)
    real, _ = _nearest(held_out, bank)
    pairs = [
        i for i in range(len(bank) - 1)
        if training.index[i][0] == training.index[i + 1][0] and training.index[i][1] + 1 == training.index[i + 1][1]
    ]  # fmt: skip
    beside = (bank[pairs] * bank[[i + 1 for i in pairs]]).sum(1)
    closest = found.argsort(descending=True)[:CLOSEST].tolist()
    return {
        "synthetic": _summary(found), "held_out": _summary(real), "next_slice": _summary(beside),
        "nearer_than_held_out": round(float((found > real.max()).float().mean()), 4),
        "copies": round(float((found >= beside.median()).float().mean()), 4) if len(beside) else None,
        "closest": [
            {"name": synthetic.raw(i)["case_id"], "similarity": round(float(found[i]), 4),
             "case_id": training.raw(int(whose[i]))["case_id"], "slice": training.raw(int(whose[i]))["slice"]}
            for i in closest
        ],
        "patients": len(training.patients),
    }  # fmt: skip


def _nearest(dataset: SliceDataset, bank: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    parts = []
    for start in range(0, len(dataset), CHUNK):
        images = [dataset.raw(i)["image"] for i in range(start, min(start + CHUNK, len(dataset)))]
        parts.append(nearest_study(torch.stack(images), bank))
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def _summary(values: torch.Tensor) -> dict[str, float | int]:
    if not len(values):
        return {"n": 0}
    return {
        "n": len(values), "mean": round(float(values.mean()), 4),
        "p95": round(float(np.quantile(values.numpy(), 0.95)), 4), "max": round(float(values.max()), 4),
    }  # fmt: skip
