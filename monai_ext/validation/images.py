"""Quality of generated images on held-out patients: their own map and label in, their own images to compare."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
import torch
import torch.nn as nn
from monai.metrics import PSNRMetric, SSIMMetric

from monai_ext import __version__
from monai_ext.data import SliceDataset, seed_of, write_json
from monai_ext.engines import fuse_batch
from monai_ext.metrics import slice_scores
from monai_ext.networks import CGAN, brain_quantiles
from monai_ext.validation.segmentation import lesion_slice_means, predict

logger = logging.getLogger(__name__)


def repaint(
    network: CGAN,
    images: torch.Tensor,
    label: torch.Tensor,
    map_channel: int = 0,
    seed: int = 0,
    beta: float = 0.07,
    pad: int = 5,
    canvas_size: Sequence[int] | None = (240, 240),
    batch_size: int = 8,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Real slices painted anew from their structure map, lesion label and contrast.

    Args:
        network: the trained generator.
        images: (N, M, H, W) in [0, 1].
        label: (N, 1, H, W).
        map_channel: modality that the map is drawn from.
        seed: of the texture noise.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        batch_size: slices at a time.
        device: device to run on.

    Returns:
        (N, M, H, W) in [0, 1], background 0, on the CPU.
    """
    network = network.to(device).eval()
    rng = torch.Generator().manual_seed(seed_of(seed))
    parts = []
    for x, y in zip(images.split(batch_size), label.split(batch_size)):
        made = fuse_batch(x[:, map_channel : map_channel + 1], y, y, network.num_classes, beta, pad, canvas_size)
        noise = torch.randn(len(x), network.noise_channels, *x.shape[2:], generator=rng)
        with torch.no_grad():
            style = network.style(brain_quantiles(x, y).to(device))
            painted = network(made.fused.to(device), style, noise.to(device)).cpu()
        parts.append(painted * (1 - made.mask))
    return torch.cat(parts)


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
        ``ssim``, ``psnr`` and ``mae`` by modality; ``lesion_fidelity``: scores of each segmentor on the painted slices and on the
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
        channels = slice(None) if name == "all" else slice(dataset.modalities.index(name), dataset.modalities.index(name) + 1)
        made, real = (
            lesion_slice_means(slice_scores(predict(segmentor, x[:, channels], batch_size, device), classes))
            for x in (painted, images)
        )
        ratio = {k: round(made[k] / real[k], 3) for k in ("dice_index", "WT", "TC", "ET") if made[k] is not None and real[k]}
        fidelity[name] = {"painted": made, "real": real, "ratio": ratio}
    report = {
        "quality": quality, "lesion_fidelity": fidelity, "slices": len(dataset),
        "mean_ssim": round(float(np.mean([q["ssim"] for q in quality.values()])), 4),
        "patients": sorted({c.patient_id for c in dataset.cases}), "version": __version__,
    }  # fmt: skip
    write_json(Path(output_dir) / "metrics.json", report)
    logger.info("held-out images: %s", quality)
    return report
