"""The paper's Dice and MSE of label-index maps."""

from __future__ import annotations

import pytest
import torch

from monai_ext.metrics import DiceIndexMetric, dice_index, index_mse

CASES = [
    ([0, 0, 0, 0], [0, 0, 0, 0], 1.0, 0.0),
    ([1, 2, 3, 0], [1, 2, 3, 0], 1.0, 0.0),
    ([0, 0, 0, 0], [1, 0, 0, 0], 0.0, 0.25),
    ([3, 0, 0, 0], [0, 0, 0, 0], 0.0, 2.25),
    ([1, 1, 0, 0], [0, 1, 1, 0], 0.5, 0.5),  # 2 * 1 / (2 + 2)
    ([3, 3, 0, 0], [2, 3, 1, 0], 2 * (6 + 9) / (18 + 14), (1 + 0 + 1) / 4),
    ([1, 0, 0, 0], [2, 0, 0, 0], 2 * 2 / (1 + 4), 0.25),  # another class still counts as overlap
]


@pytest.mark.parametrize("pred, label, dice, mse", CASES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_by_hand(pred, label, dice, mse, dtype):
    pred, label = (torch.tensor(v, dtype=dtype).view(1, 2, 2) for v in (pred, label))
    assert dice_index(pred, label).tolist() == pytest.approx([dice])
    assert index_mse(pred, label).tolist() == pytest.approx([mse])
    assert dice_index(label, pred).tolist() == pytest.approx([dice])


def test_each_slice_by_itself():
    pred, label = (torch.tensor([c[i] for c in CASES]).view(-1, 1, 2, 2) for i in (0, 1))
    assert dice_index(pred, label).tolist() == pytest.approx([c[2] for c in CASES])
    assert index_mse(pred, label).tolist() == pytest.approx([c[3] for c in CASES])


def test_large_maps_do_not_overflow():
    full = torch.full((1, 240, 240, 155), 3, dtype=torch.uint8)
    assert dice_index(full, full).item() == 1.0 and index_mse(full, torch.zeros_like(full)).item() == 9.0


def test_metric_averages_slices():
    metric = DiceIndexMetric()
    for start, end in ((0, 3), (3, 7)):
        metric(*(torch.tensor([c[i] for c in CASES[start:end]]).view(-1, 1, 2, 2) for i in (0, 1)))
    assert metric.aggregate().item() == pytest.approx(sum(c[2] for c in CASES) / 7)
    metric.reset()
    metric(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert metric.aggregate().item() == 1.0


def test_metric_refuses():
    with pytest.raises(ValueError, match="one shape"):
        DiceIndexMetric()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
    with pytest.raises(ValueError, match="no slice"):
        DiceIndexMetric().aggregate()
