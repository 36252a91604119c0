"""Candidates, each a function of (seed, number) alone: noise -> map -> mask -> lesion -> four modalities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from monai_ext.data import PlacementError
from monai_ext.networks import CGAN, FeatGen
from monai_ext.synthesis.filters import DiceFilter, MapFilter
from monai_ext.synthesis.lesions import LesionSource
from monai_ext.transforms import erase_lesion, fuse_lesion

FLOOR = 0.01  # real brain starts at 0.02 (ScaleBrainIntensity); what the decoder leaves below this is background


class SynthesisError(RuntimeError):
    """The attempts ran out before the data set was complete."""


def candidate_rng(seed: int, number: int) -> np.random.Generator:
    """Where candidate ``number`` of a seed draws everything from."""
    return np.random.default_rng((seed, number))


def latent_code(rng: np.random.Generator, size: int) -> torch.Tensor:
    """Noise that a map is decoded from, (1, size); the first thing a candidate draws."""
    return torch.from_numpy(rng.standard_normal((1, size), dtype=np.float32))


def draw_map(network: FeatGen, rng: np.random.Generator, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Map and mask (1, H, W) on the CPU, decoded from the next noise of ``rng``."""
    code = latent_code(rng, network.latent_size)
    with torch.no_grad():
        structure, mask = network(code.to(device))
    return structure[0].cpu(), mask[0].cpu()


def accepted_maps(
    network: FeatGen, map_filter: MapFilter, seed: int, limit: int, device: torch.device
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, float]]:
    """Candidates of a seed whose maps pass the map filter.

    Args:
        network: the trained generator, on the device.
        map_filter: Algorithm 3.
        seed: of the noise.
        limit: candidates to try.
        device: device to run on.

    Yields:
        Number of the candidate, map and mask (1, H, W), and the filter's error.
    """
    for candidate in range(limit):
        structure, mask = draw_map(network, candidate_rng(seed, candidate), device)
        kept, error, _ = map_filter(structure, mask)
        if kept:
            yield candidate, structure, mask, error


@dataclass
class Candidate:
    """One candidate on its way through the filters.

    Args:
        number: its number in the stream of its seed.
        rejected_by: ``map``, ``placement`` or ``dice``; ``None`` while it stands.
        scores: what the filters measured.
        structure: map (1, H, W).
        mask: (1, H, W), 1 outside the brain.
        label: (1, H, W) of canonical classes.
        images: (M, H, W) in [0, 1].
        label_source: case id behind the label, or ``procedural``.
    """

    number: int
    rejected_by: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    structure: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    label: torch.Tensor | None = None
    images: torch.Tensor | None = None
    label_source: str = ""
    style: torch.Tensor | None = None
    noise: torch.Tensor | None = None


class StudyStream:
    """Makes candidates of a seed and judges them.

    Candidate k draws everything from (seed, k), so the result depends on neither batch size nor order nor restarts.
    Maps are decoded one by one: a batch rounds differently, and a map is a threshold away from another map. The image
    generator runs in batches.

    Args:
        featgen: noise -> map and mask.
        cgan: fused map -> images.
        lesions: where labels come from.
        map_filter: Algorithm 3.
        dice_filter: the last filter.
        seed: of the stream.
        style_scale: standard deviation of the style; 0 gives the mean contrast of the training set.
        device: device to run on.
    """

    def __init__(
        self,
        featgen: FeatGen,
        cgan: CGAN,
        lesions: LesionSource,
        map_filter: MapFilter,
        dice_filter: DiceFilter,
        seed: int = 0,
        style_scale: float = 1.0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.featgen, self.cgan = featgen.to(self.device).eval(), cgan.to(self.device).eval()
        self.lesions, self.map_filter, self.dice_filter = lesions, map_filter, dice_filter
        dice_filter.segmentor.to(self.device).eval()
        self.seed, self.style_scale = seed, style_scale

    def _prepare(self, number: int) -> Candidate:
        """Noise to fused map: everything before the image generator."""
        candidate = Candidate(number)
        rng = candidate_rng(self.seed, number)
        structure, mask = draw_map(self.featgen, rng, self.device)
        candidate.structure, candidate.mask = structure, mask
        kept, error, classical = self.map_filter(structure, mask)
        candidate.scores["mae"] = round(error, 5)
        if not kept:
            candidate.rejected_by = "map"
            return candidate
        # the lesion must lie within both masks: the network's has a margin outside the outline
        outside = torch.maximum(mask, classical) if error <= 0.2 else mask
        try:
            placed = self.lesions.place(outside, rng)
        except PlacementError:
            candidate.rejected_by = "placement"
            return candidate
        candidate.label, candidate.label_source = placed.label, placed.source
        candidate.scores["placement_tries"] = placed.tries
        noise_shape = (self.cgan.noise_channels, *structure.shape[1:])
        candidate.style = self.style_scale * torch.from_numpy(
            rng.standard_normal(self.cgan.style_size, dtype=np.float32)
        )
        candidate.noise = torch.from_numpy(rng.standard_normal(noise_shape, dtype=np.float32))
        return candidate

    def _paint(self, candidates: Sequence[Candidate]) -> None:
        """Four modalities of prepared candidates, and the Dice filter."""
        label = torch.stack([c.label for c in candidates])
        structure = erase_lesion(torch.stack([c.structure for c in candidates]), label, self.cgan.shown_classes)
        fused = fuse_lesion(structure, label, self.cgan.num_classes)
        mask = torch.stack([c.mask for c in candidates])
        style, noise = (torch.stack([getattr(c, n) for c in candidates]) for n in ("style", "noise"))
        with torch.no_grad():
            images = self.cgan(*(t.to(self.device) for t in (fused, style, noise))) * (1 - mask).to(self.device)
            images = torch.where(images < FLOOR, torch.zeros_like(images), images)
            kept, scores = self.dice_filter(images, label.to(self.device))
        for candidate, image, keep, score in zip(candidates, images.cpu(), kept, scores):
            candidate.images = image
            candidate.scores["dice_index"] = round(score, 4)
            if not keep:
                candidate.rejected_by = "dice"

    def run(self, numbers: Sequence[int]) -> list[Candidate]:
        """Make and judge these candidates.

        Args:
            numbers: their numbers; as many images as stand after two filters are painted in one batch.

        Returns:
            One candidate a number, in their order.
        """
        candidates = [self._prepare(n) for n in numbers]
        standing = [c for c in candidates if c.rejected_by is None]
        if standing:
            self._paint(standing)
        return candidates

    def describe(self) -> dict[str, Any]:
        """Settings that decide what a candidate looks like."""
        return {
            "seed": self.seed, "style_scale": self.style_scale, "mae_threshold": self.map_filter.threshold,
            "dice_threshold": self.dice_filter.threshold, "labels": type(self.lesions).__name__,
            "labels_digest": getattr(self.lesions, "digest", None),
        }  # fmt: skip
