"""The largest connected whole tumour stays, by hand."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_ext.transforms import KeepLargestLesion, KeepLargestLesiond


@pytest.fixture
def label():
    """A lesion of two classes and 5 pixels, one of 3 that is no neighbour, one pixel that touches by a corner."""
    label = torch.zeros(1, 6, 6, dtype=torch.uint8)
    label[0, 0, :3], label[0, 1, :2] = 2, 3
    label[0, 2, 2] = 1
    label[0, 4, 3:] = 3
    return label


def test_by_hand(label):
    expected = label.clone()
    expected[0, 4] = 0
    out = KeepLargestLesion()(label)
    assert torch.equal(out, expected) and out.dtype == torch.uint8
    assert torch.equal(label[0, 4, 3:], torch.full((3,), 3, dtype=torch.uint8)), "the input is not changed"


def test_classes_count_together():
    """Three pixels of two classes beat two of one."""
    label = torch.tensor([[[1, 2, 2, 0, 3, 3]]])
    assert KeepLargestLesion()(label).tolist() == [[[1, 2, 2, 0, 0, 0]]]


def test_through_slices():
    """A part that only the third dimension connects stays."""
    label = torch.zeros(1, 3, 3, 3)
    label[0, 1, 1, 0], label[0, 1, 1, 1], label[0, 0, 0, 2] = 1, 2, 1
    assert torch.equal(KeepLargestLesion()(label), label)


@pytest.mark.parametrize("value", [0, 2])
def test_nothing_to_remove(value):
    label = torch.full((1, 4, 4), value)
    assert torch.equal(KeepLargestLesion()(label), label)


def test_twin_keeps_metadata(label):
    affine = torch.diag(torch.tensor([2.0, 2.0, 1.0, 1.0]))
    out = KeepLargestLesiond("pred")({"pred": MetaTensor(label, affine=affine), "other": label})
    assert torch.equal(out["pred"].as_tensor(), KeepLargestLesion()(label).as_tensor())
    assert torch.equal(out["pred"].affine, affine.to(out["pred"].affine)) and out["other"] is label


def test_one_channel(label):
    with pytest.raises(ValueError, match=r"shape \(1, spatial...\), got shape \(2, 6, 6\)"):
        KeepLargestLesion()(torch.cat([label, label]))
