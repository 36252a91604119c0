"""Cases are found in every layout, and what is wrong with one is said with its name and its file."""

from __future__ import annotations

import logging
import shutil

import pytest

from monai_ext.data import Case, CaseError, case_of_file, find_cases, patient_of
from monai_ext.labels import DECATHLON_CHANNELS, MODALITIES

LAYOUTS = ("brats2015", "brats2017", "brats2023", "decathlon")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout(tmp_path, write_case, layout):
    files = write_case(tmp_path, layout, "CASE_007")
    (case,) = find_cases(tmp_path, require_segmentation=True)
    assert (case.case_id, case.convention) == ("CASE_007", layout)
    assert list(case.images) == list(MODALITIES)
    assert {m: s.path for m, s in case.images.items()} == {m: files[m] for m in MODALITIES}
    assert case.segmentation.path == files["seg"] and case.segmentation.channel is None
    channels = {m: s.channel for m, s in case.images.items()}
    assert channels == (
        {"t2f": 0, "t1n": 1, "t1c": 2, "t2w": 3} if layout == "decathlon" else dict.fromkeys(MODALITIES)
    )


def test_mixed_and_nested(tmp_path, write_case):
    write_case(tmp_path / "old" / "HGG", "brats2015", "brats_tcia_pat105_0001")
    write_case(tmp_path / "HGG" / "deeper", "brats2017", "Brats17_TCIA_105_1")
    write_case(tmp_path, "brats2023", "BraTS-GLI-00000-000")
    write_case(tmp_path / "Task01", "decathlon", "BRATS_001")
    write_case(tmp_path / "Task01", "decathlon", "BRATS_485", label=False)
    (tmp_path / "Task01" / "imagesTr" / "._BRATS_001.nii.gz").write_bytes(b"resource fork")
    (tmp_path / "notes.nii.gz").write_bytes(b"of no known layout")
    (tmp_path / "survival.csv").write_text("id,days")
    found = find_cases(tmp_path)
    assert [(c.case_id, c.convention, c.segmentation is not None) for c in found] == [
        ("BRATS_001", "decathlon", True),
        ("BRATS_485", "decathlon", False),
        ("BraTS-GLI-00000-000", "brats2023", True),
        ("Brats17_TCIA_105_1", "brats2017", True),
        ("brats_tcia_pat105_0001", "brats2015", True),
    ]


def test_many_cases_in_one_flat_folder(tmp_path, write_case):
    for name in ("A-1", "A-2"):
        for path in write_case(tmp_path / "from", "brats2023", name).values():
            shutil.move(path, tmp_path / path.name)
    assert [c.case_id for c in find_cases(tmp_path)] == ["A-1", "A-2"]


def test_brats2015_files_beside_each_other(tmp_path, monkeypatch, write_case):
    folder = tmp_path / "brats_2013_pat0001_1"
    folder.mkdir()
    for path in write_case(tmp_path / "from", "brats2015", "x").values():
        shutil.move(path, folder / path.name)
    shutil.rmtree(tmp_path / "from")
    assert [c.case_id for c in find_cases(tmp_path)] == [folder.name]
    monkeypatch.chdir(folder)
    assert [c.case_id for c in find_cases(".")] == [folder.name]


def test_unlabelled(tmp_path, write_case, caplog):
    write_case(tmp_path, "brats2017", "with")
    write_case(tmp_path, "brats2017", "without", label=False)
    assert [(c.case_id, c.segmentation is None) for c in find_cases(tmp_path)] == [("with", False), ("without", True)]
    with caplog.at_level(logging.INFO):
        assert [c.case_id for c in find_cases(tmp_path, require_segmentation=True)] == ["with"]
    assert "1 cases without segmentation are left out" in caplog.text
    shutil.rmtree(tmp_path / "with")
    with pytest.raises(CaseError, match="1 without segmentation"):
        find_cases(tmp_path, require_segmentation=True)


@pytest.mark.parametrize("layout", LAYOUTS[:3])
def test_missing_modality(tmp_path, write_case, caplog, layout):
    write_case(tmp_path, layout, "whole")
    write_case(tmp_path, layout, "broken", modalities=("t1n", "t2w", "t2f"))
    with pytest.raises(CaseError, match="case broken: no file for t1c in .*broken .found: seg, t1n, t2f, t2w"):
        find_cases(tmp_path)
    assert [c.case_id for c in find_cases(tmp_path, ("t2f", "t1n"))] == ["broken", "whole"]
    assert list(find_cases(tmp_path, ())[0].images) == ["t1n", "t2w", "t2f"]
    with caplog.at_level(logging.WARNING):
        assert [c.case_id for c in find_cases(tmp_path, on_bad_case="skip")] == ["whole"]
    assert "skipped case broken: no file for t1c" in caplog.text


def test_many_bad_cases_are_counted(tmp_path, write_case):
    for index in range(7):
        write_case(tmp_path, "brats2023", f"bad{index}", modalities=("t1n",))
    with pytest.raises(CaseError, match="case bad0: .*case bad4: .*and 2 more"):
        find_cases(tmp_path)
    with pytest.raises(CaseError, match="no usable case under .*7 incomplete"):
        find_cases(tmp_path, on_bad_case="skip")


def test_two_cases_of_one_name(tmp_path, write_case):
    for folder in ("one", "two"):
        write_case(tmp_path / folder, "brats2023", "P1")
    for on_bad_case in ("raise", "skip"):
        with pytest.raises(CaseError, match="case P1 is found more than once: .*one.P1, .*two.P1"):
            find_cases(tmp_path, on_bad_case=on_bad_case)


def test_two_files_for_one_modality(tmp_path, write_case):
    path = write_case(tmp_path, "brats2023", "P1")["t1c"]
    shutil.copy(path, path.with_name("P1-t1c.nii"))
    with pytest.raises(CaseError, match=r"case P1: two files for t1c: P1-t1c.nii and P1-t1c.nii.gz"):
        find_cases(tmp_path)


def test_two_layouts_in_one_case(tmp_path, write_case):
    path = write_case(tmp_path, "brats2023", "P1")["t1c"]
    shutil.move(path, path.with_name("P1_t1ce.nii.gz"))
    with pytest.raises(CaseError, match="case P1: files of two layouts .brats2023, brats2017.: P1_t1ce.nii.gz"):
        find_cases(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(CaseError, match="no usable case under .*imagesTr/BRATS_001"):
        find_cases(tmp_path)
    with pytest.raises(CaseError, match="is not a folder"):
        find_cases(tmp_path / "absent")
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        find_cases(tmp_path, on_bad_case="ignore")


@pytest.mark.parametrize(
    "case_id, patient",
    [
        ("BraTS-GLI-00006-000", "GLI-00006"),
        ("BraTS-GLI-00006-001", "GLI-00006"),
        ("BraTS2021_00006", "GLI-00006"),
        ("BraTS2021_00007", "GLI-00007"),
        ("Brats17_TCIA_105_1", "TCIA_105"),
        ("Brats18_TCIA_105_1", "TCIA_105"),
        ("BraTS19_TCIA_105_2", "TCIA_105"),
        ("Brats17_CBICA_AAB_1", "CBICA_AAB"),
        ("BraTS19_2013_10_1", "2013_10"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BraTS20_Validation_001", "BraTS20_Validation_001"),
        ("BraTS-MET-00105-000", "BraTS-MET-00105"),
        ("BraTS-SYN-00003-000", "BraTS-SYN-00003"),
        ("brats_tcia_pat105_0001", "TCIA_105"),
        ("brats_2013_pat0002_1", "2013_2"),
        ("Brats17_2013_2_1", "2013_2"),
        ("brats_2013_pat0001_1", "2013_1"),
        ("BRATS_001", "BRATS_001"),
        ("someone_1", "someone_1"),
    ],
)
def test_patient_of(case_id, patient):
    assert patient_of(case_id) == patient


@pytest.mark.parametrize("layout", LAYOUTS)
def test_case_of_file(tmp_path, write_case, layout):
    files = write_case(tmp_path, layout, "CASE_1")
    write_case(tmp_path, layout, "CASE_2")
    (expected, _) = find_cases(tmp_path)
    for path in files.values():
        assert case_of_file(path) == expected
    assert isinstance(expected, Case) and set(DECATHLON_CHANNELS) == set(expected.images)


def test_case_of_file_refuses(tmp_path, write_case):
    files = write_case(tmp_path, "brats2023", "P1", modalities=("t1n", "t2w"))
    assert case_of_file(files["t1n"], ("t2w",)).case_id == "P1"
    with pytest.raises(CaseError, match="case P1: no file for t1c, t2f beside .*P1-t1n.nii.gz"):
        case_of_file(files["t1n"])
    for name in ("brain.nii.gz", "P1-t1n.png"):
        with pytest.raises(CaseError, match=f"{name} follows no known layout"):
            case_of_file(tmp_path / name)


def test_real_cases(real_dir):
    cases = find_cases(real_dir)
    names = {c.case_id: c for c in cases}
    assert len(names) == len(cases) and all(list(c.images) == list(MODALITIES) for c in cases)
    for prefix, convention in (("BraTS2021_", "brats2017"), ("Brats17_", "brats2017"), ("BraTS-GLI-", "brats2023")):
        assert {c.convention for n, c in names.items() if n.startswith(prefix)} <= {convention}
