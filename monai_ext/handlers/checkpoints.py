"""Checkpoints that a training goes on from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import CheckpointLoader, CheckpointSaver

from monai_ext.engines.ranks import rank

logger = logging.getLogger(__name__)

PATTERN = "checkpoint_epoch=*.pt"


def latest_checkpoint(output_dir: str | Path) -> Path | None:
    """Newest checkpoint that :class:`TrainingCheckpoint` wrote to a folder, ``None`` when there is none."""
    found = list(Path(output_dir).glob(PATTERN))
    return max(found, key=lambda p: int(p.stem.rsplit("=", 1)[1])) if found else None


class TrainingCheckpoint:
    """Keeps the newest checkpoint of a training (weights, optimisers, schedulers, epoch) and resumes from it.

    MONAI's ``CheckpointSaver`` writes it (atomically) and ``CheckpointLoader`` reads it; the trainer itself, whose
    state
    holds the epoch, is added here, since a config cannot name the trainer within its own handlers. In a process group
    every rank loads and rank 0 alone writes.

    Args:
        output_dir: where checkpoints are.
        state: name -> object with a state dictionary.
        interval: epochs between checkpoints; the last epoch is always kept.
        resume: go on from the newest checkpoint, if there is one; a training that has all its epochs does nothing
            more. When false, a checkpoint of an earlier run is an error rather than overwritten.
    """

    def __init__(
        self, output_dir: str | Path, state: Mapping[str, Any], interval: int = 1, resume: bool = False
    ) -> None:
        self.output_dir, self.state, self.interval, self.resume = Path(output_dir), dict(state), interval, resume
        self.resumed_from: Path | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer.

        Raises:
            FileExistsError: when there is a checkpoint and resuming was not asked for.
        """
        found = latest_checkpoint(self.output_dir)
        if found is not None and not self.resume:
            raise FileExistsError(
                f"{found} is from an earlier run: give '--resume true' to go on with it, or another --output_dir"
            )
        self.state["trainer"] = engine
        engine.add_event_handler(Events.STARTED, self.load)
        if rank() > 0:
            return
        CheckpointSaver(
            str(self.output_dir), self.state, file_prefix="", save_interval=self.interval, n_saved=1
        ).attach(engine)
        last = CheckpointSaver(str(self.output_dir), self.state, file_prefix="", save_interval=1, n_saved=1)
        engine.add_event_handler(
            Events.EPOCH_COMPLETED(event_filter=lambda e, n: n == e.state.max_epochs and n % self.interval != 0),
            last.interval_completed,
        )
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.prune)
        engine.add_event_handler(Events.COMPLETED, self.keep_newest)

    def prune(self, engine: Engine) -> None:
        """Remove the checkpoint that was resumed from, once there is a newer one."""
        if self.resumed_from is not None and latest_checkpoint(self.output_dir) != self.resumed_from:
            self.resumed_from.unlink(missing_ok=True)
            self.resumed_from = None

    def keep_newest(self, engine: Engine) -> None:
        """At the end, leave one checkpoint."""
        newest = latest_checkpoint(self.output_dir)
        for path in self.output_dir.glob(PATTERN):
            if path != newest:
                path.unlink()

    def load(self, engine: Engine) -> None:
        """Load the newest checkpoint, if there is one."""
        found = latest_checkpoint(self.output_dir)
        if found is None:
            return
        CheckpointLoader(str(found), self.state)(engine)
        self.resumed_from = found
        logger.info("resumed from %s at epoch %d of %d", found, engine.state.epoch, engine.state.max_epochs)
