"""A copy of a training study is found; another brain is not."""

from __future__ import annotations

import pytest
import torch

from monai_ext.metrics import nearest_study, study_descriptors


@pytest.fixture
def studies():
    """Six brains, ellipses of smooth texture in two modalities."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(6, 2, 12, 10, generator=rng)
    texture = torch.nn.functional.interpolate(coarse, (96, 80), mode="bilinear")
    y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 80), indexing="ij")
    brain = ((x / 0.8) ** 2 + (y / 0.9) ** 2 <= 1).float()
    return (0.1 + 0.8 * texture) * brain


def test_correlation_by_hand():
    """Brains of 2 x 2 pixels at their own size: the mean of the two modalities' correlations."""
    images = torch.zeros(2, 2, 4, 4)
    images[0, :, 1:3, 1:3] = torch.tensor([[0.2, 0.4], [0.6, 0.8]])
    images[1, 0, 1:3, 1:3] = torch.tensor([[0.1, 0.2], [0.3, 0.4]])  # correlation 1
    images[1, 1, 1:3, 1:3] = torch.tensor([[0.4, 0.2], [0.6, 0.8]])  # 0.8
    found = study_descriptors(images, (2, 2))
    assert found.shape == (2, 8)
    assert float(found[0] @ found[1]) == pytest.approx((1 + 0.8) / 2, abs=1e-5)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_copies_are_found_moved_scaled_mirrored_and_in_another_contrast(studies):
    bank = study_descriptors(studies)
    moved = studies.roll((5, -7), (2, 3))
    scaled = torch.nn.functional.interpolate(studies, scale_factor=1.25, mode="nearest")
    contrast = studies**1.5 * 0.7
    for changed, least in ((studies, 0.999), (moved, 0.999), (scaled, 0.95), (studies.flip(2), 0.99), (contrast, 0.97)):
        similarity, index = nearest_study(changed, bank)
        assert index.tolist() == list(range(6)) and float(similarity.min()) > least
    assert float(nearest_study(studies.flip(2), bank, mirror=False)[0].max()) < 0.6


def test_another_brain_is_not_near(studies):
    similarity, _ = nearest_study(studies[:2], study_descriptors(studies[2:]))
    assert float(similarity.max()) < 0.5


def test_nothing_in_an_empty_study(studies):
    similarity, _ = nearest_study(torch.zeros(1, 2, 96, 80), study_descriptors(studies))
    assert similarity.tolist() == [0]
