"""Held-out figures of the segmentors, as JSON and CSV."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from monai_ext import __version__
from monai_ext.data import SliceDataset, atomic_path, write_json
from monai_ext.validation.segmentation import evaluate_cases

logger = logging.getLogger(__name__)


def evaluate_segmentors(
    segmentors: Mapping[str, nn.Module],
    dataset: SliceDataset,
    output_dir: str | Path,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Scores of segmentors on held-out cases; writes ``metrics.json`` and ``cases.csv``.

    Args:
        segmentors: ``all`` or a modality -> network.
        dataset: labelled slices of held-out patients, every modality.
        output_dir: where the files go.
        batch_size: slices at a time.
        device: device to run on.

    Returns:
        Segmentor -> :func:`monai_ext.validation.evaluate_cases`, and the data's description.
    """
    report: dict[str, Any] = {"segmentors": {}}
    for name, network in segmentors.items():
        channels = None if name == "all" else [dataset.modalities.index(name)]
        report["segmentors"][name] = evaluate_cases(network, dataset, channels, batch_size, device)
        logger.info("%s: %s", name, report["segmentors"][name]["mean"])
    report.update(patients=sorted({c.patient_id for c in dataset.cases}), slices=len(dataset), version=__version__)
    rows = [{"segmentor": n, **r} for n, s in report["segmentors"].items() for r in s["cases"]]
    write_json(Path(output_dir) / "metrics.json", report)
    with atomic_path(Path(output_dir) / "cases.csv") as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return report
