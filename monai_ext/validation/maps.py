"""Quality of generated structure maps, beside real maps of held-out patients."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics import DiceMetric

from monai_ext import __version__
from monai_ext.data import SliceDataset, seed_of, write_json
from monai_ext.engines import maps_and_masks
from monai_ext.networks import FeatGen
from monai_ext.synthesis.filters import MapFilter

logger = logging.getLogger(__name__)


def closed_share(structures: torch.Tensor, masks: torch.Tensor, threshold: float = 0.05) -> float:
    """Share of maps (N, 1, H, W) that Algorithm 3 keeps, against masks that are 1 outside the brain."""
    keep = MapFilter(threshold)
    return float(np.mean([keep(s, m)[0] for s, m in zip(structures, masks)]))


def evaluate_maps(
    network: FeatGen,
    dataset: SliceDataset,
    output_dir: str | Path,
    num_samples: int = 200,
    every: int = 2,
    seed: int = 0,
    beta: float = 0.07,
    pad: int = 5,
    canvas_size: Sequence[int] | None = (240, 240),
    mae_threshold: float = 0.05,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Compare maps from noise with real ones, and write ``metrics.json``.

    Args:
        network: the trained generator.
        dataset: slices of held-out patients; every modality gives a map of its own.
        output_dir: where ``metrics.json`` goes.
        num_samples: maps drawn from noise.
        every: real slices judged, every n-th.
        seed: of the noise.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        mae_threshold: of Algorithm 3.
        device: device to run on.

    Returns:
        ``mask_dice`` (MASK against Algorithm 2 on held-out maps), ``closed_generated`` and ``closed_real`` (Algorithm
        3 against
        MASK), ``edge_density_ratio``, ``reconstruction_dice``, and the numbers of samples.
    """
    network = network.to(device).eval()
    items = [dataset.raw(i) for i in range(0, len(dataset), every)]
    images = torch.cat([i["image"][:, None] for i in items])
    labels = torch.cat([i["label"].expand(len(dataset.modalities), -1, -1)[:, None] for i in items])
    rng = torch.Generator().manual_seed(seed_of(seed))
    codes = torch.randn(num_samples, network.latent_size, generator=rng)
    dice = DiceMetric(reduction="mean")
    with torch.no_grad():
        structure, mask = maps_and_masks(images, labels, beta, pad, canvas_size)
        parts = [
            ((network.mask(s) > 0).float(), (network.decoder(network.encoder(s)[0])[0] > 0).float())
            for s in structure.to(device).split(16)
        ]
        found, rebuilt = (torch.cat(p).cpu() for p in zip(*parts))
        generated, generated_mask = (torch.cat(p).cpu() for p in zip(*[network(c.to(device)) for c in codes.split(16)]))
    metrics = {
        "mask_dice": float(dice(1 - found, 1 - mask).mean()),
        "closed_generated": closed_share(generated, generated_mask, mae_threshold),
        "closed_real": closed_share(structure, found, mae_threshold),
        "edge_density_ratio": float(generated.mean() / structure.mean()),
        "reconstruction_dice": float(dice(rebuilt, structure).mean()),
    }
    report = {
        **{k: round(v, 4) for k, v in metrics.items()},
        "generated_maps": num_samples, "real_maps": len(structure), "modalities": list(dataset.modalities),
        "patients": sorted({c.patient_id for c in dataset.cases}), "seed": seed, "mae_threshold": mae_threshold,
        "version": __version__,
    }  # fmt: skip
    write_json(Path(output_dir) / "metrics.json", report)
    logger.info("held-out maps: %s", metrics)
    return report
