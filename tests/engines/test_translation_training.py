"""Batches and inference of a training for translation."""

from __future__ import annotations

import pytest
import torch

from monai_ext.engines import PrepareTranslation, TranslationInferer
from monai_ext.networks import CGAN, brain_quantiles


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = CGAN().eval()
    network.style.fit(torch.rand(20, 12, generator=torch.Generator().manual_seed(1)))
    return network


@pytest.fixture
def batch():
    image = torch.rand(3, 4, 32, 32, generator=torch.Generator().manual_seed(2))
    image[..., :8] = 0
    return {"image": image, "label": torch.zeros(3, 1, 32, 32)}


def test_one_drawn_source_of_each_slice(network, batch):
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        sources, targets, (style,), keywords = PrepareTranslation(network.style, mean_style_share=0)(batch)
        assert torch.equal(targets, batch["image"]) and keywords == {}
        for source, study in zip(sources, batch["image"]):
            seen.add(next(m for m in range(4) if torch.equal(source[0], study[m])))
        torch.testing.assert_close(style, network.style(brain_quantiles(batch["image"], batch["label"])))
    assert seen == {0, 1, 2, 3}


def test_every_source(network, batch):
    sources, targets, (style,), _ = PrepareTranslation(network.style, mean_style_share=1, every_source=True)(batch)
    assert sources.shape == (12, 1, 32, 32) and targets.shape == (12, 4, 32, 32)
    assert torch.equal(sources[5, 0], batch["image"][1, 1]) and torch.equal(targets[5], batch["image"][1])
    assert torch.equal(style, torch.zeros(12, 12))


def test_share_of_the_mean_contrast(network, batch):
    torch.manual_seed(0)
    prepare = PrepareTranslation(network.style, mean_style_share=0.25)
    mean = [not row.any() for _ in range(200) for row in prepare(batch)[2][0]]
    assert sum(mean) / len(mean) == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_a_share(network, share):
    with pytest.raises(ValueError, match="mean_style_share is from 0 to 1"):
        PrepareTranslation(network.style, share)


def test_inference_cuts_the_background(network, batch):
    source = batch["image"][:, :1]
    with torch.no_grad():
        made = TranslationInferer(amp=False)(source, network, torch.zeros(3, 12))
        expected = network.translate(source, torch.zeros(3, 12))
    assert made.shape == (3, 4, 32, 32) and not made[..., :8].any()
    assert torch.equal(made[..., 8:], expected[..., 8:]) and made[..., 8:].min() > 0
