"""One cell of the grid: a segmentor of one row and one repeat, trained and judged."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from monai_ext import __version__
from monai_ext.bundles import from_config
from monai_ext.data import seed_of
from monai_ext.usability.classical import ClassicalAugmentation, ClassicalSet
from monai_ext.usability.mixture import Pool, counts_of, subset, training_order
from monai_ext.usability.rows import Row
from monai_ext.usability.sources import Sources
from monai_ext.usability.training import channels_of, train_segmentor, training_definition
from monai_ext.validation import evaluate_cases

# what a draw is for: each purpose has a stream of its own, so that rows share weights, subsets and augmented slices
_REAL, _SYNTHETIC, _CLASSICAL, _ORDER, _WEIGHTS, _AUGMENT = range(6)


@dataclass(frozen=True)
class Cell:
    """Row, number of the repeat, and segmentor (``all`` or a modality)."""

    row: Row
    repeat: int
    model: str

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.row.slug}_{self.repeat}_{self.model}"


@dataclass(frozen=True)
class Settings:
    """What decides a cell's result, its data apart.

    Args:
        iterations: training iterations of every row.
        batch_size: slices of each.
        learning_rate: at the start.
        seed: of everything.
        augment: ``segmentor``'s own training augmentation, for every row alike.
        amp: autocast to bfloat16.
    """

    iterations: int = 300
    batch_size: int = 16
    learning_rate: float = 0.002
    seed: int = 0
    augment: bool = False
    amp: bool = True


class CellTrainer:
    """Trains and judges cells; the same cell gives the same result whatever other cells there are.

    Within a repeat rows start from the same weights and draw from the same shuffled lists of slices, so that a smaller
    share is a part of a larger one and rows differ in their data alone.

    Args:
        sources: the three sets.
        rows: every row of the grid.
        settings: see :class:`Settings`.
        segmentor_root: folder of the ``segmentor`` bundle.
        classical: how set A is made.
        unit_slices: size of a unit; the real set's unless given.
        device: device to run on.

    Raises:
        ValueError: when there are too few synthetic studies for a row.
    """

    def __init__(
        self,
        sources: Sources,
        rows: Sequence[Row],
        settings: Settings,
        segmentor_root: str | Path,
        classical: ClassicalAugmentation | None = None,
        unit_slices: int | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.sources, self.settings, self.root, self.device = sources, settings, str(segmentor_root), device
        self.classical = classical or ClassicalAugmentation()
        self.unit = len(sources.real) if unit_slices is None else int(unit_slices)
        if self.unit < 1:
            raise ValueError(f"unit_slices is at least 1, got {unit_slices}")
        self.counts = {row: counts_of(row, len(sources.real), self.unit) for row in rows}
        self._kept: tuple[tuple[int, int], ClassicalSet] | None = None
        available = len(sources.synthetic) if sources.synthetic is not None else 0
        for row, counts in self.counts.items():
            if counts.synthetic > available:
                raise ValueError(
                    f"row {row.name} needs {counts.synthetic} synthetic studies ({row.synthetic:g} x {self.unit}), but "
                    f"there are {available}: generate {counts.synthetic - available} more"
                )

    def _chosen(self, cell: Cell) -> tuple[list[int], list[int]]:
        """Indices of the real and of the synthetic slices of a cell."""
        counts, seed = self.counts[cell.row], self.settings.seed
        real = subset(len(self.sources.real), counts.real, (seed, cell.repeat, _REAL))
        size = len(self.sources.synthetic) if counts.synthetic else 0
        return real.tolist(), subset(size, counts.synthetic, (seed, cell.repeat, _SYNTHETIC)).tolist()

    def _augmented(self, cell: Cell, origins: Sequence[int]) -> ClassicalSet:
        """Set A of a repeat, as large as any row that augments these slices needs it."""
        key = (cell.repeat, len(origins))
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # free the last one first
            count = max(c.classical for c in self.counts.values() if c.real == len(origins))
            seed = (self.settings.seed, cell.repeat, _CLASSICAL)
            self._kept = (key, ClassicalSet(self.sources.real, origins, count, self.classical, seed))
        return self._kept[1]

    def pool(self, cell: Cell) -> Pool:
        """The slices a cell is trained on."""
        counts, seed = self.counts[cell.row], (self.settings.seed, cell.repeat)
        real, synthetic = self._chosen(cell)
        parts: list[tuple[Any, Sequence[int]]] = [(self.sources.real, real)]
        if counts.classical:
            parts.append((self._augmented(cell, real), range(counts.classical)))
        parts.append((self.sources.synthetic, synthetic))
        transform = from_config(self.root, "train.json", "train#preprocessing") if self.settings.augment else None
        return Pool(parts, transform, (*seed, _AUGMENT))

    def digest(self, cell: Cell) -> str:
        """16 hex digits of everything that decides the cell's result, its slices and the judges' included."""
        real, synthetic = self._chosen(cell)
        counts, known = self.counts[cell.row], self.sources.digests
        facts = {
            "order": cell.row.order, "counts": counts, "repeat": cell.repeat, "model": cell.model,
            "real": [known["real"][i] for i in real], "synthetic": [known["synthetic"][i] for i in synthetic],
            "judges": known["judges"], "settings": asdict(self.settings), "device": torch.device(self.device).type,
            "classical": asdict(self.classical) if counts.classical else None, "version": __version__,
            "segmentor": training_definition(self.root, self.settings.augment),
        }  # fmt: skip
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, cell: Cell) -> dict[str, Any]:
        """Train and judge.

        Returns:
            ``row``, ``repeat``, ``model``, ``digest``, ``slices`` trained on, ``cases`` (see
            :func:`monai_ext.validation.evaluate_cases`), ``loss`` (mean of the last tenth) and ``seconds``.
        """
        start, settings, counts = time.perf_counter(), self.settings, self.counts[cell.row]
        order = training_order(
            counts, cell.row.order, settings.iterations, settings.batch_size, (settings.seed, cell.repeat, _ORDER)
        )
        network, losses = train_segmentor(
            cell.model, self.pool(cell), order, self.root, settings.learning_rate, settings.amp,
            seed_of(settings.seed, cell.repeat, _WEIGHTS), self.device,
        )  # fmt: skip
        judged = evaluate_cases(
            network, self.sources.judges, channels_of(cell.model), settings.batch_size, self.device, progress=False
        )
        last = losses[-max(len(losses) // 10, 1) :]
        return {
            "row": cell.row.name, "repeat": cell.repeat, "model": cell.model, "digest": self.digest(cell),
            "slices": counts._asdict(), "cases": judged["cases"], "loss": round(sum(last) / len(last), 4),
            "seconds": round(time.perf_counter() - start, 2),
        }  # fmt: skip
