"""Test-time flips against the mean worked out by hand."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SliceInferer

from monai_ext.engines import FlipInferer
from monai_ext.networks import UnshuffleUNet


def ramp(images: torch.Tensor) -> torch.Tensor:
    """Logits of two classes: 0, and the image plus the number of its row."""
    rows = torch.arange(images.shape[2], dtype=torch.float32).view(1, 1, -1, 1)
    return torch.cat([torch.zeros_like(images), images + rows], 1)


def test_by_hand():
    images = torch.tensor([[[[0.0], [1.0], [5.0]]]])  # logits 0, 2, 7; mirrored 5, 2, 2, and turned back 2, 2, 5
    found = FlipInferer()(images, ramp)
    expected = (torch.tensor([0.0, 2.0, 7.0]).sigmoid() + torch.tensor([2.0, 2.0, 5.0]).sigmoid()) / 2
    torch.testing.assert_close(found[0, 1, :, 0], expected)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 3, 1))
    torch.testing.assert_close(FlipInferer(enabled=False)(images, ramp), ramp(images))


def test_other_axis():
    images = torch.rand(2, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    turned = FlipInferer(axis=3)(images, ramp)  # the ramp runs along the other axis: mirroring changes nothing
    torch.testing.assert_close(turned, ramp(images).softmax(1))


@pytest.mark.parametrize("enabled", [False, True])
def test_slices_of_a_volume(enabled):
    """Around ``SliceInferer``: each slice as by itself."""
    torch.manual_seed(0)
    network = UnshuffleUNet(1, 3, (4, 4, 4, 4)).eval()
    volume = torch.rand(1, 1, 32, 48, 3)
    slicer = SliceInferer(roi_size=(32, 48), sw_batch_size=2, spatial_dim=2, progress=False)
    with torch.no_grad():
        found = FlipInferer(slicer, enabled)(volume, network)
        for z in range(3):
            expected = FlipInferer(enabled=enabled)(volume[..., z], network)
            torch.testing.assert_close(found[..., z], expected, atol=1e-5, rtol=1e-5)
