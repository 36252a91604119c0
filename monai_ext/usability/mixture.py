"""The training stream of a row: how many slices of each kind, which ones, and in which order they are seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from monai_ext.data import apply_seeded
from monai_ext.usability.rows import Row


class Counts(NamedTuple):
    """Slices of each kind."""

    real: int
    synthetic: int
    classical: int


def counts_of(row: Row, real_slices: int, unit: int) -> Counts:
    """Slices that a row trains on, halves rounded up, at least one of each kind it asks for.

    Args:
        row: the row; ``real`` is a share of the real set, the other two count units.
        real_slices: size of the real set.
        unit: size of a unit.
    """
    sizes = ((row.real, real_slices), (row.synthetic, unit), (row.classical, unit))
    return Counts(*(max(math.floor(share * of + 0.5), 1) if share else 0 for share, of in sizes))


def subset(size: int, count: int, seed: Sequence[int]) -> np.ndarray:
    """``count`` of ``size`` indices, each at most once; with one seed a smaller choice is the beginning of a larger."""
    return np.random.default_rng(tuple(seed)).permutation(size)[:count]


def _passes(positions: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` draws: shuffled passes over the positions, one after another, the last one cut short."""
    passes = [rng.permutation(positions) for _ in range(-(-count // len(positions)))] if count else []
    return np.concatenate(passes)[:count] if passes else positions[:0]


def training_order(counts: Counts, order: str, iterations: int, batch_size: int, seed: Sequence[int]) -> np.ndarray:
    """Which slices each iteration sees; every row has the same number of iterations and the same batch size.

    ``mix`` shuffles everything together, pass after pass. ``real_first`` draws the first half of the iterations (the
    smaller half, where they are odd) from the real and the augmented slices and the rest from the synthetic ones;
    ``synthetic_first`` the other way round.

    Args:
        counts: slices of each kind; positions run over real, classical and synthetic ones in this order.
        order: see above.
        iterations: training iterations.
        batch_size: slices of each.
        seed: of the shuffles.

    Returns:
        (iterations, batch_size) positions.
    """
    rng = np.random.default_rng(tuple(seed))
    own = counts.real + counts.classical
    real, synthetic = np.arange(own), np.arange(own, own + counts.synthetic)
    if order == "mix":
        drawn = _passes(np.concatenate([real, synthetic]), iterations * batch_size, rng)
    else:
        first = iterations // 2
        halves = (real, synthetic) if order == "real_first" else (synthetic, real)
        drawn = np.concatenate([_passes(h, n * batch_size, rng) for h, n in zip(halves, (first, iterations - first))])
    return drawn.reshape(iterations, batch_size)


class SliceSource(Protocol):
    """Anything with slices by number."""

    def raw(self, index: int) -> dict[str, Any]:
        """``image`` (C, H, W) and ``label`` (1, H, W), float32."""


class Pool:
    """The slices of a row, in the order real, classical, synthetic.

    Args:
        parts: source and chosen indices of each kind.
        transform: random transform of every slice drawn, or ``None``.
        seed: numbers that decide its draws, with the iteration and the position in the batch.
    """

    def __init__(
        self,
        parts: Sequence[tuple[SliceSource, Sequence[int]]],
        transform: Callable | None = None,
        seed: Sequence[int] = (0,),
    ) -> None:
        self.items = [(source, int(i)) for source, indices in parts for i in indices]
        self.transform, self.seed = transform, tuple(seed)

    def __len__(self) -> int:
        return len(self.items)

    def batch(
        self, positions: Sequence[int], iteration: int, channels: Sequence[int] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The slices at these positions.

        Args:
            positions: B of them.
            iteration: number of the iteration, for the random transform.
            channels: of the images; all when ``None``.

        Returns:
            Images (B, C, H, W) in [0, 1] and labels (B, 1, H, W), float32.
        """
        items = []
        for k, position in enumerate(positions):
            source, index = self.items[position]
            item = source.raw(index)
            data = {
                "image": item["image"] if channels is None else item["image"][list(channels)],
                "label": item["label"],
            }
            items.append(apply_seeded(self.transform, data, (*self.seed, iteration, k)))
        return tuple(torch.stack([torch.as_tensor(np.asarray(i[key])) for i in items]) for key in ("image", "label"))
