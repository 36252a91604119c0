"""Algorithm 3 on hand-made outlines, and the Dice filter against hand-computed scores."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from monai_ext.synthesis import DiceFilter, MapFilter


def test_closed_outline_passes(ring):
    structure, mask = ring(60)
    kept, error, classical = MapFilter()(structure, mask)
    assert kept and error < 0.03
    assert classical.shape == (1, 160, 192) and set(classical.unique().tolist()) == {0.0, 1.0}
    assert classical[0, 80, 96] == 0 and classical[0, 0, 0] == 1
    assert error == pytest.approx(float((classical != mask).float().mean()))


def test_broken_outline_is_turned_down(ring):
    structure, mask = ring(60, gap=0.1)
    kept, error, classical = MapFilter()(structure, mask)
    assert not kept and error > 0.2
    assert classical[0, 80, 96] == 1, "an open outline is not filled"


@pytest.mark.parametrize("gap", [0.0, 0.1, 1.1])
def test_threshold_one_keeps_everything(ring, gap):
    structure, mask = ring(60, gap=gap)
    assert MapFilter(1.0)(structure, mask)[0]
    assert MapFilter(1.0)(structure, 1 - mask)[0]


def test_threshold_is_the_largest_error_kept(ring):
    structure, mask = ring(60)
    error = MapFilter()(structure, mask)[1]
    assert MapFilter(error)(structure, mask)[0] and not MapFilter(error * 0.99)(structure, mask)[0]


class Fixed(nn.Module):
    """Predicts the same classes whatever it sees."""

    def __init__(self, classes: torch.Tensor) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(self.classes, 4).movedim(-1, 1).float()


def test_dice_index_of_the_filter():
    label = torch.tensor([[[1.0, 2.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]], [[2.0, 0.0], [0.0, 0.0]]])[:, None]
    pred = torch.tensor([[[1, 2], [2, 0]], [[0, 0], [0, 3]], [[0, 1], [0, 0]]])
    kept, scores = DiceFilter(Fixed(pred), 0.95)(torch.zeros(3, 4, 2, 2), label)
    # 2 (1 + 4 + 6) / (9 + 14); equal; no overlap
    assert scores == pytest.approx([22 / 23, 1.0, 0.0])
    assert kept == [True, True, False]
    assert DiceFilter(Fixed(pred), 0.96)(torch.zeros(3, 4, 2, 2), label)[0] == [False, True, False]
    assert DiceFilter(Fixed(pred), 0.0)(torch.zeros(3, 4, 2, 2), label)[0] == [True, True, True]
