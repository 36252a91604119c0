"""Folds trained with the shipped config, gone on with, and shared among processes."""

from __future__ import annotations

import json

import pytest

from monai_ext.bundles import BundleError, bundle_root
from monai_ext.validation.cross_validation import cross_validate, summarise_folds

OPTIONS = {"max_epochs": 1, "batch_size": 4, "roi_size": [64, 64], "slice_range": [2, 6]}


def run(small_dir, folder, **overrides):
    return cross_validate(
        bundle_root("segmentor"), str(small_dir), folder, ["t2f"], 2, judged_slices=[2, 6], **{**OPTIONS, **overrides}
    )


def test_folds_are_shared_and_gone_on_with(small_dir, tmp_path):
    assert run(small_dir, tmp_path, only=[1]) is None
    assert not (tmp_path / "fold_0" / "t2f").exists() and not (tmp_path / "cross_validation.json").exists()
    weights = tmp_path / "fold_1" / "t2f" / "model.pt"
    written = weights.stat().st_mtime_ns

    report = run(small_dir, tmp_path)
    assert weights.stat().st_mtime_ns == written
    scores = report["segmentors"]["t2f"]
    assert [c["patient_id"] for c in scores["cases"]] and len({c["patient_id"] for c in scores["cases"]}) == 4
    for case in scores["cases"]:
        fold = json.loads((tmp_path / f"fold_{case['fold']}" / "split.json").read_text())
        assert case["patient_id"] in fold["test"]
    assert json.loads((tmp_path / "cross_validation.json").read_text()) == report

    other = run(small_dir, tmp_path, tta=True, largest_lesion=True)
    assert weights.stat().st_mtime_ns == written and other["tta"] and other["largest_lesion"]
    assert json.loads((tmp_path / "cross_validation_tta_largest_lesion.json").read_text()) == other
    assert json.loads((tmp_path / "cross_validation.json").read_text()) == report


def test_a_failed_training_names_its_log(small_dir, tmp_path):
    with pytest.raises(BundleError, match=r"fold_0/t2f/log\.txt"):
        run(small_dir, tmp_path, slice_range=[2, 600])
    assert "600" in (tmp_path / "fold_0" / "t2f" / "log.txt").read_text()


def test_each_patient_counts_once():
    """Two folds of one and two cases: the mean is over three cases, not over two folds."""
    judged = [
        {"cases": [{"case_id": "a", "slices": 3, "WT": 0.9}], "mean": {"WT": 0.9}},
        {"cases": [{"case_id": "b", "slices": 3, "WT": 0.6}, {"case_id": "c", "slices": 3, "WT": 0.3}],
         "mean": {"WT": 0.45}},
    ]  # fmt: skip
    table = summarise_folds(judged)
    assert table["mean"] == {"WT": 0.6} and table["std"] == {"WT": pytest.approx(0.2449, abs=1e-4)}
    assert [c["fold"] for c in table["cases"]] == [0, 1, 1] and table["folds"] == [{"WT": 0.9}, {"WT": 0.45}]
