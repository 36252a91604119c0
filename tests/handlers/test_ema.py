"""The moving average against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from monai_ext.handlers import EMAHandler, moving_average


def expected(values: list[float], decay: float) -> float:
    """The first value, then old + (1 - min(decay, (1 + n) / (10 + n))) (new - old) after n values."""
    average = values[0]
    for n, value in enumerate(values[1:], start=1):
        average += (1 - min(decay, (1 + n) / (10 + n))) * (value - average)
    return average


@pytest.mark.parametrize("decay", [0.999, 0.2, 0.0])
def test_formula(decay):
    network = nn.Linear(1, 1, bias=False)
    average, values = moving_average(network, decay), [1.0, 3.0, -2.0, 5.0]
    for value in values:
        nn.init.constant_(network.weight, value)
        average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(expected(values, decay), rel=1e-6)
    assert network.weight.item() == 5.0 and average.n_averaged == 4


def test_second_step_by_hand():
    """After one value the decay is 2 / 11: 1 + (9 / 11) (3 - 1)."""
    assert expected([1.0, 3.0], 0.999) == pytest.approx(1 + 18 / 11)


def test_the_decay_grows_to_its_value():
    network = nn.Linear(1, 1, bias=False)
    average = moving_average(network, 0.9)
    nn.init.constant_(network.weight, 0.0)
    for _ in range(200):
        average.update_parameters(network)
    nn.init.constant_(network.weight, 1.0)
    average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(0.1, rel=1e-5)


def test_handler_follows_every_iteration_and_copies_statistics(play):
    network = nn.BatchNorm1d(1)
    average = moving_average(network, 0.999)
    values = [2.0, 4.0, 0.0]

    class Change:
        def attach(self, engine):
            engine.add_event_handler("ITERATION_STARTED", self)

        def __call__(self, engine):
            nn.init.constant_(network.weight, values[engine.state.iteration - 1])
            network.running_mean.fill_(10 * engine.state.iteration)

    play([None] * 3, [Change(), EMAHandler(average, network)])
    assert average.module.weight.item() == pytest.approx(expected(values, 0.999), rel=1e-6)
    assert average.module.running_mean.item() == 30


def test_average_is_restored_with_its_count():
    network = nn.Linear(1, 1, bias=False)
    one, two = moving_average(network), moving_average(nn.Linear(1, 1, bias=False))
    for value in (1.0, 3.0):
        nn.init.constant_(network.weight, value)
        one.update_parameters(network)
    two.load_state_dict(one.state_dict())
    nn.init.constant_(network.weight, -1.0)
    for average in (one, two):
        average.update_parameters(network)
    assert torch.equal(one.module.weight, two.module.weight) and two.n_averaged == 3
