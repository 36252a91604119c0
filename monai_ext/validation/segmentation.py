"""Judge a segmentor on slices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from monai.inferers import Inferer, SimpleInferer
from tqdm import tqdm

from monai_ext.data import SliceDataset
from monai_ext.metrics import mean_scores, segmentation_scores, slice_scores

logger = logging.getLogger(__name__)


def predict(
    network: nn.Module,
    images: torch.Tensor,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    inferer: Inferer | None = None,
) -> torch.Tensor:
    """Canonical classes of slices.

    Args:
        network: (B, C, H, W) -> logits; put in evaluation mode.
        images: (Z, C, H, W) float32 in [0, 1].
        batch_size: slices at a time.
        device: device to run on.
        inferer: how the network is applied to a batch; directly when ``None``.

    Returns:
        (Z, H, W) uint8 on the CPU.
    """
    network, inferer = network.to(device).eval(), inferer or SimpleInferer()
    with torch.no_grad():
        parts = [inferer(part.to(device), network).argmax(1).to(torch.uint8).cpu() for part in images.split(batch_size)]
    return torch.cat(parts)


def case_stacks(dataset: SliceDataset) -> dict[str, list[int]]:
    """Indices of each case's slices, in order."""
    stacks: dict[str, list[int]] = {}
    for index, (case, _) in enumerate(dataset.index):
        stacks.setdefault(dataset.cases[case].case_id, []).append(index)
    return stacks


def evaluate_cases(
    network: nn.Module,
    dataset: SliceDataset,
    channels: Sequence[int] | None = None,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    progress: bool = True,
    inferer: Inferer | None = None,
    detailed: bool = False,
    postprocessing: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> dict[str, Any]:
    """Scores of a segmentor by case, that is a session of a patient.

    Args:
        network: (B, C, H, W) -> logits.
        dataset: labelled slices.
        channels: channels of the data set that the network reads; all when ``None``.
        batch_size: slices at a time.
        device: device to run on.
        progress: show a progress bar.
        inferer: see :func:`predict`.
        detailed: HD95 and ``by_slice`` too.
        postprocessing: label map (1, Z, H, W) of a case's slices -> the one that is judged.

    Returns:
        ``cases`` (a dictionary a case: id, patient, slices, and :func:`monai_ext.metrics.segmentation_scores` of its
        stack), ``mean`` over cases, and ``lesion_slices``, :func:`monai_ext.metrics.slice_scores` averaged over every
        slice with a lesion. ``detailed`` adds ``by_slice``, a dictionary a slice: id, patient, number of the slice, and
        its scores, ``None`` where a score is not defined.

    Raises:
        ValueError: for a data set with an unlabelled case.
    """
    unlabelled = [c.case_id for c in dataset.cases if c.segmentation is None]
    if unlabelled:
        raise ValueError(f"case {unlabelled[0]} has no segmentation to compare with")
    num_classes = dataset.cases[0].num_classes
    rows, by_slice, slice_rows = [], [], []
    for case_id, indices in tqdm(
        case_stacks(dataset).items(), desc="evaluating", unit="case", disable=None if progress else True
    ):
        items = [dataset.raw(i) for i in indices]
        images = torch.stack([i["image"] for i in items])
        label = torch.cat([i["label"] for i in items]).to(torch.uint8)
        images = images if channels is None else images[:, list(channels)]
        pred = predict(network, images, batch_size, device, inferer)
        pred = pred if postprocessing is None else postprocessing(pred[None])[0]
        whose = {"case_id": case_id, "patient_id": items[0]["patient_id"]}
        scores = segmentation_scores(pred, label, num_classes, surface=detailed)
        rows.append({**whose, "slices": len(items), **{k: round(v, 4) for k, v in scores.items()}})
        by_slice.append(slice_scores(pred, label, num_classes, surface=detailed))
        for i, item in enumerate(items):
            values = {name: _defined(column[i]) for name, column in by_slice[-1].items()}
            slice_rows.append({**whose, "slice": item["slice"], **values})
    names = list(by_slice[0])
    joined = {n: np.concatenate([b[n] for b in by_slice]) for n in names}
    numbers = [{k: v for k, v in r.items() if isinstance(v, float)} for r in rows]
    report = {"cases": rows, "mean": mean_scores(numbers), "lesion_slices": lesion_slice_means(joined)}
    return {**report, "by_slice": slice_rows} if detailed else report


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def lesion_slice_means(scores: dict[str, np.ndarray]) -> dict[str, float | int | None]:
    """Mean of each slice score where it is defined (its region is in the label), and how many slices have a lesion."""
    lesion = ~np.isnan(scores["WT"])
    means = {
        n: round(float(np.nanmean(v[lesion])), 4) if (~np.isnan(v[lesion])).any() else None for n, v in scores.items()
    }
    return {"slices": int(lesion.sum()), **means}
