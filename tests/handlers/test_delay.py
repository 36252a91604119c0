"""Loss terms that join a training later."""

from types import SimpleNamespace

import pytest

from monai_ext.handlers import DelayTerms


class Recorder:
    """As much of an objective as the handler touches."""

    TERMS = ("map", "d_map", "kl")

    def __init__(self):
        self.weights = {"map": 0.2, "d_map": 1.0, "kl": 0.01}


def at(epoch):
    return SimpleNamespace(state=SimpleNamespace(epoch=epoch))


def test_terms_are_off_then_on():
    objective = Recorder()
    handler = DelayTerms(objective, ["map", "d_map"], 2)
    seen = []
    for epoch in (1, 2, 3, 4):
        handler(at(epoch))
        seen.append(dict(objective.weights))
    off, on = {"map": 0.0, "d_map": 0.0, "kl": 0.01}, {"map": 0.2, "d_map": 1.0, "kl": 0.01}
    assert seen == [off, off, on, on]


def test_a_resumed_training_starts_with_its_own_epoch():
    objective = Recorder()
    DelayTerms(objective, ["map"], 2)(at(3))
    assert objective.weights["map"] == 0.2


def test_no_delay_leaves_everything():
    objective = Recorder()
    DelayTerms(objective, ["map"], 0)(at(1))
    assert objective.weights == {"map": 0.2, "d_map": 1.0, "kl": 0.01}


def test_unknown_term_is_named():
    with pytest.raises(ValueError, match="no loss term is called mpa; there are map, d_map, kl"):
        DelayTerms(Recorder(), ["mpa"], 1)
