"""Parts of the MONAI Label app that need no MONAI Label: cases behind images, the working folder, labels, options."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from lib.cases import case_of_image, complete_case, image_id, images_by_case, next_study, sibling_id
from lib.options import choice, positive_number, whole_number
from lib.scratch import APP, copy_app, copy_studies
from lib.training_set import (
    StoredLabel,
    canonical_values,
    newest_of_each_case,
    slices_of,
    usable_labels,
    write_label,
    write_training_set,
)
from lib.translations import targets_of, translated_id

from monai_ext.data import CaseError, find_cases, open_dataset, read_case, read_split
from monai_ext.labels import MODALITIES

NAMES_2017 = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}


def digest(folder: Path) -> dict[str, str]:
    """Every file under a folder, by its content."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def datastore(tmp_path, write_case):
    """Folder of images of a complete case in each naming, and one without T1c."""
    write_case(tmp_path / "in", "brats2017", "A_1")
    write_case(tmp_path / "in", "brats2023", "B-000")
    write_case(tmp_path / "in", "brats2023", "C-000", modalities=("t1n", "t2w", "t2f"))
    copy_studies(tmp_path / "in", tmp_path / "studies")
    return tmp_path / "studies" / "images"


@pytest.mark.parametrize("name, case_id", [*((f"A_1_{s}", "A_1") for s in NAMES_2017.values()),
                                           *((f"B-000-{m}", "B-000") for m in MODALITIES)])  # fmt: skip
def test_any_image_finds_its_siblings(datastore, name, case_id):
    path = datastore / f"{name}.nii.gz"
    case, modality = case_of_image(path)
    assert case.case_id == case_id and case.images[modality].path == path and image_id(path) == name
    assert list(complete_case(path).images) == list(MODALITIES)
    assert list(complete_case(path, ("t2f", "t1n")).images) == ["t2f", "t1n"]


def test_missing_sibling_is_named_and_what_can_be_done(datastore):
    with pytest.raises(CaseError) as error:
        complete_case(datastore / "C-000-t2w.nii.gz")
    assert str(error.value) == (
        "case C-000 has no image for t1c (T1c); it has C-000-t1n, C-000-t2w, C-000-t2f. Make what is missing with the "
        "model 'translate', or ask for a segmentor of one modality with 'modalities', such as t1n"
    )
    assert list(complete_case(datastore / "C-000-t2w.nii.gz", ("t2f",)).images) == ["t2f"]


def test_names_that_tell_no_case(datastore):
    for name in ("scan.nii.gz", "upload.mha"):
        with pytest.raises(CaseError, match=f"{name} follows no known layout: expected for instance CASE-t1n"):
            case_of_image(datastore / name)


def test_names_of_translated_images(datastore):
    case, _ = case_of_image(datastore / "A_1_t2.nii.gz")
    assert [sibling_id(case, m) for m in MODALITIES] == [f"A_1_{NAMES_2017[m]}" for m in MODALITIES]
    case, _ = case_of_image(datastore / "C-000-t2w.nii.gz")
    given = list(case.images)
    assert targets_of("missing", "t2w", given) == ["t1c"]
    assert translated_id(case, "t2w", "t1c", given) == "C-000-t1c"
    assert translated_id(case, "t2w", "t1n", given) == "C-000-from-t2w-t1n"  # the acquired T1 stays what it is
    assert targets_of("missing", "t2w", MODALITIES) == targets_of("all", "t2w", ()) == ["t1n", "t1c", "t2f"]
    assert targets_of("flair", "t1n", MODALITIES) == ["t2f"]
    with pytest.raises(ValueError, match="t1n is the source"):
        targets_of("t1", "t1n", MODALITIES)
    assert case_of_image(datastore / "C-000-t1n.nii.gz")[1] == "t1n"


def test_number_of_the_next_study():
    assert next_study([]) == next_study(["B-000-t1n"]) == 0
    assert next_study(["BraTS-SYN-00003-000-t1n", "BraTS-SYN-00011-000-t2f", "B-000-t1n"]) == 12


def test_images_by_case():
    assert images_by_case(["P_t1ce", "P_flair", "B-000-t2f", "scan", "X-from-t1n-t2w"]) == {
        "B-000": {"t2f": "B-000-t2f"}, "P": {"t2f": "P_flair", "t1c": "P_t1ce"}, "X-from-t1n": {"t2w": "X-from-t1n-t2w"}
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["brats2015", "brats2017", "brats2023", "decathlon"])
def test_copies_of_every_layout_read_as_the_originals(tmp_path, volumes, write_case, layout):
    """One flat folder of images, canonical labels, and the user's folder as it was."""
    source, target = tmp_path / "in", tmp_path / "out"
    write_case(source / "deep", layout, "CASE_01", volumes(1))
    before = digest(source)
    copied = copy_studies(source, target)
    assert (copied.cases, copied.images, copied.labels, copied.problems) == (1, 4, 1, [])
    assert digest(source) == before
    images = sorted((target / "images").iterdir())
    assert len(images) == 4 and not any(p.is_symlink() for p in images)
    original, label = read_case(find_cases(source)[0])
    for path in images:
        case, modality = case_of_image(path)
        image, _ = read_case(case, MODALITIES)
        assert case.case_id == "CASE_01" and modality in MODALITIES
        assert np.array_equal(image.numpy(), original.numpy()) and np.allclose(image.affine, original.affine)
    (stored,) = (target / "labels" / "final").iterdir()
    assert stored.name.split(".")[0] == ("CASE_01_flair" if layout == "brats2017" else "CASE_01-t2f")
    assert np.array_equal(np.asarray(nib.load(stored).dataobj), label[0].numpy())


def test_copying_again_keeps_labels_and_adds_cases(tmp_path, write_case):
    write_case(tmp_path / "in", "brats2023", "A-000")
    copy_studies(tmp_path / "in", tmp_path / "out")
    label = tmp_path / "out" / "labels" / "final" / "A-000-t2f.nii.gz"
    label.write_bytes(b"of a person")
    write_case(tmp_path / "in", "brats2023", "B-000", label=False)
    copied = copy_studies(tmp_path / "in", tmp_path / "out")
    assert (copied.cases, copied.images, copied.labels) == (2, 8, 1) and label.read_bytes() == b"of a person"


def test_what_cannot_be_copied(tmp_path, write_case):
    write_case(tmp_path / "in", "brats2023", "A-000", file_label=np.full((24, 20, 10), 7, dtype=np.uint8))
    copied = copy_studies(tmp_path / "in", tmp_path / "out")
    assert (copied.cases, copied.images, copied.labels) == (1, 4, 0)
    assert len(copied.problems) == 1 and "A-000-seg.nii.gz has label value(s) [7]" in copied.problems[0]
    (tmp_path / "empty").mkdir()
    assert copy_studies(tmp_path / "empty", tmp_path / "other").cases == 0
    with pytest.raises(CaseError, match="which must not be written to"):
        copy_studies(tmp_path / "in", tmp_path / "in" / "work")
    assert not (tmp_path / "in" / "work").exists()
    with pytest.raises(CaseError, match="is not a folder"):
        copy_studies(tmp_path / "nowhere", tmp_path / "out")


def test_copy_of_the_app(tmp_path):
    (tmp_path / "lib").mkdir(parents=True)
    (tmp_path / "lib" / "stale.py").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "segmentor.pt").write_bytes(b"trained")
    copy_app(tmp_path)
    sources = {p.relative_to(APP) for p in (APP / "lib").rglob("*.py")}
    assert {p.relative_to(tmp_path) for p in (tmp_path / "lib").rglob("*.py")} == sources
    assert (tmp_path / "main.py").is_file() and (tmp_path / "model" / "segmentor.pt").read_bytes() == b"trained"


def stored(datastore: Path, name: str, **info):
    """The label of an image as the datastore gives it."""
    label = datastore.parent / "labels" / "final" / f"{name}.nii.gz"
    return StoredLabel(datastore / f"{name}.nii.gz", label, info)


def test_training_set_is_one_the_bundle_reads(datastore, tmp_path):
    labels = [stored(datastore, "A_1_flair"), stored(datastore, "B-000-t2f"), stored(datastore, "C-000-t2f")]
    sides = write_training_set(usable_labels(labels, slices=10), tmp_path / "set", 0.5)
    assert sorted(sides["train"] + sides["validation"]) == ["A_1", "B-000"] and sides["test"] == []
    assert read_split(tmp_path / "set" / "split.json") == sides
    cases = open_dataset(tmp_path / "set" / "cases", tmp_path / "set" / "split.json", tmp_path / "phantom",
                         require_segmentation=True)  # fmt: skip
    assert len(cases["train"]) == len(cases["validation"]) == 1
    _, expected = read_case(find_cases(tmp_path / "in" / "A_1")[0], ())
    _, label = read_case(next(c for side in cases.values() for c in side if c.case_id == "A_1"), ())
    assert np.array_equal(label.numpy(), expected.numpy())


def test_newest_label_of_a_case_counts(datastore):
    old, new = stored(datastore, "A_1_flair", ts=2), stored(datastore, "A_1_t1", ts=3)
    assert [s for _, s in newest_of_each_case([new, old])] == [new]
    assert newest_of_each_case([stored(datastore, "C-000-t2f")]) == []  # no T1c


def test_segments_are_known_by_name(datastore, tmp_path):
    """3D Slicer leaves out a deleted segment and numbers the others anew."""
    info = {"label_info": [{"name": "ED", "idx": 1}, {"name": "ET", "idx": 2}]}
    assert canonical_values(info) == canonical_values({"params": info}) == {1: 2, 2: 3}
    assert canonical_values({}) == {1: 1, 2: 2, 3: 3}
    array = np.zeros((4, 4, 4), dtype=np.int16)
    array[1], array[2] = 1, 2
    one = stored(datastore, "new", **info)
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1])), one.label)
    write_label(one, tmp_path / "label.nii.gz")
    written = nib.load(tmp_path / "label.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), np.array([0, 2, 3], dtype=np.uint8)[array])
    assert np.array_equal(written.affine, np.diag([-1.0, -1, 1, 1]))
    array[3] = 3
    nib.save(nib.Nifti1Image(array, np.eye(4)), one.label)
    with pytest.raises(CaseError, match=r"has value\(s\) \[3\], expected \[0, 1, 2\]"):
        write_label(one, tmp_path / "label.nii.gz")
    with pytest.raises(CaseError, match=r"unknown segment\(s\) tumour: expected NCR, ED, ET"):
        canonical_values({"label_info": [{"name": "tumour", "idx": 1}]})


def test_trainings_that_cannot_be(datastore, tmp_path):
    labels = [stored(datastore, "A_1_flair"), stored(datastore, "B-000-t2f")]
    with pytest.raises(CaseError, match=r"two patients at least.* has 1 label\(s\), usable ones of 1 patient"):
        usable_labels(labels[:1])
    with pytest.raises(CaseError, match="usable ones of 0 patient.*145 slices"):
        usable_labels(labels, slices=145)
    with pytest.raises(CaseError, match="x.nrrd is not NIfTI"):
        write_label(StoredLabel(tmp_path, tmp_path / "x.nrrd", {}), tmp_path / "y.nii.gz")


def test_slices_in_any_orientation(tmp_path):
    turned = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), dtype=np.uint8), turned), tmp_path / "a.nii.gz")
    assert slices_of(tmp_path / "a.nii.gz") == 5


@pytest.mark.parametrize("value, expected", [(None, 4), ("", 4), ("7", 7), (9, 9)])
def test_whole_numbers(value, expected):
    assert whole_number({"n": value}, "n", 4, 1, 9) == expected


@pytest.mark.parametrize("value", ["ten", 0, 10, 2.5, [3]])
def test_refused_whole_numbers(value):
    with pytest.raises(CaseError, match="n is a whole number from 1 to 9, got"):
        whole_number({"n": value}, "n", 4, 1, 9)


def test_other_options():
    assert positive_number({}, "r", 0.1) == 0.1 and positive_number({"r": "0.5"}, "r", 0.1) == 0.5
    for value in (0, -1, "much", "nan", 1):
        with pytest.raises(CaseError, match="r is a number above 0 and below 1, got"):
            positive_number({"r": value}, "r", 0.1, below=1)
    assert choice({}, "w", "new", "old") == "new" and choice({"w": "old"}, "w", "new", "old") == "old"
    with pytest.raises(CaseError, match="w is one of new, old, got 'older'"):
        choice({"w": "older"}, "w", "new", "old")
