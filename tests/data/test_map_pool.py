"""Maps from noise among the training items."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_ext.data import GenerationDataset, LesionBank, MapPool


def pool_of(height: int, width: int, count: int = 3) -> MapPool:
    """Maps with one edge pixel each, in a brain that fills all but a frame of two pixels."""
    maps, masks = torch.zeros(count, 1, height, width), torch.ones(count, 1, height, width)
    masks[:, :, 2:-2, 2:-2] = 0
    for n in range(count):
        maps[n, 0, 3 + n, 4] = 1
    return MapPool(maps, masks)


def test_draws_are_the_maps_and_their_mirror_images():
    pool, rng = pool_of(16, 20), np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        structure, mask = pool.draw(rng)
        assert structure.shape == mask.shape == (1, 16, 20) and structure.dtype == torch.float32
        seen.add(tuple(structure[0].nonzero()[0].tolist()))
        assert torch.equal(mask, pool.masks[0].float())
    assert seen == {(3, 4), (4, 4), (5, 4), (12, 4), (11, 4), (10, 4)}
    assert len(pool) == 3 and pool.nbytes == 2 * 3 * 16 * 20


@pytest.mark.parametrize("maps, masks", [(0, 0), (2, 1)])
def test_a_pool_needs_maps_and_as_many_masks(maps, masks):
    with pytest.raises(ValueError, match="a pool needs maps and as many masks"):
        MapPool(torch.zeros(maps, 1, 4, 4), torch.zeros(masks, 1, 4, 4))


@pytest.mark.parametrize("paired", [True, False])
def test_items_with_a_map_from_noise_have_a_lesion_inside_its_brain(make_dataset, paired):
    slices = make_dataset()
    height, width = slices.raw(0)["label"].shape[1:]
    data = GenerationDataset(
        slices, LesionBank(slices.lesion_labels()), paired, maps=pool_of(height, width), map_share=0.5
    )
    used = []
    for token in range(len(data)):
        item = data[token]
        assert item["map"].shape == item["map_mask"].shape == (1, height, width)
        used.append(float(item["from_noise"]))
        if used[-1]:
            assert not item["own"].any() and not (item["target"] * item["map_mask"]).any() and item["target"].any()
    assert 0 < sum(used) < len(used)
    assert torch.equal(data[3]["map"], data[3]["map"]), "an item depends on its number alone"


def test_share_of_zero_uses_none_and_no_pool_adds_nothing(make_dataset):
    slices = make_dataset()
    height, width = slices.raw(0)["label"].shape[1:]
    bank = LesionBank(slices.lesion_labels())
    none = GenerationDataset(slices, bank, maps=pool_of(height, width), map_share=0.0)
    assert not any(float(none[t]["from_noise"]) for t in range(12))
    assert "map" not in GenerationDataset(slices, bank)[0]


def test_a_brain_without_room_keeps_its_own_slice(make_dataset):
    slices = make_dataset()
    height, width = slices.raw(0)["label"].shape[1:]
    full = MapPool(torch.zeros(1, 1, height, width), torch.ones(1, 1, height, width))
    data = GenerationDataset(slices, LesionBank(slices.lesion_labels()), maps=full, map_share=1.0)
    assert float(data[0]["from_noise"]) == 0 and data[0]["target"].shape == (4, height, width)
