"""Random shift and cutout."""

import pytest
import torch

from monai_ext.transforms import RandShiftCutout


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_shift_moves_every_channel_alike_and_fills_with_zeros():
    images = torch.arange(1.0, 2 * 1 * 6 * 5 + 1).view(2, 1, 6, 5)
    images = torch.cat([images, 2 * images], 1)
    moved = RandShiftCutout(shift=2, cutout=0)(images, rng())
    down, right = torch.randint(-2, 3, (2, 2), generator=rng()).tolist()
    for n in range(2):
        for r in range(6):
            for c in range(5):
                y, x = r - down[n], c - right[n]
                expected = images[n, :, y, x] if 0 <= y < 6 and 0 <= x < 5 else torch.zeros(2)
                assert torch.equal(moved[n, :, r, c], expected)


def test_cutout_removes_one_square_of_the_right_size():
    cut = RandShiftCutout(shift=0, cutout=0.5)(torch.ones(5, 1, 8, 12), rng())
    for one in cut[:, 0]:
        hole = (one == 0).nonzero()
        assert len(hole) == 4 * 6
        assert (hole.amax(0) - hole.amin(0) + 1).tolist() == [4, 6]


def test_same_draw_for_equal_seeds_and_gradient_passes():
    images = torch.rand(3, 2, 8, 8, requires_grad=True)
    transform = RandShiftCutout(3, 0.25)
    assert torch.equal(transform(images, rng(1)), transform(images, rng(1)))
    assert not torch.equal(transform(images, rng(1)), transform(images, rng(2)))
    transform(images, rng(1)).sum().backward()
    assert set(images.grad.unique().tolist()) <= {0.0, 1.0} and images.grad.any()


def test_nothing_asked_nothing_changed():
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(RandShiftCutout(0, 0)(images, rng()), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_is_kept(dtype):
    assert RandShiftCutout()(torch.rand(1, 1, 32, 32).to(dtype), rng()).dtype == dtype
