"""Random numbers of a training step that depend on its number alone."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events

from monai_ext.data.slices import seed_of


class SeedIterations:
    """Seeds PyTorch before every iteration, so that dropout draws the same after a restart as without one.

    Data transforms are seeded by :class:`monai_ext.data.SliceDataset`; this is for what networks draw themselves.

    Args:
        seed: of the training.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed one iteration."""
        torch.manual_seed(seed_of(self.seed, engine.state.iteration, engine.state.rank))
