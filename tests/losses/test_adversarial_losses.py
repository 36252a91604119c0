"""Adversarial losses against values worked out by hand."""

from __future__ import annotations

from math import exp, log, tanh

import pytest
import torch

from monai_ext.losses import AdversarialLoss, feature_matching_loss, modality_loss


@pytest.mark.parametrize(
    "real, fake, discriminator, generator",
    [
        # (r - 1)^2 + f^2 and (f - 1)^2, means over the patches
        ([1.0], [0.0], 0.0, 1.0),
        ([0.5, 2.0], [1.0, -1.0], (0.25 + 1) / 2 + (1 + 1) / 2, (0 + 4) / 2),
        ([-3.0], [2.0], 16.0 + 4.0, 1.0),
    ],
)
def test_least_squares(real, fake, discriminator, generator):
    loss = AdversarialLoss()
    real, fake = torch.tensor(real).view(1, 1, 1, -1), torch.tensor(fake).view(1, 1, 1, -1)
    assert float(loss.discriminator(real, fake)) == pytest.approx(discriminator)
    assert float(loss.generator(fake)) == pytest.approx(generator)


def test_least_squares_of_two_scales_is_their_mean():
    loss = AdversarialLoss()
    real = [torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0]])]  # 1 and 4
    fake = [torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0]])]  # 2 and 1; as a generator's 1 and 0
    assert float(loss.discriminator(real, fake)) == pytest.approx(2.5 + 1.5)
    assert float(loss.generator(fake)) == pytest.approx(0.5)


def test_hinge():
    """MONAI puts the logits through tanh first."""
    loss = AdversarialLoss("hinge")
    real, fake = torch.tensor([[0.5]]), torch.tensor([[-0.25]])
    assert float(loss.discriminator(real, fake)) == pytest.approx((1 - tanh(0.5)) + (1 + tanh(-0.25)))
    assert float(loss.generator(fake)) == pytest.approx(1 - tanh(-0.25))


def test_bce():
    loss = AdversarialLoss("bce")
    real, fake = torch.tensor([[log(3)]]), torch.tensor([[0.0]])  # probabilities 0.75 and 0.5
    assert float(loss.discriminator(real, fake)) == pytest.approx(-log(0.75) - log(0.5))
    assert float(loss.generator(fake)) == pytest.approx(-log(0.5))


def test_other_criterion():
    with pytest.raises(ValueError, match="bce, hinge, least_squares"):
        AdversarialLoss("wasserstein")


def test_modality():
    logits = torch.tensor([[0.0, 0.0], [log(3), 0.0]])  # softmax 0.5, 0.5 and 0.75, 0.25
    onehot = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(modality_loss(logits, onehot)) == pytest.approx((0.25 + 0.25 + 0.5625 + 0.5625) / 4)
    assert float(modality_loss(torch.tensor([[50.0, 0, 0]]), torch.tensor([[1.0, 0, 0]]))) < 1e-12
    third = exp(1) / (exp(1) + 2)
    expected = ((third - 1) ** 2 + 2 * ((1 - third) / 2) ** 2) / 3
    assert float(modality_loss(torch.tensor([[1.0, 0, 0]]), torch.tensor([[1.0, 0, 0]]))) == pytest.approx(expected)


def test_feature_matching():
    fake = [torch.tensor([[1.0, 2.0]], requires_grad=True), torch.tensor([[0.0]], requires_grad=True)]
    real = [torch.tensor([[0.0, 4.0]], requires_grad=True), torch.tensor([[5.0]], requires_grad=True)]
    loss = feature_matching_loss(fake, real)
    assert loss.item() == pytest.approx((1.5 + 5) / 2)
    loss.backward()
    assert fake[0].grad.tolist() == [[0.25, -0.25]] and fake[1].grad.tolist() == [[-0.5]]
    assert real[0].grad is None and real[1].grad is None
