"""Slices: which ones, how they are scaled and cut, and that an item depends on its token alone."""

from __future__ import annotations

import logging

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandAffined, RandFlipd, RandGaussianNoised
from torch.utils.data import DataLoader

from monai_ext.data import (
    CaseError,
    SliceDataset,
    SliceSampler,
    apply_seeded,
    find_cases,
    read_label_slices,
    read_slices,
    seed_of,
)


def random_transform() -> Compose:
    return Compose(
        [
            RandAffined(["image", "label"], prob=1.0, rotate_range=0.5, mode=["bilinear", "nearest"]),
            RandFlipd(["image", "label"], prob=0.5, spatial_axis=0),
            RandGaussianNoised("image", prob=0.5, std=0.1),
        ]
    )


@pytest.mark.parametrize("slice_range, lesions", [((2, 8), [3, 4, 5, 6]), ((5, 9), [5, 6]), ((1, 3), [])])
def test_range(make_dataset, slice_range, lesions):
    dataset = make_dataset(1, slice_range=slice_range)
    items = [dataset[i] for i in range(len(dataset))]
    assert [i["slice"] for i in items] == list(range(*slice_range))
    assert [i["slice"] for i in items if i["label"].any()] == lesions
    assert len(dataset.lesion_labels()) == len(lesions)
    assert {(i["case_id"], i["patient_id"], i["has_label"]) for i in items} == {("P0", "P0", True)}


def test_slices_without_brain_are_left_out(make_dataset):
    assert [make_dataset(1, slice_range=(0, 10))[i]["slice"] for i in range(8)] == list(range(1, 9))
    assert len(make_dataset(1, slice_range=(0, 10))) == 8


@pytest.mark.parametrize("slice_range", [(5, 11), (-1, 4), (4, 4)])
def test_range_that_is_not_there(cases_dir, slice_range):
    with pytest.raises(CaseError, match="case P0: slices .* asked for, but it has 10"):
        read_slices(find_cases(cases_dir)[0], slice_range=slice_range)


def test_intensities_are_in_0_1_and_background_is_exactly_0(cases_dir, make_dataset):
    case = find_cases(cases_dir)[0]
    dataset = make_dataset(1, roi_size=(24, 20))
    for item in (dataset[i] for i in range(len(dataset))):
        image = item["image"]
        assert image.dtype == item["label"].dtype == torch.float32
        for channel, source in zip(image, case.images.values()):
            brain = np.asarray(nib.load(source.path).dataobj)[..., item["slice"]] > 0
            assert (channel[~torch.from_numpy(brain)] == 0).all()
            assert channel[torch.from_numpy(brain)].min() >= 0.0199 and channel.max() <= 1
    assert dataset[2]["image"].max() > 0.9


def test_intensities_are_those_of_the_percentiles_of_the_volume(cases_dir, make_dataset):
    """0.02 at the 1st percentile of the brain, 1 at the 99.5th, linear between them, in half precision."""
    volume = np.asarray(nib.load(find_cases(cases_dir)[0].images["t1c"].path).dataobj).astype(np.float64)
    low, high = np.percentile(volume[volume > 0], (1, 99.5))
    expected = np.where(volume > 0, 0.02 + 0.98 * (np.clip(volume, low, high) - low) / (high - low), 0)
    item = make_dataset(1, roi_size=(24, 20))[3]
    np.testing.assert_allclose(item["image"][1].numpy(), expected[..., 5], atol=5e-4)


def test_crop_and_the_share_it_cuts(cases_dir, caplog):
    (case, *_) = find_cases(cases_dir)
    volume = np.asarray(nib.load(case.images["t1n"].path).dataobj)
    whole = read_slices(case, slice_range=(2, 8), roi_size=(28, 20))
    assert whole["cut"] == 0 and whole["image"].shape == (6, 4, 28, 20) and not caplog.records
    assert not whole["image"][:, :, [0, 1, -2, -1]].any()  # padded by two rows on each side
    with caplog.at_level(logging.WARNING):
        part = read_slices(case, slice_range=(2, 8), roi_size=(12, 10))
    brain = volume[..., 2:8] > 0
    assert part["cut"] == pytest.approx(1 - brain[6:18, 5:15].sum() / brain.sum())
    assert f"case P0: the crop to (12, 10) cuts {100 * part['cut']:.1f} % of the brain" in caplog.text
    np.testing.assert_array_equal(part["image"], whole["image"][:, :, 8:20, 5:15])
    np.testing.assert_array_equal(part["label"], whole["label"][:, :, 8:20, 5:15])


def test_bytes_of_ram(make_dataset, caplog):
    with caplog.at_level(logging.INFO):
        dataset = make_dataset(3, modalities=("t1n", "t2f"))
    assert dataset.nbytes == 3 * 6 * 16 * 16 * (2 * 2 + 1)  # half precision for the images, a byte for the label
    assert "18 slices of 3 cases cached" in caplog.text
    assert len(dataset.cut) == 3 and dataset[0]["image"].shape == (2, 16, 16)


def test_lesion_only(make_dataset):
    dataset = make_dataset(2, lesion_only=True)
    assert [(dataset[i]["case_id"], dataset[i]["slice"]) for i in range(len(dataset))] == [
        (p, z) for p in ("P0", "P1") for z in (3, 4, 5, 6)
    ]
    with pytest.raises(CaseError, match=r"no slice left of 1 case\(s\) in the range \(1, 3\)"):
        make_dataset(1, slice_range=(1, 3), lesion_only=True)


def test_lesion_labels_are_those_of_the_slices(make_dataset, cases_dir):
    dataset = make_dataset(2)
    labels = dataset.lesion_labels()
    expected = [dataset[i]["label"][0].numpy() for i in range(len(dataset)) if dataset[i]["label"].any()]
    np.testing.assert_array_equal(labels, expected)
    assert all(label.dtype == np.uint8 and label.base is not None for label in labels)
    read = [s for case in find_cases(cases_dir)[:2] for s in read_label_slices(case, (2, 8), (16, 16))]
    np.testing.assert_array_equal(labels, read)


def test_unlabelled_case(tmp_path, write_case):
    write_case(tmp_path, "brats2017", "P1", label=False)
    dataset = SliceDataset(find_cases(tmp_path), slice_range=(2, 8), roi_size=(16, 16), progress=False)
    assert len(dataset) == 6 and not dataset[3]["has_label"]
    assert dataset[3]["label"].shape == (1, 16, 16) and not dataset[3]["label"].any()


def test_on_bad_case(tmp_path, write_case, caplog):
    write_case(tmp_path, "brats2023", "good")
    bad = write_case(tmp_path, "brats2023", "bad")["t2w"]
    bad.write_bytes(b"nothing")
    cases = find_cases(tmp_path)
    with pytest.raises(CaseError, match="case bad: .*bad-t2w.nii.gz cannot be read"):
        SliceDataset(cases, slice_range=(2, 8), roi_size=(16, 16), progress=False)
    with caplog.at_level(logging.WARNING):
        dataset = SliceDataset(cases, slice_range=(2, 8), roi_size=(16, 16), on_bad_case="skip", progress=False)
    assert dataset.skipped == ["bad"] and {dataset[i]["case_id"] for i in range(len(dataset))} == {"good"}
    assert "skipped case bad" in caplog.text


def test_token_holds_the_draw_and_the_index(make_dataset):
    dataset = make_dataset(2, transform=random_transform())
    size = len(dataset)
    for draw, index in ((0, 3), (1, 3), (7, 11)):
        one, two = dataset[draw * size + index], dataset.item(index, draw)
        assert (one["case_id"], one["slice"]) == (two["case_id"], two["slice"]) == (f"P{index // 6}", 2 + index % 6)
        torch.testing.assert_close(one["image"], two["image"], rtol=0, atol=0)
    assert type(dataset[0]["image"]) is torch.Tensor
    assert not torch.equal(dataset[3]["image"], dataset[size + 3]["image"])
    assert not torch.equal(make_dataset(2, transform=random_transform(), seed=1)[3]["image"], dataset[3]["image"])


def test_raw_is_untouched_by_the_transform(make_dataset):
    dataset, plain = make_dataset(1, transform=random_transform()), make_dataset(1)
    for index in range(6):
        before = dataset.raw(index)["image"]
        dataset.item(index, 0)["image"].zero_()
        assert torch.equal(dataset.raw(index)["image"], before) and torch.equal(before, plain[index]["image"])


def test_items_do_not_depend_on_the_worker(make_dataset):
    dataset = make_dataset(2, transform=random_transform())

    def epoch(num_workers):
        sampler = SliceSampler(dataset, seed=1)
        sampler.set_epoch(2)
        loader = DataLoader(dataset, batch_size=5, sampler=sampler, num_workers=num_workers)
        return [(b["image"], b["label"], b["case_id"], b["slice"].tolist()) for b in loader]

    alone = epoch(0)
    for num_workers in (1, 2):
        for one, two in zip(alone, epoch(num_workers), strict=True):
            torch.testing.assert_close(one[:2], two[:2], rtol=0, atol=0)
            assert one[2:] == two[2:]


@pytest.mark.parametrize("size, replicas", [(12, 1), (12, 2), (12, 3), (13, 2), (5, 4)])
def test_ranks_share_out_the_order_of_one(make_dataset, size, replicas):
    dataset = range(size)
    for epoch in (0, 1, 5):
        parts = []
        for rank in range(replicas):
            sampler = SliceSampler(dataset, num_replicas=replicas, rank=rank)
            sampler.set_epoch(epoch)
            parts.append(list(sampler))
            assert len(sampler) == len(parts[-1]) == -(-size // replicas)
        dealt = [t for group in zip(*parts) for t in group]
        assert len(set(dealt)) == len(dealt)  # a slice that comes twice comes in another draw
        if size % replicas == 0:
            alone = SliceSampler(dataset)
            alone.set_epoch(epoch)
            assert dealt == list(alone)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_epoch_covers_everything_in_another_draw(shuffle):
    sampler = SliceSampler(range(7), shuffle=shuffle, seed=3)
    orders = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        tokens = list(sampler)
        assert {t // 7 for t in tokens} == {epoch} and sorted(t % 7 for t in tokens) == list(range(7))
        orders.append(tuple(t % 7 for t in tokens))
    assert len(set(orders)) == (4 if shuffle else 1)
    assert shuffle or orders[0] == tuple(range(7))
    assert list(SliceSampler(range(7), seed=3)) != list(SliceSampler(range(7), seed=4))


@pytest.mark.parametrize("samples", [3, 5, 8])
def test_samples_per_epoch_go_through_whole_passes(samples):
    """Five epochs of n samples of 5 slices are n whole passes, whatever n is."""
    sampler = SliceSampler(range(5), samples_per_epoch=samples)
    tokens = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        tokens.append(list(sampler))
        assert len(sampler) == len(tokens[-1]) == samples
    assert sorted(sum(tokens, [])) == list(range(5 * samples))
    # a restart in the middle goes on with the same samples
    resumed = SliceSampler(range(5), samples_per_epoch=samples)
    for epoch in (3, 4):
        resumed.set_epoch(epoch)
        assert list(resumed) == tokens[epoch]


def test_sampler_alone_is_epoch_0():
    assert sorted(SliceSampler(range(6))) == list(range(6))


def test_seed_of_is_well_mixed():
    seeds = {seed_of(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000 and all(0 <= s < 2**32 for s in seeds)
    assert seed_of(1, 2, 3) == seed_of(1, 2, 3) != seed_of(3, 2, 1)


def test_apply_seeded():
    data = {"image": torch.arange(16.0).view(1, 4, 4)}
    noise = RandGaussianNoised("image", prob=1.0)
    one, other = apply_seeded(noise, data, (1, 2)), apply_seeded(noise, data, (1, 3))
    assert torch.equal(one["image"], apply_seeded(noise, data, (1, 2))["image"])
    assert not torch.equal(one["image"], other["image"])
    assert apply_seeded(None, data, (0,)) is data
    assert apply_seeded(lambda d: d["image"].sum(), data, (0,)) == 120
