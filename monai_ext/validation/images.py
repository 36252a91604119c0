"""Quality of generated images on held-out patients: their own map and label in, their own images to compare."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from monai.metrics import PSNRMetric, SSIMMetric

from monai_ext import __version__
from monai_ext.data import SliceDataset, guard_leak, write_json
from monai_ext.networks import CGAN
from monai_ext.synthesis.repaint import repaint
from monai_ext.validation.from_noise import Studies
from monai_ext.validation.image_judge import ImageJudge, stacked
from monai_ext.validation.maps import rounded
from monai_ext.validation.style_variety import style_variety

logger = logging.getLogger(__name__)


def evaluate_images(
    network: CGAN,
    dataset: SliceDataset,
    segmentors: Mapping[str, nn.Module],
    output_dir: str | Path,
    batch_size: int = 8,
    device: str | torch.device = "cpu",
    reference: SliceDataset | None = None,
    every: int = 1,
    style_maps: int = 12,
    styles: int = 8,
    classifier_steps: int = 300,
    studies: Studies | None = None,
    seed: int = 0,
    beta: float = 0.07,
    canvas_size: Sequence[int] | None = (240, 240),
    **settings: Any,
) -> dict[str, Any]:
    """Compare repainted held-out slices with the real ones, and write ``metrics.json``.

    Args:
        network: the trained generator.
        dataset: slices of held-out patients.
        segmentors: ``all`` or a modality -> a segmentor trained on real patients; may be empty.
        output_dir: where ``metrics.json`` goes.
        batch_size: slices at a time.
        device: device to run on.
        reference: slices of the training patients. Figures that need them are left out without.
        every: every n-th slice is judged and compared with.
        style_maps: slices painted in many styles; 0 leaves the style out.
        styles: of each.
        classifier_steps: of the classifier of modalities.
        studies: generated from maps that are no patient's, to be measured too.
        seed: of everything that is drawn.
        beta: of Algorithm 1.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        settings: further arguments of :func:`repaint`.

    Returns:
        What ``metrics.json`` holds: ``quality``, ``ssim``, ``psnr`` and ``mae`` by modality against the same slice;
        ``mean_ssim``; the figures of :class:`monai_ext.validation.image_judge.ImageJudge`; ``style``, see
        :func:`monai_ext.validation.style_variety.style_variety`; ``featgen_maps`` with ``studies``, the judge's
        figures of those and their number; and whose slices were judged.

    Raises:
        LeakError: when a patient is in both data sets.
    """
    patients = {"patients": dataset.patients}
    if reference is not None:
        patients["training_patients"] = reference.patients
        guard_leak({"training": patients["training_patients"], "held out": patients["patients"]})
    maps = {"beta": beta, "canvas_size": canvas_size}
    running = {"batch_size": batch_size, "device": device}
    images, label = stacked(dataset, every)
    painted = repaint(network, images, label, seed=seed, **maps, **running, **settings)
    quality = _quality(painted, images, dataset.modalities)
    judge = ImageJudge(
        images, label, dataset.modalities, segmentors, reference, every, classifier_steps, seed, **maps, **running
    )
    report = {
        "quality": quality,
        "mean_ssim": float(np.mean([q["ssim"] for q in quality.values()])),
        **judge(painted, label),
    }
    if style_maps:
        report["style"] = style_variety(network, dataset, reference, style_maps, styles, seed, **maps, device=device)
    if studies is not None:
        made = {"studies": len(studies.images), "candidates": studies.candidates}
        report["featgen_maps"] = {**made, **judge(studies.images, studies.label)}
    report |= {"slices": len(images), "every": every, **patients, "seed": seed, "version": __version__}
    report = rounded(report)
    write_json(Path(output_dir) / "metrics.json", report)
    logger.info("held-out images: %s", report["quality"])
    return report


def _quality(painted: torch.Tensor, images: torch.Tensor, modalities: Sequence[str]) -> dict[str, dict[str, float]]:
    ssim, psnr = SSIMMetric(spatial_dims=2, data_range=1.0, reduction="mean"), PSNRMetric(max_val=1.0, reduction="mean")
    quality = {}
    for m, name in enumerate(modalities):
        a, b = painted[:, m : m + 1], images[:, m : m + 1]
        quality[name] = {
            "ssim": float(ssim(a, b).mean()),
            "psnr": round(float(psnr(a, b).mean()), 2),
            "mae": float((a - b).abs().mean()),
        }
    return quality
