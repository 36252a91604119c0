"""Folds are by patient: each is tested once, none stands on two sides."""

from __future__ import annotations

import json

import pytest

from monai_ext.data import Case, find_cases, fold_splits, patient_of, write_folds
from monai_ext.data.cases import Source


def make_cases(count, labelled=True, start=0, visits=1):
    names = [f"BraTS-GLI-{i:05d}-{v:03d}" for i in range(start, start + count) for v in range(visits)]
    return [Case(n, patient_of(n), "brats2023", {}, Source(f"{n}-seg.nii.gz") if labelled else None) for n in names]


@pytest.mark.parametrize("count, folds, sizes", [(14, 5, [3, 3, 3, 3, 2]), (6, 3, [2, 2, 2]), (4, 2, [2, 2])])
def test_each_patient_is_tested_once(count, folds, sizes):
    cases = make_cases(count, visits=2) + make_cases(2, labelled=False, start=50)
    splits = fold_splits(cases, folds)
    assert [len(s["test"]) for s in splits] == sizes
    assert sorted(p for s in splits for p in s["test"]) == [f"GLI-{i:05d}" for i in range(count)]
    for split in splits:
        everyone = [p for side in split.values() for p in side]
        assert len(everyone) == len(set(everyone)) == count + 2
        assert len(split["validation"]) == 1 and {"GLI-00050", "GLI-00051"} <= set(split["train"])


def test_the_seed_deals_and_the_order_on_disk_does_not():
    cases = make_cases(14)
    assert fold_splits(cases) == fold_splits(cases[::-1]) != fold_splits(cases, seed=1)


@pytest.mark.parametrize("count, folds", [(4, 5), (5, 1), (2, 2)])
def test_too_few(count, folds):
    with pytest.raises(ValueError, match=f"{count} labelled patient"):
        fold_splits(make_cases(count), folds)


def test_files_are_splits_and_other_folds_are_refused(tmp_path, write_case, volumes):
    for seed in range(4):
        write_case(tmp_path / "data", "brats2023", f"BraTS-TST-{seed:05d}-000", volumes(seed, (16, 16, 4)))
    cases = find_cases(tmp_path / "data")
    written = write_folds(cases, tmp_path / "out", folds=2)
    assert [f.relative_to(tmp_path).as_posix() for f, _ in written] == [f"out/fold_{k}/split.json" for k in (0, 1)]
    assert json.loads(written[0][0].read_text()) == {"seed": 0, "folds": 2, **written[0][1]}
    assert write_folds(cases, tmp_path / "out", folds=2) == written
    with pytest.raises(ValueError, match="holds another fold"):
        write_folds(cases, tmp_path / "out", folds=2, seed=3)
