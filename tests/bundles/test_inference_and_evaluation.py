"""``inference.json`` and ``evaluate.json`` of each bundle as shipped, with random weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.bundles import from_config, load_weights
from monai_ext.data import SliceDataset, find_cases
from monai_ext.engines import FlipInferer
from monai_ext.labels import MODALITIES
from monai_ext.transforms import KeepLargestLesion
from monai_ext.validation import evaluate_cases, held_out_cases, predict

SHAPE = (80, 72, 6)
LPS = np.array([[-1.0, 0, 0, 40], [0, -1.0, 0, 35], [0, 0, 1.0, -3], [0, 0, 0, 1]])
RAS = np.array([[1.0, 0, 0, -39], [0, 1.0, 0, -36], [0, 0, 1.0, -3], [0, 0, 0, 1]])
CASES = {"BraTS-TST-00001-000": "brats2023", "Brats17_TST_2_1": "brats2017", "BraTS-TST-00003-000": "brats2023"}


@pytest.fixture(scope="module")
def mixed_dir(tmp_path_factory, write_case, volumes):
    """Cases without labels: 2023 names, 2017 names, and the first once more with its voxels stored in RAS order."""
    root = tmp_path_factory.mktemp("mixed")
    first, second = volumes(1, SHAPE), volumes(2, SHAPE)
    turned = volumes(1, SHAPE)
    turned.images = {m: np.ascontiguousarray(v[::-1, ::-1]) for m, v in first.images.items()}
    for (name, layout), case, affine in zip(CASES.items(), (first, second, turned), (LPS, LPS, RAS)):
        write_case(root, layout, name, case, label=False, affine=affine)
    return root


@pytest.fixture(scope="module")
def weights(segmentor_copy):
    return segmentor_copy / "models" / "model.pt"


def read(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_segmentor_inference(tmp_path, run_bundle, mixed_dir, segmentor_copy, weights):
    run_bundle(
        "segmentor", "inference", dataset_dir=mixed_dir, output_dir=tmp_path, ckpt_path=weights, roi_size=[64, 64]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{name}.nii.gz" for name in CASES)
    network = load_weights(from_config(segmentor_copy, "train.json", "network_def"), weights)
    for case in find_cases(mixed_dir):
        source, made = nib.load(case.images["t1n"].path), nib.load(tmp_path / f"{case.case_id}.nii.gz")
        assert made.shape == source.shape == SHAPE and made.get_data_dtype() == np.uint8
        assert np.allclose(made.affine, source.affine, atol=1e-4)
        classes = read(tmp_path / f"{case.case_id}.nii.gz")
        assert set(np.unique(classes)) <= {0, 1, 2, 3} and len(np.unique(classes)) > 1
        assert not classes[:8].any() and not classes[-8:].any() and not classes[:, :4].any(), "outside the crop"
        slices = SliceDataset([case], slice_range=(0, 6), roi_size=(64, 64), progress=False)
        expected = predict(network, torch.stack([slices.raw(i)["image"] for i in range(len(slices))]))
        inside = classes[8:-8, 4:-4, 1:-1]  # the first and the last slice are empty
        inside = inside[::-1, ::-1] if case.case_id == "BraTS-TST-00003-000" else inside
        assert (inside == np.moveaxis(expected.numpy(), 0, -1)).mean() > 0.999  # the cache holds half precision


def test_flips(tmp_path, run_bundle, mixed_dir, segmentor_copy, weights):
    """``--tta true``: the class whose softmax, averaged over a slice and its mirror image, is the largest."""
    settings = {"dataset_dir": mixed_dir, "ckpt_path": weights, "roi_size": [64, 64]}
    for flag in ("true", "false"):
        run_bundle("segmentor", "inference", output_dir=tmp_path / flag, tta=flag, **settings)
    network = load_weights(from_config(segmentor_copy, "train.json", "network_def"), weights).eval()
    (case,) = find_cases(mixed_dir / "Brats17_TST_2_1")
    slices = SliceDataset([case], slice_range=(0, 6), roi_size=(64, 64), progress=False)
    images = torch.stack([slices.raw(i)["image"] for i in range(len(slices))])
    with torch.no_grad():
        mean = (network(images).softmax(1) + network(images.flip(2)).softmax(1).flip(2)) / 2
    made, plain = (read(tmp_path / flag / f"{case.case_id}.nii.gz")[8:-8, 4:-4, 1:-1] for flag in ("true", "false"))
    assert (made == np.moveaxis(mean.argmax(1).numpy(), 0, -1)).mean() > 0.999
    assert (made != plain).any()


def test_the_largest_lesion(tmp_path, run_bundle, mixed_dir, small_dir, segmentor_copy, weights):
    """``--largest_lesion true``: of what is found without, the largest part; in ``evaluate.json`` it counts."""
    network = load_weights(from_config(segmentor_copy, "train.json", "network_def"), weights).eval()
    item = SliceDataset(find_cases(small_dir)[:1], slice_range=(2, 3), roi_size=(64, 64), progress=False).raw(0)
    with torch.no_grad():
        logits = network(item["image"][None])[0]
    state = network.state_dict()
    head = [k for k in state if k.endswith("bias")][-1]  # four subpixels of background first
    state[head][:4] += torch.quantile(logits[1:].amax(0) - logits[0], 0.9)  # a tenth of the slice, in scattered parts
    torch.save(state, tmp_path / "scattered.pt")
    settings = {"ckpt_path": tmp_path / "scattered.pt", "roi_size": [64, 64]}
    for flag in ("true", "false"):
        run_bundle(
            "segmentor", "inference", dataset_dir=mixed_dir / "Brats17_TST_2_1", output_dir=tmp_path / flag,
            largest_lesion=flag, **settings,
        )  # fmt: skip
    made, plain = (read(tmp_path / flag / "Brats17_TST_2_1.nii.gz") for flag in ("true", "false"))
    expected = KeepLargestLesion()(torch.as_tensor(plain[None].astype(np.uint8)))[0].numpy()
    assert (made == expected).all() and 0 < (made > 0).sum() < (plain > 0).sum()

    scores = []
    for flag in ("true", "false"):
        run_bundle(
            "segmentor", "evaluate", dataset_dir=small_dir, output_dir=tmp_path / f"judged_{flag}", split_file=None,
            segmentor_names="all", slice_range=[1, 7], largest_lesion=flag, **settings,
        )  # fmt: skip
        report = json.loads((tmp_path / f"judged_{flag}" / "metrics.json").read_text())
        assert report["settings"] == {"tta": False, "largest_lesion": flag == "true"}
        scores.append(report["segmentors"]["all"]["cases"])
    slices = SliceDataset(find_cases(small_dir), slice_range=(1, 7), roi_size=(64, 64), progress=False)
    load_weights(network, tmp_path / "scattered.pt")
    for found, postprocessing in zip(scores, (KeepLargestLesion(), None)):
        expected = evaluate_cases(network, slices, postprocessing=postprocessing, detailed=True, progress=False)
        assert found == expected["cases"]
    assert scores[0] != scores[1]


def test_other_orientation_same_lesion(tmp_path, run_bundle, mixed_dir, weights):
    run_bundle(
        "segmentor", "inference", dataset_dir=mixed_dir, output_dir=tmp_path, ckpt_path=weights, roi_size=[64, 64]
    )
    first, turned = (read(tmp_path / f"BraTS-TST-0000{i}-000.nii.gz") for i in (1, 3))
    assert (first == turned[::-1, ::-1]).mean() > 0.999


def test_values_of_another_release(tmp_path, run_bundle, mixed_dir, weights):
    for convention in ("brats2023", "brats2017"):
        run_bundle(
            "segmentor", "inference", dataset_dir=mixed_dir / "Brats17_TST_2_1", output_dir=tmp_path / convention,
            ckpt_path=weights, roi_size=[64, 64], label_convention=convention,
        )  # fmt: skip
    one, other = (read(tmp_path / c / "Brats17_TST_2_1.nii.gz") for c in ("brats2023", "brats2017"))
    assert (np.where(one == 3, 4, one) == other).all() and (one == 3).any()


def test_inference_from_fewer_modalities(tmp_path, run_bundle, segmentor_copy, write_case, volumes):
    """A segmentor that reads FLAIR needs no other file."""
    write_case(tmp_path / "in", "brats2023", "only", volumes(0, SHAPE), label=False, modalities=("t2f",))
    run_bundle(
        "segmentor", "inference", bundle_root=segmentor_copy, dataset_dir=tmp_path / "in", output_dir=tmp_path / "out",
        modalities="flair", roi_size=[64, 64],
    )  # fmt: skip
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["only.nii.gz"]


def test_bad_case(tmp_path, run_bundle, message_of, weights, write_case, volumes):
    write_case(tmp_path / "in", "brats2023", "good", volumes(0, SHAPE))
    write_case(tmp_path / "in", "brats2023", "bad", volumes(0, SHAPE), modalities=("t1n",))
    settings = {
        "dataset_dir": tmp_path / "in", "output_dir": tmp_path / "out", "ckpt_path": weights, "roi_size": [64, 64]
    }  # fmt: skip
    with pytest.raises(RuntimeError) as error:
        run_bundle("segmentor", "inference", **settings)
    assert "case bad: no file for t1c, t2w, t2f" in message_of(error.value)
    run_bundle("segmentor", "inference", **settings, on_bad_case="skip")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.nii.gz"]


def test_missing_weights_are_named(tmp_path, run_bundle, message_of, mixed_dir, segmentor_copy):
    shutil.copytree(segmentor_copy / "configs", tmp_path / "segmentor" / "configs")
    with pytest.raises(RuntimeError) as error:
        run_bundle(
            "segmentor", "inference", bundle_root=tmp_path / "segmentor", dataset_dir=mixed_dir,
            output_dir=tmp_path / "out",
        )  # fmt: skip
    assert "models/model.pt does not exist: train the bundle first" in message_of(error.value)


def test_from_another_working_folder(tmp_path, mixed_dir, segmentor_copy):
    """The bundle that runs is found by its own config, not by the working folder."""
    (tmp_path / "elsewhere").mkdir()
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--roi_size", "[64,64]",
        "--config_file", str(segmentor_copy / "configs" / "inference.json"),
        "--dataset_dir", str(mixed_dir / "Brats17_TST_2_1"), "--output_dir", str(tmp_path / "out"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["Brats17_TST_2_1.nii.gz"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_featgen_inference(tmp_path, run_bundle, random_weights):
    settings = {"output_dir": tmp_path, "num_samples": 2, "mae_threshold": 1, "seed": 3}
    run_bundle("featgen", "inference", ckpt_path=random_weights["featgen"], **settings)
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "report.json").read_text())["seed"] == 3
    assert read(tmp_path / "map-00001.nii.gz").shape == (240, 240, 1)


def test_cgan_inference(tmp_path, run_bundle, random_weights, small_dir):
    run_bundle(
        "cgan", "inference", ckpt_path=random_weights["cgan"], dataset_dir=small_dir, output_dir=tmp_path,
        slice_range=[2, 4], roi_size=[64, 64],
    )  # fmt: skip
    assert [c.case_id for c in find_cases(tmp_path)] == [c.case_id for c in find_cases(small_dir)]


@pytest.fixture
def split(tmp_path):
    """Two training patients and one to validate: one is left to judge."""
    patients = [f"BraTS-TST-{i:05d}" for i in range(4)]
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": patients[:2], "validation": patients[2:3], "test": patients[3:]}))
    return path


HELD_OUT = ["BraTS-TST-00003"]


def test_segmentor_evaluation(tmp_path, run_bundle, segmentor_copy, small_dir, split):
    run_bundle(
        "segmentor", "evaluate", bundle_root=segmentor_copy, dataset_dir=small_dir, split_file=split,
        output_dir=tmp_path / "out", slice_range=[2, 6], roi_size=[64, 64],
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["patients"] == HELD_OUT and list(metrics["segmentors"]) == ["all", *MODALITIES]
    assert len((tmp_path / "out" / "cases.csv").read_text().splitlines()) == 6
    assert len((tmp_path / "out" / "slices.csv").read_text().splitlines()) == 1 + 5 * 4
    assert metrics["segmentors"]["all"]["mean"].keys() >= {"dice_index", "mse", "WT", "TC", "ET", "hd95_WT"}


def test_evaluation_with_flips(tmp_path, run_bundle, segmentor_copy, small_dir, split):
    """The figures are those of :class:`monai_ext.engines.FlipInferer`, and of one file of weights when it is named."""
    weights = segmentor_copy / "models" / "model_t2f.pt"
    settings = {
        "dataset_dir": small_dir, "split_file": split, "slice_range": [2, 6], "roi_size": [64, 64], "tta": "true",
        "segmentor_names": "t2f",
    }  # fmt: skip
    run_bundle("segmentor", "evaluate", ckpt_path=weights, output_dir=tmp_path / "one", **settings)
    run_bundle("segmentor", "evaluate", bundle_root=segmentor_copy, output_dir=tmp_path / "other", **settings)
    one, other = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "other"))
    assert one == other
    dataset = SliceDataset(held_out_cases(small_dir, split), slice_range=(2, 6), roi_size=(64, 64), progress=False)
    network = load_weights(from_config(segmentor_copy, "train.json", "network_def", modalities="t2f"), weights)
    expected = evaluate_cases(network, dataset, [3], inferer=FlipInferer(), progress=False)
    assert expected["cases"][0].items() <= one["segmentors"]["t2f"]["cases"][0].items()
    assert expected != evaluate_cases(network, dataset, [3], progress=False)


def test_one_file_is_of_one_segmentor(tmp_path, run_bundle, message_of, segmentor_copy, small_dir, split):
    with pytest.raises(RuntimeError) as error:
        run_bundle(
            "segmentor", "evaluate", ckpt_path=segmentor_copy / "models" / "model.pt", dataset_dir=small_dir,
            split_file=split, output_dir=tmp_path / "out", slice_range=[2, 6], roi_size=[64, 64],
        )  # fmt: skip
    assert "is of one segmentor: give one --segmentor_names, not all, t1n" in message_of(error.value)


@pytest.mark.parametrize("names, expected", [("t2f", ["t2f"]), ("all,t1n", ["all", "t1n"]), ('["all"]', ["all"])])
def test_segmentors_by_name(tmp_path, run_bundle, segmentor_copy, small_dir, split, names, expected):
    run_bundle(
        "segmentor", "evaluate", bundle_root=segmentor_copy, dataset_dir=small_dir, split_file=split,
        output_dir=tmp_path / "out", slice_range=[2, 6], roi_size=[64, 64], segmentor_names=names,
    )  # fmt: skip
    assert list(json.loads((tmp_path / "out" / "metrics.json").read_text())["segmentors"]) == expected


def test_split_of_the_weights_is_the_default(tmp_path, run_bundle, message_of, segmentor_copy, small_dir, split):
    """Patients that the shipped weights saw are left out without a word on the command line."""
    root = tmp_path / "segmentor"
    shutil.copytree(segmentor_copy, root)
    settings = {
        "bundle_root": root, "dataset_dir": small_dir, "output_dir": tmp_path / "out", "slice_range": [2, 6],
        "roi_size": [64, 64], "segmentor_names": '["t1n"]',
    }  # fmt: skip
    with pytest.raises(RuntimeError) as error:
        run_bundle("segmentor", "evaluate", **settings)
    assert "split.json does not exist" in message_of(error.value)
    shutil.copyfile(split, root / "models" / "split.json")
    run_bundle("segmentor", "evaluate", **settings)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["patients"] == HELD_OUT


def test_cgan_evaluation(tmp_path, run_bundle, segmentor_copy, random_weights, small_dir, split):
    run_bundle(
        "cgan", "evaluate", ckpt_path=random_weights["cgan"], segmentor_root=segmentor_copy, dataset_dir=small_dir,
        split_file=split, output_dir=tmp_path / "out", slice_range=[2, 6], roi_size=[64, 64], classifier_steps=2,
        style_maps=2, styles=3,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["patients"] == HELD_OUT and metrics["slices"] == 4
    assert list(metrics["quality"]) == list(MODALITIES) and list(metrics["lesion_fidelity"]) == ["all", *MODALITIES]
    assert list(metrics["lesion_fidelity_blurred"]) == ["all", *MODALITIES]
    assert set(metrics["registration"]) == {"painted", "real", "unregistered"}
    assert metrics["training_patients"] == ["BraTS-TST-00000", "BraTS-TST-00001"]
    assert metrics["modality"]["real"]["n"] == metrics["modality"]["painted"]["n"] == 16
    assert metrics["distribution"]["extractor"]["slices"] == 8
    assert (metrics["style"]["maps"], metrics["style"]["styles"], metrics["style"]["patients"]) == (2, 3, 3)
    assert "featgen_maps" not in metrics


def test_cgan_evaluation_on_maps_from_noise(
    tmp_path, run_bundle, segmentor_copy, random_weights, small_dir, split, message_of
):
    featgen = tmp_path / "featgen"
    shutil.copytree(Path(__file__).parents[2] / "bundles" / "featgen" / "configs", featgen / "configs")
    settings = {
        "ckpt_path": random_weights["cgan"], "segmentor_root": segmentor_copy, "featgen_root": featgen,
        "dataset_dir": small_dir, "split_file": split, "output_dir": tmp_path / "out", "slice_range": [2, 4],
        "segmentor_names": '["t1n"]', "classifier_steps": 1, "style_maps": 0, "featgen_maps": 2, "mae_threshold": 1,
    }  # fmt: skip
    with pytest.raises(RuntimeError) as error:
        run_bundle("cgan", "evaluate", **settings)
    assert "model.pt does not exist: train the bundle first" in message_of(error.value)
    (featgen / "models").mkdir()
    shutil.copyfile(random_weights["featgen"], featgen / "models" / "model.pt")
    run_bundle("cgan", "evaluate", **settings)
    made = json.loads((tmp_path / "out" / "metrics.json").read_text())["featgen_maps"]
    assert made["studies"] == 2 <= made["candidates"] and made["modality"]["painted"]["n"] == 8
    assert made["lesion_fidelity"]["t1n"]["painted"]["slices"] == 2, "every study was asked for a lesion"


def test_featgen_evaluation(tmp_path, run_bundle, random_weights, small_dir, split):
    run_bundle(
        "featgen", "evaluate", ckpt_path=random_weights["featgen"], dataset_dir=small_dir, split_file=split,
        output_dir=tmp_path / "out", slice_range=[2, 6], num_samples=4,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["patients"] == HELD_OUT and metrics["generated_maps"] == 4
    # every second of four slices, four modalities
    assert metrics["real_maps"] == 8 and metrics["modalities"] == list(MODALITIES)
    assert metrics["training_patients"] == ["BraTS-TST-00000", "BraTS-TST-00001"] and metrics["training_maps"] == 16
    assert {"nearest_training", "coverage"} <= metrics["generated"].keys()


def test_featgen_of_two_modalities(tmp_path, run_bundle, random_weights, write_case, volumes):
    """``--modalities`` says what a case must have, on the side that judges and on the one that was trained on."""
    for seed in range(2):
        case = volumes(seed, (96, 96, 8))
        write_case(tmp_path / "two", "brats2023", f"BraTS-TWO-{seed:05d}-000", case, modalities=("t1n", "t2f"))
    (tmp_path / "split.json").write_text(
        json.dumps({"train": ["BraTS-TWO-00000"], "validation": [], "test": ["BraTS-TWO-00001"]})
    )
    run_bundle(
        "featgen", "evaluate", ckpt_path=random_weights["featgen"], dataset_dir=tmp_path / "two", num_samples=4,
        split_file=tmp_path / "split.json", output_dir=tmp_path / "out", slice_range=[2, 6], modalities="t1n,t2f",
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["patients"] == ["BraTS-TWO-00001"] and metrics["training_patients"] == ["BraTS-TWO-00000"]
    assert metrics["modalities"] == ["t1n", "t2f"] and (metrics["real_maps"], metrics["training_maps"]) == (4, 4)


def test_featgen_of_another_size(tmp_path, run_bundle, small_dir, split):
    """What was trained with ``--roi_size`` is judged with the same."""
    torch.manual_seed(0)
    root = Path(__file__).parents[2] / "bundles" / "featgen"
    network = from_config(root, "train.json", "network_def", roi_size=[64, 64])
    torch.save(network.state_dict(), tmp_path / "small.pt")
    run_bundle(
        "featgen", "evaluate", ckpt_path=tmp_path / "small.pt", dataset_dir=small_dir, split_file=split,
        output_dir=tmp_path / "out", slice_range=[2, 6], num_samples=4, roi_size=[64, 64],
    )  # fmt: skip
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["real_maps"] == 8


@pytest.mark.parametrize("bundle", ["featgen", "cgan", "segmentor"])
def test_evaluation_skips_bad_cases_on_request(tmp_path, run_bundle, message_of, bundle, random_weights, segmentor_copy,
                                               write_case, volumes, split):  # fmt: skip
    write_case(tmp_path / "in", "brats2023", "good", volumes(0, (64, 64, 8)))
    write_case(tmp_path / "in", "brats2023", "bad", volumes(0, (64, 64, 8)), modalities=("t1n",))
    settings = {
        "dataset_dir": tmp_path / "in", "split_file": split, "output_dir": tmp_path / "out", "slice_range": [2, 4],
        **({"segmentor_names": '["t1n"]'} if bundle != "featgen" else {"num_samples": 2}),
        **({"bundle_root": segmentor_copy} if bundle == "segmentor" else {"ckpt_path": random_weights[bundle]}),
        **({"segmentor_root": segmentor_copy} if bundle == "cgan" else {}),
    }  # fmt: skip
    with pytest.raises(RuntimeError) as error:
        run_bundle(bundle, "evaluate", **settings)
    assert "case bad: no file for t1c, t2w, t2f" in message_of(error.value)
    run_bundle(bundle, "evaluate", on_bad_case="skip", **settings)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["patients"] == ["good"]
