"""A training that goes wrong says so: the cases of a loss that is not finite, a discriminator that wins."""

from __future__ import annotations

import logging
import math

import pytest

from monai_ext.handlers import DiscriminatorGuard, LossGuard


def output(**losses: float) -> dict:
    return {"loss": sum(losses.values()), "losses": losses, "case_id": ["P7", "P8"]}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_loss_guard_names_terms_and_cases(play, bad):
    outputs = [output(a=1.0, b=2.0), output(a=1.0, b=bad, d_c=bad), output(a=1.0)]
    with pytest.raises(FloatingPointError) as error:
        play(outputs, [LossGuard()])
    assert str(error.value) == "loss term(s) b, d_c not finite at iteration 2, cases ['P7', 'P8']"


def test_loss_guard_lets_numbers_pass(play):
    assert play([output(a=1e30, b=-1.0), output(a=0.0)], [LossGuard()]).state.iteration == 2


def test_loss_guard_in_a_supervised_training(play):
    """No terms there, one loss, and the cases are in the batch."""
    with pytest.raises(FloatingPointError, match=r"loss term\(s\) loss not finite at iteration 1, cases \['P7'\]"):
        play([{"loss": math.nan}], [LossGuard()], batch={"case_id": ["P7"]})


def warnings(caplog) -> list[str]:
    return [r.message for r in caplog.records if r.levelno == logging.WARNING]


def test_discriminator_guard_warns_once(play, caplog):
    outputs = [output(d_map=v, d_code=0.5) for v in (0.5, 0.001, 0.01, 0.01, 0.0, 0.0)]
    play(outputs, [DiscriminatorGuard(["d_map", "d_code"])], epoch_length=2)
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].startswith("d_map was 0.0100 over epoch 2: the discriminator wins outright")


@pytest.mark.parametrize("values, threshold, warned", [((0.03, 0.0), 0.02, True), ((0.03, 0.02), 0.02, False)])
def test_discriminator_guard_judges_the_mean_of_an_epoch(play, caplog, values, threshold, warned):
    play([output(d_map=v) for v in values], [DiscriminatorGuard(["d_map"], threshold)], epoch_length=2)
    assert bool(warnings(caplog)) == warned


def test_discriminator_guard_knows_no_term_that_is_not_there(play, caplog):
    play([output(a=0.0)] * 3, [DiscriminatorGuard(["d_map"])])
    assert not warnings(caplog)
