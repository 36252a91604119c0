"""Judge a segmentor on slices."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from tqdm import tqdm

from monai_ext.data import SliceDataset
from monai_ext.metrics import mean_scores, segmentation_scores, slice_scores

logger = logging.getLogger(__name__)


def predict(
    network: nn.Module, images: torch.Tensor, batch_size: int = 16, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Canonical classes of slices.

    Args:
        network: (B, C, H, W) -> logits; put in evaluation mode.
        images: (Z, C, H, W) float32 in [0, 1].
        batch_size: slices at a time.
        device: device to run on.

    Returns:
        (Z, H, W) uint8 on the CPU.
    """
    network = network.to(device).eval()
    with torch.no_grad():
        parts = [network(part.to(device)).argmax(1).to(torch.uint8).cpu() for part in images.split(batch_size)]
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
) -> dict[str, Any]:
    """Scores of a segmentor by case.

    Args:
        network: (B, C, H, W) -> logits.
        dataset: labelled slices.
        channels: channels of the data set that the network reads; all when ``None``.
        batch_size: slices at a time.
        device: device to run on.
        progress: show a progress bar.

    Returns:
        ``cases`` (a dictionary a case: id, patient, slices, and :func:`monai_ext.metrics.segmentation_scores` of its
        stack),
        ``mean`` over cases, and ``lesion_slices``, :func:`monai_ext.metrics.slice_scores` averaged over every slice
        with a
        lesion.

    Raises:
        ValueError: for a data set with an unlabelled case.
    """
    unlabelled = [c.case_id for c in dataset.cases if c.segmentation is None]
    if unlabelled:
        raise ValueError(f"case {unlabelled[0]} has no segmentation to compare with")
    rows, by_slice = [], []
    for case_id, indices in tqdm(
        case_stacks(dataset).items(), desc="evaluating", unit="case", disable=None if progress else True
    ):
        items = [dataset.raw(i) for i in indices]
        images = torch.stack([i["image"] for i in items])
        label = torch.cat([i["label"] for i in items]).to(torch.uint8)
        pred = predict(network, images if channels is None else images[:, list(channels)], batch_size, device)
        scores = {k: round(v, 4) for k, v in segmentation_scores(pred, label).items()}
        rows.append({"case_id": case_id, "patient_id": items[0]["patient_id"], "slices": len(items), **scores})
        by_slice.append(slice_scores(pred, label))
    names = list(by_slice[0])
    joined = {n: np.concatenate([b[n] for b in by_slice]) for n in names}
    numbers = [{k: v for k, v in r.items() if isinstance(v, float)} for r in rows]
    return {"cases": rows, "mean": mean_scores(numbers), "lesion_slices": lesion_slice_means(joined)}


def lesion_slice_means(scores: dict[str, np.ndarray]) -> dict[str, float | int | None]:
    """Mean of each slice score where it is defined (its region is in the label), and how many slices have a lesion."""
    lesion = ~np.isnan(scores["WT"])
    means = {
        n: round(float(np.nanmean(v[lesion])), 4) if (~np.isnan(v[lesion])).any() else None for n, v in scores.items()
    }
    return {"slices": int(lesion.sum()), **means}
