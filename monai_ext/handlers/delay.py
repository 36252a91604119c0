"""Switch loss terms on after the first epochs of a training."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ignite.engine import Engine, Events

from monai_ext.engines.adversarial import Objective

logger = logging.getLogger(__name__)


class DelayTerms:
    """Leaves loss terms out, and with them the networks that only they need, until a number of epochs is done.

    Args:
        objective: whose weights are changed.
        terms: terms to leave out.
        epochs: epochs without them; 0 leaves everything as it is.

    Raises:
        ValueError: for a term the objective does not have.
    """

    def __init__(self, objective: Objective, terms: Sequence[str], epochs: int) -> None:
        unknown = sorted(set(terms) - set(objective.TERMS))
        if unknown:
            raise ValueError(f"no loss term is called {', '.join(unknown)}; there are {', '.join(objective.TERMS)}")
        self.objective, self.epochs = objective, epochs
        self.configured = {t: objective.weights.get(t, 0.0) for t in terms}

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the weights of one epoch."""
        waiting = engine.state.epoch <= self.epochs
        self.objective.weights.update({t: 0.0 if waiting else w for t, w in self.configured.items()})
        if engine.state.epoch == self.epochs + 1 and self.epochs:
            logger.info("epoch %d: %s switched on", engine.state.epoch, ", ".join(self.configured))
