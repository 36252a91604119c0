"""Absolute error and structural similarity of translations, by hand."""

from __future__ import annotations

import pytest
import torch

from monai_ext.losses import TranslationLoss


def test_flat_images_by_hand():
    """Of two flat images SSIM has its luminance term alone: (2ab + c) / (a^2 + b^2 + c), c = 0.01^2."""
    made, real = torch.full((2, 3, 16, 16), 0.5), torch.full((2, 3, 16, 16), 0.25)
    ssim = (2 * 0.5 * 0.25 + 1e-4) / (0.5**2 + 0.25**2 + 1e-4)
    assert float(TranslationLoss(10, 0)(made, real)) == pytest.approx(2.5)
    assert float(TranslationLoss(0, 2)(made, real)) == pytest.approx(2 * (1 - ssim), rel=1e-4)
    assert float(TranslationLoss()(made, real)) == pytest.approx(2.5 + 2 * (1 - ssim), rel=1e-4)
    assert float(TranslationLoss()(real, real)) == pytest.approx(0, abs=1e-5)


def test_modalities_are_images_of_their_own():
    """One modality that is right and one that is wrong: the mean of the two, not SSIM of a stack."""
    images = torch.rand(1, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    made = torch.stack([images[:, 0], 1 - images[:, 1]], 1)
    loss = TranslationLoss(0, 1)
    assert float(loss(made, images)) == pytest.approx(float(loss(made[:, 1:], images[:, 1:])) / 2, rel=1e-5)


def test_it_has_a_gradient():
    made = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    TranslationLoss()(made, torch.zeros(1, 2, 16, 16)).backward()
    assert made.grad.isfinite().all() and made.grad.abs().sum() > 0
