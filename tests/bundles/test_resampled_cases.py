"""``--resample true``: shipped configs on cases of 2 mm, and of another orientation; refused without it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.bundles import from_config, load_weights
from monai_ext.data import SliceDataset, find_cases, read_case
from monai_ext.usability import schemes
from monai_ext.validation import predict

SHAPE = (32, 32, 8)
LPS = np.array([[-2.0, 0, 0, 31], [0, -2.0, 0, 31], [0, 0, 2.0, -7], [0, 0, 0, 1]])
RAS = np.array([[2.0, 0, 0, -31], [0, 2.0, 0, -31], [0, 0, 2.0, -7], [0, 0, 0, 1]])
KEYS = {"resample": "true", "roi_size": [64, 64]}


@pytest.fixture(scope="module")
def coarse_dir(tmp_path_factory, write_case, volumes):
    """Four labelled cases of 2 mm; the last is the third once more, its voxels stored in RAS order."""
    root = tmp_path_factory.mktemp("coarse")
    for seed in range(3):
        write_case(root, "brats2023", f"P{seed}", volumes(seed, SHAPE), affine=LPS)
    turned = volumes(2, SHAPE)
    turned.images = {m: np.ascontiguousarray(v[::-1, ::-1]) for m, v in turned.images.items()}
    turned.label = np.ascontiguousarray(turned.label[::-1, ::-1])
    write_case(root, "brats2023", "P3", turned, affine=RAS)
    return root


@pytest.fixture(scope="module")
def predicted(tmp_path_factory, run_bundle, coarse_dir, segmentor_copy):
    out = tmp_path_factory.mktemp("predicted")
    weights = segmentor_copy / "models" / "model.pt"
    run_bundle("segmentor", "inference", dataset_dir=coarse_dir, output_dir=out, ckpt_path=weights, **KEYS)
    return out


def read(path):
    return np.asarray(nib.load(path).dataobj)


def test_prediction_lies_on_the_grid_of_the_case(predicted, coarse_dir):
    cases = find_cases(coarse_dir)
    assert sorted(p.name for p in predicted.iterdir()) == [f"{c.case_id}.nii.gz" for c in cases]
    for case in cases:
        source, made = nib.load(case.images["t1n"].path), nib.load(predicted / f"{case.case_id}.nii.gz")
        assert made.shape == source.shape == SHAPE
        np.testing.assert_allclose(made.affine, source.affine, atol=1e-4)
        assert set(np.unique(read(predicted / f"{case.case_id}.nii.gz"))) <= {0, 1, 2, 3}


def test_prediction_is_that_of_the_slices_at_1_mm(predicted, coarse_dir, segmentor_copy):
    """The network sees what training and evaluation see; its logits are then taken back to 2 mm."""
    network = load_weights(
        from_config(segmentor_copy, "train.json", "network_def"), segmentor_copy / "models" / "model.pt"
    )
    (case,) = [c for c in find_cases(coarse_dir, resample=True) if c.case_id == "P0"]
    slices = SliceDataset([case], slice_range=(0, 15), roi_size=(64, 64), progress=False)
    items = [slices.raw(i) for i in range(len(slices))]
    fine = np.moveaxis(predict(network, torch.stack([i["image"] for i in items])).numpy(), 0, -1)
    made = read(predicted / "P0.nii.gz")
    # voxel k of the file is voxel 2 k at 1 mm; 63 of them, so that the crop of 64 pads the end
    for item, column in zip(items, np.moveaxis(fine, -1, 0)):
        if item["slice"] % 2 == 0:
            assert (column[:63:2, :63:2] == made[..., item["slice"] // 2]).mean() > 0.97


def test_another_orientation(predicted):
    """The third case stored in RAS order is the same patient: the same lesion, turned."""
    assert (read(predicted / "P2.nii.gz") == read(predicted / "P3.nii.gz")[::-1, ::-1]).mean() > 0.97


def test_refused_without_it(run_bundle, message_of, coarse_dir, segmentor_copy, random_weights, tmp_path):
    weights = segmentor_copy / "models" / "model.pt"
    for bundle, config, keys in (
        ("segmentor", "inference", {"ckpt_path": weights}), ("segmentor", "train", {}), ("featgen", "train", {}),
        ("cgan", "translate", {"ckpt_path": random_weights["cgan"]}),
    ):  # fmt: skip
        with pytest.raises(RuntimeError) as error:
            run_bundle(bundle, config, dataset_dir=coarse_dir, output_dir=tmp_path / bundle / config, **keys)
        message = message_of(error.value)
        assert "has a spacing of [2.0, 2.0, 2.0] mm, expected 1 mm" in message and "--resample true" in message


@pytest.mark.parametrize("bundle", ["segmentor", "featgen", "cgan"])
def test_training(run_bundle, coarse_dir, tmp_path, bundle):
    settings = {**KEYS, "roi_size": [96, 96], "slice_range": [4, 10], "batch_size": 4, "max_epochs": 1}
    run_bundle(bundle, "train", dataset_dir=coarse_dir, output_dir=tmp_path, val_interval=1, **settings)
    assert (tmp_path / "model.pt").is_file()


def test_evaluation(run_bundle, coarse_dir, segmentor_copy, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["P0"], "validation": [], "test": ["P1", "P2", "P3"]}))
    run_bundle(
        "segmentor", "evaluate", bundle_root=segmentor_copy, dataset_dir=coarse_dir, split_file=split,
        output_dir=tmp_path / "out", slice_range=[4, 10], segmentor_names="all", **KEYS,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["patients"] == ["P1", "P2", "P3"] and metrics["slices"] == 18


def test_labels_for_generation(run_bundle, coarse_dir, random_weights, segmentor_copy, tmp_path, message_of):
    """Labels of one's own patients are resampled too: a voxel of 2 mm is four pixels of a study."""
    settings = {
        "featgen_weights": random_weights["featgen"], "cgan_weights": random_weights["cgan"], "num_samples": 1,
        "segmentor_weights": segmentor_copy / "models" / "model.pt", "label_dir": coarse_dir, "label_split": None,
        "slice_range": [4, 10], "mae_threshold": 1, "dice_threshold": 0,
    }  # fmt: skip
    with pytest.raises(RuntimeError) as error:
        run_bundle("synthesis", "generate", output_dir=tmp_path / "refused", **settings)
    assert "expected 1 mm" in message_of(error.value)
    run_bundle("synthesis", "generate", output_dir=tmp_path / "made", resample="true", **settings)
    assert len(find_cases(tmp_path / "made")) == 1


MADE = ("t1c", "t2w", "t2f")


@pytest.fixture
def translate(run_bundle, random_weights, tmp_path):
    """Run ``translate.json`` from T1; the folder of what it wrote."""

    def run(dataset_dir, folder="translated", **keys):
        run_bundle(
            "cgan", "translate", dataset_dir=dataset_dir, output_dir=tmp_path / folder,
            ckpt_path=random_weights["cgan"], **{"roi_size": [64, 64], **keys},
        )  # fmt: skip
        return tmp_path / folder

    return run


def test_translation_lies_on_the_grid_of_the_case(translate, coarse_dir, write_case, volumes, tmp_path):
    """Voxel k of the file is voxel 2 k at 1 mm, and has what the same volume stored at 1 mm has there."""
    made = translate(coarse_dir, resample="true")
    report = json.loads((made / "translation.json").read_text())
    assert [c["resampled_from"] for c in report["cases"].values()] == [[2.0, 2.0, 2.0]] * 4
    assert "resample" not in report["settings"]
    (case,) = [c for c in find_cases(coarse_dir, resample=True) if c.case_id == "P0"]
    image, _ = read_case(case, ("t1n",), label=False)
    stored = volumes(0)
    stored.images = {"t1n": image[0].numpy()}
    write_case(
        tmp_path / "fine", "brats2023", "P0", stored, label=False, affine=image.affine.numpy(), modalities=("t1n",)
    )
    fine = translate(tmp_path / "fine", "translated_fine")
    for case in find_cases(coarse_dir):
        source = nib.load(case.images["t1n"].path)
        for modality in MADE:
            written = nib.load(made / case.case_id / f"{case.case_id}-{modality}.nii.gz")
            values = np.asarray(written.dataobj)
            assert written.shape == source.shape == SHAPE and written.get_data_dtype() == np.float32
            np.testing.assert_array_equal(written.affine, source.affine)
            np.testing.assert_array_equal(values > 0, np.asarray(source.dataobj) != 0)
            assert values.max() <= 1
            if case.case_id == "P0":
                expected = read(fine / "P0" / f"P0-{modality}.nii.gz")[::2, ::2, ::2]
                np.testing.assert_allclose(values, np.where(values > 0, expected, 0), atol=1e-5)
                assert values.std() > 0.01
    for modality in MADE:  # the third case, stored in RAS order
        one, turned = (read(made / name / f"{name}-{modality}.nii.gz") for name in ("P2", "P3"))
        # not to the bit: a voxel of 1 mm halfway between brain and background may be either
        same, other = (np.abs(one - t)[one > 0].mean() for t in (turned[::-1, ::-1], turned))
        assert same < other / 2


def test_translation_of_1_mm_is_left_as_it_is(translate, small_dir):
    plain, flagged = translate(small_dir), translate(small_dir, "flagged", resample="true")
    files = sorted(p.relative_to(plain) for p in plain.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(flagged) for p in flagged.rglob("*") if p.is_file()) and len(files) == 13
    for file in files:
        assert (plain / file).read_bytes() == (flagged / file).read_bytes(), file


def test_translation_goes_on_with_the_refused(translate, coarse_dir, small_dir, tmp_path):
    shutil.copytree(coarse_dir / "P0", tmp_path / "mixed" / "P0")
    (fine,) = find_cases(small_dir)[:1]
    shutil.copytree(small_dir / fine.case_id, tmp_path / "mixed" / fine.case_id)
    made = translate(tmp_path / "mixed", on_bad_case="skip")
    assert json.loads((made / "translation.json").read_text())["skipped"] == ["P0"]
    before = (made / fine.case_id / f"{fine.case_id}-t2f.nii.gz").stat().st_mtime_ns
    translate(tmp_path / "mixed", resample="true")
    assert list(json.loads((made / "translation.json").read_text())["cases"]) == [fine.case_id, "P0"]
    assert (made / fine.case_id / f"{fine.case_id}-t2f.nii.gz").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def studies(tmp_path_factory, run_bundle, random_weights, segmentor_copy):
    """Two studies around procedural labels."""
    out = tmp_path_factory.mktemp("studies")
    run_bundle(
        "synthesis", "generate", output_dir=out, featgen_weights=random_weights["featgen"], num_samples=2,
        cgan_weights=random_weights["cgan"], segmentor_weights=segmentor_copy / "models" / "model.pt", mae_threshold=1,
        dice_threshold=0,
    )  # fmt: skip
    return out


@pytest.fixture
def featgen_copy(tmp_path, random_weights):
    root = tmp_path / "featgen"
    shutil.copytree(Path(__file__).parents[2] / "bundles" / "featgen" / "configs", root / "configs")
    (root / "models").mkdir()
    shutil.copyfile(random_weights["featgen"], root / "models" / "model.pt")
    return root


@pytest.fixture
def judge(run_bundle, coarse_dir, random_weights, segmentor_copy, featgen_copy, studies, tmp_path):
    """Run a config that judges by the coarse cases, two of which are training patients; the JSON that it writes."""
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["P0", "P1"], "validation": [], "test": ["P2", "P3"]}))
    special = {
        "featgen/evaluate": {"ckpt_path": random_weights["featgen"], "num_samples": 4},
        "cgan/evaluate": {
            "ckpt_path": random_weights["cgan"], "segmentor_root": segmentor_copy, "featgen_root": featgen_copy,
            "segmentor_names": '["t1n"]', "classifier_steps": 1, "style_maps": 0, "featgen_maps": 1, "mae_threshold": 1,
        },
        "cgan/evaluate_translation": {"ckpt_path": random_weights["cgan"], "roi_size": [64, 64]},
        "synthesis/validate": {
            "synthetic_dir": studies, "segmentor_root": segmentor_copy, "segmentor_names": "t1n",
            "generator_split_file": split,
        },
        "synthesis/utility": {
            "rows": 1, "repeats": 1, "iterations": 2, "batch_size": 4, "models": "t1n", "roi_size": [64, 64]
        },
    }  # fmt: skip

    def run(name, **keys):
        settings = {"dataset_dir": coarse_dir, "split_file": split, "slice_range": [4, 10], **special[name], **keys}
        run_bundle(*name.split("/"), output_dir=tmp_path / "out", **settings)
        return json.loads(
            (tmp_path / "out" / ("utility.json" if name.endswith("utility") else "metrics.json")).read_text()
        )

    return run


@pytest.mark.parametrize(
    "name",
    ["featgen/evaluate", "cgan/evaluate", "cgan/evaluate_translation", "synthesis/validate", "synthesis/utility"],
)
def test_judging(judge, name, message_of):
    with pytest.raises(RuntimeError) as error:
        judge(name)
    message = message_of(error.value)
    assert "has a spacing of [2.0, 2.0, 2.0] mm, expected 1 mm" in message and "--resample true" in message
    report = judge(name, resample="true")
    if name == "synthesis/utility":
        assert report["patients"] == {"train": ["P0", "P1"], "test": ["P2", "P3"]}
        assert report["slices"] == {"real": 12, "judges": 12} and report["settings"]["resample"] is True
        return
    patients = report["real"]["patients"] if name == "synthesis/validate" else report["patients"]
    assert patients == ["P2", "P3"]
    if name == "featgen/evaluate":  # every second of twelve slices, four modalities
        assert report["training_patients"] == ["P0", "P1"]
        assert report["real_maps"] == report["training_maps"] == 24
    elif name == "cgan/evaluate":
        assert report["training_patients"] == ["P0", "P1"] and report["slices"] == 12
        assert report["featgen_maps"]["studies"] == 1
    elif name == "cgan/evaluate_translation":
        assert report["slices"] == 12
    else:
        assert report["real"]["slices"] == 12 and report["synthetic"]["samples"] == 2
        assert report["memorisation"]["patients"] == 2 and report["memorisation"]["held_out"]["n"] == 12


@pytest.fixture
def table1(run_bundle, coarse_dir, tmp_path):
    def run(**keys):
        run_bundle(
            "synthesis", "table1", dataset_dir=coarse_dir, output_dir=tmp_path, schemes="1seg", max_epochs=1,
            judge_epochs=1, slice_range=[4, 10], roi_size=[64, 64], **keys,
        )  # fmt: skip
        return json.loads((tmp_path / "table1.json").read_text())

    return run


def test_experiments_train_on_the_same_cases(table1, monkeypatch, segmentor_copy, random_weights, message_of):
    """``table1.json`` with trainings that are finished at once: each is told how to read the cases."""
    told = []

    def train(root, output_dir, **options):
        told.append(options["resample"])
        name = options.get("modalities")
        return segmentor_copy / "models" / f"model_{name}.pt" if name else random_weights["cgan"]

    monkeypatch.setattr(schemes, "train_bundle", train)
    with pytest.raises(RuntimeError) as error:
        table1()
    assert "expected 1 mm" in message_of(error.value) and "--resample true" in message_of(error.value)
    assert told == [False] * 4
    told.clear()
    assert table1(resample="true")["slices"] == 6
    assert told == [True] * 5


@pytest.mark.slow
def test_experiments(table1, tmp_path):
    report = table1(resample="true")
    assert report["slices"] == 6 and list(report["schemes"]) == ["1seg"]
    assert (tmp_path / "1seg_0" / "model.pt").is_file() and (tmp_path / "judges" / "t2f" / "model.pt").is_file()
