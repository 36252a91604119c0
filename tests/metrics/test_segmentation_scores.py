"""Scores of a case and of its slices against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.metrics import mean_scores, segmentation_scores, slice_scores

LABEL = torch.tensor([[[1, 2], [3, 0]], [[0, 0], [0, 0]], [[2, 2], [0, 0]]])
PRED = torch.tensor([[[1, 2], [0, 0]], [[0, 3], [0, 0]], [[2, 1], [0, 2]]])
# slice 0: sum ab = 5, a^2 = 5, b^2 = 14; slice 1: 0; slice 2: ab = 6, a^2 = 9, b^2 = 8
DICE_INDEX = [10 / 19, 0.0, 12 / 17]
MSE = [9 / 4, 9 / 4, (0 + 1 + 0 + 4) / 4]


@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
def test_segmentation_scores(kind):
    scores = segmentation_scores(PRED.as_subclass(kind), LABEL.as_subclass(kind))
    assert scores == pytest.approx(
        {
            "dice_index": sum(DICE_INDEX) / 3,
            "mse": sum(MSE) / 3,
            "WT": 2 * 4 / (6 + 5),  # predicted 2 + 1 + 3 pixels, true 3 + 0 + 2, in common 2 + 0 + 2
            "TC": 2 * 1 / (3 + 2),  # predicted 1 + 1 + 1, true 2, in common 1
            "ET": 0.0,
        }
    )
    assert all(isinstance(v, float) for v in scores.values())


def test_empty_region_counts_as_brats_does():
    """Both empty: 1. Something predicted where the label has none: 0."""
    empty = torch.zeros(2, 4, 4, dtype=torch.uint8)
    assert segmentation_scores(empty, empty) == {"dice_index": 1.0, "mse": 0.0, "WT": 1.0, "TC": 1.0, "ET": 1.0}
    wrong = empty.clone()
    wrong[0, 0, 0] = 1
    scores = segmentation_scores(wrong, empty)
    assert (scores["WT"], scores["TC"], scores["ET"]) == (0.0, 0.0, 1.0)
    assert scores["dice_index"] == 0.5 and scores["mse"] == pytest.approx(1 / 32)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"one shape, got \(1, 2, 2\) and \(1, 2, 3\)"):
        segmentation_scores(torch.zeros(1, 2, 2), torch.zeros(1, 2, 3))


def test_slice_scores():
    scores = slice_scores(PRED, LABEL)
    np.testing.assert_allclose(scores["dice_index"], DICE_INDEX, rtol=1e-6)
    np.testing.assert_allclose(scores["mse"], MSE)
    np.testing.assert_allclose(scores["WT"], [4 / 5, np.nan, 2 * 2 / (3 + 2)], rtol=1e-6)
    np.testing.assert_allclose(scores["TC"], [2 / 3, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(scores["ET"], [0.0, np.nan, np.nan])


def test_mean_scores():
    rows = [{"WT": 0.5, "mse": 1.0}, {"WT": 0.25, "mse": 0.00004}, {"WT": 0.25, "mse": 0.0}]
    assert mean_scores(rows) == {"WT": 0.3333, "mse": 0.3333}
    assert mean_scores([]) == {}
