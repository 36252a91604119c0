"""One progress bar for a whole training, and one log line an epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

logger = logging.getLogger(__name__)


class TrainingProgress:
    """Progress bar over all iterations with the running means of an epoch; the means are logged when it ends.

    Args:
        output_transform: engine output -> name -> number. By default the loss, and each loss term where there are some.
        disable: no bar; ``None`` shows one on a terminal and none in a log file. The log lines stay.
    """

    def __init__(
        self, output_transform: Callable[[Any], Mapping[str, float]] | None = None, disable: bool | None = None
    ) -> None:
        self.output_transform = output_transform or loss_terms
        self.disable = disable
        self._bar: tqdm | None = None
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}  # a term may be absent from some iterations
        self._since = 0.0

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _start(self, engine: Engine) -> None:
        if self._bar is None:
            total = engine.state.max_epochs * engine.state.epoch_length
            done = (engine.state.epoch - 1) * engine.state.epoch_length
            self._bar = tqdm(total=total, initial=done, desc="training", unit="it", disable=self.disable)
        self._sums, self._counts, self._since = {}, {}, time.perf_counter()

    def _advance(self, engine: Engine) -> None:
        for name, value in self.output_transform(engine.state.output).items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._bar.update()
        if "loss" in self._sums:
            self._bar.set_postfix(
                epoch=engine.state.epoch, loss=f"{self._sums['loss'] / self._counts['loss']:.4f}", refresh=False
            )

    def _report(self, engine: Engine) -> None:
        means = ", ".join(f"{n} {v / self._counts[n]:.4f}" for n, v in self._sums.items())
        seconds = time.perf_counter() - self._since
        logger.info("epoch %d/%d in %.1f s: %s", engine.state.epoch, engine.state.max_epochs, seconds, means)

    def _close(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _fail(self, engine: Engine, error: BaseException) -> None:
        self._close(engine)
        raise error


def loss_terms(output: Any) -> dict[str, float]:
    """Loss, and loss terms where there are some, of a trainer's output (a dictionary, or a list of one an item)."""
    first = first_item(output)
    return {"loss": float(first["loss"]), **first.get("losses", {})}


def first_item(output: Any) -> Mapping[str, Any]:
    """A trainer's output, or its first item where it is a list of one an item."""
    return output[0] if isinstance(output, (list, tuple)) else output
