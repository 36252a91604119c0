"""Stop early, and say why, when a training goes wrong."""

from __future__ import annotations

import logging
import math

from ignite.engine import Engine, Events

from monai_ext.handlers.progress import first_item

logger = logging.getLogger(__name__)


class LossGuard:
    """Stops at a loss that is not finite, with the case ids of the batch; earlier checkpoints stay as they are."""

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Check one iteration.

        Raises:
            FloatingPointError: naming the terms, the iteration and the cases.
        """
        output = first_item(engine.state.output)
        losses = output.get("losses") or {"loss": float(output["loss"])}
        bad = [n for n, v in losses.items() if not math.isfinite(v)]
        if bad:
            cases = output["case_id"] if "case_id" in output else engine.state.batch["case_id"]
            raise FloatingPointError(
                f"loss term(s) {', '.join(bad)} not finite at iteration {engine.state.iteration}, cases {cases}"
            )


class DiscriminatorGuard:
    """Warns once when a discriminator wins outright: its loss stays near zero for a whole epoch.

    Args:
        terms: discriminator terms to watch.
        threshold: mean of an epoch below which the discriminator has won.
    """

    def __init__(self, terms: tuple[str, ...] | list[str], threshold: float = 0.02) -> None:
        self.terms, self.threshold = tuple(terms), threshold
        self._sums: dict[str, float] = {}
        self._count = 0
        self._warned: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.check)

    def add(self, engine: Engine) -> None:
        """Add one iteration."""
        losses = first_item(engine.state.output)["losses"]
        for term in self.terms:
            self._sums[term] = self._sums.get(term, 0.0) + losses.get(term, self.threshold)
        self._count += 1

    def check(self, engine: Engine) -> None:
        """Judge an epoch."""
        for term, total in self._sums.items():
            if total / max(self._count, 1) < self.threshold and term not in self._warned:
                self._warned.add(term)
                logger.warning(
                    "%s was %.4f over epoch %d: the discriminator wins outright and gives the generator little to "
                    "learn from; lower its learning rate or its weight", term, total / self._count, engine.state.epoch,
                )  # fmt: skip
        self._sums, self._count = {}, 0
