"""The log line of an epoch, and the style that is fitted before the first step."""

from __future__ import annotations

import logging

import pytest
import torch

from monai_ext.handlers import FitStyle, TrainingProgress, loss_terms
from monai_ext.networks import IntensityStyle, brain_quantiles


def test_loss_terms():
    assert loss_terms({"loss": torch.tensor(1.5), "losses": {"a": 1.0}}) == {"loss": 1.5, "a": 1.0}
    assert loss_terms([{"loss": 2}, {"loss": 9}]) == {"loss": 2.0}


def messages(caplog) -> list[str]:
    return [r.message for r in caplog.records if r.message.startswith("epoch ")]


def test_means_of_an_epoch_are_logged(play, caplog):
    outputs = [{"loss": v, "losses": {"a": 10 * v}} for v in (1.0, 2.0, 3.0, 6.0)]
    with caplog.at_level(logging.INFO):
        play(outputs, [TrainingProgress(disable=True)], epoch_length=2)
    first, second = messages(caplog)
    assert first.startswith("epoch 1/2 in ") and first.endswith("s: loss 1.5000, a 15.0000")
    assert second.endswith("s: loss 4.5000, a 45.0000")


def test_a_term_of_some_iterations_is_averaged_over_those(play, caplog):
    outputs = [{"loss": 1.0, "losses": {"a": 4.0}}, {"loss": 3.0}, {"loss": 5.0, "losses": {"a": 2.0}}]
    with caplog.at_level(logging.INFO):
        play(outputs, [TrainingProgress(disable=True)], epoch_length=3)
    assert messages(caplog)[0].endswith("s: loss 3.0000, a 3.0000")


def test_bar(play, capsys):
    play([{"loss": 1.0}] * 4, [TrainingProgress(disable=False)], epoch_length=2)
    assert "training: 100%" in capsys.readouterr().err


def test_errors_are_passed_on(play):
    handler = TrainingProgress(lambda output: output["loss"], disable=True)
    with pytest.raises(KeyError, match="loss"):
        play([{}], [handler])
    assert handler._bar is None


class Resumed:
    """A training that goes on: its iteration counter does not start at 0."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def attach(self, engine):
        engine.add_event_handler("STARTED", lambda e: setattr(e.state, "iteration", self.iteration))


@pytest.mark.parametrize("samples, expected", [(500, 24), (24, 24), (2, 2), (5, 5)])
def test_style_is_fitted_to_slices_spread_over_the_set(play, make_dataset, caplog, samples, expected):
    dataset, style = make_dataset(), IntensityStyle(4)
    with caplog.at_level(logging.INFO):
        play([None], [FitStyle(style, dataset, samples)])
    assert f"style fitted to {expected} slices" in caplog.text
    if expected == 24:
        items = [dataset[i] for i in range(24)]
        rows = torch.cat([brain_quantiles(i["image"][None], i["label"][None]) for i in items])
        torch.testing.assert_close(style.mean, rows.mean(0))
        assert not torch.equal(style.whiten, torch.eye(12))


def test_a_resumed_training_keeps_its_style(play, make_dataset):
    style = IntensityStyle(4)
    play([None] * 2, [Resumed(1), FitStyle(style, make_dataset())])
    assert not style.mean.any() and torch.equal(style.whiten, torch.eye(12))
