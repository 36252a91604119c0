"""Segmentor scores against numbers worked out by hand."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from monai_ext.data import SliceDataset, find_cases
from monai_ext.labels import MODALITIES
from monai_ext.validation import evaluate_cases, evaluate_segmentors, lesion_fidelity, predict

# every lesion slice of a case: 30 pixels of oedema's square, 12 of the core's, 2 of them necrosis
WHOLE, CORE, ENHANCING = 30, 12, 10
PIXELS = 16 * 16


@pytest.fixture(scope="module")
def dataset(make_dataset):
    """Two cases, slices 2 to 7 of each; slices 3 to 6 hold the lesion."""
    return make_dataset(2)


def test_hand_computed(dataset, constant):
    labels = np.stack([dataset.raw(i)["label"][0].numpy() for i in range(len(dataset))])
    lesion = labels.reshape(len(labels), -1).any(1)
    assert len(dataset) == 12 and lesion.sum() == 8
    assert {tuple((s == k).sum() for k in (1, 2, 3)) for s in labels[lesion]} == {(2, WHOLE - CORE, ENHANCING)}

    out = evaluate_cases(constant(2), dataset, progress=False)
    # sum of label * 2, of squares 4 a pixel, and of the label's squares
    index = 2 * 2 * (2 + 2 * 18 + 3 * 10) / (4 * PIXELS + 2 + 4 * 18 + 9 * 10)
    error = (PIXELS - WHOLE) * 4 / PIXELS + (2 * 1 + 10 * 1) / PIXELS
    assert [c["case_id"] for c in out["cases"]] == ["P0", "P1"]
    for case in out["cases"]:
        assert case["patient_id"] == case["case_id"] and case["slices"] == 6
        assert case["dice_index"] == pytest.approx(4 * index / 6, abs=1e-4)  # 0 where the label is empty
        assert case["mse"] == pytest.approx((4 * error + 2 * 4) / 6, abs=1e-4)
        assert case["WT"] == pytest.approx(2 * 4 * WHOLE / (4 * WHOLE + 6 * PIXELS), abs=1e-4)
        assert case["TC"] == case["ET"] == 0
    assert set(out["mean"]) == {"dice_index", "mse", "WT", "TC", "ET"}
    assert out["mean"]["WT"] == out["cases"][0]["WT"]
    assert out["lesion_slices"] == {
        "slices": 8, "dice_index": pytest.approx(index, abs=1e-4), "mse": pytest.approx(error, abs=1e-4),
        "WT": pytest.approx(2 * WHOLE / (WHOLE + PIXELS), abs=1e-4), "TC": 0, "ET": 0,
    }  # fmt: skip


def test_nothing_found(dataset, constant):
    out = evaluate_cases(constant(0), dataset, progress=False)
    assert out["mean"]["dice_index"] == pytest.approx(2 / 6, abs=1e-4), "an empty slice found empty counts as 1"
    assert out["mean"]["WT"] == 0 and out["lesion_slices"]["dice_index"] == 0


def test_case_without_a_lesion(make_dataset, constant):
    out = evaluate_cases(constant(0), make_dataset(1, slice_range=(7, 9)), progress=False)
    assert out["mean"] == {"dice_index": 1.0, "mse": 0.0, "WT": 1.0, "TC": 1.0, "ET": 1.0}
    assert out["lesion_slices"] == {
        "slices": 0, "dice_index": None, "mse": None, "WT": None, "TC": None, "ET": None
    }  # fmt: skip


def test_channels_and_batches(make_dataset, constant, segmentors):
    dataset = make_dataset(2, roi_size=(32, 32))
    one = constant(2)
    evaluate_cases(one, dataset, [3], progress=False)
    assert one.channels == {1}
    whole = evaluate_cases(segmentors["all"], dataset, batch_size=1, progress=False)
    assert whole == evaluate_cases(segmentors["all"], dataset, batch_size=16, progress=False)
    images = torch.stack([dataset.raw(i)["image"] for i in range(5)])
    segmentors["t2f"].train()
    found = predict(segmentors["t2f"], images[:, 3:], batch_size=2)
    assert found.dtype == torch.uint8 and found.shape == (5, 32, 32) and not segmentors["t2f"].training
    assert found.equal(segmentors["t2f"](images[:, 3:]).argmax(1).to(torch.uint8))


def test_unlabelled_case_is_refused(tmp_path, write_case, volumes, constant):
    write_case(tmp_path, "brats2023", "P9", volumes(), label=False)
    unlabelled = SliceDataset(find_cases(tmp_path), slice_range=(2, 8), roi_size=(16, 16), progress=False)
    with pytest.raises(ValueError, match="case P9 has no segmentation to compare with"):
        evaluate_cases(constant(0), unlabelled)


def test_lesion_fidelity(make_dataset, constant, dataset):
    """Against wider slices the same prediction scores lower: the ratio says by how much."""
    wide = make_dataset(4, roi_size=(16, 32))
    networks = {"all": constant(2), "t2f": constant(2), "t1n": constant(0)}
    out = lesion_fidelity(networks, dataset, wide)
    assert set(out) == set(networks) and networks["all"].channels == {4} and networks["t2f"].channels == {1}
    for row in out.values():
        assert set(row) == {"synthetic", "real", "ratio", "real_by_case"}
        assert set(row["ratio"]) == {"dice_index", "WT", "TC", "ET"}
        assert row["synthetic"]["slices"] == 8 and row["real"]["slices"] == 16
        assert [c["case_id"] for c in row["real_by_case"]] == ["P0", "P1", "P2", "P3"]
    expected = (2 * WHOLE / (WHOLE + PIXELS)) / (2 * WHOLE / (WHOLE + 2 * PIXELS))
    assert out["all"]["ratio"]["WT"] == pytest.approx(expected, abs=2e-3)
    assert out["all"]["ratio"] == out["t2f"]["ratio"]
    assert out["all"]["ratio"]["TC"] is None, "no ratio to a score of 0"
    assert out["t1n"]["ratio"] == dict.fromkeys(("dice_index", "WT", "TC", "ET"))


def test_a_row_a_slice(dataset, constant):
    """Oedema everywhere, in slices of 16 x 16: the whole tumour is found, core and enhancing tumour are missed."""
    out = evaluate_cases(constant(2), dataset, progress=False, detailed=True)
    plain = evaluate_cases(constant(2), dataset, progress=False)
    assert "by_slice" not in plain and plain["cases"][0].items() <= out["cases"][0].items()
    diagonal = {"slice": np.sqrt(2 * 16**2), "case": np.sqrt(2 * 16**2 + 6**2)}
    assert out["cases"][0]["hd95_ET"] == pytest.approx(diagonal["case"], abs=1e-4)
    rows = out["by_slice"]
    assert [(r["case_id"], r["slice"]) for r in rows] == [(p, z) for p in ("P0", "P1") for z in range(2, 8)]
    empty, lesion = rows[0], rows[1]
    assert empty["WT"] is None and empty["hd95_WT"] is None and empty["mse"] == 4
    assert lesion["WT"] == pytest.approx(2 * WHOLE / (WHOLE + PIXELS), abs=1e-4)
    assert lesion["hd95_TC"] == lesion["hd95_ET"] == pytest.approx(diagonal["slice"], abs=1e-4)
    assert out["lesion_slices"]["hd95_TC"] == lesion["hd95_TC"]


def test_evaluate_segmentors(tmp_path, make_dataset, segmentors):
    report = evaluate_segmentors(segmentors, make_dataset(2, roi_size=(32, 32)), tmp_path / "new")
    assert json.loads((tmp_path / "new" / "metrics.json").read_text()) == report
    assert list(report["segmentors"]) == ["all", *MODALITIES]
    assert report["patients"] == ["P0", "P1"] and report["slices"] == 12
    with (tmp_path / "new" / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["segmentor"], r["case_id"]) for r in rows] == [(s, p) for s in segmentors for p in ("P0", "P1")]
    assert float(rows[2]["WT"]) == report["segmentors"]["t1n"]["cases"][0]["WT"]
    assert float(rows[2]["hd95_ET"]) == report["segmentors"]["t1n"]["cases"][0]["hd95_ET"]
    slices = json.loads((tmp_path / "new" / "slices.json").read_text())
    assert {n: len(s) for n, s in slices.items()} == dict.fromkeys(segmentors, 12)
    with (tmp_path / "new" / "slices.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 60 and list(rows[0]) == ["segmentor", *slices["all"][0]]
    assert [r["WT"] == "" for r in rows[:6]] == [True, False, False, False, False, True]
    assert float(rows[1]["dice_index"]) == slices["all"][1]["dice_index"]
