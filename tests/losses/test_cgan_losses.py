"""Losses of the image stage against values worked out by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from monai_ext.losses import (
    LesionLoss,
    code_consistency_loss,
    cycle_consistency_loss,
    cycle_loss,
    generated_code_loss,
    image_reconstruction_loss,
    outside_mask_loss,
    registration_loss,
    structure_loss,
)
from monai_ext.transforms import soft_structural_feature_map, structural_feature_map


def plane(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value)


def test_image_reconstruction():
    image = torch.tensor([[[[0.0, 1.0]]]])
    assert float(image_reconstruction_loss(image, torch.tensor([[[[0.5, 0.0]]]]))) == pytest.approx((0.25 + 1) / 2)


def test_cycle():
    image = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)  # two sources
    cycled = torch.tensor([[1.0, 3.0, 0.0], [2.0, 2.0, 4.0]]).view(1, 2, 3, 1, 1)  # three targets of each
    assert float(cycle_loss(image, cycled)) == pytest.approx((0 + 4 + 1 + 0 + 0 + 4) / 6)


def test_cycle_consistency():
    cycled = torch.tensor([[1.0, 3.0, 0.0], [2.0, 2.0, 4.0]]).view(1, 2, 3, 1, 1)
    # pairs of targets: (1, 3), (1, 0), (3, 0) and (2, 2), (2, 4), (2, 4)
    assert float(cycle_consistency_loss(cycled)) == pytest.approx((4 + 1 + 9 + 0 + 4 + 4) / 6)
    alone = cycle_consistency_loss(cycled[:, :, :1])
    assert float(alone) == 0 and alone.shape == ()


def test_code_consistency():
    # two items of two targets each: targets of item 0 first
    code = [torch.tensor([1.0, 5.0]).view(2, 1, 1, 1), torch.tensor([0.0, 0.0]).view(2, 1, 1, 1)]
    translated = [torch.tensor([1.0, 2.0, 5.0, 3.0]).view(4, 1, 1, 1), plane(2.0, 4, 1, 1, 1)]
    assert float(code_consistency_loss(code, translated)) == pytest.approx(((0 + 1 + 0 + 4) / 4 + 4) / 2)


def test_generated_code():
    code = [torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)]
    encoded = [torch.tensor([1.0, 3.0, 0.0, 2.0]).view(4, 1, 1, 1)]  # two images of each item
    # ||code_g - code_g,i||^2: (0 + 4 + 0 + 4) / 4; ||code_g,i - code_g,j||^2: (4 + 4) / 2
    assert float(generated_code_loss(code, encoded, 2)) == pytest.approx(2 + 4)
    assert float(generated_code_loss(code, [encoded[0][::2]], 1)) == pytest.approx(0.0)
    assert float(generated_code_loss(code, [encoded[0][1::2]], 1)) == pytest.approx(4.0)
    # two levels: their mean
    assert float(generated_code_loss(code * 2, [encoded[0], plane(0.0, 4, 1, 1, 1)], 2)) == pytest.approx((6 + 0.5) / 2)


def test_registration():
    assert float(registration_loss(plane(1.0, 2, 2, 2, 2), plane(0.5, 2, 2, 2, 2))) == pytest.approx(0.25)


def test_outside_mask():
    images = torch.tensor([[[[1.0, 0.5]], [[0.2, 1.0]]]])  # (1, 2, 1, 2)
    mask = torch.tensor([[[[0.0, 1.0]]]])
    assert float(outside_mask_loss(images, mask)) == pytest.approx((0.25 + 1) / 4)


@pytest.mark.parametrize("canvas_size", [None, (30, 24)])
def test_structure(canvas_size):
    image = torch.zeros(1, 2, 20, 16)
    image[:, 0, 5:15, 4:12] = 0.8
    image[:, 1, 5:15, 4:12] = 0.4
    image[:, 1, 9:11, 7:9] = 0.1
    found = soft_structural_feature_map(image, 0.1, canvas_size=canvas_size)
    structure = structural_feature_map(image[:, :1], 0.1, canvas_size)
    keep = torch.ones(1, 1, 20, 16)
    expected = ((found - structure) ** 2).sum() / (2 * 20 * 16)
    assert float(structure_loss(structure, image, keep, 0.1, canvas_size)) == pytest.approx(float(expected), rel=1e-5)
    # the map of the first modality is its own; the second has a ventricle that the map has not
    own = float(structure_loss(structure, image[:, :1], keep, 0.1, canvas_size))
    other = float(structure_loss(structure, image[:, 1:], keep, 0.1, canvas_size))
    assert own < 0.01 < other
    keep[:, :, 8:12, 6:10] = 0  # erased there: the difference no longer counts
    assert float(structure_loss(structure, image[:, 1:], keep, 0.1, canvas_size)) < 0.01


def test_structure_loss_of_a_flat_image():
    # without any edge g1 = g2 = 0 everywhere: sigmoid(-beta / temperature) = sigmoid(-0.07 / 0.02)
    flat, zeros = plane(0.5, 1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    value = float(structure_loss(zeros, flat, zeros + 1))
    assert value == pytest.approx(float(torch.sigmoid(torch.tensor(-3.5))) ** 2, rel=1e-4)
    assert float(structure_loss(zeros, flat, zeros)) == 0


def test_structure_loss_reaches_the_image():
    image = torch.rand(1, 4, 12, 12, requires_grad=True)
    structure_loss(torch.ones(1, 1, 12, 12), image, torch.ones(1, 1, 12, 12)).backward()
    assert (image.grad.flatten(2).abs().sum(2) > 0).all()


def test_lesion_squared():
    logits = torch.tensor([[0.0, log(3)], [0.0, 0.0]]).view(1, 2, 1, 2)  # softmax of class 0: 0.5, 0.75
    label = torch.tensor([[[[0.0, 1.0]]]])
    loss = LesionLoss("squared", (1.0, 10.0))
    # pixel 0, class 0: differences 0.5, 0.5; pixel 1, class 1: 0.75, 0.75; over four elements
    assert float(loss(logits, label)) == pytest.approx((11 * 0.25 + 11 * 0.5625) / 4)


def test_lesion_squared_default_weights():
    label = torch.tensor([0.0, 1, 2, 3]).view(1, 1, 1, 4)
    logits = torch.zeros(1, 4, 1, 4)  # softmax 0.25 everywhere: each channel is off by 0.75 once and 0.25 three times
    off = 0.75**2 + 3 * 0.25**2
    assert float(LesionLoss("squared")(logits, label)) == pytest.approx(off * (2.5 + 25 + 125 + 125) / 16)


def test_lesion_dice_ce():
    """Cross-entropy plus the soft Dice loss, the batch taken as one."""
    logits = torch.tensor([[0.0, log(3)], [0.0, 0.0]]).view(1, 2, 1, 2)
    label = torch.tensor([[[[0.0, 1.0]]]])
    cross = -(log(0.5) + log(0.25)) / 2
    # probabilities: background 0.5, 0.75, lesion 0.5, 0.25; overlaps 0.5 and 0.25, sums 1.25 + 1 and 0.75 + 1
    dice = ((1 - 2 * 0.5 / 2.25) + (1 - 2 * 0.25 / 1.75)) / 2
    assert float(LesionLoss()(logits, label)) == pytest.approx(cross + dice, abs=1e-4)
    both = LesionLoss()(logits.repeat(2, 1, 1, 1), label.repeat(2, 1, 1, 1))
    assert float(both) == pytest.approx(cross + dice, abs=1e-4)


@pytest.mark.parametrize("criterion", ["squared", "dice_ce"])
def test_lesion_perfect_and_reversed(criterion):
    label = torch.randint(0, 4, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    logits = 30 * torch.nn.functional.one_hot(label[:, 0].long(), 4).movedim(-1, 1).float()
    loss = LesionLoss(criterion)
    assert float(loss(logits, label)) < 1e-4 < 1 < float(loss(-logits, label))


def test_lesion_refuses():
    with pytest.raises(ValueError, match="squared or dice_ce, got 'focal'"):
        LesionLoss("focal")
