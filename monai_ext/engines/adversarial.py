"""One trainer for both adversarial bundles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn as nn
from ignite.engine import Events
from monai.engines import Trainer
from monai.engines.utils import IterationEvents, default_metric_cmp_fn
from monai.utils import CommonKeys
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from monai_ext.data.slices import seed_of
from monai_ext.engines.ranks import average_gradients, broadcast, broadcast_state

Terms = dict[str, torch.Tensor]


class Objective(nn.Module, ABC):
    """What an adversarial bundle trains: its networks, and the losses of one step.

    Subclasses set ``generator`` and ``discriminator`` (modules that one optimiser each trains), name their terms in
    ``TERMS`` and implement the three methods. A term whose weight is 0 is not computed.

    Args:
        weights: term -> weight.

    Raises:
        ValueError: for a weight of no known term, which would otherwise do nothing in silence.
    """

    TERMS: tuple[str, ...] = ()
    generator: nn.Module
    discriminator: nn.Module

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        unknown = sorted(set(weights) - set(self.TERMS))
        if unknown:
            raise ValueError(f"no loss term is called {', '.join(unknown)}; there are {', '.join(self.TERMS)}")
        self.weights = dict(weights)

    def wants(self, *names: str) -> bool:
        """True when any of these terms has a weight."""
        return any(self.weights.get(n, 0) for n in names)

    @abstractmethod
    def produce(self, batch: Mapping[str, Any], rng: torch.Generator) -> dict[str, Any]:
        """Forward passes of the generator side; what both loss methods read."""

    @abstractmethod
    def discriminator_terms(self, step: dict[str, Any]) -> Terms:
        """Unweighted loss terms of the discriminators, on detached fakes; may leave more in ``step``."""

    @abstractmethod
    def generator_terms(self, step: Mapping[str, Any]) -> Terms:
        """Unweighted loss terms of the generator side."""


class AdversarialTrainer(Trainer):
    """Trains an :class:`Objective`: one discriminator step, one generator step, on the same forward pass.

    MONAI's ``GanTrainer`` never shows the batch to the generator and its ``AdversarialTrainer`` takes the condition for
    the real image; neither fits several networks and many loss terms. This one is a ``Trainer``, so every MONAI handler
    attaches. Its output per iteration is a list of one, ``{"loss": generator total, "losses": {name: float}, "case_id":
    ...}``, the terms of the discriminators prefixed ``d_``.

    In a process group every rank takes its own batches. All start from the parameters and buffers of rank 0, and each
    side's gradients are averaged before its optimiser steps, so that the ranks stay equal and N of them with a batch of
    B take the step of one with a batch of N * B, for losses that are means over the items. Buffers, such as running
    statistics, follow rank 0 after every step, as with ``DistributedDataParallel``. Noise is drawn from the rank too.

    Args:
        device: device to train on.
        max_epochs: epochs.
        train_data_loader: batches, dictionaries of tensors.
        objective: networks and losses.
        generator_optimizer: over the generator's parameters.
        discriminator_optimizer: over the discriminator's parameters.
        epoch_length: iterations of an epoch, the loader's length when ``None``.
        seed: iteration i draws its noise from (seed, i), so a restart draws the same.
        amp: autocast to bfloat16, on CPU or GPU; weights stay float32, no loss scaling is needed.
        accumulation_steps: batches whose gradients are summed before the optimisers step.
        clip_norm: gradient norm cut per side, ``None`` for no cut.
        train_handlers: MONAI or ignite handlers.
        key_train_metric: as in ``Trainer``.
        additional_metrics: as in ``Trainer``.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable | DataLoader,
        objective: Objective,
        generator_optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        epoch_length: int | None = None,
        seed: int = 0,
        amp: bool = False,
        accumulation_steps: int = 1,
        clip_norm: float | None = None,
        train_handlers: Sequence | None = None,
        key_train_metric: dict | None = None,
        additional_metrics: dict | None = None,
    ) -> None:
        if accumulation_steps < 1:
            raise ValueError(f"accumulation_steps must be at least 1, got {accumulation_steps}")
        super().__init__(
            device=torch.device(device), max_epochs=max_epochs, data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=False, key_metric=key_train_metric, additional_metrics=additional_metrics,
            metric_cmp_fn=default_metric_cmp_fn, handlers=train_handlers, amp=False, decollate=False,
        )  # fmt: skip
        self.objective = objective
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.seed, self.autocast, self.accumulation_steps, self.clip_norm = seed, amp, accumulation_steps, clip_norm
        self.rng = torch.Generator()  # noise is drawn on the CPU: the same on every device
        # after the handlers, which may load a checkpoint or fit statistics
        self.add_event_handler(Events.STARTED, lambda engine: broadcast_state(engine.objective))

    def _amp(self) -> Any:
        return torch.autocast(self.state.device.type, dtype=torch.bfloat16) if self.autocast else nullcontext()

    def _total(self, terms: Terms, prefix: str) -> torch.Tensor:
        weights = self.objective.weights
        unknown = [n for n in terms if prefix + n not in weights]
        if unknown:
            raise KeyError(f"no weight for loss term(s) {', '.join(prefix + n for n in unknown)}")
        return sum(
            (weights[prefix + n] * v.float() for n, v in terms.items()), torch.zeros((), device=self.state.device)
        )

    def _step(self, optimizer: Optimizer, module: nn.Module) -> None:
        average_gradients(module.parameters())
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), self.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _iteration(self, engine: AdversarialTrainer, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        if batchdata is None:
            raise ValueError("no batch for this iteration")
        objective, state = engine.objective, engine.state
        batch = {k: v.to(state.device) if isinstance(v, torch.Tensor) else v for k, v in batchdata.items()}
        engine.rng.manual_seed(seed_of(engine.seed, state.iteration, state.rank))
        objective.train()
        count = (state.iteration - 1) % state.epoch_length + 1
        stepping = count % engine.accumulation_steps == 0 or count == state.epoch_length

        objective.generator.requires_grad_(True)
        with engine._amp():
            step = objective.produce(batch, engine.rng)
            d_terms = objective.discriminator_terms(step)
            d_loss = engine._total(d_terms, "d_")
        if d_loss.requires_grad:
            (d_loss / engine.accumulation_steps).backward()
        if stepping:  # whatever the terms of this batch: other ranks, or earlier batches, may have gradients
            engine._step(engine.discriminator_optimizer, objective.discriminator)

        objective.discriminator.requires_grad_(False)
        with engine._amp():
            g_terms = objective.generator_terms(step)
            g_loss = engine._total(g_terms, "")
        (g_loss / engine.accumulation_steps).backward()
        objective.discriminator.requires_grad_(True)
        if stepping:
            engine._step(engine.generator_optimizer, objective.generator)
        broadcast(objective.buffers())

        losses = {
            **{n: float(v.detach()) for n, v in g_terms.items()},
            **{f"d_{n}": float(v.detach()) for n, v in d_terms.items()},
        }
        # a list, as MONAI's trainers have after decollating: `--tracking mlflow` reads the loss of its first item
        state.output = [
            {CommonKeys.LOSS: float(g_loss.detach()), "d_loss": float(d_loss.detach()), "losses": losses,
             "case_id": batchdata.get("case_id")}
        ]  # fmt: skip
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return state.output
