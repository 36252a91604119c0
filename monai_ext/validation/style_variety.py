"""One map and label in many styles: does the contrast vary as between patients, and does the anatomy stay?"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from monai_ext.data import SliceDataset, seed_of
from monai_ext.engines import fuse_batch
from monai_ext.metrics import edge_agreement
from monai_ext.networks import CGAN, brain_quantiles

logger = logging.getLogger(__name__)


@torch.no_grad()
def paint_styles(
    network: CGAN,
    image: torch.Tensor,
    label: torch.Tensor,
    style: torch.Tensor,
    noise: torch.Tensor,
    beta: float = 0.07,
    canvas_size: Sequence[int] | None = (240, 240),
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """One slice's map and label, painted with one texture noise and many styles.

    Args:
        network: the trained generator, on the device.
        image: (1, H, W) that the map is drawn from.
        label: (1, H, W).
        style: (K, style_size).
        noise: (noise_channels, H, W).
        beta: of Algorithm 1.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        device: device to run on.

    Returns:
        (K, M, H, W) in [0, 1], background 0, on the CPU.
    """
    made = fuse_batch(
        image[None], label[None], label[None], network.num_classes, beta, canvas_size=canvas_size,
        shown=network.shown_classes,
    )  # fmt: skip
    fused, texture = (x.to(device).expand(len(style), -1, -1, -1) for x in (made.fused, noise[None]))
    return network(fused, style.to(device), texture).float().cpu() * (1 - made.mask)


def style_variety(
    network: CGAN,
    dataset: SliceDataset,
    reference: SliceDataset | None = None,
    count: int = 12,
    styles: int = 8,
    seed: int = 0,
    beta: float = 0.07,
    canvas_size: Sequence[int] | None = (240, 240),
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Variety of contrast over random styles, beside that over real patients at the same slices.

    Args:
        network: the trained generator.
        dataset: slices of held-out patients, which lend maps and labels.
        reference: slices of the training patients, who join the real ones that the contrast is compared with.
        count: maps, spread evenly over the data set.
        styles: drawn from N(0, 1) for each map, at least 2.
        seed: of styles and texture; the texture of a map stays the same.
        beta: of Algorithm 1.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        device: device to run on.

    Returns:
        ``deviation``: modality -> standard deviation of ``median`` (level of the brain) and ``contrast`` (90 % quantile
        less the 10 % one), each ``painted`` over the styles of one map and ``real`` over patients at one slice height;
        ``edge_agreement``: ``styles`` between two styles of one map, ``patients`` between two real patients at one
        height; ``styles``, ``maps`` and ``patients``, their numbers. What needs two patients is left out without
        (said in the log).

    Raises:
        ValueError: for fewer than two styles.
    """
    if styles < 2:
        raise ValueError(f"a deviation needs at least two styles, got {styles}")
    network = network.to(device).eval()
    rng = torch.Generator().manual_seed(seed_of(seed, 2))
    chosen = [i * len(dataset) // count for i in range(count)] if count < len(dataset) else range(len(dataset))
    items = [dataset.raw(i) for i in chosen]
    painted = []
    for item in items:
        style = torch.randn(styles, network.style_size, generator=rng)
        noise = torch.randn(network.noise_channels, *item["image"].shape[1:], generator=rng)
        images = paint_styles(network, item["image"][:1], item["label"], style, noise, beta, canvas_size, device)
        painted.append((images, item["label"].expand(styles, -1, -1, -1)))
    levels = {item["slice"] for item in items}
    real, patients = _by_level([d for d in (dataset, reference) if d is not None], levels)
    made_deviation, made_edges = _spread(painted, beta, canvas_size)
    report: dict[str, Any] = {
        "deviation": {m: {k: {"painted": v[i]} for k, v in made_deviation.items()}
                      for i, m in enumerate(dataset.modalities)},
        "edge_agreement": {"styles": made_edges},
        "styles": styles, "maps": len(items), "patients": patients,
    }  # fmt: skip
    if not real:
        logger.warning("no slice height with two patients: the variety of real patients is left out")
        return report
    deviation, report["edge_agreement"]["patients"] = _spread(real, beta, canvas_size)
    for i, m in enumerate(dataset.modalities):
        for key, values in deviation.items():
            report["deviation"][m][key]["real"] = values[i]
    return report


def _by_level(
    datasets: Iterable[SliceDataset], levels: set[int]
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], int]:
    """Images and labels of all patients at each slice height that two have, and the number of patients."""
    found: Mapping[int, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {z: {} for z in sorted(levels)}
    for dataset in datasets:
        for item in (dataset.raw(i) for i in range(len(dataset))):
            if item["slice"] in found:
                # a further time point of a patient is no further patient
                found[item["slice"]].setdefault(item["patient_id"], (item["image"], item["label"]))
    groups = [list(rows.values()) for rows in found.values() if len(rows) > 1]
    stacks = [(torch.stack([x for x, _ in rows]), torch.stack([y for _, y in rows])) for rows in groups]
    return stacks, len({p for rows in found.values() for p in rows})


def _spread(
    groups: Sequence[tuple[torch.Tensor, torch.Tensor]], beta: float, canvas_size: Sequence[int] | None
) -> tuple[dict[str, list[float]], float | None]:
    """Deviation of level and contrast by modality within groups of images (K, M, H, W), pooled over the groups, and the
    mean edge agreement of neighbours in a group."""
    variances, agreement = [], []
    for images, label in groups:
        low, median, high = brain_quantiles(images, label).view(len(images), -1, 3).unbind(2)
        variances.append(torch.stack([median, high - low]).var(1))
        first, second = (x.flatten(0, 1)[:, None] for x in (images[:-1], images[1:]))
        agreement.append(edge_agreement(first, second, beta, canvas_size))
    median, contrast = torch.stack(variances).mean(0).sqrt().tolist()
    edges = torch.cat(agreement).nanmean()
    return {"median": median, "contrast": contrast}, None if edges.isnan() else float(edges)
