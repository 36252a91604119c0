"""HD95 against distances worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_ext.metrics import hausdorff95


def mask(shape, *points):
    """A mask of these voxels."""
    found = torch.zeros(1, 1, *shape)
    for point in points:
        found[(0, 0, *point)] = 1
    return found


@pytest.mark.parametrize(
    "shape, one, other, expected",
    [
        ((8, 8), (1, 1), (4, 5), 5.0),  # 3, 4, 5
        ((5, 8, 8), (0, 1, 1), (2, 4, 7), 7.0),  # 2, 3, 6, 7
        ((8, 8), (2, 2), (2, 2), 0.0),
    ],
)
def test_two_points(shape, one, other, expected):
    pair = mask(shape, one), mask(shape, other)
    assert hausdorff95(*pair).tolist() == [[pytest.approx(expected)]]
    assert hausdorff95(*pair, spacing=2.0).tolist() == [[pytest.approx(2 * expected)]]


def test_percentile_and_larger_direction():
    """A point against a row of 21 points that begins at it: distances 0 to 20 one way, 0 the other."""
    row = mask((1, 24), *[(0, i) for i in range(21)])
    point = mask((1, 24), (0, 0))
    assert float(hausdorff95(row, point)) == float(hausdorff95(point, row)) == pytest.approx(19.0)
    # 100 points side by side and one 50 away: the one is within the 5 % that are not looked at
    near = mask((2, 160), *[(0, i) for i in range(100)])
    far = near.clone()
    far[0, 0, 0, 149] = 1
    assert float(hausdorff95(far, near)) == 0


def test_in_3d_another_slice_is_near():
    """The same lesion one slice on: 1 mm away in 3-D; in 2-D each slice has it on one side alone."""
    pred, label = mask((3, 6, 8), (1, 2, 2)), mask((3, 6, 8), (2, 2, 2))
    assert float(hausdorff95(pred, label)) == 1
    by_slice = hausdorff95(pred[0].movedim(1, 0), label[0].movedim(1, 0))
    assert by_slice.tolist() == [[0.0], [10.0], [10.0]]  # the diagonal of 6 x 8


def test_a_cut_belongs_to_the_surface():
    """Two slices of a block, in the label with a hole of 4 x 4: the block's own cut faces lie over the hole.

    Of the 2 x 64 voxels of its surface 2 x 12 are 1 mm and 2 x 4 are 2 mm from the label; without the faces nothing
    would be further off than 1 mm.
    """
    pred = torch.zeros(1, 1, 2, 12, 12)
    pred[..., 2:10, 2:10] = 1
    label = pred.clone()
    label[..., 4:8, 4:8] = 0
    assert float(hausdorff95(pred, label)) == 2


def test_empty_masks():
    empty, point = mask((3, 4, 12)), mask((3, 4, 12), (1, 1, 1))
    assert float(hausdorff95(empty, empty)) == 0
    assert float(hausdorff95(point, empty)) == float(hausdorff95(empty, point)) == 13  # 3, 4, 12, 13
    assert float(hausdorff95(point, empty, spacing=0.5)) == 6.5


def test_volume_of_brats():
    """What BraTS gives to a lesion that was missed."""
    shape = (240, 240, 155)
    assert float(hausdorff95(mask(shape), mask(shape, (0, 0, 0)))) == pytest.approx(373.13, abs=5e-3)


def test_regions_of_a_batch_do_not_mix():
    first, second = mask((8, 8), (1, 1)), mask((8, 8), (1, 4))
    empty = torch.zeros_like(first)
    pred, label = torch.cat([torch.cat([first, empty], 1), torch.cat([empty, second], 1)]), first.expand(2, 2, 8, 8)
    np.testing.assert_allclose(hausdorff95(pred, label), [[0, np.sqrt(128)], [np.sqrt(128), 3]], rtol=1e-6)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        hausdorff95(mask((4, 4)), mask((4, 5)))
