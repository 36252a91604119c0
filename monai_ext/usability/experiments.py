"""The usability experiments of Qu et al., section 3 and Table 2: the job of ``utility.json``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from monai_ext import __version__
from monai_ext.data import write_csv, write_json
from monai_ext.usability.cells import Cell, CellTrainer, Settings
from monai_ext.usability.classical import ClassicalAugmentation
from monai_ext.usability.figure import write_figure
from monai_ext.usability.grid import Grid
from monai_ext.usability.rows import parse_models, parse_rows
from monai_ext.usability.sources import open_sources
from monai_ext.usability.table import build_rows, csv_lines, synthetic_over_real

logger = logging.getLogger(__name__)


class UsabilityExperiments:
    """Trains segmentors on mixtures of real, synthetic and augmented slices and judges them by held-out patients.

    Args:
        output_dir: ``cells/``, ``utility.json``, ``utility.csv`` and ``utility.png`` go there; the same command goes
            on with the cells that are finished.
        split_file: see :func:`monai_ext.usability.open_sources`.
        segmentor_root: folder of the ``segmentor`` bundle, whose training defines network, loss and optimiser.
        phantom_dir: where phantom cases go.
        dataset_dir: real cases; ``None`` takes the phantom, and says so.
        synthetic_dir: what ``generate.json`` wrote; needed by rows with synthetic slices.
        rows: see :func:`monai_ext.usability.parse_rows`.
        repeats: trainings of each row, with other weights, other subsets and another order.
        models: see :func:`monai_ext.usability.parse_models`.
        settings: of a training.
        classical: how set A is made.
        data_fraction: see :func:`monai_ext.usability.choose_patients`.
        real_patients: likewise.
        unit_slices: size of a unit; the (reduced) real set's unless given.
        slice_range: slices of the real cases.
        roi_size: centre crop.
        workers: trainings side by side.
        on_bad_case: ``raise`` or ``skip``.
        device: device to run on.
        resample: see :func:`monai_ext.usability.open_sources`.

    Raises:
        ValueError: for rows, models or counts that make no sense, or synthetic studies that are missing.
        LeakError: when a held-out patient is in the training data.
    """

    def __init__(
        self,
        output_dir: str | Path,
        split_file: str | Path,
        segmentor_root: str | Path,
        phantom_dir: str | Path,
        dataset_dir: str | Path | None = None,
        synthetic_dir: str | Path | None = None,
        rows: int | str | Sequence[int | str] = "1,33,17",
        repeats: int = 4,
        models: str | Sequence[str] = "all",
        settings: Settings | Mapping[str, Any] | None = None,
        classical: ClassicalAugmentation | None = None,
        data_fraction: float = 1.0,
        real_patients: int | None = None,
        unit_slices: int | None = None,
        slice_range: Sequence[int] = (55, 105),
        roi_size: Sequence[int] = (160, 192),
        workers: int = 1,
        on_bad_case: str = "raise",
        device: str | torch.device = "cpu",
        resample: bool = False,
    ) -> None:
        self.rows, self.models, self.repeats = parse_rows(rows), parse_models(models), int(repeats)
        settings = settings if isinstance(settings, Settings) else Settings(**(settings or {}))
        if min(self.repeats, settings.batch_size) < 1 or settings.iterations < 2:
            raise ValueError(
                f"repeats and batch_size are at least 1 and iterations at least 2, got {repeats}, "
                f"{settings.batch_size} and {settings.iterations}"
            )
        needy = [r.name for r in self.rows if r.synthetic]
        if needy and not synthetic_dir:
            raise ValueError(
                f"row(s) {', '.join(needy)} need synthetic studies: give --synthetic_dir, a folder that generate.json "
                "wrote (rows without synthetic slices, such as 1, need none)"
            )
        self.output_dir, self.phantom, self.settings = Path(output_dir), not dataset_dir, settings
        self.synthetic_dir = Path(synthetic_dir) if needy else None
        if self.phantom:
            logger.warning("no dataset_dir given: the phantom stands in for patients, the table says nothing about any")
        sources = open_sources(
            dataset_dir, self.synthetic_dir, split_file, phantom_dir, slice_range, roi_size, data_fraction,
            real_patients, settings.seed, on_bad_case, resample,
        )  # fmt: skip
        self.trainer = CellTrainer(sources, self.rows, settings, segmentor_root, classical, unit_slices, device)
        self.grid = Grid(self.trainer, output_dir, int(workers))
        self.described = {
            **asdict(settings), "repeats": self.repeats, "models": self.models, "data_fraction": data_fraction,
            "real_patients": real_patients, "slice_range": list(slice_range), "roi_size": list(roi_size),
            "resample": resample, "classical": asdict(self.trainer.classical),
        }  # fmt: skip

    def run(self) -> dict[str, Any]:
        """Train, judge and write.

        Returns:
            What ``utility.json`` holds.
        """
        # repeat by repeat: set A is made once for each, and a run that is stopped has whole repeats
        cells = [Cell(r, k, m) for k in range(self.repeats) for r in self.rows for m in self.models]
        results = self.grid.run(cells)
        table = build_rows(self.rows, self.models, self.repeats, results, self.settings.seed)
        sources = self.trainer.sources
        report = {
            "rows": table, "train_synthetic_over_real": synthetic_over_real(table), "settings": self.described,
            "unit_slices": self.trainer.unit, "patients": sources.patients(),
            "slices": {n: len(getattr(sources, n)) for n in ("real", "judges")},
            "synthetic": None if sources.synthetic is None
            else {"dir": self.synthetic_dir.name, "studies": len(sources.synthetic)},
            "phantom": self.phantom, "seconds": round(sum(r["seconds"] for r in results.values()), 1),
            "version": __version__,
        }  # fmt: skip
        write_json(self.output_dir / "utility.json", report)
        write_csv(self.output_dir / "utility.csv", csv_lines(table))
        write_figure(self.output_dir / "utility.png", table)
        logger.info("table written to %s", self.output_dir / "utility.json")
        return report
