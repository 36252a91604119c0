from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.transforms import BackgroundMask, BackgroundMaskd, background_mask

IMAGE = torch.tensor([[0.0, 0, 0, 0], [0, 5, 3, 0], [0, 2, 0, 0], [0, 0, 0, 7]])
# nearest neighbour 4 -> 5 reads the indices 0, 1, 2, 2, 3; the crop at offset 0 keeps 0, 1, 2, 2 on both axes
PAD_1 = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]])
# nearest neighbour 4 -> 7 reads 0, 0, 1, 2, 2, 3, 3; the crop at offset 1 keeps 0, 1, 2, 2
PAD_3 = PAD_1
# nearest neighbour 4 -> 8 reads 0, 0, 1, 1, 2, 2, 3, 3; the crop at offset 2 keeps 1, 1, 2, 2
PAD_4 = torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])


def reference(image: np.ndarray, pad: int) -> np.ndarray:
    """Algorithm 2 for one slice; a pixel centre of the enlarged grid reads the pixel of the slice that covers it."""
    indices = [
        ((2 * np.arange(size + pad) + 1) * size // (2 * (size + pad)))[pad // 2 : pad // 2 + size]
        for size in image.shape
    ]
    return 1.0 - (image > 0)[np.ix_(*indices)]


@pytest.mark.parametrize(("pad", "expected"), [(0, (IMAGE == 0).float()), (1, PAD_1), (3, PAD_3), (4, PAD_4)])
def test_masks_computed_by_hand(pad, expected):
    result = background_mask(IMAGE, pad)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


@pytest.mark.parametrize("pad", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("shape", [(31, 41), (160, 192)])
def test_reference_on_random_slices(pad, shape):
    image = (np.random.default_rng(pad).random(shape) - 0.4).astype(np.float32)
    np.testing.assert_array_equal(background_mask(torch.as_tensor(image), pad).numpy(), reference(image, pad))


@pytest.mark.parametrize("pad", [0, 5])
def test_reference_on_real_slices(real_slices, pad):
    for images, _ in real_slices:
        for image in images:
            np.testing.assert_array_equal(background_mask(torch.as_tensor(image), pad).numpy(), reference(image, pad))


def test_batch_equals_single_bit_for_bit():
    images = torch.rand(16, 1, 40, 48, generator=torch.Generator().manual_seed(0)) - 0.5
    result = background_mask(images)
    for index in range(16):
        assert torch.equal(result[index], background_mask(images[index]))


def test_negative_and_nan_are_background():
    image = torch.tensor([[-1.0, float("nan")], [0.0, 2.0]])
    assert torch.equal(background_mask(image, 0), torch.tensor([[1.0, 1], [1, 0]]))


def test_integer_image():
    assert torch.equal(background_mask(IMAGE.to(torch.int16), 1), PAD_1)


def test_array_transform_keeps_metadata():
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    result = BackgroundMask(pad=1)(MetaTensor(IMAGE[None], affine=affine))
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)
    assert torch.equal(result.as_tensor(), PAD_1[None])


def test_dictionary_equals_array():
    data = {"t1": IMAGE[None]}
    result = BackgroundMaskd("t1", pad=1, new_key_prefix="mask_")(data)
    assert torch.equal(result["mask_t1"], BackgroundMask(1)(IMAGE[None]))
    assert result["t1"] is data["t1"]
    assert torch.equal(BackgroundMaskd("t1", pad=1)(data)["t1"], result["mask_t1"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: background_mask(IMAGE, -1), "pad"),
        (lambda: BackgroundMask(pad=1.5), "pad"),
        (lambda: background_mask(IMAGE[0]), "two dimensions"),
        (lambda: BackgroundMask()(IMAGE), r"\(C, H, W\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
