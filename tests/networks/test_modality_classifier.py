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
    board = ((rows + columns) % 2).float()[None, None]
    assert torch.allclose(network(board)[0], network(torch.full_like(board, 0.5))[0], atol=1e-6)
