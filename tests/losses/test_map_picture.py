"""The code as a small picture of its map."""

from __future__ import annotations

import pytest
import torch

from monai_ext.losses import map_picture, picture_loss


def test_tiles_by_hand():
    structure = torch.zeros(1, 1, 16, 8)
    structure[0, 0, 0, :4] = 1  # 4 of the 16 pixels of the first tile of 4 x 4
    structure[0, 0, 4:8, 4:8] = 1  # all of the tile below and to the right of it
    structure[0, 0, 8, 0] = 1  # 1 of 16 in the second row of the code
    picture = map_picture(structure, channels=4, stride=8)
    assert picture.shape == (1, 4, 2, 1)
    # channels: upper left, upper right, lower left, lower right tile of the 8 x 8 pixels of a code's pixel
    share = torch.tensor([[4 / 16, 0, 0, 1], [1 / 16, 0, 0, 0]]).T[None, :, :, None]
    assert torch.allclose(picture, (share - 0.13) / 0.16)


@pytest.mark.parametrize("channels, stride", [(1, 8), (4, 8), (16, 16), (4, 16)])
def test_shape_is_that_of_the_code(channels, stride):
    assert map_picture(torch.ones(2, 1, 64, 96), channels, stride).shape == (2, channels, 64 // stride, 96 // stride)


@pytest.mark.parametrize("channels, stride", [(3, 8), (9, 8)])
def test_channels_that_are_no_picture(channels, stride):
    with pytest.raises(ValueError, match=f"needs 1, 4 or 16 channels at stride {stride}, got {channels}"):
        map_picture(torch.zeros(1, 1, 32, 32), channels, stride)


def test_loss_is_the_mean_squared_distance():
    structure = torch.zeros(1, 1, 16, 16)
    empty = -0.13 / 0.16
    assert float(picture_loss(torch.full((1, 4, 2, 2), empty), structure)) == pytest.approx(0, abs=1e-10)
    mean = torch.full((1, 4, 2, 2), empty)
    mean[0, 0] += 0.5  # one channel of four
    assert float(picture_loss(mean, structure)) == pytest.approx(0.25 / 4)
