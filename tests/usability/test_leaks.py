"""Held-out patients planted in the training data, one way after another, and refused by name."""

from __future__ import annotations

import json
import shutil

import pytest

from monai_ext.data import LeakError
from monai_ext.usability import choose_patients, guard_training, open_sources

SMALL = {"slice_range": (2, 6), "roi_size": (32, 32)}
SIDES = {"train": ["P0", "P1"], "validation": ["P2"], "test": ["P3"]}


@pytest.fixture
def split(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(SIDES))
    return path


def test_a_held_out_patient_among_the_training_slices():
    guard_training([("a", "P0"), ("b", "P1")], SIDES, ["P3", "P9"])
    for patient, where in (("P2", "on the validation side"), ("P3", "on the test side"), ("P9", "one of those who")):
        with pytest.raises(LeakError, match=f"training sample b is of patient {patient}, who is {where}"):
            guard_training([("a", "P0"), ("b", patient)], SIDES, ["P3", "P9"])


@pytest.mark.parametrize(
    "source, patient", [("P3", "P3"), ("P2", "P2"), ("P9", "P9"), ("BraTS2021_00001", "GLI-00001")]
)
@pytest.mark.parametrize("field", ["label_source", "map_source"])
def test_a_label_or_map_of_anyone_but_a_training_patient(tmp_path, cases_dir, split, studies, source, patient, field):
    folder = studies(tmp_path / "studies", 3)
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    lines[1][field] = source
    (folder / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    with pytest.raises(LeakError, match=f"sample BraTS-SYN-00001-000: its {field} is {source}, and patient {patient}"):
        open_sources(cases_dir, folder, split, tmp_path, **SMALL)


def test_a_held_out_case_among_the_synthetic_ones(tmp_path, cases_dir, split, studies):
    folder = studies(tmp_path / "studies", 2)
    shutil.copytree(cases_dir / "P3", folder / "P3")
    with pytest.raises(LeakError, match="training sample P3 is of patient P3, who is on the test side"):
        open_sources(cases_dir, folder, split, tmp_path, **SMALL)


def test_a_held_out_patient_under_another_name(tmp_path, cases_dir, split, write_case, volumes):
    shutil.copytree(cases_dir, tmp_path / "in")
    shutil.rmtree(tmp_path / "in" / "P0")
    write_case(tmp_path / "in", "brats2023", "P0", volumes(3))
    with pytest.raises(LeakError, match="training sample P0, slice 2, is the same picture as slice 2 of .* patient P3"):
        open_sources(tmp_path / "in", None, split, tmp_path, **SMALL)


def test_samples_of_unknown_origin(tmp_path, cases_dir, split, studies):
    folder = studies(tmp_path / "studies", 2)
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    (folder / "manifest.jsonl").write_text(lines[0] + "\n")
    with pytest.raises(ValueError, match="sample BraTS-SYN-00001-000 is not in .*manifest.jsonl"):
        open_sources(cases_dir, folder, split, tmp_path, **SMALL)
    (folder / "manifest.jsonl").unlink()
    with pytest.raises(ValueError, match=r"manifest.jsonl does not exist: without it nobody can tell"):
        open_sources(cases_dir, folder, split, tmp_path, **SMALL)


def test_what_may_be_used(tmp_path, cases_dir, split, studies):
    sources = open_sources(cases_dir, studies(tmp_path / "studies", 3, ("procedural", "P1")), split, tmp_path, **SMALL)
    assert sources.patients() == {"train": ["P0", "P1"], "test": ["P3"]}
    assert [len(d) for d in (sources.real, sources.synthetic, sources.judges)] == [8, 3, 4]
    with pytest.raises(ValueError, match="none of the 4 labelled cases under .* is a training one"):
        split.write_text(json.dumps({"train": ["X"], "validation": [], "test": []}))
        open_sources(cases_dir, None, split, tmp_path, **SMALL)


def test_fewer_patients(tmp_path, cases_dir, split):
    split.write_text(json.dumps({"train": ["P0", "P1", "P2"], "validation": [], "test": ["P3"]}))
    sources = open_sources(cases_dir, None, split, tmp_path, **SMALL, real_patients=1)
    assert len(sources.patients()["train"]) == 1 and len(sources.real) == 4


def test_choice_of_patients():
    patients = [f"P{i}" for i in range(10)]
    small, large = choose_patients(patients, 0.25, seed=1), choose_patients(patients, real_patients=6, seed=1)
    assert len(small) == 3 and set(small) < set(large) and large == choose_patients(patients[::-1], 0.6, seed=1)
    assert choose_patients(patients) == patients and len(choose_patients(patients, 0.01)) == 1
    assert choose_patients(patients, 0.5, seed=1) != choose_patients(patients, 0.5, seed=2)
    for arguments, message in (
        ((0,), "data_fraction is above 0 and at most 1"), ((1.5,), "data_fraction is above 0"),
        ((0.5, 3), "data_fraction or real_patients, not both"), ((1.0, 11), "real_patients is 1 to 10"),
        ((1.0, 0), "real_patients is 1 to 10"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            choose_patients(patients, *arguments)
