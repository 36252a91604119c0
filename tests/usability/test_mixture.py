"""How many slices a row takes, which, and when, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_ext.usability import (
    TABLE2,
    Cell,
    ClassicalAugmentation,
    ClassicalSet,
    Counts,
    Pool,
    counts_of,
    parse_rows,
    subset,
    training_order,
)

OF_100 = {
    "1": (100, 0, 0), "31": (50, 0, 0), "2": (0, 100, 0), "3": (0, 200, 0), "4": (0, 300, 0), "7": (10, 100, 0),
    "8": (10, 200, 0), "9": (10, 300, 0), "13": (20, 80, 0), "12": (50, 50, 0), "14": (80, 20, 0), "32": (100, 20, 0),
    "33": (100, 50, 0), "34": (100, 80, 0), "15": (100, 100, 0), "18": (100, 200, 0), "19": (100, 300, 0),
    "35": (100, 0, 20), "36": (100, 0, 50), "37": (100, 0, 80), "22": (100, 0, 100), "23": (100, 0, 200),
    "24": (100, 0, 300), "16": (100, 100, 0), "17": (100, 100, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE2)
def test_counts_of_every_row(name):
    assert tuple(counts_of(TABLE2[name], 100, 100)) == OF_100[name]


def test_counts_round_and_follow_the_unit():
    assert counts_of(TABLE2["33"], 9, 9) == Counts(9, 5, 0), "half a slice counts"
    assert counts_of(TABLE2["7"], 3, 3) == Counts(1, 3, 0), "a kind that is asked for has a slice"
    assert counts_of(TABLE2["17"], 20, 100) == Counts(20, 100, 0), "R is a share of the real set, S counts units"
    assert counts_of(TABLE2["35"], 15070, 15070) == Counts(15070, 0, 3014)


def test_a_smaller_subset_is_a_part_of_a_larger():
    large, small = subset(50, 40, (0, 1)), subset(50, 10, (0, 1))
    assert small.tolist() == large[:10].tolist() and len(set(large.tolist())) == 40
    assert subset(50, 10, (0, 2)).tolist() != small.tolist()


def test_mix_passes_over_everything():
    order = training_order(Counts(5, 3, 2), "mix", 10, 2, (0,))
    assert order.shape == (10, 2)
    passes = order.reshape(2, 10)
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(10)) and passes[0].tolist() != passes[1].tolist()


@pytest.mark.parametrize(
    "order, first, second", [("real_first", (0, 7), (7, 10)), ("synthetic_first", (7, 10), (0, 7))]
)
def test_halves(order, first, second):
    """5 real, 2 classical (which go with the real ones), 3 synthetic; of 9 iterations the first half is 4."""
    drawn = training_order(Counts(5, 3, 2), order, 9, 4, (0,))
    assert drawn.shape == (9, 4)
    assert set(drawn[:4].ravel()) == set(range(*first)) and set(drawn[4:].ravel()) == set(range(*second))


def test_fewer_draws_than_slices():
    assert len(set(training_order(Counts(100, 0, 0), "mix", 3, 4, (0,)).ravel())) == 12


def test_seed_decides_the_order():
    same = [training_order(Counts(20, 0, 0), "mix", 5, 4, (0, k)).tolist() for k in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_pool(make_dataset):
    real, synthetic = make_dataset(1), make_dataset(2)
    pool = Pool([(real, [3, 1]), (synthetic, range(2, 4))])
    assert len(pool) == 4
    images, labels = pool.batch([1, 2], 0)
    assert images.shape == (2, 4, 16, 16) and labels.shape == (2, 1, 16, 16) and images.dtype == torch.float32
    assert images[0].equal(real.raw(1)["image"]) and labels[1].equal(synthetic.raw(2)["label"])
    assert pool.batch([0], 0, [3])[0].equal(real.raw(3)["image"][None, 3:])


def test_random_transform_depends_on_iteration_and_place(make_dataset):
    pool = Pool([(make_dataset(1), [2])], ClassicalAugmentation().transform(), (0,))
    first, second = pool.batch([0, 0], 0)[0]
    assert first.equal(pool.batch([0], 0)[0][0]) and not first.equal(second)
    assert not first.equal(pool.batch([0], 1)[0][0])


def test_classical_set(make_dataset, caplog):
    real = make_dataset(1)
    with caplog.at_level("INFO"):
        made = ClassicalSet(real, [2, 3], 5, ClassicalAugmentation(), (0, 0))
    assert len(made) == 5 and "5 slices augmented and kept" in caplog.text
    again = ClassicalSet(real, [2, 3], 2, ClassicalAugmentation(), (0, 0))
    for k in range(2):
        assert made.raw(k)["image"].equal(again.raw(k)["image"]), "a smaller set is the beginning of a larger one"
    for k in range(5):
        item = made.raw(k)
        assert not item["image"].equal(real.raw(2 + k % 2)["image"]), "every slice is changed"
        assert set(item["label"].unique().tolist()) <= {0, 1, 2, 3} and item["label"].any()
    assert made._images.dtype == np.float16 and not made.raw(0)["image"].equal(made.raw(2)["image"])


def test_unchanged_by_an_augmentation_of_nothing(make_dataset):
    """Image and label stay where they are when nothing may move."""
    real = make_dataset(1)
    made = ClassicalSet(real, [2], 1, ClassicalAugmentation(0, 0, 0, 0), (0,)).raw(0)
    assert torch.allclose(made["image"], real.raw(2)["image"], atol=1e-3) and made["label"].equal(real.raw(2)["label"])


def test_rows_share_their_slices(make_trainer):
    """In one repeat half of the real set is a part of the whole, and set A comes from the row's own real slices."""
    rows = parse_rows("1,31,0.5:0:1:mix")
    trainer = make_trainer("1,31,0.5:0:1:mix")
    pools = [[i for _, i in trainer.pool(Cell(r, 0, "all")).items] for r in rows]
    assert [len(p) for p in pools] == [8, 4, 12] and pools[0][:4] == pools[1] == pools[2][:4]
    other = [i for _, i in trainer.pool(Cell(rows[1], 1, "all")).items]
    assert other != pools[1], "another repeat takes other slices"
