from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

pytest.importorskip("cv2")

from monai_ext.transforms import ContourMask, ContourMaskd, background_mask, structural_feature_map


def ring(gap: int = 0) -> torch.Tensor:
    """Outline, one pixel wide, of the square of rows and columns 8..23, open over ``gap`` pixels at the top."""
    edges = torch.zeros(1, 32, 32)
    edges[0, 8, 8:24] = edges[0, 23, 8:24] = edges[0, 8:24, 8] = edges[0, 8:24, 23] = 1
    edges[0, 8, 16 - gap // 2 : 16 - gap // 2 + gap] = 0
    return edges


def filled_square() -> torch.Tensor:
    outside = torch.ones(1, 32, 32)
    outside[0, 8:24, 8:24] = 0
    return outside


@pytest.mark.parametrize("gap", [0, 1])
def test_closed_ring_is_filled(gap):
    # sigma 1: a line keeps 0.40 on itself and leaves 0.24 beside it, so 0.3 cuts exactly along it; a gap of one pixel
    # keeps 0.40 * (1 - 0.40) = 0.24 and opens the ring at sigma 1, but not at sigma 2 with a lower threshold
    result = ContourMask()(ring()) if gap == 0 else ContourMask(sigma=2.0, threshold=0.15)(ring(gap))
    assert result.dtype == torch.float32
    if gap == 0:
        assert torch.equal(result, filled_square())
    assert result[0, 12:20, 12:20].sum() == 0


def test_broken_ring_fills_only_its_strokes():
    result = ContourMask()(ring(gap=8))
    assert result[0, 12:20, 12:20].min() == 1
    # 60 pixels of outline less the gap, give or take the stroke ends and corners, of the 256 of the square
    assert abs(int((result == 0).sum()) - 52) <= 6
    assert (result - filled_square()).abs().mean() > 0.05


def test_empty_map_is_all_outside():
    assert torch.equal(ContourMask()(torch.zeros(1, 16, 20)), torch.ones(1, 16, 20))


def test_channels_are_treated_alone():
    result = ContourMask()(torch.cat([ring(), ring(gap=8)]))
    assert torch.equal(result[:1], ContourMask()(ring()))
    assert torch.equal(result[1:], ContourMask()(ring(gap=8)))


def test_input_is_not_modified_and_metadata_is_kept():
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    edges = MetaTensor(ring(), affine=affine)
    result = ContourMask()(edges)
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)
    assert torch.equal(edges.as_tensor(), ring())
    assert torch.equal(ContourMask()(ring().numpy().astype(np.uint8)).as_tensor(), result.as_tensor())


def test_dictionary_equals_array():
    data = {"map": ring()}
    result = ContourMaskd("map", new_key_prefix="contour_")(data)
    assert torch.equal(result["contour_map"], ContourMask()(ring()))
    assert torch.equal(result["map"], ring())
    assert torch.equal(ContourMaskd("map")(data)["map"], result["contour_map"])


def test_real_maps_agree_with_the_background_mask(real_slices):
    errors = []
    for images, _ in real_slices:
        images = torch.as_tensor(images)
        outside = ContourMask()(structural_feature_map(images, beta=0.07))
        errors += (outside - background_mask(images)).abs().mean(dim=(1, 2)).tolist()
    assert np.median(errors) < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ContourMask(sigma=0), "sigma"),
        (lambda: ContourMask(threshold=1.0), "threshold"),
        (lambda: ContourMask()(torch.zeros(8, 8)), r"\(C, H, W\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
