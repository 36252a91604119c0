"""Are generated studies copies of training patients? Beside how near real patients come to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm

from monai_ext.data import Case, SliceDataset
from monai_ext.metrics import nearest_study, quantiles, study_descriptors

CHUNK = 64
CLOSEST = 5


def memorisation(
    synthetic: SliceDataset,
    training: Sequence[Case],
    held_out: SliceDataset,
    slice_range: Sequence[int] = (55, 105),
    roi_size: Sequence[int] = (160, 192),
) -> dict[str, Any]:
    """Similarity of each generated study to the nearest training slice, between two yardsticks.

    Held-out patients, whom the generator never met, say how near one comes without a copy; a training slice and the
    next one of the same patient, 1 mm away, say how near a copy is. Training cases are read one by one and 31 kB a
    slice is kept of them.

    Args:
        synthetic: generated studies.
        training: cases of the patients that the generator was trained on.
        held_out: slices of patients that it never met.
        slice_range: slices of the training cases.
        roi_size: their centre crop.

    Returns:
        ``synthetic``, ``held_out`` and ``next_slice``: ``n``, ``mean``, ``p95`` and ``max`` of the similarity (see
        :func:`monai_ext.metrics.nearest_study`); ``nearer_than_held_out``, the share of the studies that are nearer to
        a training slice than any held-out slice is; ``as_near_as_next_slice``, the share that is as near as half of
        the neighbours are (``None`` without neighbours); ``closest``, the nearest studies with their training slices;
        ``patients`` of the training.
    """
    parts, beside, whose = [], [], []
    for case in tqdm(training, desc="training cases", unit="case", disable=None):
        slices = SliceDataset([case], synthetic.modalities, slice_range, roi_size, progress=False)
        items = [slices.raw(i) for i in range(len(slices))]
        parts.append(study_descriptors(torch.stack([i["image"] for i in items])))
        numbers = [i["slice"] for i in items]
        whose += [(case.case_id, n) for n in numbers]
        next_to = torch.tensor(numbers).diff() == 1
        beside.append((parts[-1][:-1] * parts[-1][1:]).sum(1)[next_to])
    bank, neighbours = torch.cat(parts), torch.cat(beside)
    found, index = _nearest(synthetic, bank)
    real, _ = _nearest(held_out, bank)
    return {
        "synthetic": _summary(found), "held_out": _summary(real), "next_slice": _summary(neighbours),
        "nearer_than_held_out": round(float((found > real.max()).float().mean()), 4),
        "as_near_as_next_slice": (
            round(float((found >= neighbours.median()).float().mean()), 4) if len(neighbours) else None
        ),
        "closest": [
            {"name": synthetic.raw(i)["case_id"], "similarity": round(float(found[i]), 4),
             "case_id": whose[index[i]][0], "slice": whose[index[i]][1]}
            for i in found.argsort(descending=True)[:CLOSEST].tolist()
        ],
        "patients": len({c.patient_id for c in training}),
    }  # fmt: skip


def _nearest(dataset: SliceDataset, bank: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    parts = []
    for start in range(0, len(dataset), CHUNK):
        images = [dataset.raw(i)["image"] for i in range(start, min(start + CHUNK, len(dataset)))]
        parts.append(nearest_study(torch.stack(images), bank))
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]).tolist()


def _summary(values: torch.Tensor) -> dict[str, float | int]:
    if not len(values):
        return {"n": 0}
    figures = {"mean": float(values.mean()), **quantiles(values, (0.95,)), "max": float(values.max())}
    return {"n": len(values), **{name: round(value, 4) for name, value in figures.items()}}
