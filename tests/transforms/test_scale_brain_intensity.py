from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Flip

from monai_ext.transforms import ScaleBrainIntensity, ScaleBrainIntensityd

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("image", "lower", "upper", "expected"),
    [
        ([0, 1, 2, 3], 0, 100, [0, 0.02, 0.51, 1]),
        ([0, 1, 2, 3, 4, 5], 25, 75, [0, 0.02, 0.02, 0.51, 1, 1]),  # the quartiles of 1..5 are 2 and 4
        ([-2, 0, 2, 0], 0, 100, [0.02, 0, 1, 0]),
        ([NAN, 1, 3, INF, -INF, 0], 0, 100, [0, 0.02, 1, 0, 0, 0]),
        ([0, 7, 7, 0], 1, 99.5, [0, 1, 1, 0]),
        ([0, 0, NAN, 0], 1, 99.5, [0, 0, 0, 0]),
    ],
)
def test_values_computed_by_hand(image, lower, upper, expected):
    result = ScaleBrainIntensity(lower, upper)(torch.tensor([image], dtype=torch.float32)[..., None])
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, torch.tensor([expected], dtype=torch.float32)[..., None], atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
def test_reference_range_and_background(dtype):
    rng = np.random.default_rng(0)
    image = np.where(rng.random((2, 12, 14, 10)) < 0.5, 0, rng.integers(1, 200, (2, 12, 14, 10))).astype(dtype)
    image[1] *= dtype(0.5) if np.issubdtype(dtype, np.floating) else dtype(1)
    result = ScaleBrainIntensity(floor=0.05)(image).numpy()
    assert result.min() == 0
    assert result.max() <= 1
    np.testing.assert_array_equal(result > 0, image != 0)
    for channel, scaled in zip(image.astype(np.float64), result, strict=True):
        low, high = np.percentile(channel[channel != 0], (1.0, 99.5))
        expected = np.where(channel != 0, np.clip((channel - low) / (high - low), 0, 1) * 0.95 + 0.05, 0)
        np.testing.assert_allclose(scaled, expected, atol=1e-5)


@pytest.mark.parametrize("floor", [1e-6, 0.02, 0.3, 0.999])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_foreground_is_above_zero_and_at_most_one(floor, scale):
    image = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)) * scale + scale
    result = ScaleBrainIntensity(floor=floor)(image)
    assert result.min() > 0
    assert result.max() <= 1


def test_channels_are_scaled_alone():
    image = torch.rand(3, 8, 9, 5, generator=torch.Generator().manual_seed(1))
    image[1] *= 100
    image[2] = 0
    result = ScaleBrainIntensity()(image)
    for channel in range(3):
        assert torch.equal(result[channel : channel + 1], ScaleBrainIntensity()(image[channel : channel + 1]))


def test_input_is_not_modified_and_metadata_is_kept():
    affine = torch.diag(torch.tensor([2.0, 3, 4, 1], dtype=torch.float64))
    image = Flip(0)(MetaTensor(torch.rand(1, 6, 7, 8), affine=affine))
    before = image.clone()
    result = ScaleBrainIntensity()(image)
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, image.affine)
    assert len(result.applied_operations) == 1
    assert torch.equal(image.as_tensor(), before.as_tensor())


def test_dictionary_equals_array():
    data = {"image": torch.rand(2, 6, 7), "label": torch.ones(1, 6, 7)}
    result = ScaleBrainIntensityd("image", lower=5, upper=95, floor=0.1)(data)
    assert torch.equal(result["image"], ScaleBrainIntensity(5, 95, 0.1)(data["image"]))
    assert result["label"] is data["label"]


def test_real_slices_keep_their_background(real_slices):
    for images, _ in real_slices:
        result = ScaleBrainIntensity()(images)
        assert torch.equal(result > 0, torch.as_tensor(images != 0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ScaleBrainIntensity(lower=50, upper=50), "percentiles"),
        (lambda: ScaleBrainIntensity(upper=101), "percentiles"),
        (lambda: ScaleBrainIntensity(floor=0), "floor"),
        (lambda: ScaleBrainIntensity()(torch.rand(4)), "channel-first"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
