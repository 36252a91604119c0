"""The maps that an evaluation compares: from noise, from held-out maps through the code, and of real patients."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_ext.data import SliceDataset, seed_of
from monai_ext.engines import maps_and_masks
from monai_ext.networks import FeatGen

logger = logging.getLogger(__name__)

BATCH = 16
MOST_MAPS = 2000  # of real patients at a time: 0.25 GB as single precision


@dataclass(frozen=True)
class MapSet:
    """Maps, their masks and whose they are.

    Args:
        maps: (N, 1, H, W) uint8 in {0, 1}.
        masks: (N, 1, H, W) uint8, 1 outside the brain.
        patients: one entry a map; empty for maps from noise.
    """

    maps: torch.Tensor
    masks: torch.Tensor
    patients: tuple[str, ...] = ()


def choose(count: int, limit: int, seed: int) -> list[int]:
    """Sorted indices of at most ``limit`` of ``count`` things, drawn without replacement."""
    if count <= limit:
        return list(range(count))
    return sorted(np.random.default_rng(seed).choice(count, limit, replace=False).tolist())


def real_set(
    dataset: SliceDataset,
    every: int = 2,
    beta: float = 0.07,
    pad: int = 5,
    canvas_size: Sequence[int] | None = (240, 240),
    limit: int = MOST_MAPS,
    seed: int = 0,
) -> MapSet:
    """Maps of real slices with the masks of Algorithm 2; every modality of a slice gives a map of its own.

    Args:
        dataset: slices of patients.
        every: every n-th slice.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        limit: with more maps than this, slices are drawn from those left (said in the log).
        seed: of that drawing.
    """
    slices = list(range(0, len(dataset), every))
    kept = choose(len(slices), max(limit // len(dataset.modalities), 1), seed)
    if len(kept) < len(slices):
        logger.info("%d of %d slices are drawn to compare with", len(kept), len(slices))
    maps, masks, patients = [], [], []
    for position in kept:
        item = dataset.raw(slices[position])
        image = item["image"][:, None]
        pair = maps_and_masks(image, item["label"][None].expand(len(image), -1, -1, -1), beta, pad, canvas_size)
        maps.append(pair[0].to(torch.uint8))
        masks.append(pair[1].to(torch.uint8))
        patients += [item["patient_id"]] * len(image)
    return MapSet(torch.cat(maps), torch.cat(masks), tuple(patients))


@torch.no_grad()
def generated_set(network: FeatGen, count: int, seed: int, device: str | torch.device) -> MapSet:
    """Maps and masks from noise, none filtered."""
    noise = torch.randn(count, network.latent_size, generator=torch.Generator().manual_seed(seed_of(seed)))
    return _collect(network(part.to(device)) for part in noise.split(BATCH))


@torch.no_grad()
def rebuilt_set(network: FeatGen, real: MapSet, seed: int, device: str | torch.device) -> MapSet:
    """Real maps encoded to a sampled code and decoded; empty outside the brain, as maps from noise are."""
    codes = sampled_codes(network, real.maps, seed, device)
    parts = _collect(_finished(network, _decoded(network, code.to(device))) for code in codes.split(BATCH))
    return MapSet(parts.maps, parts.masks, real.patients)


@torch.no_grad()
def sampled_codes(network: FeatGen, maps: torch.Tensor, seed: int, device: str | torch.device) -> torch.Tensor:
    """Codes of maps (N, 1, H, W), sampled from the encoder's distribution as in training, in the encoder's shape."""
    rng = torch.Generator().manual_seed(seed_of(seed, 1))
    codes = []
    for part in maps.split(BATCH):
        mean, logvar = (x.float().cpu() for x in network.encoder(part.to(device).float()))
        codes.append(mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=rng))
    return torch.cat(codes)


@torch.no_grad()
def mean_rebuilt(network: FeatGen, maps: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """Maps encoded to the mean code and decoded, as the decoder leaves them, (N, 1, H, W) uint8."""
    parts = [_decoded(network, network.encoder(m.to(device).float())[0]) for m in maps.split(BATCH)]
    return torch.cat([p.to("cpu", torch.uint8) for p in parts])


@torch.no_grad()
def found_masks(network: FeatGen, maps: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """What MASK says of maps, (N, 1, H, W) uint8, 1 outside the brain."""
    parts = [network.mask(m.to(device).float()) > 0 for m in maps.split(BATCH)]
    return torch.cat([p.to("cpu", torch.uint8) for p in parts])


@torch.no_grad()
def maps_per_second(network: FeatGen, device: str | torch.device, rounds: int = 5) -> float:
    """Maps from noise a second, in batches of 16, after one batch to warm up."""
    noise = torch.randn(BATCH, network.latent_size, generator=torch.Generator().manual_seed(0)).to(device)

    def finish() -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)

    network(noise)
    finish()
    start = time.perf_counter()
    for _ in range(rounds):
        network(noise)
    finish()
    return BATCH * rounds / (time.perf_counter() - start)


def _decoded(network: FeatGen, code: torch.Tensor) -> torch.Tensor:
    return (network.decoder(code) > 0).float()


def _finished(network: FeatGen, structure: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mask = (network.mask(structure) > 0).float()
    return structure * (1 - mask), mask


def _collect(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> MapSet:
    maps, masks = zip(*[(m.to("cpu", torch.uint8), k.to("cpu", torch.uint8)) for m, k in pairs])
    return MapSet(torch.cat(maps), torch.cat(masks))
