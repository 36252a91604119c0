"""Volumes are read once, as the files have them, and what does not fit is refused by name."""

from __future__ import annotations

import logging
from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.data import CaseError, LoadCased, SliceDataset, find_cases, read_case, read_label_slices, reading
from monai_ext.labels import MODALITIES

LAYOUTS = ("brats2015", "brats2017", "brats2023", "decathlon")
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 19], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])


@pytest.fixture
def opened(monkeypatch):
    """Counts how often each file is opened."""
    count: Counter[str] = Counter()

    def spied(read):
        def spy(path):
            count[str(path)] += 1
            return read(path)

        return spy

    for name in ("_read_nifti", "_read_itk"):
        monkeypatch.setattr(reading, name, spied(getattr(reading, name)))
    return count


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_classes_and_affine(tmp_path, write_case, volumes, opened, layout):
    expected = volumes(1)
    files = write_case(tmp_path, layout, "P1", expected)
    (case,) = find_cases(tmp_path)
    image, label = read_case(case)
    assert opened == dict.fromkeys(map(str, files.values()), 1)
    assert isinstance(image, MetaTensor) and image.dtype == torch.float32 and label.dtype == torch.uint8
    np.testing.assert_array_equal(image.numpy(), np.stack([expected.images[m] for m in MODALITIES]))
    np.testing.assert_array_equal(label.numpy()[0], expected.label)
    for tensor in (image, label):
        np.testing.assert_allclose(tensor.affine.numpy(), AFFINE)
        assert tensor.meta["case_id"] == tensor.meta["filename_or_obj"] == "P1"


@pytest.mark.parametrize("layout, count", [("brats2017", 5), ("brats2015", 5), ("decathlon", 2)])
def test_every_file_is_opened_once(tmp_path, write_case, opened, layout, count):
    write_case(tmp_path, layout, "P1")
    dataset = SliceDataset(find_cases(tmp_path), slice_range=(2, 8), roi_size=(16, 16), progress=False)
    for index in (*range(len(dataset)), *range(len(dataset))):
        dataset[index]
    assert sum(opened.values()) == count and set(opened.values()) == {1}


def test_identical_to_nibabel(tmp_path, write_case, volumes):
    files = write_case(tmp_path, "brats2017", "P1", volumes(2))
    image, _ = read_case(find_cases(tmp_path)[0], ("t2f", "t1n"))
    for channel, kind in zip(image, ("t2f", "t1n")):
        np.testing.assert_array_equal(channel.numpy(), nib.load(files[kind]).get_fdata())


def test_mha_and_nifti_agree(tmp_path, write_case, volumes):
    """An oblique position: ITK's world is LPS, NIfTI's is RAS."""
    affine = np.array([[0.0, 1, 0, -11.5], [-1, 0, 0, 7.25], [0, 0, 1, 3], [0, 0, 0, 1]])
    read = []
    for layout in ("brats2015", "brats2023"):
        write_case(tmp_path / layout, layout, "P1", volumes(3), affine=affine)
        read.append(read_case(find_cases(tmp_path / layout)[0]))
    for mha, nifti in zip(*read):
        np.testing.assert_allclose(mha.affine.numpy(), affine, atol=1e-6)
        np.testing.assert_allclose(nifti.affine.numpy(), affine, atol=1e-6)
        np.testing.assert_array_equal(mha.numpy(), nifti.numpy())


def test_brats2015_non_enhancing_core_is_necrosis(tmp_path, write_case, volumes):
    values = np.zeros_like(volumes().label)
    values[10, 8:13, 5] = [0, 1, 2, 3, 4]
    write_case(tmp_path, "brats2015", "P1", file_label=values)
    _, label = read_case(find_cases(tmp_path)[0])
    assert label[0, 10, 8:13, 5].tolist() == [0, 1, 2, 1, 3]


@pytest.mark.parametrize(
    "layout, value, allowed",
    [
        ("brats2017", 3, "[0, 1, 2, 4]"),
        ("brats2023", 4, "[0, 1, 2, 3]"),
        ("decathlon", 4, "[0, 1, 2, 3]"),
        ("brats2015", 5, "[0, 1, 2, 3, 4]"),
        ("brats2023", 255, "[0, 1, 2, 3]"),
    ],
)
def test_label_outside_the_convention(tmp_path, write_case, volumes, layout, value, allowed):
    values = np.zeros_like(volumes().label)
    values[10, 8, 5] = value
    files = write_case(tmp_path, layout, "P1", file_label=values)
    with pytest.raises(CaseError) as error:
        read_case(find_cases(tmp_path)[0])
    assert "case P1" in str(error.value) and files["seg"].name in str(error.value)
    assert f"value(s) [{value}]" in str(error.value) and allowed in str(error.value)


@pytest.mark.parametrize("value", [1.5, -1.0, np.nan, 257.0])
def test_label_that_is_no_class(tmp_path, write_case, volumes, value):
    values = np.zeros(volumes().label.shape, np.float32)
    values[10, 8, 5] = value
    write_case(tmp_path, "brats2023", "P1", file_label=values)
    with pytest.raises(CaseError, match="case P1: P1-seg.nii.gz has label value"):
        read_case(find_cases(tmp_path)[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unreadable_file(tmp_path, write_case, layout):
    path = write_case(tmp_path, layout, "P1")["t1c"]
    path.write_bytes(path.read_bytes()[:200] if layout == "brats2015" else path.read_bytes()[:-500])
    with pytest.raises(CaseError, match="case P1: .* cannot be read") as error:
        read_case(find_cases(tmp_path)[0])
    assert str(path) in str(error.value)


def _save(path, array, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.mark.parametrize("kind", ["t2w", "seg"])
def test_other_shape(tmp_path, write_case, kind):
    path = write_case(tmp_path, "brats2023", "P1")[kind]
    _save(path, np.zeros((24, 20, 9), np.uint8))
    with pytest.raises(CaseError, match=rf"case P1: {path.name} has shape \(24, 20, 9\), but P1-t1n.nii.gz"):
        read_case(find_cases(tmp_path)[0])


def test_wrong_number_of_dimensions(tmp_path, write_case):
    path = write_case(tmp_path / "a", "brats2023", "P1")["t1n"]
    _save(path, np.zeros((24, 20, 10, 2), np.int16))
    with pytest.raises(CaseError, match=r"case P1: P1-t1n.nii.gz has shape \(24, 20, 10, 2\), expected a 3-D"):
        read_case(find_cases(tmp_path / "a")[0])
    path = write_case(tmp_path / "b", "decathlon", "P2")["t1n"]
    for shape in ((24, 20, 10), (24, 20, 10, 3)):
        _save(path, np.zeros(shape, np.int16))
        with pytest.raises(CaseError, match="case P2: P2.nii.gz has shape .*expected 4-D with 4 channels"):
            read_case(find_cases(tmp_path / "b")[0])


@pytest.mark.parametrize("layout", ["brats2015", "brats2017"])
def test_spacing_is_one_millimetre(tmp_path, write_case, layout):
    files = write_case(tmp_path, layout, "P1", affine=AFFINE @ np.diag([1, 1, 3, 1]))
    with pytest.raises(CaseError) as error:
        read_case(find_cases(tmp_path)[0])
    assert f"case P1: {files['t1n'].name} has a spacing of [1.0, 1.0, 3.0] mm, expected 1 mm" in str(error.value)


def test_other_voxel_axes(tmp_path, write_case, volumes):
    path = write_case(tmp_path, "brats2023", "P1")["t2f"]
    _save(path, volumes().images["t2f"][::-1], AFFINE @ np.diag([-1, 1, 1, 1]))
    with pytest.raises(CaseError, match="case P1: P1-t2f.nii.gz has other voxel axes than P1-t1n.nii.gz"):
        read_case(find_cases(tmp_path)[0])


def test_rounding_of_affines_is_tolerated(tmp_path, write_case, volumes, caplog):
    path = write_case(tmp_path, "brats2023", "P1")["t2f"]
    nudged = AFFINE.copy()
    nudged[:3] += 0.005
    _save(path, volumes().images["t2f"], nudged)
    image, _ = read_case(find_cases(tmp_path)[0])
    np.testing.assert_array_equal(image.affine.numpy(), AFFINE)
    assert not caplog.records


def test_segmentation_of_another_origin(tmp_path, write_case, volumes, caplog):
    lost = AFFINE.copy()
    lost[:3, 3] = 0
    write_case(tmp_path, "brats2017", "P1", volumes(1), label_affine=lost)
    with caplog.at_level(logging.WARNING):
        _, label = read_case(find_cases(tmp_path)[0])
    np.testing.assert_array_equal(label[0].numpy(), volumes(1).label)
    np.testing.assert_array_equal(label.affine.numpy(), AFFINE)
    assert "case P1: P1_seg.nii.gz has another origin than P1_t1.nii.gz" in caplog.text


def test_real_segmentation_of_another_origin(real_dir, caplog):
    if not (real_dir / "Brats17_TCIA_105_1").is_dir():
        pytest.skip("Brats17_TCIA_105_1 is not among the real cases")
    (case,) = find_cases(real_dir / "Brats17_TCIA_105_1")
    with caplog.at_level(logging.WARNING):
        image, label = read_case(case)
    assert "Brats17_TCIA_105_1_seg.nii.gz has another origin" in caplog.text
    assert image.shape == (4, 240, 240, 155) and label.shape == (1, 240, 240, 155)
    stored = np.asarray(nib.load(case.segmentation.path).dataobj)
    np.testing.assert_array_equal(label[0].numpy(), np.array([0, 1, 2, 0, 3])[stored])
    assert float((image[0] > 0)[label[0] > 0].float().mean()) > 0.99  # the lesion is in the brain


def test_what_is_read(tmp_path, write_case, volumes):
    write_case(tmp_path, "brats2023", "P1", label=False)
    (case,) = find_cases(tmp_path)
    image, label = read_case(case, ("t2w",))
    assert label is None and image.shape == (1, 24, 20, 10)
    with pytest.raises(CaseError, match="case P1: nothing to read"):
        read_case(case, ())
    write_case(tmp_path, "brats2023", "P1")
    (case,) = find_cases(tmp_path)
    assert read_case(case, label=False)[1] is None
    empty, label = read_case(case, ())
    assert empty.shape[0] == 0
    np.testing.assert_array_equal(label[0].numpy(), volumes().label)


ORIENTATIONS = ["RAS", "LAS", "PIR", "SLA"]


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_any_orientation_gives_the_same_slices(tmp_path, write_case, volumes, axes):
    stored = volumes(1)
    write_case(tmp_path / "lps", "brats2023", "P1", stored)
    turn = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(axes))

    def turned(array):
        return np.ascontiguousarray(nib.orientations.apply_orientation(array, turn))

    affine = AFFINE @ nib.orientations.inv_ornt_aff(turn, stored.label.shape)
    other = type(stored)({m: turned(a) for m, a in stored.images.items()}, turned(stored.label))
    write_case(tmp_path / "other", "brats2023", "P1", other, affine=affine)
    assert "".join(nib.aff2axcodes(affine)) == axes
    items = []
    for name in ("lps", "other"):
        (case,) = find_cases(tmp_path / name)
        dataset = SliceDataset([case], slice_range=(2, 8), roi_size=(16, 16), progress=False)
        items.append([dataset[i] for i in range(len(dataset))])
    labels = [read_label_slices(find_cases(tmp_path / n)[0], (2, 8), (16, 16)) for n in ("lps", "other")]
    assert len(items[0]) == len(items[1]) == 6
    for one, two in zip(*items):
        torch.testing.assert_close(one["image"], two["image"], rtol=0, atol=0)
        torch.testing.assert_close(one["label"], two["label"], rtol=0, atol=0)
    np.testing.assert_array_equal(labels[0], labels[1])
    # the slice itself: left to the front of the first axis, front of the head at the front of the second
    np.testing.assert_array_equal(items[1][2]["label"][0].numpy(), stored.label[4:20, 2:18, 4])


@pytest.mark.parametrize("kind", ["case", "file", "list", "folder"])
def test_load_cased(tmp_path, write_case, volumes, kind):
    files = write_case(tmp_path, "brats2017", "P1", volumes(1))
    value = {
        "case": find_cases(tmp_path)[0],
        "file": str(files["t2w"]),
        "list": [str(files["t2f"]), str(files["t1n"])],
        "folder": tmp_path / "P1",
    }[kind]
    data = LoadCased("image", modalities=("t1c", "t2f"))({"image": value, "note": 1})
    np.testing.assert_array_equal(data["image"].numpy(), np.stack([volumes(1).images[m] for m in ("t1c", "t2f")]))
    np.testing.assert_array_equal(data["label"][0].numpy(), volumes(1).label)
    assert data["image"].meta["filename_or_obj"] == "P1" and data["note"] == 1
    assert "label" not in LoadCased("image", label_key=None)({"image": value})
