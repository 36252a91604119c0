"""Quality of generated images on held-out patients: their own map and label in, their own images to compare."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from monai.metrics import PSNRMetric, SSIMMetric

from monai_ext import __version__
from monai_ext.data import SliceDataset, write_json
from monai_ext.metrics import slice_scores
from monai_ext.networks import CGAN
from monai_ext.synthesis.repaint import repaint
from monai_ext.validation.segmentation import lesion_slice_means, predict

logger = logging.getLogger(__name__)


def evaluate_images(
    network: CGAN,
    dataset: SliceDataset,
    segmentors: Mapping[str, nn.Module],
    output_dir: str | Path,
    batch_size: int = 8,
    device: str | torch.device = "cpu",
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
        settings: further arguments of :func:`repaint`.

    Returns:
        ``ssim``, ``psnr`` and ``mae`` by modality; ``lesion_fidelity``: scores of each segmentor on the painted
        slices and on the
        same slices as they are, over slices with a lesion, and their ratio.
    """
    items = [dataset.raw(i) for i in range(len(dataset))]
    images, label = (torch.stack([i[k] for i in items]) for k in ("image", "label"))
    painted = repaint(network, images, label, batch_size=batch_size, device=device, **settings)
    ssim, psnr = SSIMMetric(spatial_dims=2, data_range=1.0, reduction="mean"), PSNRMetric(max_val=1.0, reduction="mean")
    quality = {}
    for m, name in enumerate(dataset.modalities):
        a, b = painted[:, m : m + 1], images[:, m : m + 1]
        quality[name] = {
            "ssim": round(float(ssim(a, b).mean()), 4),
            "psnr": round(float(psnr(a, b).mean()), 2),
            "mae": round(float((a - b).abs().mean()), 4),
        }
    classes = label[:, 0].to(torch.uint8)
    fidelity = {}
    for name, segmentor in segmentors.items():
        channels = (
            slice(None) if name == "all" else slice(dataset.modalities.index(name), dataset.modalities.index(name) + 1)
        )
        made, real = (
            lesion_slice_means(slice_scores(predict(segmentor, x[:, channels], batch_size, device), classes))
            for x in (painted, images)
        )
        ratio = {
            k: round(made[k] / real[k], 3) for k in ("dice_index", "WT", "TC", "ET") if made[k] is not None and real[k]
        }
        fidelity[name] = {"painted": made, "real": real, "ratio": ratio}
    report = {
        "quality": quality, "lesion_fidelity": fidelity, "slices": len(dataset),
        "mean_ssim": round(float(np.mean([q["ssim"] for q in quality.values()])), 4),
        "patients": sorted({c.patient_id for c in dataset.cases}), "version": __version__,
    }  # fmt: skip
    write_json(Path(output_dir) / "metrics.json", report)
    logger.info("held-out images: %s", quality)
    return report
