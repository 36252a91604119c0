"""The background's way into a brain through a gap of its outline."""

from __future__ import annotations

import pytest
import torch

from monai_ext.losses import leak_loss
from monai_ext.transforms import ContourMask


def brain(gap: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A square outline two pixels wide, with a gap in its upper side, and a mask two pixels outside it."""
    structure, mask = torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    structure[..., 10:54, 10:54] = 1
    structure[..., 12:52, 12:52] = 0
    structure[..., 10:12, 32 - gap // 2 : 32 - gap // 2 + gap] = 0
    mask[..., 8:56, 8:56] = 0
    return structure, mask


def test_closed_outline_lets_nothing_in():
    assert float(leak_loss(*brain())) < 0.01


def test_the_wider_the_gap_the_more_comes_in():
    values = [float(leak_loss(*brain(gap))) for gap in (0, 4, 8, 16)]
    assert values == sorted(values) and values[1] > 2 * values[0] and values[3] > 0.05


def test_no_outline_at_all_floods_everything():
    structure, mask = brain()
    assert float(leak_loss(torch.zeros_like(structure), mask)) == pytest.approx(1, abs=0.05)


def test_it_agrees_with_algorithm_3():
    """What closes for the contour closes for the loss: a gap of one pixel does, one of eight does not."""
    contour = ContourMask()
    filled = {gap: bool(contour(brain(gap)[0][0])[0, 32, 32] == 0) for gap in (0, 1, 8)}
    assert filled == {0: True, 1: True, 8: False}
    leaks = {gap: float(leak_loss(*brain(gap))) for gap in filled}
    assert max(leaks[0], leaks[1]) < leaks[8] / 2


def test_gradient_asks_for_edges_in_the_gap_and_nowhere_far_from_it():
    structure, mask = brain(8)
    structure = (0.98 * structure + 0.01).requires_grad_()
    leak_loss(structure, mask).backward()
    slope = structure.grad[0, 0]
    assert (slope <= 1e-6).all(), "no pixel of an edge ever lets more in"
    assert slope[8:14, 26:38].min() < 10 * slope[45:, :].min() < 1e-9


def test_two_maps_are_judged_each_by_itself():
    one, two = brain(0), brain(8)
    both = leak_loss(torch.cat([one[0], two[0]]), torch.cat([one[1], two[1]]))
    assert float(both) == pytest.approx((float(leak_loss(*one)) + float(leak_loss(*two))) / 2, rel=1e-4)
