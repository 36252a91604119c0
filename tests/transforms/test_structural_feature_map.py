from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SobelGradients
from scipy.ndimage import correlate1d

from monai_ext.transforms import (
    StructuralFeatureMap,
    StructuralFeatureMapd,
    soft_structural_feature_map,
    structural_feature_map,
)

RISING = [0.0, 0, 0, 1, 1, 1]
# rises by 10 and by 6: the responses are 1 and 0.6 of the largest, on 2 of 10 columns each, so their mean is 0.32
TWO_STEPS = [0.0, 0, 0, 10, 10, 10, 10, 16, 16, 16]


def reference_signals(image: np.ndarray) -> np.ndarray:
    """max(g1, g2) of Algorithm 1 for one slice, in float64."""
    responses = [
        correlate1d(
            correlate1d(image.astype(np.float64), [-0.5, 0, 0.5], axis, mode="mirror"),
            [0.25, 0.5, 0.25],
            other,
            mode="mirror",
        )
        for axis, other in ((0, 1), (1, 0))
    ]
    low, high = np.min(responses, axis=0), np.max(responses, axis=0)
    low, high = ((x - x.min()) / (x.max() - x.min()) for x in (low, high))
    return np.maximum(low.mean() - low, high - high.mean())


def assert_like_reference(image: np.ndarray, beta: float) -> None:
    signal = reference_signals(image)
    decided = np.abs(signal - beta) > 1e-5
    assert decided.mean() > 0.99
    result = structural_feature_map(torch.as_tensor(image), beta).numpy()
    np.testing.assert_array_equal(result[decided], (signal > beta)[decided].astype(np.float32))


@pytest.mark.parametrize(
    ("row", "beta", "expected"),
    [
        (RISING, 0.07, [0, 0, 1, 1, 0, 0]),  # g2 = 1 - 1/3 at the edge
        (RISING, 0.66, [0, 0, 1, 1, 0, 0]),
        (RISING, 0.67, [0, 0, 0, 0, 0, 0]),
        ([1 - x for x in RISING], 0.07, [0, 0, 1, 1, 0, 0]),  # g1 = 2/3 - 0 at a falling edge
        (TWO_STEPS, 0.27, [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]),  # g2 = 0.68 and 0.28
        (TWO_STEPS, 0.29, [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_edges_computed_by_hand(row, beta, expected, transposed):
    image = torch.tensor(row).expand(4, -1)
    target = torch.tensor(expected, dtype=torch.float32).expand(4, -1)
    if transposed:
        image, target = image.T, target.T
    result = structural_feature_map(image, beta)
    assert result.dtype == torch.float32
    assert torch.equal(result, target)


def test_intensity_scale_does_not_matter():
    image = torch.rand(1, 20, 24, generator=torch.Generator().manual_seed(1))
    assert torch.equal(structural_feature_map(image), structural_feature_map(image * 1024))


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1234.567])
def test_constant_slice_gives_zeros(value):
    image = torch.full((2, 31, 33), value)
    assert torch.equal(structural_feature_map(image), torch.zeros(2, 31, 33))
    assert torch.isfinite(soft_structural_feature_map(image)).all()


@pytest.mark.parametrize("beta", [0.07, 0.12])
def test_reference_on_random_slices(beta):
    rng = np.random.default_rng(0)
    for shape in ((40, 48), (33, 27)):
        assert_like_reference(rng.random(shape, dtype=np.float32), beta)


@pytest.mark.parametrize("beta", [0.07, 0.12])
def test_reference_on_real_slices(real_slices, beta):
    for images, _ in real_slices:
        for image in images:
            assert_like_reference(image, beta)


@pytest.mark.parametrize("shape", [(160, 192), (37, 53)])
def test_batch_equals_single_bit_for_bit(shape):
    images = torch.rand(16, 1, *shape, generator=torch.Generator().manual_seed(0))
    result = structural_feature_map(images)
    for index in range(16):
        assert torch.equal(result[index], structural_feature_map(images[index]))
    assert torch.equal(result.view(4, 4, *shape), structural_feature_map(images.view(4, 4, *shape)))


def test_batch_equals_single_on_real_slices(real_slices):
    images = torch.as_tensor(np.concatenate([images for images, _ in real_slices]))
    result = structural_feature_map(images)
    for index in range(len(images)):
        assert torch.equal(result[index], structural_feature_map(images[index]))


def test_autocast_does_not_matter():
    image = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = structural_feature_map(image)
    assert torch.equal(result, structural_feature_map(image))


def test_soft_map_computed_by_hand():
    result = soft_structural_feature_map(torch.tensor(RISING).expand(4, -1), beta=0.07, temperature=0.5)
    # g1 = 0 everywhere; g2 = 2/3 at the edge and -1/3 elsewhere
    edge, flat = 1 / (1 + np.exp(-(2 / 3 - 0.07) / 0.5)), 1 / (1 + np.exp(0.07 / 0.5))
    torch.testing.assert_close(result, torch.tensor([flat, flat, edge, edge, flat, flat]).float().expand(4, -1))


def test_soft_map_agrees_with_hard_map_and_has_a_gradient():
    image = torch.rand(3, 1, 24, 28, generator=torch.Generator().manual_seed(3), requires_grad=True)
    soft = soft_structural_feature_map(image, beta=0.1)
    agreement = ((soft > 0.5).float() == structural_feature_map(image, beta=0.1)).float().mean()
    assert soft.shape == image.shape
    assert agreement > 0.999
    soft.sum().backward()
    assert torch.isfinite(image.grad).all()
    assert (image.grad.flatten(1).abs().amax(dim=1) > 0).all()


def test_array_transform_treats_channels_alone_and_keeps_metadata():
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    image = MetaTensor(torch.rand(2, 16, 18), affine=affine)
    result = StructuralFeatureMap(beta=0.1)(image)
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)
    assert result.dtype == torch.float32
    for channel in range(2):
        expected = structural_feature_map(image.as_tensor()[channel], 0.1)
        assert torch.equal(result.as_tensor()[channel], expected)


def test_integer_numpy_input():
    image = np.random.default_rng(4).integers(0, 2000, (1, 16, 18)).astype(np.int16)
    result = StructuralFeatureMap()(image)
    assert torch.equal(torch.as_tensor(result), structural_feature_map(torch.as_tensor(image).float()))


def test_dictionary_equals_array():
    image = torch.rand(1, 16, 18)
    result = StructuralFeatureMapd("t1", beta=0.1, new_key_prefix="map_")({"t1": image, "other": 1})
    assert torch.equal(result["map_t1"], StructuralFeatureMap(0.1)(image))
    assert result["t1"] is image
    assert torch.equal(StructuralFeatureMapd("t1", beta=0.1)({"t1": image})["t1"], result["map_t1"])
    assert StructuralFeatureMapd("t2", allow_missing_keys=True)({"t1": image}) == {"t1": image}
    with pytest.raises(KeyError):
        StructuralFeatureMapd("t2")({"t1": image})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: structural_feature_map(torch.rand(8)), "two dimensions"),
        (lambda: structural_feature_map(torch.rand(1, 1, 8)), "2x2"),
        (lambda: structural_feature_map(torch.rand(8, 8), beta=-0.1), "beta"),
        (lambda: soft_structural_feature_map(torch.rand(8, 8), temperature=0), "temperature"),
        (lambda: StructuralFeatureMap(beta=-1), "beta"),
        (lambda: StructuralFeatureMap()(torch.rand(8, 8)), r"\(C, H, W\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_same_sobel_as_monai():
    image = torch.rand(1, 12, 14, generator=torch.Generator().manual_seed(5))
    rows, columns = SobelGradients()(image)
    high = torch.maximum(rows, columns)
    high = (high - high.min()) / (high.max() - high.min())
    low = torch.minimum(rows, columns)
    low = (low - low.min()) / (low.max() - low.min())
    expected = (low.mean() - low > 0.2) | (high - high.mean() > 0.2)
    assert torch.equal(structural_feature_map(image, 0.2)[0], expected.float())
