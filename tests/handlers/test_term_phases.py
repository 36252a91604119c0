"""A training in phases: which loss terms are on in which epoch."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events

from monai_ext.handlers import TermPhases, moving_average

WEIGHTS = {"map": 0.2, "d_map": 1.0, "kl": 0.01, "flow": 3.0, "normal": 0.0}
PHASES = [
    {"epochs": 2, "terms": ["kl", "normal"]},
    {"epochs": 1, "terms": ["flow"]},
    {"epochs": None, "terms": ["map", "d_map"]},
]


class Recorder:
    """As much of an objective as the handler touches."""

    TERMS = tuple(WEIGHTS)

    def __init__(self):
        self.weights = dict(WEIGHTS)


def at(epoch):
    return SimpleNamespace(state=SimpleNamespace(epoch=epoch))


def seen(handler, objective, epochs):
    """Terms with a weight, and the weights, epoch by epoch."""
    on = []
    for epoch in epochs:
        handler(at(epoch))
        on.append({t for t, w in objective.weights.items() if w})
        assert {t: w for t, w in objective.weights.items() if w} == {t: WEIGHTS[t] for t in on[-1]}
        assert objective.weights.keys() == WEIGHTS.keys()
    return on


def test_phases_by_epoch():
    """The last one goes on to the end; a term whose weight is 0 stays off in its own phase."""
    objective = Recorder()
    on = seen(TermPhases(objective, PHASES), objective, range(1, 8))
    assert on == [{"kl"}, {"kl"}, {"flow"}, *[{"map", "d_map"}] * 4]


def test_epochs_of_the_last_phase_do_not_matter():
    objective = Recorder()
    on = seen(TermPhases(objective, [*PHASES[:2], {"epochs": 1, "terms": ["map"]}]), objective, (4, 5, 99))
    assert on == [{"map"}] * 3


def test_a_phase_of_no_epochs_is_left_out():
    objective = Recorder()
    phases = [{"epochs": 0, "terms": ["kl"]}, {"epochs": 0, "terms": ["flow"]}, PHASES[2]]
    assert seen(TermPhases(objective, phases), objective, (1, 2)) == [{"map", "d_map"}] * 2


@pytest.mark.parametrize("epoch, expected", [(2, {"kl"}), (3, {"flow"}), (4, {"map", "d_map"}), (50, {"map", "d_map"})])
def test_a_resumed_training_begins_in_its_own_phase(epoch, expected):
    objective = Recorder()
    assert seen(TermPhases(objective, PHASES), objective, [epoch]) == [expected]


@pytest.mark.parametrize("done, expected", [(0, ["kl", "kl", "flow", "map"]), (2, ["flow", "map"]), (3, ["map"])])
def test_in_a_training(done, expected):
    """The weights are set before the epoch's first step, also after a checkpoint was loaded."""
    objective, on = Recorder(), []
    engine = Engine(lambda *_: None)
    TermPhases(objective, PHASES).attach(engine)
    engine.add_event_handler(
        Events.ITERATION_STARTED(every=2), lambda: on.append(next(t for t, w in objective.weights.items() if w))
    )
    engine.load_state_dict({"epoch_length": 2, "max_epochs": 4, "iteration": 2 * done})
    engine.run([0, 0], max_epochs=4)
    assert on == expected


@pytest.mark.parametrize("first, new", [(1, [3, 4]), (2, [3, 4]), (3, [3, 4]), (5, [])])
def test_the_moving_average_begins_anew_with_a_phase(first, new):
    """Also where a resumed training begins with one; in the middle of one it goes on."""
    network = torch.nn.Linear(1, 1)
    average, objective = moving_average(network, 0.99), Recorder()
    for _ in range(50):
        average.update_parameters(network)
    handler, begun = TermPhases(objective, PHASES, average), []
    for epoch in range(first, 7):
        with torch.no_grad():
            network.weight.fill_(epoch)
        handler(at(epoch))
        average.update_parameters(network)
        if float(average.module.weight) == epoch:
            begun.append(epoch)
    assert begun == new


def test_no_phases_leave_everything():
    objective = Recorder()
    objective.weights["kl"] = 7.0
    handler = TermPhases(objective, [])
    objective.weights["flow"] = 5.0  # what another handler may do
    for epoch in (1, 2):
        handler(at(epoch))
    assert objective.weights == {**WEIGHTS, "kl": 7.0, "flow": 5.0}


def test_unknown_term_is_named():
    with pytest.raises(ValueError, match="no loss term is called mpa, wolf; there are map, d_map, kl, flow, normal"):
        TermPhases(Recorder(), [{"epochs": 1, "terms": ["wolf", "kl"]}, {"epochs": 1, "terms": ["mpa"]}])


def test_the_log_says_when_a_phase_begins(caplog):
    objective = Recorder()
    with caplog.at_level(logging.INFO, logger="monai_ext.handlers.phases"):
        seen(TermPhases(objective, PHASES), objective, range(1, 6))
    assert [r.getMessage() for r in caplog.records] == [
        "epoch 1, phase 1: kl, normal", "epoch 3, phase 2: flow", "epoch 4, phase 3: d_map, map"
    ]  # fmt: skip
