"""Train one segmentor on one stream of slices, as ``segmentor``'s own training defines it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from monai_ext.bundles import from_config
from monai_ext.labels import MODALITIES
from monai_ext.usability.mixture import Pool


def channels_of(model: str) -> list[int] | None:
    """Channels that a segmentor reads: ``None`` for ``all``, else that of its modality."""
    return None if model == "all" else [MODALITIES.index(model)]


def training_definition(segmentor_root: str | Path, augment: bool = False) -> dict[str, Any]:
    """What of ``segmentor``'s train.json decides a training here, as it stands there."""
    config = json.loads((Path(segmentor_root) / "configs" / "train.json").read_text(encoding="utf-8"))
    parts = {k: config[k] for k in ("network_def", "loss", "optimizer", "lr_scheduler")}
    train = ("inferer", "preprocessing", "random_transforms") if augment else ("inferer",)
    return {**parts, "train": {k: config["train"].get(k) for k in train}}


def train_segmentor(
    model: str,
    pool: Pool,
    order: np.ndarray,
    segmentor_root: str | Path,
    learning_rate: float,
    amp: bool = True,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> tuple[nn.Module, list[float]]:
    """Network, loss, optimiser (AdamW) and schedule (polynomial, over the iterations) of ``segmentor``'s train.json.

    Args:
        model: ``all`` or a modality.
        pool: slices with every modality.
        order: (iterations, batch) positions in the pool.
        segmentor_root: folder of the ``segmentor`` bundle.
        learning_rate: at the start.
        amp: autocast to bfloat16; weights stay float32.
        seed: of the first weights and of dropout.
        device: device to run on.

    Returns:
        The network, and the loss of every iteration.

    Raises:
        FloatingPointError: when the loss is not a number any more.
    """

    def build(component: str, **overrides: object) -> object:
        return from_config(segmentor_root, "train.json", component, **overrides)

    torch.manual_seed(seed)
    network = build("network_def", modalities=model).to(device, memory_format=torch.channels_last).train()
    optimizer = build("optimizer", network=network, learning_rate=learning_rate)
    scheduler = build("lr_scheduler", optimizer=optimizer, max_epochs=len(order))
    inferer, loss = build("train#inferer", amp=amp), build("loss").to(device)
    torch.manual_seed(seed)
    losses = []
    for iteration, positions in enumerate(order):
        images, labels = (t.to(device) for t in pool.batch(positions, iteration, channels_of(model)))
        optimizer.zero_grad(set_to_none=True)
        value = loss(inferer(images.contiguous(memory_format=torch.channels_last), network), labels)
        if not torch.isfinite(value):
            raise FloatingPointError(f"the loss is {value.item()} in iteration {iteration + 1}: lower learning_rate")
        value.backward()
        optimizer.step()
        scheduler.step()
        losses.append(float(value.detach()))
    return network, losses
