"""Exponential moving average of a network's weights."""

from __future__ import annotations

import torch
import torch.nn as nn
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float = 0.999) -> AveragedModel:
    """PyTorch's ``AveragedModel`` with exponential weights that forget the random start: the decay grows to its value.

    Args:
        network: what to average.
        decay: share of the old average kept at every step, reached after about 10 / (1 - decay) steps.
    """

    def average(old: torch.Tensor, new: torch.Tensor, steps: torch.Tensor | int) -> torch.Tensor:
        count = float(steps)
        return old.lerp(new, 1 - min(decay, (1 + count) / (10 + count)))

    return AveragedModel(network, avg_fn=average)


class EMAHandler:
    """Updates a moving average after every iteration; validation and inference use the average.

    Args:
        average: see :func:`moving_average`.
        network: what it follows.
    """

    def __init__(self, average: AveragedModel, network: nn.Module) -> None:
        self.average, self.network = average, network

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take one step of the average."""
        self.average.update_parameters(self.network)
        # torch averages parameters; statistics such as the style's are copied
        for mine, theirs in zip(self.average.module.buffers(), self.network.buffers()):
            mine.copy_(theirs)
