"""Quality of translations between modalities on held-out patients, beside the source image left as it is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from monai.metrics import PSNRMetric, SSIMMetric
from monai.metrics.regression import compute_ssim_and_cs
from tqdm import tqdm

from monai_ext import __version__
from monai_ext.data import SliceDataset, write_json
from monai_ext.networks import CGAN
from monai_ext.synthesis.translate import inference_style, translate
from monai_ext.validation.image_judge import stacked

logger = logging.getLogger(__name__)

SCORES = ("ssim", "psnr", "ssim_brain", "psnr_brain")
CAP = 100.0  # dB, of images that are equal: their PSNR is infinite, which JSON cannot hold


def slice_quality(made: torch.Tensor, real: torch.Tensor) -> dict[str, torch.Tensor]:
    """SSIM and PSNR (dB) of each slice, over the whole crop and over the brain of the real image alone.

    SSIM has MONAI's Gaussian window; over the brain it is the mean of the windows centred in it. PSNR over the brain
    has the mean squared error of its pixels.

    Args:
        made: (N, 1, H, W) in [0, 1].
        real: likewise, above 0 in the brain; each slice shows some, and some of it further than 5 pixels from the
            border of the crop.

    Returns:
        Name of :data:`SCORES` -> (N,).
    """
    ssim, psnr = SSIMMetric(spatial_dims=2, data_range=1.0, reduction="none"), PSNRMetric(1.0, reduction="none")
    brain = (real > 0).float()
    window, sigma = ssim.kernel_size, ssim.kernel_sigma
    local, _ = compute_ssim_and_cs(made, real, 2, window, sigma, data_range=1.0)
    rows, columns = (w // 2 for w in window)
    centres = brain[..., rows : brain.shape[-2] - rows, columns : brain.shape[-1] - columns]
    share = brain.mean((1, 2, 3))
    inside = psnr(made * brain, real)[:, 0] + 10 * share.log10()
    return {
        "ssim": ssim(made, real)[:, 0],
        "psnr": psnr(made, real)[:, 0].clamp(max=CAP),
        "ssim_brain": (local * centres).sum((1, 2, 3)) / centres.sum((1, 2, 3)),
        "psnr_brain": inside.clamp(max=CAP),
    }


def evaluate_translation(
    network: CGAN,
    dataset: SliceDataset,
    output_dir: str | Path,
    style: str = "mean",
    batch_size: int = 8,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Translate held-out slices from every modality to every other one, and write ``metrics.json``.

    Args:
        network: the trained generator.
        dataset: slices of held-out patients, with the network's modalities.
        output_dir: where ``metrics.json`` goes.
        style: see :func:`monai_ext.synthesis.inference_style`; a random one is drawn once for each direction.
        batch_size: slices at a time.
        device: device to run on.
        seed: of a random style.

    Returns:
        ``directions``, ``SOURCE->TARGET`` -> means over slices of the scores of the translation and of ``copy``, the
        source image itself; ``mean`` of all directions; ``better_than_copy``, the directions in which the translation
        scores higher.
    """
    names = dataset.modalities
    images, _ = stacked(dataset)
    directions: dict[str, dict[str, Any]] = {}
    pairs = [(s, t) for s in range(len(names)) for t in range(len(names)) if s != t]
    for s, t in tqdm(pairs, desc="translating", unit="direction", disable=None):
        # a slice at the end of the brain may show some in one modality and none in the other
        shown = (images[:, s] > 0).flatten(1).any(1) & (images[:, t, 5:-5, 5:-5] > 0).flatten(1).any(1)
        source, target = images[shown, s : s + 1], images[shown, t : t + 1]
        made = translate(network, source, [t], inference_style(network, style, seed, s, t), batch_size, device)
        directions[f"{names[s]}->{names[t]}"] = {
            "translation": _means(made, target, batch_size),
            "copy": _means(source, target, batch_size),
            "slices": int(shown.sum()),
        }
    mean = {
        kind: {n: round(sum(d[kind][n] for d in directions.values()) / len(pairs), 4) for n in SCORES}
        for kind in ("translation", "copy")
    }
    better = {n: sum(d["translation"][n] > d["copy"][n] for d in directions.values()) for n in SCORES}
    report = {
        "directions": directions, "mean": mean, "better_than_copy": {**better, "of": len(pairs)}, "style": style,
        "slices": len(dataset), "patients": dataset.patients, "version": __version__,
    }  # fmt: skip
    write_json(Path(output_dir) / "metrics.json", report)
    logger.info("translation: %s; better than the source itself in %s directions", mean, report["better_than_copy"])
    return report


def _means(made: torch.Tensor, real: torch.Tensor, batch_size: int) -> dict[str, float]:
    parts = [slice_quality(a, b) for a, b in zip(made.split(batch_size), real.split(batch_size))]
    return {n: round(float(torch.cat([p[n] for p in parts]).mean()), 4) for n in SCORES}
