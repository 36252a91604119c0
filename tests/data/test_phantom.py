"""The phantom: registered, repeatable, with the contrasts of a glioma, in the layout of BraTS 2023."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import phantom
from monai_ext.data.phantom import make_phantom_case, write_phantom_cases

pytest.importorskip("nilearn", reason="the phantom's template comes with nilearn")

RANGE = (60, 100)


@pytest.fixture(scope="module")
def cases():
    return [make_phantom_case(0, index) for index in range(4)]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write_phantom_cases(tmp_path_factory.mktemp("phantom"), num_cases=2, seed=5, axial_range=RANGE)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*/*"))}


def test_grid_and_intensities(cases):
    for case in cases:
        assert case.image.shape == (4, 240, 240, 155) and case.image.dtype == np.int16
        assert case.label.shape == (240, 240, 155) and case.label.dtype == np.uint8
        assert nib.aff2axcodes(case.affine) == ("L", "P", "S")
        assert 300 < case.image.max() <= 4000


def test_modalities_share_a_brain_on_a_background_of_zero(cases):
    for case in cases:
        brains = case.image > 0
        assert case.image.min() == 0
        for brain in brains[1:]:
            np.testing.assert_array_equal(brain, brains[0])
        filled = np.flatnonzero(brains[0].any((0, 1)))
        assert (filled[0], filled[-1]) == (45, 115)
        areas = brains[0].sum((0, 1))[55:106]
        assert areas.min() > 8000 and areas.max() < 24000
        corners = brains[0][[0, 0, -1, -1], [0, -1, 0, -1]]
        assert not corners.any()


def test_anatomy_faces_the_right_way(cases):
    # the undeformed template on the same grid, about as the affines have it: the case must agree with it as it lies,
    # and less when turned back to front (left to right the template is symmetric)
    template = phantom._load_maps()[0].numpy()
    for case in cases:
        seen = case.image[0, 49:191, 45:213, 80].astype(float)
        turned = template[92, 117 + 129 - np.arange(45, 213)][:, 98 + 119 - np.arange(49, 191)].T
        agreement = [np.corrcoef(seen.ravel(), other.ravel())[0, 1] for other in (turned, turned[:, ::-1])]
        assert agreement[0] > agreement[1] + 0.05


def test_lesion_is_inside_the_brain_and_in_the_axial_slices(cases):
    kinds = [set(np.unique(case.label)) for case in cases]
    assert set.union(*kinds) == {0, 1, 2, 3}
    for case, kind in zip(cases, kinds, strict=True):
        assert kind in ({0, 1, 2, 3}, {0, 1, 2}, {0, 2, 3})
        assert not case.label[case.image[0] == 0].any()
        assert np.count_nonzero(case.label[:, :, 55:106]) > 500


def test_contrasts_are_those_of_a_glioma(cases):
    for case in cases:
        t1n, t1c, t2w, t2f = case.image.astype(float)
        healthy = (case.label == 0) & (t1n > 0)
        # white matter is what is brightest on T1, CSF what is darkest on FLAIR and bright on T2
        white = healthy & (t1n > np.percentile(t1n[healthy], 75))
        csf = healthy & (t2f < np.percentile(t2f[healthy], 3))
        oedema, necrosis, enhancing = (case.label == kind for kind in (2, 1, 3))
        assert t2f[oedema].mean() > 1.3 * t2f[white].mean()
        assert t2w[oedema].mean() > 1.3 * t2w[white].mean()
        assert t1n[oedema].mean() < t1n[white].mean()
        assert t2w[csf].mean() > 1.5 * t2w[white].mean() and t1n[csf].mean() < 0.6 * t1n[white].mean()
        if necrosis.any():
            assert t1n[necrosis].mean() < t1n[oedema].mean() and t2w[necrosis].mean() > t2w[white].mean()
        if enhancing.any():
            # relative to white matter, since each modality has its own gain
            assert t1c[enhancing].mean() / t1c[white].mean() > 1.3 * t1n[enhancing].mean() / t1n[white].mean()


def test_same_seed_same_voxels_and_other_seeds_differ():
    first, again = make_phantom_case(3, 1, RANGE), make_phantom_case(3, 1, RANGE)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.label, again.label)
    for other in (make_phantom_case(3, 2, RANGE), make_phantom_case(1, 3, RANGE)):
        assert (other.label != first.label).any()
        assert ((other.image[0] > 0) != (first.image[0] > 0)).mean() > 1e-4  # another anatomy, not only other noise


def test_layout_on_disk(written):
    assert sorted(p.name for p in written.iterdir()) == [
        "BraTS-PHA-00000-000",
        "BraTS-PHA-00001-000",
        "phantom.json",
    ]
    folder = written / "BraTS-PHA-00001-000"
    assert sorted(p.name for p in folder.iterdir()) == [
        f"BraTS-PHA-00001-000-{kind}.nii.gz" for kind in ("seg", "t1c", "t1n", "t2f", "t2w")
    ]
    case = make_phantom_case(5, 1, RANGE)
    expected = {"t1n": case.image[0], "t1c": case.image[1], "t2w": case.image[2], "t2f": case.image[3]}
    for kind, array in {**expected, "seg": case.label}.items():
        volume = nib.load(folder / f"BraTS-PHA-00001-000-{kind}.nii.gz")
        assert volume.get_data_dtype() == (np.uint8 if kind == "seg" else np.int16)
        np.testing.assert_array_equal(volume.affine, [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
        np.testing.assert_array_equal(np.asarray(volume.dataobj), array)
    record = json.loads((written / "phantom.json").read_text())
    assert (record["seed"], record["num_cases"]) == (5, 2)


def test_same_bytes_and_resume(written, tmp_path, monkeypatch):
    before = digests(written)
    write_phantom_cases(tmp_path, num_cases=1, seed=5, axial_range=RANGE)
    name = "BraTS-PHA-00000-000"
    assert digests(tmp_path) == {k: v for k, v in before.items() if k.startswith(name)}

    # a kill left one case half done: only that one is made again
    (tmp_path / name / f"{name}-t2w.nii.gz").unlink()
    made = []
    make = make_phantom_case
    monkeypatch.setattr(phantom, "make_phantom_case", lambda seed, index, r: made.append(index) or make(seed, index, r))
    write_phantom_cases(tmp_path, num_cases=2, seed=5, axial_range=RANGE)
    assert made == [0, 1] and digests(tmp_path) == before
    write_phantom_cases(tmp_path, num_cases=1, seed=5, axial_range=RANGE)
    assert made == [0, 1]
    assert json.loads((tmp_path / "phantom.json").read_text())["num_cases"] == 2


def test_other_settings_are_not_mixed_in(tmp_path, monkeypatch):
    write_phantom_cases(tmp_path, num_cases=2, seed=0, axial_range=RANGE)
    before = digests(tmp_path)
    with pytest.raises(ValueError, match="overwrite=True"):
        write_phantom_cases(tmp_path, num_cases=1, seed=1, axial_range=RANGE)
    assert digests(tmp_path) == before
    write_phantom_cases(tmp_path, num_cases=1, seed=1, axial_range=RANGE, overwrite=True)
    assert len(digests(tmp_path)) == 5
    (tmp_path / "phantom.json").write_text("not ours")
    with pytest.raises(ValueError, match="unknown"):
        write_phantom_cases(tmp_path, num_cases=1, seed=1, axial_range=RANGE)


@pytest.mark.parametrize("args", [(-1, 0), (0, -1), (0, 0, (0, 60)), (0, 0, (60, 70)), (0, 0, (100, 150))])
def test_bad_arguments(args):
    with pytest.raises(ValueError, match="must"):
        make_phantom_case(*args)


def test_no_cases_asked_for(tmp_path):
    with pytest.raises(ValueError, match="num_cases"):
        write_phantom_cases(tmp_path, num_cases=0)


def test_without_nilearn_says_what_to_install(monkeypatch):
    monkeypatch.setattr(phantom, "optional_import", lambda *a, **k: (None, False))
    phantom._load_maps.cache_clear()
    with pytest.raises(phantom.OptionalImportError, match=r'pip install "monai-ext\[phantom\]"'):
        make_phantom_case(0, 0, RANGE)
