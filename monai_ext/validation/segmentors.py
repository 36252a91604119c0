"""Held-out figures of the segmentors, as JSON and CSV."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from monai.inferers import Inferer

from monai_ext import __version__
from monai_ext.data import SliceDataset, write_csv, write_json
from monai_ext.validation.segmentation import evaluate_cases

logger = logging.getLogger(__name__)


def evaluate_segmentors(
    segmentors: Mapping[str, nn.Module],
    dataset: SliceDataset,
    output_dir: str | Path,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    inferer: Inferer | None = None,
    postprocessing: Callable[[torch.Tensor], torch.Tensor] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Scores of segmentors on held-out cases, by case and by slice.

    Writes ``metrics.json`` (what is returned) and ``cases.csv``, a row a segmentor and case; ``slices.json`` (segmentor
    -> list) and ``slices.csv``, a row a segmentor and slice.

    Args:
        segmentors: ``all`` or a modality -> network.
        dataset: labelled slices of held-out patients, every modality.
        output_dir: where the files go.
        batch_size: slices at a time.
        device: device to run on.
        inferer: see :func:`monai_ext.validation.predict`.
        postprocessing: see :func:`monai_ext.validation.evaluate_cases`.
        settings: of the two, to be kept beside the figures.

    Returns:
        Segmentor -> :func:`monai_ext.validation.evaluate_cases`, and the data's description.
    """
    report: dict[str, Any] = {"segmentors": {}}
    slices: dict[str, list[dict[str, Any]]] = {}
    for name, network in segmentors.items():
        channels = None if name == "all" else [dataset.modalities.index(name)]
        judged = evaluate_cases(
            network,
            dataset,
            channels,
            batch_size,
            device,
            inferer=inferer,
            detailed=True,
            postprocessing=postprocessing,
        )
        slices[name] = judged.pop("by_slice")
        report["segmentors"][name] = judged
        logger.info("%s: %s", name, judged["mean"])
    report.update(settings=dict(settings or {}), patients=dataset.patients, slices=len(dataset), version=__version__)
    root = Path(output_dir)
    write_json(root / "metrics.json", report)
    write_json(root / "slices.json", slices)
    write_csv(root / "cases.csv", _lines({n: s["cases"] for n, s in report["segmentors"].items()}))
    write_csv(root / "slices.csv", _lines(slices))
    return report


def _lines(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A row a segmentor and case, or slice."""
    return [{"segmentor": name, **row} for name, found in rows.items() for row in found]
