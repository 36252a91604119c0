"""Studies on disk: names, voxels and the data list, in the three layouts."""

from __future__ import annotations

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from monai.data import load_decathlon_datalist

from monai_ext.data import (
    BRATS_AFFINE,
    LAYOUTS,
    StudyWriter,
    atomic_path,
    find_cases,
    is_synthetic,
    on_canvas,
    read_case,
    read_slices,
    study_name,
    write_json,
    write_nifti,
)
from monai_ext.labels import MODALITIES

NAME = "BraTS-SYN-00002-000"


def study(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four images of 160 x 192 and a label with every class, on a background of 0."""
    rng = np.random.default_rng(seed)
    images = np.zeros((4, 160, 192), np.float32)
    images[:, 30:130, 40:150] = rng.uniform(0.02, 1, (4, 100, 110))
    label = np.zeros((160, 192), np.uint8)
    label[60:70, 80:95], label[62:68, 84:90], label[64:66, 86:88] = 2, 3, 1
    return images, label


FILES = {
    "brats": [f"{NAME}/{NAME}-{m}.nii.gz" for m in ("t1n", "t1c", "t2w", "t2f")] + [f"{NAME}/{NAME}-seg.nii.gz"],
    "decathlon": [f"imagesTr/{NAME}.nii.gz", f"labelsTr/{NAME}.nii.gz"],
    "nnunet": [f"imagesTr/{NAME}_{i:04d}.nii.gz" for i in range(4)] + [f"labelsTr/{NAME}.nii.gz"],
}
CHANNELS = {"brats": (0, 1, 2, 3), "decathlon": (3, 0, 1, 2), "nnunet": (0, 1, 2, 3)}
CLASSES = {"brats": [0, 1, 2, 3], "decathlon": [0, 2, 1, 3], "nnunet": [0, 1, 2, 3]}  # background, NCR, ED, ET


def test_study_name():
    assert [study_name(i) for i in (2, 12345)] == [NAME, "BraTS-SYN-12345-000"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files(tmp_path, layout):
    images, label = study()
    StudyWriter(tmp_path, layout).write(NAME, images, label)
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert written == sorted(FILES[layout])
    *pictures, segmentation = (nib.load(tmp_path / f) for f in FILES[layout])
    for volume in (*pictures, segmentation):
        np.testing.assert_array_equal(volume.affine, BRATS_AFFINE)
        np.testing.assert_array_equal(volume.header.get_zooms()[:3], (1, 1, 1))
        assert volume.shape[:3] == (240, 240, 1) and nib.aff2axcodes(volume.affine) == ("L", "P", "S")
        assert volume.header.get_xyzt_units()[0] == "mm"
    assert segmentation.get_data_dtype() == np.uint8 and segmentation.shape == (240, 240, 1)
    values = np.asarray(segmentation.dataobj)
    # 160 x 192 lies in the middle of the canvas: 40 rows and 24 columns around it
    expected = np.zeros((240, 240), np.uint8)
    expected[40:200, 24:216] = np.array(CLASSES[layout])[label]
    np.testing.assert_array_equal(values[..., 0], expected)
    stored = np.stack([np.asarray(p.dataobj) for p in pictures])
    assert stored.dtype == np.float32
    stored = stored[0, :, :, 0].transpose(2, 0, 1) if layout == "decathlon" else stored[..., 0]
    assert stored.shape == (4, 240, 240)
    for channel, source in zip(stored, CHANNELS[layout]):
        np.testing.assert_array_equal(channel[40:200, 24:216], images[source])
        assert channel.sum() == pytest.approx(images[source].sum(), rel=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_datalist_is_read_by_monai(tmp_path, layout):
    writer = StudyWriter(tmp_path, layout)
    names = [study_name(i) for i in (0, 3)]
    for seed, name in enumerate(names):
        writer.write(name, *study(seed))
    writer.write_datalist([{"name": n, "dice": 0.97} for n in names])
    items = load_decathlon_datalist(tmp_path / "dataset.json", True, "training")
    assert len(items) == 2
    for item, name in zip(items, names):
        expected = [str(tmp_path / f.replace(NAME, name)) for f in FILES[layout]]
        images = item["image"] if isinstance(item["image"], list) else [item["image"]]
        assert [*map(str, images), str(item["label"])] == expected
        assert all(nib.load(p).shape for p in expected)
    described = json.loads((tmp_path / "dataset.json").read_text())
    assert (described["numTraining"], described["numTest"], described["test"]) == (2, 0, [])
    assert "not for clinical use" in described["description"]
    titles = ["FLAIR", "T1", "T1c", "T2"] if layout == "decathlon" else ["T1", "T1c", "T2", "FLAIR"]
    assert described["modality"] == {str(i): t for i, t in enumerate(titles)}
    if layout == "nnunet":
        assert described["labels"] == {"background": 0, "NCR": 1, "ED": 2, "ET": 3}
        assert described["channel_names"] == described["modality"] and described["file_ending"] == ".nii.gz"
    else:
        ncr, ed = ("2", "1") if layout == "decathlon" else ("1", "2")
        assert described["labels"] == {"0": "background", ncr: "NCR", ed: "ED", "3": "ET"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fewer_modalities(tmp_path, layout):
    images, label = study()
    writer = StudyWriter(tmp_path, layout, ("t1n", "t2f"))
    writer.write(NAME, images[[0, 3]], label)
    writer.write_datalist([{"name": NAME}])
    described = json.loads((tmp_path / "dataset.json").read_text())
    if layout == "decathlon":
        volume = np.asarray(nib.load(tmp_path / FILES[layout][0]).dataobj)
        assert volume.shape == (240, 240, 1, 2)
        np.testing.assert_array_equal(volume[40:200, 24:216, 0, 0], images[3])
        assert described["modality"] == {"0": "FLAIR", "1": "T1"}
    else:
        assert len(described["training"][0]["image"]) == 2
        assert described["modality"] == {"0": "T1", "1": "FLAIR"}


@pytest.mark.parametrize("layout", ["brats", "decathlon"])
def test_read_back(tmp_path, layout):
    writer = StudyWriter(tmp_path, layout)
    for seed in range(2):
        writer.write(study_name(seed), *study(seed))
    cases = find_cases(tmp_path, require_segmentation=True)
    assert [c.case_id for c in cases] == ["BraTS-SYN-00000-000", "BraTS-SYN-00001-000"]
    for seed, case in enumerate(cases):
        images, label = study(seed)
        read, classes = read_case(case, MODALITIES)
        np.testing.assert_array_equal(read.numpy()[:, 40:200, 24:216, 0], images)
        np.testing.assert_array_equal(classes.numpy()[0, 40:200, 24:216, 0], label)


def test_structure_beside_the_studies(tmp_path):
    images, label = study()
    mask = (images[0] == 0).astype(np.uint8)
    structure = np.zeros_like(mask)
    structure[30, 40:150] = 1
    writer = StudyWriter(tmp_path)
    writer.write(NAME, images, label)
    writer.write_structure(NAME, structure, mask)
    stored = {k: np.asarray(nib.load(tmp_path / f).dataobj) for k, f in writer.structure_files(NAME).items()}
    assert sorted(p.name for p in (tmp_path / "structure").iterdir()) == [f"{NAME}-map.nii.gz", f"{NAME}-mask.nii.gz"]
    assert all(a.shape == (240, 240, 1) and a.dtype == np.uint8 for a in stored.values())
    # outside the crop lies no edge, and no brain
    assert stored["map"].sum() == 110 and stored["map"][70, 64:174].all()
    assert stored["mask"].sum() == 240 * 240 - 100 * 110 and not stored["mask"][70:170, 64:174].any()
    assert [c.case_id for c in find_cases(tmp_path)] == [NAME]  # they are no case


@pytest.mark.parametrize("layout", ["brats", "decathlon"])
def test_intensities_of_a_study_are_not_scaled_again(tmp_path, layout):
    images, label = study()
    StudyWriter(tmp_path, layout).write(NAME, 0.5 * images, label)
    (case,) = find_cases(tmp_path)
    read = read_slices(case, slice_range=(0, 1), roi_size=(160, 192))
    np.testing.assert_allclose(read["image"][0], 0.5 * images, atol=5e-4)
    np.testing.assert_array_equal(read["label"][0, 0], label)
    assert is_synthetic(NAME) and not is_synthetic("BraTS-GLI-00002-000")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_input_same_bytes(tmp_path, layout):
    digests = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        writer = StudyWriter(folder, layout)
        writer.write(NAME, *study())
        writer.write_datalist([{"name": NAME}])
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        digests.append([(str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files])
    assert digests[0] == digests[1]


def test_other_layout_is_refused(tmp_path):
    with pytest.raises(ValueError, match="brats, decathlon, nnunet, got 'bids'"):
        StudyWriter(tmp_path, "bids")


def test_on_canvas():
    array = np.arange(1, 7).reshape(1, 2, 3)
    padded = on_canvas(array, (5, 4))
    assert padded.shape == (1, 5, 4)
    np.testing.assert_array_equal(padded[0, 1:3, :3], array[0])  # the odd row and column go behind
    assert padded.sum() == array.sum()
    np.testing.assert_array_equal(on_canvas(array, (2, 3)), array)
    with pytest.raises(ValueError, match=r"\(2, 3\) does not fit a canvas of \(1, 4\)"):
        on_canvas(array, (1, 4))


def test_write_nifti_keeps_voxels_and_affine(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = 5, -6, 7
    write_nifti(tmp_path / "deep" / "a.nii.gz", array, affine)
    volume = nib.load(tmp_path / "deep" / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(volume.dataobj), array)
    np.testing.assert_array_equal(volume.affine, affine)
    assert volume.get_data_dtype() == np.int16
    assert (int(volume.header["sform_code"]), int(volume.header["qform_code"])) == (1, 1)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(file) as temporary:
        temporary.write_text("half")
        assert temporary.name.endswith(".a.json")
        raise RuntimeError
    assert json.loads(file.read_text()) == {"a": 1} and [p.name for p in tmp_path.iterdir()] == ["a.json"]
