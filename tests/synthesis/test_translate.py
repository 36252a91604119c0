"""Missing modalities of volumes: the window and the way back, what is written, restarts and refusals."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.data import CaseError, find_cases
from monai_ext.labels import MODALITIES
from monai_ext.networks import CGAN
from monai_ext.synthesis import CaseTranslator, inference_style, other_modalities, translate
from monai_ext.synthesis.volumes import case_file, read_brain
from monai_ext.transforms import ScaleBrainIntensity

ROI = (32, 32)
RAS = np.array([[1.0, 0, 0, -11], [0, 1.0, 0, -9], [0, 0, 1.0, -4], [0, 0, 0, 1]])
SAGITTAL = np.array([[0, 0, 1.0, -5], [-1.0, 0, 0, 12], [0, -1.0, 0, 9], [0, 0, 0, 1]])  # PIR


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CGAN(channels=(8, 8, 8, 8))


@pytest.fixture
def case(tmp_path, write_case, volumes):
    """A case with T1 alone, no label."""

    def make(name="P0", seed=0, volume=None, layout="brats2023", affine=None, modalities=("t1n",)):
        made = volumes(seed)
        if volume is not None:
            made.images = dict.fromkeys(MODALITIES, volume)
        extra = {} if affine is None else {"affine": affine}
        write_case(tmp_path / "in", layout, name, made, label=False, modalities=modalities, **extra)
        return {c.case_id: c for c in find_cases(tmp_path / "in", ("t1n",))}[name]

    return make


@pytest.fixture
def translator(tmp_path, network):
    def make(cases, source="t1", **settings):
        return CaseTranslator(network, cases, tmp_path / "out", source, **{"roi_size": ROI, **settings})

    return make


def read(tmp_path, case_id, modality):
    return nib.load(case_file(tmp_path / "out", case_id, modality))


def block(shape, rows, columns, value=500):
    """A volume whose brain is a box in its middle slices."""
    volume = np.zeros(shape, dtype=np.int16)
    volume[slice(*rows), slice(*columns), 1:-1] = np.random.default_rng(0).integers(
        1, value, volume[slice(*rows), slice(*columns), 1:-1].shape
    )
    return volume


def test_translate(network):
    image = torch.rand(5, 1, 32, 48) * (torch.rand(5, 1, 32, 48) > 0.5)
    style = inference_style(network, "random", 3)
    made = translate(network, image, [3, 1], style, batch_size=2)
    assert made.shape == (5, 2, 32, 48) and made.dtype == torch.float32 and not network.training
    assert torch.equal(made > 0, (image > 0).expand_as(made)) and made.max() <= 1
    with torch.no_grad():
        expected = network.translate(image, style.expand(5, -1))[:, [3, 1]] * (image > 0)
    assert (made - expected).abs().max() < 1e-5
    assert translate(network, image[:0], [3, 1], style).shape == (0, 2, 32, 48)


def test_styles(network):
    assert inference_style(network).tolist() == [0.0] * 12
    one, same, other = (inference_style(network, "random", s, 7) for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    with pytest.raises(ValueError, match="style is one of mean, random, got 'best'"):
        inference_style(network, "best")


@pytest.mark.parametrize(
    "source, targets, expected",
    [
        ("T1", "all", ["t1c", "t2w", "t2f"]), ("t1n", "flair,t1ce", ["t1c", "t2f"]),
        ("T1c", ("t2", "T1"), ["t1n", "t2w"]), ("t1ce", "all", ["t1n", "t2w", "t2f"]),
        ("FLAIR", "t2", ["t2w"]), ("t2f", "all", ["t1n", "t1c", "t2w"]),
    ],
)  # fmt: skip
def test_names(source, targets, expected):
    assert other_modalities(source, targets) == expected


def test_names_that_do_not_fit():
    assert other_modalities("t1", "all", ("t1n", "t2f")) == ["t2f"]
    with pytest.raises(ValueError, match="t1n is the source"):
        other_modalities("t1", "t1,t2")
    with pytest.raises(ValueError, match="the network does not know t2w, only t1n, t2f"):
        other_modalities("t1", "t2", ("t1n", "t2f"))
    with pytest.raises(ValueError, match="unknown modality 'ct'"):
        other_modalities("ct", "all")


@pytest.mark.parametrize("affine", [None, RAS, SAGITTAL], ids=["LPS", "RAS", "PIR"])
def test_window_and_back(case, volumes, affine):
    whole = read_brain(case(affine=affine), "t1n", ROI)
    expected = ScaleBrainIntensity()(torch.from_numpy(volumes(0).images["t1n"].astype(np.float32))[None])[0]
    assert np.array_equal(whole.restore(whole.slices[:, 0]), expected.numpy())
    assert whole.cut == 0 and whole.brain == int((expected > 0).sum())
    assert whole.slices.shape[1:] == (1, *ROI)
    if affine is None:  # as the slices that the network is trained with
        assert whole.start == (-4, -6)


@pytest.mark.parametrize(
    "rows, start",
    [((40, 70), 32), ((10, 30), 10), ((80, 96), 64), ((0, 32), 0)],
    ids=["in the middle", "moved up", "moved down", "fits exactly"],
)
def test_window_follows_the_brain(case, rows, start):
    volume = block((96, 20, 4), rows, (4, 16))
    whole = read_brain(case(volume=volume), "t1n", ROI)
    assert whole.start[0] == (start if rows != (40, 70) else 38) and whole.cut == 0
    assert np.array_equal(whole.restore(whole.slices[:, 0]) > 0, volume > 0)


def test_larger_brain_is_cut_and_told(tmp_path, case, translator, caplog):
    volume = block((60, 20, 4), (2, 42), (4, 16))
    one = case(volume=volume)
    whole = read_brain(one, "t1n", ROI)
    assert whole.start[0] == 6 and whole.cut == 8 * 12 * 2 and whole.brain == 40 * 12 * 2
    with caplog.at_level(logging.WARNING):
        report = translator([one]).run()
    assert report["cases"] == {"P0": {"cut_voxels": 192, "cut": 0.2}}
    assert "roi_size (32, 32) cuts 192 voxels (20.00 %) of the brain off" in caplog.text
    assert "the brain of 1 of 1 cases is larger than roi_size" in caplog.text
    made = read(tmp_path, "P0", "t2w").get_fdata()
    assert made.shape == volume.shape and not made[:6].any() and not made[38:].any() and made[6:38, 4:16, 1:3].all()


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize("spacing", [(2, 2, 2), (1, 1, 3), (1.3, 0.9, 1.5)])
def test_another_spacing_and_back(tmp_path, write_case, volumes, spacing, axes):
    """Slices of 1 mm hold their height, (z + 1 mm) / 100: slice k of the file gets its own, to the rim of the brain."""
    made, affine = volumes(0), np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    stored = block((24, 20, 10), (4, 20), (3, 17))
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(axes))
    made.images = {"t1n": np.ascontiguousarray(nib.apply_orientation(stored, turn))}
    write_case(
        tmp_path, "brats2023", "P0", made, label=False, modalities=("t1n",),
        affine=affine @ nib.orientations.inv_ornt_aff(turn, stored.shape),
    )  # fmt: skip
    (case,) = find_cases(tmp_path, ("t1n",))
    with pytest.raises(CaseError, match="expected 1 mm: resample it, or give '--resample true'"):
        read_brain(case, "t1n", (64, 64))
    whole = read_brain(replace(case, resample=True), "t1n", (64, 64))
    assert whole.cut == 0 and whole.brain == pytest.approx((stored > 0).sum() * np.prod(spacing), rel=0.25)
    fine, count = whole.resampled.affine, len(whole.slices)
    heights = fine[2, 3] + min(0, fine[2, :3].sum() * (count - 1)) + torch.arange(count)  # of the lowest slice first
    back = whole.restore((heights.reshape(-1, 1, 1) + 1) / 100 * (whole.slices[:, 0] > 0))
    assert back.dtype == np.float32 and back.shape == made.images["t1n"].shape
    back = nib.apply_orientation(back, nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt(axes), nib.orientations.axcodes2ornt("LPS")))  # fmt: skip
    assert np.array_equal(back > 0, stored > 0)
    for k in range(2, 8):  # beside other slices of the brain
        assert np.allclose(back[..., k][stored[..., k] > 0], (spacing[2] * k + 1) / 100, atol=1e-4)


@pytest.mark.parametrize("affine", [None, RAS, SAGITTAL], ids=["LPS", "RAS", "PIR"])
def test_files(tmp_path, case, translator, network, affine):
    one = case(affine=affine)
    report = translator([one]).run()
    assert json.loads((tmp_path / "out" / "translation.json").read_text()) == report
    assert sorted(p.name for p in (tmp_path / "out" / "P0").iterdir()) == [
        f"P0-{m}.nii.gz" for m in ("t1c", "t2f", "t2w")
    ]
    source = nib.load(one.images["t1n"].path)
    whole = read_brain(one, "t1n", ROI)
    expected = translate(network, whole.slices, [1, 2, 3], inference_style(network))
    for k, modality in enumerate(("t1c", "t2w", "t2f")):
        made = read(tmp_path, "P0", modality)
        assert made.shape == source.shape and made.get_data_dtype() == np.float32
        assert np.allclose(made.affine, source.affine)
        values = made.get_fdata(dtype=np.float32)
        assert np.array_equal(values > 0, np.asarray(source.dataobj) != 0) and values.max() <= 1
        assert np.allclose(values, whole.restore(expected[:, k]), atol=1e-5)


def test_any_layout_and_chosen_targets(tmp_path, translator, write_case, volumes):
    write_case(tmp_path / "in", "brats2017", "Brats17_TST_1_1", volumes(0), label=False, modalities=("t2f",))
    write_case(tmp_path / "in", "decathlon", "BRATS_001", volumes(1), label=False)
    cases = find_cases(tmp_path / "in", ("t2f",))
    translator(cases, "FLAIR", target_modalities="t1ce").run()
    made = find_cases(tmp_path / "out", ("t1c",))
    assert [c.case_id for c in made] == ["BRATS_001", "Brats17_TST_1_1"]
    assert all(list(c.images) == ["t1c"] for c in made)


def test_restart(tmp_path, case, translator):
    cases = [case("P0"), case("P1", 1)]
    translator(cases[:1], style="random").run()
    first = case_file(tmp_path / "out", "P0", "t1c")
    before = (first.stat().st_mtime_ns, first.read_bytes())
    report = translator(cases, style="random").run()
    assert list(report["cases"]) == ["P0", "P1"] and first.stat().st_mtime_ns == before[0]
    first.unlink()  # a case that misses a file is not finished
    translator(cases, style="random").run()
    assert first.read_bytes() == before[1]
    again = translator(cases, style="random", overwrite=True).run()
    assert again == report and first.read_bytes() == before[1]
    assert not list((tmp_path / "out").rglob(".*"))


def test_other_settings_are_refused(tmp_path, case, translator):
    one = case()
    translator([one]).run()
    before = case_file(tmp_path / "out", "P0", "t1c").read_bytes()
    with pytest.raises(ValueError, match="holds translations of other settings .* '--overwrite true'"):
        translator([one], style="random")
    translator([one], style="random", overwrite=True).run()
    assert case_file(tmp_path / "out", "P0", "t1c").read_bytes() != before


def test_random_style_is_of_the_case(tmp_path, case, translator):
    """The same whichever cases are translated beside it."""
    cases = [case("P0"), case("P1", 0)]
    translator(cases, style="random").run()
    files = [case_file(tmp_path / "out", n, "t1c") for n in ("P0", "P1")]
    one, other = (f.read_bytes() for f in files)
    assert one != other, "the same images, another style"
    translator(cases[1:], style="random", overwrite=True).run()
    assert files[1].read_bytes() == other


def test_bad_cases(tmp_path, case, translator):
    cases = [case("P0", volume=np.zeros((24, 20, 10), np.int16)), case("P1", 1)]
    with pytest.raises(CaseError, match="case P0: P0-t1n.nii.gz holds no brain"):
        translator(cases).run()
    report = translator(cases, on_bad_case="skip").run()
    assert report["skipped"] == ["P0"] and list(report["cases"]) == ["P1"]
    assert not (tmp_path / "out" / "P0").exists()


@pytest.mark.parametrize("roi_size", [(30, 32), (32,), (0, 32)])
def test_roi_that_does_not_fit(translator, roi_size):
    with pytest.raises(ValueError, match="roi_size is two multiples of 16"):
        translator([], roi_size=roi_size)
