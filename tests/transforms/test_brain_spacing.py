"""Resampling of a skull-stripped image against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from monai_ext.transforms import BrainSpacing, BrainSpacingd


def line(values, spacing=2.0):
    """One row of voxels along the first axis, 1 mm along the others."""
    array = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
    return MetaTensor(array, affine=torch.diag(torch.tensor([spacing, 1.0, 1.0, 1.0])))


def test_linear_inside_and_zero_outside():
    """Voxels at 0, 3, 6 and 9 mm: the brain is 3 to 6 mm, and as far around as those two are the nearest."""
    out = BrainSpacing(1.0)(line([0.0, 3.0, 6.0, 0.0], spacing=3.0))
    assert out.shape == (1, 10, 1, 1)
    expected = [0, 0, 2, 3, 4, 5, 6, 4, 0, 0]  # 1 and 8 mm: a third of the brain's value, but background is nearer
    np.testing.assert_allclose(out.flatten().numpy(), expected, atol=1e-4)
    assert (out.flatten()[[0, 1, 8, 9]] == 0).all(), "exactly"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_background(value):
    expected = BrainSpacing(1.0)(line([0.0, 3.0, 6.0, 0.0], spacing=3.0))
    found = BrainSpacing(1.0)(line([value, 3.0, 6.0, value], spacing=3.0))
    torch.testing.assert_close(found.as_tensor(), expected.as_tensor())


def test_channels_have_backgrounds_of_their_own():
    one, other = line([0.0, 3.0, 6.0, 0.0], 3.0), line([9.0, 9.0, 0.0, 0.0], 3.0)
    both = BrainSpacing(1.0)(MetaTensor(torch.cat([one, other]), affine=one.affine))
    for channel, single in zip(both, (one, other)):
        torch.testing.assert_close(channel.as_tensor(), BrainSpacing(1.0)(single)[0].as_tensor())


def test_inverse_gives_the_geometry_back():
    data = {"image": line([1.0, 3.0, 6.0, 2.0], spacing=3.0)}
    chain = Compose([BrainSpacingd("image")])
    out = chain(data)
    out["pred"] = MetaTensor(out["image"].as_tensor().clone())
    back = Invertd("pred", chain, orig_keys="image", nearest_interp=False)(out)["pred"]
    assert back.shape == data["image"].shape
    torch.testing.assert_close(back.affine.float(), data["image"].affine.float())
    torch.testing.assert_close(back.as_tensor(), data["image"].as_tensor(), atol=1e-4, rtol=0)
