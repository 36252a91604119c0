"""Scores of a case and of its slices against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.labels import merged_classes
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


def test_surface_distances():
    """Slices of 2 x 2 pixels: by case in 3-D, by slice in 2-D and only where the label has the region."""
    scores = segmentation_scores(PRED, LABEL, surface=True)
    assert list(scores) == ["dice_index", "mse", "WT", "TC", "ET", "hd95_WT", "hd95_TC", "hd95_ET"]
    # enhancing: predicted at (1, 0, 1), labelled at (0, 1, 0)
    assert scores["hd95_ET"] == pytest.approx(np.sqrt(3))
    # core: predicted at (0, 0, 0), (1, 0, 1), (2, 0, 1); labelled at (0, 0, 0) and (0, 1, 0): 0, sqrt 2, sqrt 5
    assert scores["hd95_TC"] == pytest.approx(np.quantile([0, np.sqrt(2), np.sqrt(5)], 0.95))
    by_slice = slice_scores(PRED, LABEL, surface=True)
    np.testing.assert_allclose(by_slice["hd95_ET"], [np.sqrt(8), np.nan, np.nan], rtol=1e-6)  # missed: the diagonal
    np.testing.assert_allclose(by_slice["hd95_TC"], [np.quantile([0, 1], 0.95), np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(by_slice["hd95_WT"][1:], [np.nan, np.quantile([0, 0, 1], 0.95)], rtol=1e-6)
    assert "hd95_WT" not in slice_scores(PRED, LABEL)


@pytest.mark.parametrize("num_classes, names", [(1, ["WT"]), (2, ["WT", "TC"])])
def test_fewer_classes_tell_fewer_regions(num_classes, names):
    """Merged labels: the regions that are left score as they do with every class."""
    table = torch.tensor([merged_classes(num_classes)[k] for k in range(4)])
    scores = segmentation_scores(table[PRED], table[LABEL], num_classes, surface=True)
    assert list(scores) == ["dice_index", "mse", *names, *(f"hd95_{n}" for n in names)]
    everything = segmentation_scores(PRED, LABEL, surface=True)
    assert {n: scores[n] for n in names} == {n: everything[n] for n in names}
    by_slice = slice_scores(table[PRED], table[LABEL], num_classes)
    assert list(by_slice) == ["dice_index", "mse", *names]


def test_mean_scores():
    rows = [{"WT": 0.5, "mse": 1.0}, {"WT": 0.25, "mse": 0.00004}, {"WT": 0.25, "mse": 0.0}]
    assert mean_scores(rows) == {"WT": 0.3333, "mse": 0.3333}
    assert mean_scores([]) == {}
