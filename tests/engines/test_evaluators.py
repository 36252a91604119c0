"""Validation engines and mixed-precision inference."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn
from monai.handlers import MeanDice, from_engine
from torch.utils.data import DataLoader

from monai_ext.engines import AutocastInferer, ImageEvaluator, MapEvaluator, maps_and_masks
from monai_ext.transforms import background_mask


@pytest.fixture(scope="module")
def loader(make_dataset):
    return DataLoader(make_dataset(1, roi_size=(64, 64), slice_range=(3, 6)), batch_size=3)


def run(evaluator):
    seen = []
    evaluator.add_event_handler("ITERATION_COMPLETED", lambda e: seen.extend(e.state.output))
    evaluator.run()
    return seen


def test_map_evaluator(loader, featgen_objective):
    network = featgen_objective().generator
    evaluator = MapEvaluator(
        "cpu", loader, network.train(), canvas_size=(80, 80), seed=1,
        key_val_metric={"dice": MeanDice(output_transform=from_engine(["pred", "label"]))},
    )  # fmt: skip
    items = run(evaluator)
    batch = next(iter(loader))
    structure, mask = maps_and_masks(batch["image"][:, :1], batch["label"], canvas_size=(80, 80))
    assert len(items) == 3 and not network.training
    for i, item in enumerate(items):
        assert torch.equal(item["map_label"], structure[i]) and torch.equal(item["label"], 1 - mask[i])
        assert set(item["pred"].unique().tolist()) | set(item["map"].unique().tolist()) <= {0.0, 1.0}
        assert item["closed"] in (0.0, 1.0)
    assert 0 <= evaluator.state.metrics["dice"] <= 1
    again = run(MapEvaluator("cpu", loader, network, canvas_size=(80, 80), seed=1))
    assert all(torch.equal(a[k], b[k]) for a, b in zip(items, again) for k in a)


def test_map_evaluator_of_a_perfect_network(loader):
    class Perfect(nn.Module):
        latent_size = 2

        def encoder(self, structure):
            return structure, None

        def decoder(self, code):
            return code - 0.5

        def mask(self, structure):
            batch = next(iter(loader))
            return background_mask(batch["image"][:, :1], 5) - 0.5

        def forward(self, code):
            square = torch.zeros(len(code), 1, 64, 64)
            square[:, :, 20:44, 20:44] = 1
            edges = square.clone()
            edges[:, :, 21:43, 21:43] = 0
            edges[1] = 0  # a broken outline fills nothing
            return edges, 1 - square

    for item, closed in zip(run(MapEvaluator("cpu", loader, Perfect(), canvas_size=(80, 80))), (1, 0, 1)):
        assert torch.equal(item["pred"], item["label"]) and torch.equal(item["map"], item["map_label"])
        assert item["closed"] == closed


def test_image_evaluator(loader, cgan_objective):
    network = cgan_objective().network
    items = run(ImageEvaluator("cpu", loader, network.train(), canvas_size=(80, 80), seed=1))
    batch = next(iter(loader))
    assert len(items) == 3 and not network.training
    for i, item in enumerate(items):
        assert torch.equal(item["image"], batch["image"][i]) and item["pred"].shape == (4, 64, 64)
        outside = background_mask(batch["image"][i, :1], 5).expand(4, -1, -1) > 0
        assert not item["pred"][outside].any() and (item["pred"][~outside] > 0).all()
    again = run(ImageEvaluator("cpu", loader, network, canvas_size=(80, 80), seed=1))
    assert all(torch.equal(a["pred"], b["pred"]) for a, b in zip(items, again))
    other = run(ImageEvaluator("cpu", loader, network, canvas_size=(80, 80), seed=1, map_channel=2))
    assert not all(torch.equal(a["pred"], b["pred"]) for a, b in zip(items, other))


@pytest.mark.parametrize("amp, inside", [(True, torch.bfloat16), (False, torch.float32)])
def test_autocast_inferer(amp, inside):
    network, seen = nn.Conv2d(1, 2, 3), []
    network.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    x = torch.rand(1, 1, 8, 8)
    out = AutocastInferer(amp)(x, network)
    assert out.dtype == torch.float32 and seen == [inside]
    torch.testing.assert_close(out, network(x), atol=0.02 * amp, rtol=0.0)
