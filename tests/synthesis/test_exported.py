"""One network for all of synthesis gives what the stream gives."""

from __future__ import annotations

import pytest
import torch

from monai_ext.networks import CGAN, FeatGen, UnshuffleUNet
from monai_ext.synthesis import DiceFilter, MapFilter, Placed, StudyNetwork, StudyStream
from monai_ext.synthesis.stream import candidate_rng, latent_code

SIZE = (96, 96)


class Square:
    """The same lesion of three classes for every brain."""

    def place(self, mask, rng):
        label = torch.zeros(1, *SIZE)
        label[:, 30:60, 40:70], label[:, 35:50, 45:60], label[:, 40:44, 50:54] = 2, 3, 1
        return Placed(label, "square", 1)


@pytest.fixture(scope="module")
def networks():
    """Random weights; the mask's logits lie on both sides of 0, and oedema lets the map through."""
    torch.manual_seed(3)
    return FeatGen(SIZE, prior_steps=2).eval(), CGAN(channels=(8, 8, 8, 8), shown_classes=(2,)).eval()


@pytest.fixture(scope="module")
def candidates(networks):
    segmentor = UnshuffleUNet(4, 4, (4, 8, 8, 8)).eval()
    stream = StudyStream(*networks, Square(), MapFilter(1), DiceFilter(segmentor, 0), seed=5)
    return stream.run(range(3))


def inputs(network, candidate, seed=5):
    latent = latent_code(candidate_rng(seed, candidate.number), network.latent_size)
    return latent, candidate.label[None], torch.tensor([[0.5]]), candidate.style[None], candidate.noise[None]


def test_equals_the_stream(networks, candidates):
    network = StudyNetwork(*networks)
    together = [torch.cat(t) for t in zip(*(inputs(network, c) for c in candidates))]
    with torch.no_grad():
        batch = network(*together)
        for candidate, of_batch in zip(candidates, batch):
            alone = network(*inputs(network, candidate))[0]
            assert 0 < float(candidate.mask.mean()) < 1 and candidate.images.any()
            torch.testing.assert_close(alone, candidate.images, atol=1e-4, rtol=0)
            torch.testing.assert_close(of_batch, candidate.images, atol=1e-4, rtol=0)


def test_mask_threshold(networks, candidates):
    """At 0 everything is outside, at 1 nothing is, and each item has its own."""
    network = StudyNetwork(*networks)
    latent, label, _, style, noise = inputs(network, candidates[0])
    twice = [t.repeat(2, *[1] * (t.ndim - 1)) for t in (latent, label, style, noise)]
    with torch.no_grad():
        nothing, all_of_it = network(twice[0], twice[1], torch.tensor([[0.0], [1.0]]), *twice[2:])
        usual = network(latent, label, torch.tensor([[0.5]]), style, noise)[0]
    assert not nothing.any()
    assert (all_of_it > 0).sum() > (usual > 0).sum() > 0


def test_defaults_and_nothing_drawn_inside(networks, candidates):
    network = StudyNetwork(*networks)
    latent, label, threshold, style, noise = inputs(network, candidates[1])
    with torch.no_grad():
        explicit = network(latent, label, threshold, torch.zeros_like(style), torch.zeros_like(noise))
        torch.manual_seed(17)
        assert torch.equal(network(latent, label), explicit)
    assert not torch.equal(explicit[0], candidates[1].images)


def test_refuses_what_is_no_label(networks, candidates):
    network = StudyNetwork(*networks)
    latent, label, *_ = inputs(network, candidates[0])
    with pytest.raises(ValueError, match="whole numbers in 0..3"):
        network(latent, label + 0.5)
