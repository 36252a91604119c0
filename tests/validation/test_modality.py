"""A classifier of modalities, on modalities that differ by a pattern and not by their brightness."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn

from monai_ext.validation.modality import Classified, classify, distances, train_classifier, vary_intensity

MODALITIES = ("rows", "columns", "disc")


class Patterns:
    """Slices whose modalities are stripes of either direction and a disc, at any brightness."""

    modalities = MODALITIES
    cases = (SimpleNamespace(patient_id="P0"),)

    def __init__(self, seed=0, count=12):
        rng = torch.Generator().manual_seed(seed)
        place = torch.arange(32.0)
        stripes = (0.5 + 0.4 * torch.sin(place / 2))[:, None].expand(32, 32)
        disc = 0.2 + 0.6 * ((place[:, None] - 16) ** 2 + (place[None] - 16) ** 2 < 100).float()
        pure = torch.stack([stripes, stripes.T, disc])
        level = 0.3 + 0.6 * torch.rand(count, 3, 1, 1, generator=rng)
        self.images = (level * pure + 0.02 * torch.rand(count, 3, 32, 32, generator=rng)).clamp(0.01, 1)

    def __len__(self):
        return len(self.images)

    def raw(self, index):
        return {"image": self.images[index]}


@pytest.fixture(scope="module")
def trained():
    return train_classifier(Patterns(), steps=40, studies=4, seed=1)


def test_learns_the_patterns(trained):
    assert not trained.training
    report = classify(trained, Patterns(seed=7).images, batch_size=5).accuracy(MODALITIES)
    assert report["accuracy"] == 1 and report["n"] == 36
    assert report["by_modality"] == dict.fromkeys(MODALITIES, 1.0)
    assert report["confusion"] == [[12, 0, 0], [0, 12, 0], [0, 0, 12]]


def test_one_seed_one_classifier(trained):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    again = train_classifier(Patterns(), steps=40, studies=4, seed=1)
    assert torch.equal(torch.get_rng_state(), state), "draws of the caller stay what they were"
    images = Patterns(seed=7).images
    for a, b in zip(classify(trained, images).features, classify(again, images).features):
        assert torch.equal(a, b)
    other = train_classifier(Patterns(), steps=1, studies=1, seed=2)
    assert not torch.equal(other.head.weight, again.head.weight)


def test_blank_images_are_left_out(trained):
    dataset = Patterns(count=4)
    dataset.images[1, 2] = 0
    done = classify(trained, dataset.images)
    assert [len(f) for f in done.features] == [4, 4, 3] and done.features[0].shape[1] == 64
    assert done.accuracy(MODALITIES)["n"] == 11
    dataset.images[:] = 0
    report = classify(trained, dataset.images).accuracy(MODALITIES)
    assert report["accuracy"] is None and report["by_modality"]["disc"] is None and report["n"] == 0
    dataset.images[0, 0] = 0.5
    train_classifier(dataset, steps=2, studies=4)


class ByLevel(nn.Module):
    """Takes a dark image for the first modality and a bright one for the second; the level is the only feature."""

    num_features = 1

    def forward(self, image):
        level = image.mean((1, 2, 3))[:, None]
        return level, torch.cat([0.5 - level, level - 0.5], 1)


def test_hand_computed_confusion():
    levels = torch.tensor([[0.2, 0.9], [0.3, 0.4], [0.6, 0.8], [0.1, 0.3]])
    done = classify(ByLevel(), levels[..., None, None].expand(-1, -1, 8, 8), batch_size=3)
    assert done.confusion.tolist() == [[3, 1], [2, 2]]
    assert done.accuracy(("a", "b")) == {
        "accuracy": 0.625, "by_modality": {"a": 0.75, "b": 0.5}, "confusion": [[3, 1], [2, 2]], "n": 8,
    }  # fmt: skip
    assert torch.allclose(torch.cat(done.features, 1), levels)


def test_intensities_vary_and_keep_their_order():
    images = torch.linspace(0, 1, 65).reshape(1, 1, 1, 65).repeat(200, 1, 1, 1)
    varied = vary_intensity(images, torch.Generator().manual_seed(0))
    assert (varied[..., 0] == 0).all() and varied.min() == 0 and varied.max() <= 1
    assert (varied[..., 2:].diff() >= 0).all()
    means = varied.mean((1, 2, 3))
    assert means.min() < 0.4 and means.max() > 0.6 and len(means.unique()) > 190
    assert torch.equal(varied, vary_intensity(images, torch.Generator().manual_seed(0)))


def set_of(*features):
    """One modality for each list of numbers."""
    return Classified(tuple(torch.tensor(f)[:, None] for f in features), torch.zeros(2, 2))


def test_hand_computed_distances(caplog):
    training = set_of([0.0, 2.0], [0.0, 1.0])
    report = distances(set_of([1.0, 5.0], [0.0]), set_of([0.0, 2.0], [0.0, 2.0]), training, ("a", "b"))
    assert report["a"]["n"] == {"painted": 2, "real": 2, "training": 2}
    assert report["a"]["fid"] == pytest.approx({"painted": 6, "real": 0}, abs=1e-6)
    # k(1, 5) = 6^3, k(0, 2) = 1, between them 1, 1, 3^3 and 11^3
    assert report["a"]["mmd"]["painted"] == pytest.approx(216 + 1 - 2 * (1 + 1 + 27 + 1331) / 4)
    assert report["b"] == {"n": {"painted": 1, "real": 2, "training": 2}}
    assert "the distances of b are left out: a distribution needs at least two samples" in caplog.text
