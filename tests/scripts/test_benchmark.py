"""The benchmark runs and compares what it says; nothing here depends on how long anything takes."""

from __future__ import annotations

import sys
from argparse import Namespace

import numpy as np
import pytest
import torch

SETTINGS = Namespace(size=64, threads=1, device="cpu", amp=False, rounds=1, memory=False)


@pytest.fixture(scope="module")
def benchmark(script):
    return script("benchmark")


@pytest.fixture
def stargan(benchmark):
    return sys.modules["stargan"]


def test_brains(benchmark):
    image, label = benchmark.brains(2, (64, 96))
    assert image.shape == label.shape == (2, 1, 64, 96) and 0 <= image.min() < image.max() <= 1
    assert label.unique().tolist() == [0, 3] and not image[:, :, 0].any()


def test_a_set_is_four_modalities_on_the_canvas(benchmark):
    whole = benchmark.our_set(SETTINGS)()
    assert whole.shape == (1, 4, 64, 64) and whole[..., 32, 32].all() and not whole[..., 0, 0].any()
    cropped = benchmark.our_set(SETTINGS, (32, 48))()
    assert cropped.shape == (1, 4, 64, 64) and not cropped[..., :16, :].any()


def test_our_step_has_every_loss(benchmark, monkeypatch):
    seen = {}

    class Spy(benchmark.AdversarialTrainer):
        def run(self):
            super().run()
            seen.update(self.state.output[0]["losses"], weights=self.objective.weights)

    monkeypatch.setattr(benchmark, "AdversarialTrainer", Spy)
    benchmark.our_step(SETTINGS)()
    weights = seen.pop("weights")
    assert all(weights.values()) and seen.keys() == weights.keys() and all(np.isfinite(v) for v in seen.values())
    assert seen["cycle_consistency"] > 0


def test_shape_of_stargan(stargan):
    generator, discriminator = stargan.Generator(), stargan.Discriminator(240)
    count = [sum(p.numel() for p in m.parameters()) for m in (generator, discriminator)]
    # the paper's, of colour images of 128 x 128 and five domains, have 8.4 and 44.8 million
    assert 8.2e6 < count[0] < 8.6e6 and 44e6 < count[1] < 46e6
    strides = [m.stride for m in discriminator.trunk if isinstance(m, torch.nn.Conv2d)]
    assert strides == [(2, 2)] * 6 and discriminator.patch.in_channels == 2048


def test_step_of_stargan(stargan):
    torch.manual_seed(0)
    generator, discriminator = stargan.Generator(4), stargan.Discriminator(64, 4)
    image = torch.rand(1, 1, 64, 64)
    assert stargan.generate_set(generator, image).shape == (1, 4, 64, 64)
    before = [[p.detach().clone() for p in m.parameters()] for m in (generator, discriminator)]
    stargan.training_step(image, generator, discriminator)()
    for module, old in zip((generator, discriminator), before):
        assert all(torch.isfinite(p).all() for p in module.parameters())
        assert any(not torch.equal(p, o) for p, o in zip(module.parameters(), old))


def test_references_agree(benchmark):
    assert benchmark.agreement(SETTINGS) > 0.999
    maps = benchmark.batched_maps(SETTINGS)()
    assert maps.shape == (benchmark.SLICES, 1, 64, 64) and 0.01 < maps.mean() < 0.5


def test_in_turns(benchmark):
    calls = []
    medians = benchmark.in_turns({n: lambda n=n: calls.append(n) for n in "ab"}, rounds=2)
    assert calls == list("ababab") and set(medians) == {"a", "b"} and all(s >= 0 for s in medians.values())


def test_table(benchmark, monkeypatch, capsys):
    works = {"one": (lambda s: lambda: None, 1), "two": (lambda s: lambda: None, 16)}
    monkeypatch.setattr(benchmark, "CONTENDERS", {"thing": works})
    monkeypatch.setattr(benchmark, "TASKS", {"cgan": ("thing",), "maps": ()})
    threads = torch.get_num_threads()
    benchmark.main(["cgan", "--rounds", "1", "--threads", "1", "--no-memory"])
    torch.set_num_threads(threads)
    lines = capsys.readouterr().out.split("\n")
    assert lines[1].startswith("| thing, 240 x 240 | seconds |")
    assert [line.split(" | ")[0] for line in lines[3:5]] == ["| one", "| two"]


def test_peak_memory(benchmark):
    """In a process of its own."""
    assert 50 < benchmark.peak_of(SETTINGS, "", "") < 5000
