"""Loss terms that change in the course of a training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events
from torch.optim.swa_utils import AveragedModel

from monai_ext.engines.adversarial import Objective

logger = logging.getLogger(__name__)


class TermPhases:
    """Trains in phases: terms that a phase does not name are left out, and with them the networks that only they need.

    The moving average begins anew with each phase: what a phase has not trained for long would else stay mixed with the
    weights it started from.

    Args:
        objective: whose weights are changed.
        phases: one dictionary a phase, ``{"epochs": int, "terms": [...]}``; the last one goes on to the end, whatever
            its epochs. None at all leaves everything as it is.
        average: the moving average, if any.

    Raises:
        ValueError: for a term the objective does not have.
    """

    def __init__(
        self, objective: Objective, phases: Sequence[Mapping[str, Any]], average: AveragedModel | None = None
    ) -> None:
        unknown = sorted({t for p in phases for t in p["terms"]} - set(objective.TERMS))
        if unknown:
            raise ValueError(f"no loss term is called {', '.join(unknown)}; there are {', '.join(objective.TERMS)}")
        self.objective, self.phases, self.average = objective, list(phases), average
        self.configured = dict(objective.weights)
        self.current: int | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def _begins(self, epoch: int) -> bool:
        return epoch > 1 and self.phase(epoch) != self.phase(epoch - 1)

    def phase(self, epoch: int) -> int:
        """Number of the phase, from 0, that an epoch, from 1, lies in."""
        last = 0
        for number, phase in enumerate(self.phases[:-1]):
            last += int(phase["epochs"])
            if epoch <= last:
                return number
        return len(self.phases) - 1

    def __call__(self, engine: Engine) -> None:
        """Set the weights of one epoch."""
        if not self.phases:
            return
        number = self.phase(engine.state.epoch)
        terms = set(self.phases[number]["terms"])
        self.objective.weights.update({t: w if t in terms else 0.0 for t, w in self.configured.items()})
        if self.average is not None and self._begins(engine.state.epoch):
            self.average.n_averaged.zero_()
        if number != self.current:
            self.current = number
            logger.info("epoch %d, phase %d: %s", engine.state.epoch, number + 1, ", ".join(sorted(terms)))
