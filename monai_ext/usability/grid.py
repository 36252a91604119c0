"""Rows x repeats x segmentors: each cell done once, kept in a file of its own, found again after a kill."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch
from monai.utils import set_determinism
from tqdm import tqdm

from monai_ext.data import write_json
from monai_ext.usability.cells import Cell, CellTrainer

logger = logging.getLogger(__name__)

_trainer: CellTrainer | None = None  # of a worker process


def _start_worker(trainer: CellTrainer, threads: int) -> None:
    """Take over the trainer, and go when the parent is killed: a worker that lived on would keep a core busy."""
    global _trainer
    _trainer = trainer
    torch.set_num_threads(threads)
    set_determinism(seed=trainer.settings.seed)

    def follow() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _run_in_worker(cell: Cell) -> dict[str, Any]:
    return _trainer.run(cell)


class Grid:
    """Runs the cells that are not finished.

    Args:
        trainer: what a cell does.
        output_dir: finished cells are ``cells/<row>_<repeat>_<segmentor>.json`` in it.
        workers: processes side by side, which share PyTorch's threads.

    Raises:
        ValueError: for fewer than one worker.
    """

    def __init__(self, trainer: CellTrainer, output_dir: str | Path, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"workers is at least 1, got {workers}")
        self.trainer, self.folder, self.workers = trainer, Path(output_dir) / "cells", workers

    def path(self, cell: Cell) -> Path:
        """File of a finished cell."""
        return self.folder / f"{cell.name}.json"

    def finished(self, cell: Cell) -> dict[str, Any] | None:
        """Result of a cell that an earlier run finished with the very same settings and data; else ``None``."""
        path = self.path(cell)
        if not path.is_file():
            return None
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            logger.warning("%s cannot be read: trained again", path)
            return None
        if result.get("digest") != self.trainer.digest(cell):
            logger.warning("%s was made with other settings or data: trained again", path)
            return None
        return result

    def run(self, cells: Sequence[Cell]) -> dict[Cell, dict[str, Any]]:
        """Results of all cells, in the order given."""
        results = {c: r for c in cells if (r := self.finished(c)) is not None}
        todo = [c for c in cells if c not in results]
        if results:
            logger.info("%d of %d cells are finished already", len(results), len(cells))
        with tqdm(total=len(cells), initial=len(results), desc="trainings", unit="cell") as bar:
            for cell, result in self._work(todo):
                write_json(self.path(cell), result)
                results[cell] = result
                bar.set_postfix_str(f"{cell.name}: {result['seconds']:.0f} s")
                bar.update()
        return {c: results[c] for c in cells}

    def _work(self, todo: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
        if self.workers == 1 or len(todo) < 2:
            for cell in todo:
                yield cell, self.trainer.run(cell)
            return
        threads = max(torch.get_num_threads() // self.workers, 1)
        with ProcessPoolExecutor(
            min(self.workers, len(todo)), get_context("spawn"), _start_worker, (self.trainer, threads)
        ) as pool:
            futures = {pool.submit(_run_in_worker, cell): cell for cell in todo}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
