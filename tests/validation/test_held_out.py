"""Only patients that no weights have seen may judge, beside those that they have."""

from __future__ import annotations

import json

import pytest

from monai_ext.data import CaseError, LeakError
from monai_ext.validation import held_out_cases, training_cases


@pytest.fixture
def split(tmp_path):
    def write(train, validation, test):
        path = tmp_path / "split.json"
        path.write_text(json.dumps({"train": train, "validation": validation, "test": test}))
        return path

    return write


def names(cases):
    return [c.case_id for c in cases]


def test_training_and_validation_patients_are_left_out(cases_dir, split):
    assert names(held_out_cases(cases_dir, split(["P0", "P1"], ["P2"], ["P3"]))) == ["P3"]


def test_unknown_patients_are_kept(cases_dir, split):
    assert names(held_out_cases(cases_dir, split(["P0"], [], []))) == ["P1", "P2", "P3"]
    assert names(held_out_cases(cases_dir, split(["X"], ["Y"], ["Z"]))) == ["P0", "P1", "P2", "P3"]


def test_without_a_split_every_case_judges(cases_dir):
    assert names(held_out_cases(cases_dir, None)) == ["P0", "P1", "P2", "P3"]


def test_nothing_left(cases_dir, split):
    with pytest.raises(LeakError, match="all 4 labelled cases under .* were used to train the weights .*split.json"):
        held_out_cases(cases_dir, split(["P0", "P1"], ["P2", "P3"], []))


def test_sessions_of_a_training_patient_are_left_out(tmp_path, split, write_case, volumes):
    for name in ("BraTS-GLI-00001-001", "BraTS2021_00002"):
        write_case(tmp_path / "in", "brats2023", name, volumes())
    assert names(held_out_cases(tmp_path / "in", split(["GLI-00001"], [], []))) == ["BraTS2021_00002"]


def test_cases_without_a_label_cannot_judge(tmp_path, cases_dir, split, write_case, volumes):
    write_case(tmp_path / "in", "brats2023", "P7", volumes(), label=False)
    for split_file in None, split(["P0"], [], []):
        with pytest.raises(CaseError, match="1 without segmentation"):
            held_out_cases(tmp_path / "in", split_file)
    write_case(tmp_path / "in", "brats2023", "P8", volumes())
    write_case(tmp_path / "in", "brats2023", "P9", volumes(), modalities=("t1n", "t2f"))
    with pytest.raises(CaseError, match="case P9: no file for t1c, t2w"):
        held_out_cases(tmp_path / "in", split(["P0"], [], []))
    assert names(held_out_cases(tmp_path / "in", split(["P0"], [], []), on_bad_case="skip")) == ["P8"]


def test_a_split_on_two_sides_is_refused(cases_dir, split):
    with pytest.raises(LeakError, match=r"P0 \(train and test\)"):
        held_out_cases(cases_dir, split(["P0"], [], ["P0"]))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        held_out_cases(cases_dir, "nowhere.json")


def test_training_cases(cases_dir, split):
    path = split(["P0", "P2", "P9"], ["P1"], ["P3"])
    assert names(training_cases(cases_dir, path)) == ["P0", "P2"]
    assert names(held_out_cases(cases_dir, path)) == ["P3"]


def test_cases_to_be_resampled(cases_dir, split):
    path = split(["P0", "P2"], ["P1"], ["P3"])
    for find in (training_cases, held_out_cases):
        assert {c.resample for c in find(cases_dir, path)} == {False}
        assert {c.resample for c in find(cases_dir, path, resample=True)} == {True}


def test_training_cases_without_a_label(tmp_path, split, write_case, volumes):
    write_case(tmp_path / "in", "brats2023", "P0", volumes(), label=False)
    write_case(tmp_path / "in", "brats2023", "P1", volumes())
    write_case(tmp_path / "in", "brats2023", "P2", volumes(), modalities=("t1n",))
    path = split(["P0", "P1", "P2"], [], [])
    with pytest.raises(CaseError, match="case P2: no file for t1c, t2w, t2f"):
        training_cases(tmp_path / "in", path)
    assert names(training_cases(tmp_path / "in", path, on_bad_case="skip")) == ["P0", "P1"]
    assert names(training_cases(tmp_path / "in", path, modalities=["t1n"])) == ["P0", "P1", "P2"]


def test_no_training_cases(cases_dir, split):
    assert training_cases(cases_dir, None) == [] == training_cases(None, split(["P0"], [], []))
    assert training_cases(cases_dir, split(["X"], [], ["P0"])) == []
