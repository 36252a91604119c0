"""What a step of the image generator sees: lesions that fit the brain, modalities that belong together or do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import RandFlipd
from torch.utils.data import DataLoader

from monai_ext.data import GenerationDataset, LesionBank, PlacementError, SliceSampler
from monai_ext.transforms import RandLesionLabel, background_mask


def square(row: int, column: int, value: int = 2) -> np.ndarray:
    label = np.zeros((16, 16), np.uint8)
    label[row : row + 3, column : column + 3] = value
    return label


@pytest.fixture
def bank() -> LesionBank:
    return LesionBank([square(7, 7, 1), square(2, 2, 2), square(11, 9, 3)])


def test_draw_is_one_of_the_labels_moved(bank):
    rng = np.random.default_rng(0)
    values = {1: set(), 2: set(), 3: set()}
    for _ in range(60):
        label, source = bank.draw(rng)
        assert label.shape == (1, 16, 16) and label.dtype == torch.float32 and len(bank) == 3
        assert set(label.unique().tolist()) == {0.0, source + 1.0}
        values[source + 1].add(label.numpy().tobytes())
    assert all(len(v) > 10 for v in values.values())
    still = LesionBank([square(4, 5)], RandLesionLabel(prob=0.0))
    np.testing.assert_array_equal(still.draw(rng)[0][0].numpy(), square(4, 5))


def test_place_is_inside_the_brain(bank):
    mask = torch.ones(1, 16, 16)
    mask[:, 3:13, 3:13] = 0
    tries = []
    for seed in range(40):
        label, source, count = bank.place(mask, np.random.default_rng(seed))
        assert label.any() and float((label * mask).sum()) == 0 and source in (0, 1, 2)
        tries.append(count)
        again = bank.place(mask, np.random.default_rng(seed))
        assert torch.equal(again[0], label) and again[1:] == (source, count)
    assert min(tries) == 1 < max(tries) <= bank.max_tries


@pytest.mark.parametrize("max_tries", [1, 7])
def test_placement_is_bounded(monkeypatch, max_tries):
    bank = LesionBank([square(7, 7)], max_tries=max_tries)
    draws = []
    draw = bank.draw
    monkeypatch.setattr(bank, "draw", lambda rng: draws.append(1) or draw(rng))
    with pytest.raises(PlacementError, match=f"in {max_tries} draws"):
        bank.place(torch.ones(1, 16, 16), np.random.default_rng(0))
    assert len(draws) == max_tries


def test_empty_bank():
    with pytest.raises(ValueError, match="no lesion label to draw from"):
        LesionBank([])


@pytest.fixture
def slices(make_dataset):
    return make_dataset(transform=RandFlipd(["image", "label"], prob=0.5, spatial_axis=0))


def test_paired_modalities_come_from_one_slice(slices):
    data = GenerationDataset(slices, LesionBank(slices.lesion_labels()), paired=True)
    for token in range(0, 3 * len(data), 5):
        item, expected = data[token], slices[token]
        assert torch.equal(item["image"], expected["image"])
        assert torch.equal(item["label"], expected["label"].expand(4, -1, -1))
        assert item["case_id"] == [expected["case_id"]] * 4
        assert (item["target"] == item["target"][:1]).all() and len(item["own"].unique()) == 1


def test_unpaired_modalities_are_shuffled_each_on_its_own(slices):
    """Qu et al. need no two modalities of one patient: no slice keeps its partner, and none is left out."""
    data = GenerationDataset(slices, LesionBank(slices.lesion_labels()), paired=False, seed=5)
    size, orders = len(data), {}
    assert size == 24
    for draw in range(3):
        positions = np.array([data.positions(i, draw) for i in range(size)])
        for m in range(4):
            assert sorted(positions[:, m]) == list(range(size))  # every slice once an epoch
            orders[draw, m] = tuple(positions[:, m])
        together = [np.mean(positions[:, a] == positions[:, b]) for a in range(4) for b in range(a)]
        assert max(together) <= 4 / size  # 1 / size by chance
        assert not any(len(set(row)) == 1 for row in positions)
    assert len(set(orders.values())) == len(orders)


def test_unpaired_items_are_of_their_positions(slices):
    data = GenerationDataset(slices, LesionBank(slices.lesion_labels()), paired=False)
    for token in (0, 7, 30, 71):
        draw, index = divmod(token, len(data))
        item = data[token]
        for m, position in enumerate(data.positions(index, draw)):
            expected = slices.item(position, draw)
            assert torch.equal(item["image"][m], expected["image"][m])
            assert torch.equal(item["label"][m], expected["label"][0])
            assert item["case_id"][m] == expected["case_id"]


@pytest.mark.parametrize("paired", [True, False])
def test_other_label_never(slices, paired):
    data = GenerationDataset(slices, LesionBank(slices.lesion_labels()), paired, other_label=0.0)
    for token in range(len(data)):
        item = data[token]
        assert torch.equal(item["target"], item["label"]) and item["own"].tolist() == [1.0] * 4


@pytest.mark.parametrize("paired", [True, False])
def test_other_label_always(slices, paired):
    small = LesionBank([square(7, 7, 3)], RandLesionLabel(shift_range=2.0))
    data = GenerationDataset(slices, small, paired, other_label=1.0)
    for token in range(len(data)):
        item = data[token]
        assert item["own"].tolist() == [0.0] * 4
        for m in range(4):
            assert set(item["target"][m].unique().tolist()) == {0.0, 3.0}
        if paired:
            assert float((item["target"][:1] * background_mask(item["image"][:1], pad=0)).sum()) == 0


def test_own_label_where_no_other_finds_room(slices):
    huge = LesionBank([np.ones((16, 16), np.uint8)], RandLesionLabel(prob=0.0), max_tries=2)
    item = GenerationDataset(slices, huge, other_label=1.0)[2]
    assert torch.equal(item["target"], item["label"]) and item["own"].tolist() == [1.0] * 4


def test_share_of_other_labels(slices):
    small = LesionBank([square(7, 7, 3)], RandLesionLabel(prob=0.0))
    data = GenerationDataset(slices, small, other_label=0.4)
    own = [float(data[t]["own"][0]) for t in range(20 * len(data))]
    assert np.mean(own) == pytest.approx(0.6, abs=0.06)


@pytest.mark.parametrize("paired", [True, False])
def test_items_do_not_depend_on_the_worker(slices, paired):
    data = GenerationDataset(slices, LesionBank(slices.lesion_labels()), paired)

    def epoch(num_workers):
        return list(DataLoader(data, 7, sampler=SliceSampler(data), num_workers=num_workers))

    for one, two in zip(epoch(0), epoch(1), strict=True):
        assert one["case_id"] == two["case_id"]
        for key in ("image", "label", "target", "own"):
            torch.testing.assert_close(one[key], two[key], rtol=0, atol=0)
