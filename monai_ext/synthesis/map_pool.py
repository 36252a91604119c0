"""Maps from noise for the training of the image generator."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from monai_ext.bundles import bundle_root, from_config, load_weights
from monai_ext.data import MapPool
from monai_ext.networks import FeatGen
from monai_ext.synthesis.filters import MapFilter
from monai_ext.synthesis.stream import SynthesisError, accepted_maps

logger = logging.getLogger(__name__)


def draw_map_pool(
    network: FeatGen,
    count: int,
    seed: int = 0,
    map_filter: MapFilter | None = None,
    max_attempts: int = 50,
    device: str | torch.device = "cpu",
) -> MapPool:
    """Draw maps that pass the map filter, as generation will.

    Args:
        network: the trained generator of maps.
        count: maps to keep, 61 kB each at 160 x 192.
        seed: of the noise.
        map_filter: Algorithm 3; with its defaults unless given.
        max_attempts: maps drawn for each one kept, on average, before giving up.
        device: device to run on.

    Raises:
        SynthesisError: when the attempts ran out.
    """
    network, keep = network.to(device).eval(), map_filter or MapFilter()
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    for candidate, *pair, _ in accepted_maps(network, keep, seed, count * max_attempts, torch.device(device)):
        pairs.append(tuple(t.to(torch.uint8) for t in pair))
        if len(pairs) == count:
            pool = MapPool(*(torch.stack(t) for t in zip(*pairs)))
            logger.info("%d maps of %d from noise kept: %.0f MB of RAM", count, candidate + 1, pool.nbytes / 1e6)
            return pool
    raise SynthesisError(f"only {len(pairs)} of {count} maps passed the filter in {count * max_attempts} candidates")


def open_map_pool(
    ckpt_path: str | Path | None,
    count: int = 256,
    seed: int = 0,
    roi_size: Sequence[int] = (160, 192),
    device: str | torch.device = "cpu",
) -> MapPool | None:
    """Maps drawn with weights of the ``featgen`` bundle; ``None`` without weights.

    Args:
        ckpt_path: weights, ``model.pt`` of a training.
        count: see :func:`draw_map_pool`.
        seed: likewise.
        roi_size: (H, W) of the maps.
        device: likewise.
    """
    if ckpt_path is None:
        return None
    network = from_config(bundle_root("featgen"), "train.json", "network_def", roi_size=list(roi_size))
    return draw_map_pool(load_weights(network, ckpt_path), count, seed, device=device)
