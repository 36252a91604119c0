"""A split is by patient, repeatable, and a leak is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from monai_ext.data import (
    Case,
    LeakError,
    guard_leak,
    load_or_make_split,
    open_dataset,
    patient_of,
    read_split,
    split_patients,
)
from monai_ext.data.cases import Source
from monai_ext.data.split import SIDES


def make_case(case_id: str, labelled: bool = True) -> Case:
    return Case(case_id, patient_of(case_id), "brats2023", {}, Source(f"{case_id}-seg.nii.gz") if labelled else None)


def make_cases(count: int, labelled: bool = True, start: int = 0) -> list[Case]:
    return [make_case(f"BraTS-GLI-{i:05d}-000", labelled) for i in range(start, start + count)]


@pytest.mark.parametrize(
    "count, fractions, sizes",
    [
        (20, (0.65, 0.15, 0.2), (13, 3, 4)),
        (10, (0.65, 0.15, 0.2), (6, 2, 2)),
        (3, (0.65, 0.15, 0.2), (1, 1, 1)),
        (2, (0.5, 0.5, 0.0), (1, 1, 0)),
        (7, (1.0, 0.0, 0.0), (7, 0, 0)),
        (7, (0.0, 0.0, 1.0), (0, 0, 7)),
        (4, (0.01, 0.01, 0.98), (1, 1, 2)),
        (3, (0.0, 0.5, 0.5), (0, 2, 1)),
    ],
)
def test_sizes(count, fractions, sizes):
    sides = split_patients(make_cases(count), fractions)
    assert tuple(len(sides[s]) for s in SIDES) == sizes
    assert sorted(sum(sides.values(), [])) == [f"GLI-{i:05d}" for i in range(count)]


def test_same_split_whatever_the_order():
    cases = make_cases(30)
    expected = split_patients(cases, seed=3)
    for seed in range(5):
        shuffled = [cases[i] for i in np.random.default_rng(seed).permutation(30)]
        assert split_patients(shuffled, seed=3) == expected
    assert split_patients(cases, seed=4) != expected


def test_no_patient_on_two_sides_and_sessions_stay_together(tmp_path):
    names = [f"BraTS-GLI-{i:05d}-{session:03d}" for i in range(9) for session in range(2)]
    names += [f"BraTS2021_{i:05d}" for i in range(9)]
    sides = load_or_make_split([make_case(n) for n in names], tmp_path / "split.json")
    patients = {side: {c.patient_id for c in cases} for side, cases in sides.items()}
    assert sum(len(p) for p in patients.values()) == len(set.union(*patients.values())) == 9
    assert all(len(cases) == 3 * len(patients[side]) for side, cases in sides.items())
    assert all(patients.values())


def test_unlabelled_go_to_train():
    cases = [*make_cases(10), *make_cases(4, labelled=False, start=50)]
    # an unlabelled session of a labelled patient goes where the patient goes
    cases.append(make_case("BraTS-GLI-00001-001", labelled=False))
    sides = split_patients(cases)
    assert {f"GLI-{i:05d}" for i in range(50, 54)} < set(sides["train"])
    alone = split_patients(make_cases(10))
    assert (sides["validation"], sides["test"]) == (alone["validation"], alone["test"])
    assert split_patients(make_cases(3, labelled=False)) == {
        "train": ["GLI-00000", "GLI-00001", "GLI-00002"],
        "validation": [],
        "test": [],
    }


def test_guard_leak_names_the_patient_and_the_sides():
    guard_leak({"train": ["a", "a", "b"], "test": ["c"], "validation": []})
    with pytest.raises(LeakError, match=r"two sides of the split: GLI-00006 \(train and test\), TCIA_105 \(tr"):
        guard_leak({"train": ["TCIA_105", "GLI-00006"], "validation": ["TCIA_105"], "test": ["GLI-00006"]})


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.2, -0.2, 0.0), (0.25, 0.25, 0.25, 0.25)])
def test_fractions_that_do_not_fit(fractions):
    with pytest.raises(ValueError, match="three numbers >= 0 that sum to 1"):
        split_patients(make_cases(9), fractions)


def test_fewer_patients_than_sides():
    with pytest.raises(ValueError, match=r"2 labelled patient\(s\) cannot fill 3 sides .*GLI-00000.*GLI-00001"):
        split_patients([*make_cases(2), *make_cases(5, labelled=False, start=50)])


def test_the_file_is_written_once_and_then_rules(tmp_path):
    file, cases = tmp_path / "deep" / "split.json", make_cases(10)
    first = load_or_make_split(cases, file, seed=1)
    written = json.loads(file.read_text())
    assert (written["seed"], written["fractions"]) == (1, [0.65, 0.15, 0.2])
    assert read_split(file) == {side: written[side] for side in SIDES}
    before = file.read_bytes()
    assert load_or_make_split(cases, file, (1.0, 0.0, 0.0), seed=2) == first
    assert file.read_bytes() == before
    # fewer cases than the file knows are fine, in whatever order they come; each side is sorted
    fewer = load_or_make_split(cases[:0:-1], file)
    assert fewer == {side: [c for c in found if c != cases[0]] for side, found in first.items()}


def test_planted_leak_is_refused(tmp_path):
    file, cases = tmp_path / "split.json", make_cases(10)
    load_or_make_split(cases, file)
    sides = json.loads(file.read_text())
    sides["test"].append(sides["train"][0])
    file.write_text(json.dumps(sides))
    for read in (lambda: read_split(file), lambda: load_or_make_split(cases, file)):
        with pytest.raises(LeakError, match=sides["train"][0]):
            read()


def test_patients_the_file_does_not_know(tmp_path):
    file = tmp_path / "split.json"
    load_or_make_split(make_cases(10), file)
    with pytest.raises(ValueError, match=r"split.json does not place patient\(s\) GLI-00010, GLI-00011: it was"):
        load_or_make_split(make_cases(12), file)
    with pytest.raises(ValueError, match="GLI-00104 ...: "):
        load_or_make_split(make_cases(6, start=100), file)


def test_files_that_are_no_split(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.json does not exist"):
        read_split(tmp_path / "absent.json")
    (tmp_path / "half.json").write_text('{"train": ["a"], "test": "b"}')
    with pytest.raises(ValueError, match="half.json: no list for validation, test"):
        read_split(tmp_path / "half.json")


def test_open_dataset(tmp_path, cases_dir):
    sides = open_dataset(cases_dir, tmp_path / "split.json", tmp_path / "phantom", fractions=(0.5, 0.25, 0.25))
    assert {side: len(found) for side, found in sides.items()} == {"train": 2, "validation": 1, "test": 1}
    again = open_dataset(cases_dir, tmp_path / "split.json", tmp_path / "phantom", ("t2f",), require_segmentation=True)
    assert {s: [c.case_id for c in found] for s, found in again.items()} == {
        s: [c.case_id for c in found] for s, found in sides.items()
    }
    assert all(list(c.images) == ["t2f"] for c in again["train"])
    assert not (tmp_path / "phantom").exists()
