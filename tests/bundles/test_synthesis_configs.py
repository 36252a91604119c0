"""``generate.json`` and ``validate.json`` as shipped, with random weights and the filters off."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from monai_ext.bundles import bundle_root, digests, from_config
from monai_ext.data import find_cases, read_case

FILTERS_OFF = {"mae_threshold": 1, "dice_threshold": 0}


@pytest.fixture
def split(tmp_path):
    patients = [f"BraTS-TST-{i:05d}" for i in range(4)]
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": patients[:2], "validation": [], "test": patients[2:]}))
    return path


@pytest.fixture
def generate(run_bundle, random_weights, segmentor_copy, small_dir, split, tmp_path):
    def run(folder="studies", **overrides):
        settings = {
            "output_dir": tmp_path / folder, "featgen_weights": random_weights["featgen"],
            "cgan_weights": random_weights["cgan"], "segmentor_weights": segmentor_copy / "models" / "model.pt",
            "label_dir": small_dir, "label_split": split, "slice_range": [2, 6], "num_samples": 3, "batch_size": 2,
            **FILTERS_OFF,
        }  # fmt: skip
        run_bundle("synthesis", "generate", **{**settings, **overrides})
        return tmp_path / folder

    return run


def test_generate(generate, random_weights, segmentor_copy):
    root = generate()
    report = json.loads((root / "report.json").read_text())
    assert report["samples"] == 3 and report["settings"]["labels"] == "RealLesions"
    assert report["settings"]["weights"] == digests(
        featgen=random_weights["featgen"], cgan=random_weights["cgan"], segmentor=segmentor_copy / "models" / "model.pt"
    )
    sources = {json.loads(line)["label_source"] for line in (root / "manifest.jsonl").read_text().splitlines()}
    assert sources <= {"BraTS-TST-00000-000", "BraTS-TST-00001-000"}
    cases = find_cases(root, require_segmentation=True)
    assert len(cases) == 3
    image, label = read_case(cases[0])
    assert image.shape == (4, 240, 240, 1) and label.any()


def test_other_weights_are_another_run(generate, tmp_path, message_of, random_weights):
    generate(num_samples=1)
    state = torch.load(random_weights["cgan"], weights_only=True)
    state["style.mean"] += 1
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(RuntimeError) as error:
        generate(num_samples=1, cgan_weights=tmp_path / "other.pt")
    assert "holds a run with other settings (weights): give another --output_dir" in message_of(error.value)


def test_other_labels_are_another_run(generate, message_of, tmp_path):
    generate(num_samples=1)
    (tmp_path / "other.json").write_text(json.dumps({"train": [], "validation": [], "test": ["BraTS-TST-00000"]}))
    with pytest.raises(RuntimeError) as error:
        generate(num_samples=1, label_split=tmp_path / "other.json")
    assert "holds a run with other settings (labels_digest): give another --output_dir" in message_of(error.value)


def test_split_of_the_weights_is_the_default(
    run_bundle, message_of, random_weights, segmentor_copy, small_dir, split, tmp_path
):
    """Patients that the shipped weights hold out lend no label unless the command line says so."""
    root = tmp_path / "segmentor"
    shutil.copytree(segmentor_copy, root)
    settings = {
        "output_dir": tmp_path / "studies", "featgen_weights": random_weights["featgen"], "slice_range": [2, 6],
        "cgan_weights": random_weights["cgan"], "segmentor_root": root, "label_dir": small_dir, "num_samples": 4,
        **FILTERS_OFF,
    }  # fmt: skip
    with pytest.raises(RuntimeError) as error:
        run_bundle("synthesis", "generate", **settings)
    assert "split.json does not exist" in message_of(error.value)
    shutil.copyfile(split, root / "models" / "split.json")
    run_bundle("synthesis", "generate", **settings)
    lines = (tmp_path / "studies" / "manifest.jsonl").read_text().splitlines()
    assert {json.loads(line)["label_source"] for line in lines} <= {"BraTS-TST-00000-000", "BraTS-TST-00001-000"}


def test_weights_of_another_network_are_named(generate, message_of, random_weights):
    with pytest.raises(RuntimeError) as error:
        generate(cgan_weights=random_weights["featgen"])
    assert "featgen.pt does not fit this network" in message_of(error.value)


def test_maps_of_another_size(generate, tmp_path):
    """What was trained with ``--roi_size`` generates with the same."""
    network = from_config(bundle_root("featgen"), "train.json", "network_def", roi_size=[96, 96])
    torch.nn.init.constant_(list(network.mask.parameters())[-1], -5.0)
    torch.save(network.state_dict(), tmp_path / "small.pt")
    root = generate(featgen_weights=tmp_path / "small.pt", roi_size=[96, 96], num_samples=1)
    image, _ = read_case(find_cases(root)[0])
    assert image[:, 72:168, 72:168].any() and not image[:, :72].any() and not image[:, :, 168:].any()


def test_generate_by_procedure_in_another_layout(generate):
    root = generate(layout="decathlon", label_dir=None, num_samples=1)
    assert json.loads((root / "report.json").read_text())["settings"]["labels"] == "ProceduralLesions"
    assert len(list((root / "imagesTr").glob("*.nii.gz"))) == 1


def test_wrong_settings(generate, message_of):
    with pytest.raises(RuntimeError) as error:
        generate(num_samples=0)
    assert "must be at least 1" in message_of(error.value)
    with pytest.raises(RuntimeError) as error:
        generate(layout="bids")
    assert "layout is one of brats, decathlon, nnunet" in message_of(error.value)


def test_validate(run_bundle, generate, segmentor_copy, small_dir, split, tmp_path):
    run_bundle(
        "synthesis", "validate", synthetic_dir=generate(), dataset_dir=small_dir, split_file=split,
        output_dir=tmp_path / "validation", segmentor_root=segmentor_copy, slice_range=[2, 6],
    )  # fmt: skip
    metrics = json.loads((tmp_path / "validation" / "metrics.json").read_text())
    assert metrics["synthetic"]["samples"] == 3
    assert metrics["real"] == {"phantom": False, "slices": 8, "patients": ["BraTS-TST-00002", "BraTS-TST-00003"]}
    assert (tmp_path / "validation" / "report.html").read_text().count("data:image/png") == 2
