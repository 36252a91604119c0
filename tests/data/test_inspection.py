"""A folder of cases is described, and every planted fault is named with its case."""

from __future__ import annotations

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_ext.commands import check_dataset
from monai_ext.data import find_cases, write_phantom_cases
from monai_ext.data.inspection import ALL_GOOD, NOTHING_FOUND, PROBLEMS, describe, inspect_dataset
from monai_ext.labels import MODALITIES

RANGE = (2, 8)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return write_phantom_cases(tmp_path_factory.mktemp("phantom"), num_cases=3, axial_range=(45, 69))


def test_phantom(phantom):
    report = inspect_dataset(phantom)
    assert report["problems"] == [] and report["exit_code"] == ALL_GOOD and report["split_made"]
    assert [c["case"] for c in report["cases"]] == [f"BraTS-PHA-0000{i}-000" for i in range(3)]
    for case in report["cases"]:
        assert case["shape"] == [240, 240, 155] and case["spacing"] == [1, 1, 1] and case["orientation"] == "LPS"
        assert case["layout"] == "brats2023" and case["modalities"] == list(MODALITIES) and case["labelled"]
        label = np.asarray(nib.load(phantom / case["case"] / f"{case['case']}-seg.nii.gz").dataobj)
        assert case["voxels"] == {name: int((label == k).sum()) for k, name in ((1, "NCR"), (2, "ED"), (3, "ET"))}
        assert case["lesion_slices"] == label.any((0, 1)).sum()
        assert case["lesion_slices_in_range"] == label.any((0, 1))[55:105].sum() > 0
    assert sorted(p for side in report["split"].values() for p in side) == [f"BraTS-PHA-0000{i}" for i in range(3)]
    text = describe(report)
    assert "3 cases of 3 patients, 3 with a segmentation" in text and "brats2023 (3)" in text
    assert "1 x 1 x 1 mm (3)" in text and "problems: none" in text


def rewrite(path, change):
    image = nib.load(path)
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), path)


FAULTS = {
    "missing modality": (lambda f: f["t1c"].unlink(), "no file for t1c in"),
    "wrong shape": (
        lambda f: rewrite(f["t2w"], lambda a: np.ascontiguousarray(a[:-1])), "t2w.nii.gz has shape (23, 20, 10), but",
    ),
    "unknown label": (lambda f: rewrite(f["seg"], lambda a: np.where(a == 3, 7, a)), "has label value(s) [7]"),
    "unreadable": (lambda f: f["t2f"].write_bytes(gzip.compress(b"not a brain")), "t2f.nii.gz cannot be read"),
    "empty": (lambda f: rewrite(f["t1n"], np.zeros_like), "t1n is empty"),
    "skull": (lambda f: rewrite(f["t1n"], lambda a: a + 1), "100% of t1n is not 0, the background too"),
    "no lesion": (lambda f: rewrite(f["seg"], np.zeros_like), "its segmentation holds no lesion"),
    "two files": (lambda f: shutil.copy(f["t1c"], f["t1c"].with_suffix("")), "two files for t1c"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults(tmp_path, write_case, volumes, fault):
    for i in range(3):
        write_case(tmp_path, "brats2023", f"good{i}", volumes(i))
    plant, expected = FAULTS[fault]
    plant(write_case(tmp_path, "brats2023", "bad", volumes(0)))
    report = inspect_dataset(tmp_path, slice_range=RANGE)
    (problem,) = report["problems"]
    assert problem.startswith("case bad: ") and expected in problem and report["exit_code"] == PROBLEMS
    assert problem in describe(report) and json.loads(json.dumps(report))["problems"] == [problem]


def test_faults_that_concern_many(tmp_path, write_case, volumes):
    for folder in ("one", "two"):
        write_case(tmp_path / folder, "brats2017", "P1", volumes(1))
    problems = inspect_dataset(tmp_path, slice_range=(0, 155))["problems"]
    assert problems[:2] == ["case P1: slices 0 to 155 are wanted, but it has 10"] * 2
    assert problems[2] == "case P1: found more than once"
    assert problems[3].startswith("split: 1 labelled patient(s) cannot fill 3 sides")


def test_other_layouts_and_orientations(tmp_path, write_case, volumes):
    """Slices are counted upwards, whatever way the file runs."""
    write_case(tmp_path, "decathlon", "BRATS_001", volumes(0))
    write_case(tmp_path, "brats2015", "brats_2013_pat0001_1", volumes(1))
    flipped = volumes(2)
    flipped.images = {m: np.ascontiguousarray(v[..., ::-1]) for m, v in flipped.images.items()}
    flipped.label = np.ascontiguousarray(flipped.label[..., ::-1])
    write_case(tmp_path, "brats2017", "P2", flipped, affine=np.diag([-1.0, -1.0, -1.0, 1.0]))
    report = inspect_dataset(tmp_path, slice_range=(2, 5))
    assert not report["problems"]
    found = {c["case"]: c for c in report["cases"]}
    assert {k: c["layout"] for k, c in found.items()} == {
        "BRATS_001": "decathlon", "brats_2013_pat0001_1": "brats2015", "P2": "brats2017"
    }  # fmt: skip
    assert found["P2"]["orientation"] == "LPI" and found["BRATS_001"]["orientation"] == "LPS"
    # lesions fill slices 3 to 6
    assert {(c["lesion_slices"], c["lesion_slices_in_range"]) for c in found.values()} == {(4, 2)}


def test_split_file(tmp_path, cases_dir):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["P0", "P1"], "validation": ["P2"], "test": ["P3", "gone"]}))
    report = inspect_dataset(cases_dir, slice_range=RANGE, split_file=split)
    assert report["split"] == {"train": ["P0", "P1"], "validation": ["P2"], "test": ["P3"]}
    assert report["split_made"] is False and report["exit_code"] == ALL_GOOD
    split.write_text(json.dumps({"train": ["P0"], "validation": ["P0"], "test": []}))
    (problem,) = inspect_dataset(cases_dir, slice_range=RANGE, split_file=split)["problems"]
    assert problem == "split: patients on two sides of the split: P0 (train and validation)"
    split.write_text(json.dumps({"train": ["P0", "P1"], "validation": ["P2"], "test": []}))
    (problem,) = inspect_dataset(cases_dir, slice_range=RANGE, split_file=split)["problems"]
    assert "does not place patient(s) P3" in problem
    inspect_dataset(cases_dir, slice_range=RANGE, split_file=tmp_path / "later.json")
    assert not (tmp_path / "later.json").exists() and len(find_cases(cases_dir)) == 4


def test_nothing_found(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        report = inspect_dataset(folder)
        assert report["exit_code"] == NOTHING_FOUND and len(report["problems"]) == 1
        assert "0 cases of 0 patients" in describe(report)


def test_command(tmp_path, cases_dir, capsys):
    for arguments, code in (
        ({"slice_range": RANGE}, 0), ({}, 1), ({"slice_range": RANGE, "modalities": "t2f,t1n"}, 0),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            check_dataset(str(cases_dir), json=str(tmp_path / "report.json"), **arguments)
        assert end.value.code == code
        assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == code
    assert "4 cases of 4 patients" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        check_dataset(str(tmp_path / "absent"))
    assert end.value.code == 2
    with pytest.raises(SystemExit, match="error: unknown modality 'ct'"):
        check_dataset(str(cases_dir), modalities="ct")
