"""Losses of the structure-map stage against values worked out by hand."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from monai_ext.losses import (
    binarise,
    flow_loss,
    kl_loss,
    leak_loss,
    mask_loss,
    normal_code_loss,
    outside_loss,
    reconstruction_loss,
)


def grid(*values: float) -> torch.Tensor:
    """(1, 1, 2, 2)."""
    return torch.tensor(values).view(1, 1, 2, 2)


@pytest.mark.parametrize(
    "mean, logvar, expected",
    [
        ([[0.0, 0], [0, 0]], [[0.0, 0], [0, 0]], 0.0),
        ([[1.0, 2], [3, 6]], [[0.0, 0], [0, 0]], 9.0),  # mean 3
        ([[1.0, -1], [2, -2]], [[log(4), log(4)], [log(4), log(16)]], 2.25),  # deviations 2, 2, 2, 4: (2.5 - 1)^2
        ([[0.5, 0.5]], [[log(9), 0.0]], 1.25),  # 0.25 + (2 - 1)^2
    ],
)
def test_normal_code(mean, logvar, expected):
    assert float(normal_code_loss(torch.tensor(mean), torch.tensor(logvar))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "mean, logvar, expected",
    [
        ([[0.0, 0.0]], [[0.0, 0.0]], 0.0),
        ([[2.0, 0.0]], [[0.0, 0.0]], 1.0),  # 0.5 * mean(4, 0)
        ([[0.0]], [[log(2)]], 0.5 * (1 - log(2))),
        ([[1.0, -1.0]], [[1.0, 0.0]], 0.25 * ((1 + exp(1) - 2) + 1)),
    ],
)
def test_kl(mean, logvar, expected):
    assert float(kl_loss(torch.tensor(mean), torch.tensor(logvar))) == pytest.approx(expected, abs=1e-6)


def test_flow():
    velocity, noise, code = grid(1.0, 2, 0, -1), grid(0.0, 1, 2, 1), grid(1.0, 1, 1, -2)
    # the way is (1, 0, -1, -3): (0 + 4 + 1 + 4) / 4
    assert float(flow_loss(velocity, noise, code)) == pytest.approx(2.25)
    assert float(flow_loss(code - noise, noise, code)) == 0


def test_reconstruction_squared():
    # sigmoid(0) = 0.5, sigmoid(log 3) = 0.75
    logits = grid(0.0, log(3), -log(3), 0.0)
    structure = grid(1.0, 1, 0, 0)
    assert float(reconstruction_loss(structure, logits)) == pytest.approx((0.25 + 0.0625 + 0.0625 + 0.25) / 4)


def test_reconstruction_bce():
    logits = grid(0.0, log(3), -log(3), log(3))
    structure = grid(1.0, 1, 0, 0)
    expected = -(log(0.5) + log(0.75) + log(0.75) + log(0.25)) / 4
    assert float(reconstruction_loss(structure, logits, "bce")) == pytest.approx(expected, rel=1e-6)


def test_edge_weight():
    logits, structure = grid(0.0, log(3), -log(3), log(3)), grid(1.0, 1, 0, 0)
    # only the two edge pixels, at 0.5 and 0.75, weigh more
    expected = -(3 * log(0.5) + 3 * log(0.75) + log(0.75) + log(0.25)) / 4
    assert float(reconstruction_loss(structure, logits, "bce", 3.0)) == pytest.approx(expected, rel=1e-6)
    assert reconstruction_loss(structure, logits, "squared", 3.0) == reconstruction_loss(structure, logits, "squared")


@pytest.mark.parametrize("weight, slope", [(1.0, 0.1), (1.5, 0.0), (2.0, -0.1)])
def test_edge_weight_draws_an_edge_of_two_in_five(weight, slope):
    """The loss at a probability of one half falls towards no edge, or towards an edge: (0.6 - 0.4 weight) / 2."""
    structure, logit = torch.tensor([1.0, 1, 0, 0, 0]), torch.zeros(1, requires_grad=True)
    reconstruction_loss(structure, logit.expand(5), "bce", weight).backward()
    assert float(logit.grad) == pytest.approx(slope, abs=1e-6)


def test_reconstruction_refuses():
    with pytest.raises(ValueError, match="squared or bce, got 'l1'"):
        reconstruction_loss(grid(0.0, 0, 0, 0), grid(0.0, 0, 0, 0), "l1")


def test_outside():
    # only the two pixels outside the brain count: (0.5^2 + 1) / 4
    assert float(outside_loss(grid(1.0, 0.5, 0.25, 1), grid(0.0, 1, 0, 1))) == pytest.approx(0.3125)


def test_mask():
    value = mask_loss(
        mask=grid(1.0, 1, 0, 0),
        mask_real=grid(0.5, 1, 0.5, 0),  # ||m - m_r||^2 = (0.25 + 0.25) / 4 = 0.125
        structure=grid(1.0, 0, 1, 1),  # ||f * m_r||^2 = (0.25 + 0.25) / 4 = 0.125
        structure_rec=grid(0.0, 0.5, 0, 1),  # ||f_r * m_r||^2 = 0.25 / 4 = 0.0625
        structure_gen=grid(1.0, 0.5, 0, 0),
        mask_gen=grid(1.0, 1, 0, 1),  # ||f_g * m_g||^2 = (1 + 0.25) / 4 = 0.3125
    )
    assert float(value) == pytest.approx(0.625)


def test_mask_without_a_map_from_noise():
    value = mask_loss(grid(1.0, 1, 0, 0), grid(0.5, 1, 0.5, 0), grid(1.0, 0, 1, 1), grid(0.0, 0.5, 0, 1))
    assert float(value) == pytest.approx(0.3125), "the first three of the four terms above"


def test_leak_of_no_map_at_all():
    """The background loses a little at each of the 7 to 10 steps that lead to the band: 1 / (1 + exp(-0.3 / 0.05))."""
    mask = torch.zeros(1, 1, 8, 40)
    mask[..., :5] = 1
    free = 1 / (1 + exp(-6))
    expected = sum(free**depth for depth in (7, 8, 9, 10)) / 4
    assert float(leak_loss(torch.zeros_like(mask), mask)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_leak_without_a_brain_or_without_a_background(value):
    structure = torch.zeros(1, 1, 32, 32, requires_grad=True)
    loss = leak_loss(structure, torch.full((1, 1, 32, 32), value))
    loss.backward()
    assert float(loss.detach()) == 0 and torch.isfinite(structure.grad).all()


def test_binarise_straight_through():
    probability = torch.tensor([0.1, 0.5, 0.7, 0.99, 1e-7], requires_grad=True)
    shown = binarise(probability)
    assert shown.tolist() == [0, 0, 1, 1, 0]
    (shown * torch.tensor([1.0, 2, 3, 4, 5])).sum().backward()
    assert probability.grad.tolist() == [1, 2, 3, 4, 5]


def test_binarise_shows_nothing_but_0_and_1():
    assert set(binarise(torch.rand(10000)).unique().tolist()) == {0.0, 1.0}


def test_a_threshold_alone_would_cut_the_gradient():
    probability = torch.tensor([0.1, 0.7], requires_grad=True)
    assert not (probability > 0.5).float().requires_grad
    assert binarise(probability, "straight_through").requires_grad


def test_binarise_probabilities():
    probability = torch.tensor([0.1, 0.7])
    assert binarise(probability, "probabilities") is probability
    with pytest.raises(ValueError, match="straight_through or probabilities, got 'hard'"):
        binarise(probability, "hard")
