"""A training without data: every iteration puts out what the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ignite.engine import Engine
from monai.engines.utils import IterationEvents


@pytest.fixture
def play() -> Callable[..., Engine]:
    """Run handlers over outputs, one a iteration, in epochs of ``epoch_length``."""

    def run(outputs: Sequence[Any], handlers: Sequence[Any], epoch_length: int = 1, batch: Any = 0) -> Engine:
        feed = iter(outputs)

        def step(engine: Engine, _: Any) -> Any:
            engine.state.output = next(feed)
            engine.fire_event(IterationEvents.MODEL_COMPLETED)
            return engine.state.output

        engine = Engine(step)
        engine.register_events(*IterationEvents)
        engine.state.device = "cpu"
        for handler in handlers:
            handler.attach(engine)
        engine.run([batch] * epoch_length, max_epochs=len(outputs) // epoch_length)
        return engine

    return run
