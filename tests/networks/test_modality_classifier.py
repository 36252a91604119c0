"""The judge of modalities."""

from __future__ import annotations

import pytest
import torch

from monai_ext.networks import ModalityClassifier


@pytest.mark.parametrize("size", [(64, 64), (160, 192), (33, 47)])
def test_shapes(size):
    network = ModalityClassifier(3)
    features, logits = network(torch.rand(2, 1, *size))
    assert features.shape == (2, 64) == (2, network.num_features) and logits.shape == (2, 3)


def test_logits_come_from_the_features():
    network = ModalityClassifier(4, channels=(4, 6)).eval()
    features, logits = network(torch.rand(5, 1, 32, 32))
    assert features.shape == (5, 6) and torch.equal(network.head(features), logits)


def test_one_image_is_judged_as_in_a_batch():
    torch.manual_seed(0)
    network, images = ModalityClassifier().eval(), torch.rand(3, 1, 64, 64)
    alone, together = network(images[1:2])[0], network(images)[0][1:2]
    assert torch.allclose(alone, together, atol=1e-5)


def test_half_resolution():
    """A pattern of single pixels is averaged away."""
    network = ModalityClassifier().eval()
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    board = 0.1 * ((rows + columns) % 2).float()[None, None]
    image = 0.2 + 0.5 * torch.rand(1, 1, 16, 16).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(network(image + board)[0], network(image + 0.05)[0], atol=1e-5)


def test_level_and_range_do_not_matter():
    torch.manual_seed(0)
    network, image = ModalityClassifier().eval(), torch.zeros(1, 1, 64, 64)
    image[..., 8:56, 8:56] = 0.2 + 0.5 * torch.rand(48, 48)
    squeezed = (0.3 * image + 0.1) * (image > 0)
    assert torch.allclose(network(image)[0], network(squeezed)[0], atol=1e-5)
    assert not torch.allclose(network(image)[0], network(image.square())[0], atol=1e-4)


def test_images_without_contrast():
    network = ModalityClassifier().eval()
    blank = network(torch.zeros(1, 1, 32, 32))[0]
    assert blank.isfinite().all() and torch.allclose(network(torch.full((1, 1, 32, 32), 0.5))[0], blank)
