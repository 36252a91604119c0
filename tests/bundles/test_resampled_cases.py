"""``--resample true``: shipped configs on cases of 2 mm, and of another orientation; refused without it."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.bundles import from_config, load_weights
from monai_ext.data import SliceDataset, find_cases
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


def test_refused_without_it(run_bundle, message_of, coarse_dir, segmentor_copy, tmp_path):
    weights = segmentor_copy / "models" / "model.pt"
    for bundle, config, keys in (
        ("segmentor", "inference", {"ckpt_path": weights}), ("segmentor", "train", {}), ("featgen", "train", {}),
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
