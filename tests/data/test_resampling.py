"""Cases of another spacing: refused, or read at 1 mm on request; and labels merged into fewer classes."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import CaseError, LoadCased, SliceDataset, find_cases, open_dataset, read_case, read_label_slices
from monai_ext.data.inspection import inspect_dataset
from monai_ext.labels import MODALITIES

TWO_MM = np.array([[-2.0, 0, 0, 46], [0, -2.0, 0, 38], [0, 0, 2.0, -9], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def coarse(tmp_path_factory, write_case, volumes):
    """One case of 24 x 20 x 10 voxels of 2 mm."""
    root = tmp_path_factory.mktemp("coarse")
    write_case(root, "brats2023", "P1", volumes(1), affine=TWO_MM)
    return root


def test_refused_by_default(coarse):
    with pytest.raises(CaseError) as error:
        read_case(find_cases(coarse)[0])
    assert "case P1: P1-t1n.nii.gz has a spacing of [2.0, 2.0, 2.0] mm, expected 1 mm" in str(error.value)
    assert "--resample true" in str(error.value)
    (problem,) = inspect_dataset(coarse, slice_range=(2, 8))["problems"][:1]
    assert "has a spacing of [2.0, 2.0, 2.0] mm" in problem


def test_resampled_to_1_mm(coarse, volumes):
    """Voxels in between: images the mean of their neighbours, labels one of the two."""
    (case,) = find_cases(coarse, resample=True)
    image, label = read_case(case)
    assert image.shape == (4, 47, 39, 19) and label.shape == (1, 47, 39, 19)
    assert image.dtype.is_floating_point and str(label.dtype) == "torch.uint8"
    stored = volumes(1)
    for volume in (image, label):
        np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, :3], axis=0), 1)
        # the same place in the scanner: every second voxel lies on one of the file
        np.testing.assert_allclose(volume.affine.numpy() @ [2, 4, 6, 1], TWO_MM @ [1, 2, 3, 1], atol=1e-6)
    for m, name in enumerate(MODALITIES):
        expected = stored.images[name].astype(np.float32)
        np.testing.assert_allclose(image[m, ::2, ::2, ::2].numpy(), expected, atol=0.05)
        inside = (expected[:-1] > 0) & (expected[1:] > 0)
        between = (expected[:-1] + expected[1:]) / 2
        np.testing.assert_allclose(image[m, 1::2, ::2, ::2].numpy()[inside], between[inside], atol=0.05)
        assert not image[m, ::2, ::2, ::2].numpy()[expected == 0].any(), "background is exactly 0"
    np.testing.assert_array_equal(label[0, ::2, ::2, ::2].numpy(), stored.label)
    assert set(np.unique(label.numpy())) == {0, 1, 2, 3}


def test_slices_and_labels(coarse):
    (case,) = find_cases(coarse, resample=True)
    dataset = SliceDataset([case], slice_range=(0, 19), roi_size=(64, 64), progress=False)
    # brain in the file's slices 1 to 8: at 1 mm from 2 to 16, and one more where a tie goes to the brain
    numbers = [dataset.raw(i)["slice"] for i in range(len(dataset))]
    assert set(range(2, 17)) <= set(numbers) <= set(range(1, 18))
    labels = [dataset.raw(i)["label"].numpy() for i in range(len(dataset))]
    areas = [int((s > 0).sum()) for s in labels]
    assert max(areas) == pytest.approx(4 * 30, rel=0.2), "a pixel of 2 mm is four of 1 mm"
    assert len(read_label_slices(case, (0, 19), (64, 64))) == sum(a > 0 for a in areas)
    report = inspect_dataset(coarse, slice_range=(2, 18), resample=True)
    assert report["problems"][0].startswith("split: ") and len(report["problems"]) == 1
    assert report["cases"][0]["shape"] == [47, 39, 19] and report["cases"][0]["spacing"] == [1, 1, 1]


@pytest.mark.parametrize("axes", ["RAS", "PIR"])
def test_another_orientation_and_unequal_spacing(tmp_path, write_case, volumes, axes):
    """Voxels of 1 x 1 x 3 mm stored along other axes give the slices that the same voxels along LPS give."""
    stored, affine = volumes(1), np.diag([-1.0, -1.0, 3.0, 1.0])
    write_case(tmp_path / "lps", "brats2023", "P1", stored, affine=affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(axes))

    def turned(array):
        return np.ascontiguousarray(nib.orientations.apply_orientation(array, turn))

    other = type(stored)({m: turned(a) for m, a in stored.images.items()}, turned(stored.label))
    write_case(
        tmp_path / "other", "brats2023", "P1", other,
        affine=affine @ nib.orientations.inv_ornt_aff(turn, stored.label.shape),
    )  # fmt: skip
    items = []
    for name in ("lps", "other"):
        dataset = SliceDataset(
            find_cases(tmp_path / name, resample=True), slice_range=(0, 28), roi_size=(16, 16), progress=False
        )
        items.append([dataset.raw(i) for i in range(len(dataset))])
    assert len(items[0]) == len(items[1]) == 24  # the brain from 3 to 24 mm, and half a voxel around it
    for one, two in zip(*items):
        np.testing.assert_allclose(one["image"], two["image"], atol=2e-3)  # kept in half precision
        # a voxel halfway between two of the file may take either
        assert (one["label"] == two["label"]).float().mean() > 0.9


def test_1_mm_is_left_as_it_is(tmp_path, write_case, volumes):
    nudged = np.diag([-1.005, -1.0, 1.0, 1.0])
    write_case(tmp_path, "brats2023", "P1", volumes(1), affine=nudged)
    image, label = read_case(find_cases(tmp_path, resample=True)[0])
    np.testing.assert_array_equal(image.numpy(), np.stack([volumes(1).images[m] for m in MODALITIES]))
    np.testing.assert_array_equal(label[0].numpy(), volumes(1).label)
    np.testing.assert_allclose(image.affine.numpy(), nudged, atol=1e-6)


def test_as_the_file_has_it(coarse, volumes):
    """For a chain that resamples by itself, and must undo it."""
    data = LoadCased(any_spacing=True)({"image": find_cases(coarse)[0]})
    np.testing.assert_array_equal(data["image"].numpy(), np.stack([volumes(1).images[m] for m in MODALITIES]))
    np.testing.assert_array_equal(data["image"].affine.numpy(), TWO_MM)


@pytest.mark.parametrize("layout", ["brats2015", "brats2017", "brats2023", "decathlon"])
@pytest.mark.parametrize("num_classes, table", [(1, [0, 1, 1, 1]), (2, [0, 1, 2, 1])])
def test_merged_classes(tmp_path, write_case, volumes, layout, num_classes, table):
    write_case(tmp_path, layout, "P1", volumes(1))
    (case,) = find_cases(tmp_path, num_classes=num_classes)
    _, label = read_case(case)
    np.testing.assert_array_equal(label[0].numpy(), np.array(table)[volumes(1).label])


def test_a_whole_data_set(cases_dir, tmp_path):
    sides = open_dataset(cases_dir, tmp_path / "split.json", tmp_path, ("t1n",), num_classes=1, resample=True)
    assert {(c.num_classes, c.resample) for side in sides.values() for c in side} == {(1, True)}
    with pytest.raises(ValueError, match="num_classes is 1"):
        find_cases(cases_dir, num_classes=5)
