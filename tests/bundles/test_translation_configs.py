"""``translate.json`` and ``evaluate_translation.json`` as shipped, with random weights."""

from __future__ import annotations

import json

import nibabel as nib
import pytest
import torch

from monai_ext.bundles import bundle_root, from_config

SETTINGS = {"roi_size": [64, 64]}


@pytest.mark.parametrize("source, kind", [("T1", "t1n"), ("flair", "t2f")])
def test_translate(tmp_path, run_bundle, random_weights, write_case, volumes, source, kind):
    """The source modality is all that a case needs to have."""
    write_case(tmp_path / "in", "brats2017", "one", volumes(0, (64, 64, 8)), label=False, modalities=(kind,))
    settings = {
        "dataset_dir": tmp_path / "in", "output_dir": tmp_path / "out", "ckpt_path": random_weights["cgan"], **SETTINGS
    }  # fmt: skip
    run_bundle("cgan", "translate", source_modality=source, **settings)
    others = sorted({"t1n", "t1c", "t2w", "t2f"} - {kind})
    files = sorted((tmp_path / "out" / "one").iterdir())
    assert [f.name for f in files] == [f"one-{m}.nii.gz" for m in others]
    assert all(nib.load(f).shape == (64, 64, 8) for f in files)
    before = [f.stat().st_mtime_ns for f in files]
    run_bundle("cgan", "translate", source_modality=source, overwrite="false", **settings)
    assert [f.stat().st_mtime_ns for f in files] == before
    run_bundle("cgan", "translate", source_modality=source, overwrite="true", style="random", seed=1, **settings)
    assert all(f.stat().st_mtime_ns != b for f, b in zip(files, before))


def test_chosen_targets(tmp_path, run_bundle, random_weights, small_dir):
    run_bundle(
        "cgan", "translate", dataset_dir=small_dir, output_dir=tmp_path, ckpt_path=random_weights["cgan"],
        source_modality="t1ce", target_modalities="t2,flair", **SETTINGS,
    )  # fmt: skip
    made = {f.name for f in tmp_path.glob("*/*.nii.gz")}
    assert made == {f"BraTS-TST-0000{i}-000-{m}.nii.gz" for i in range(4) for m in ("t2w", "t2f")}


def test_network_of_fewer_modalities(tmp_path, run_bundle, small_dir):
    torch.manual_seed(0)
    network = from_config(bundle_root("cgan"), "train.json", "network_def", modalities="t1n,t2f")
    torch.save(network.state_dict(), tmp_path / "two.pt")
    run_bundle(
        "cgan", "translate", dataset_dir=small_dir, output_dir=tmp_path / "out", ckpt_path=tmp_path / "two.pt",
        modalities="t1n,t2f", **SETTINGS,
    )  # fmt: skip
    assert {f.name.removesuffix(".nii.gz")[-3:] for f in (tmp_path / "out").glob("*/*.nii.gz")} == {"t2f"}


def test_missing_source(tmp_path, run_bundle, message_of, random_weights, write_case, volumes):
    write_case(tmp_path / "in", "brats2023", "one", volumes(0, (64, 64, 8)), label=False, modalities=("t2w",))
    with pytest.raises(RuntimeError) as error:
        run_bundle(
            "cgan", "translate", dataset_dir=tmp_path / "in", output_dir=tmp_path / "out",
            ckpt_path=random_weights["cgan"], source_modality="t1",
        )  # fmt: skip
    assert "case one: no file for t1n" in message_of(error.value)


def test_evaluation(tmp_path, run_bundle, random_weights, small_dir):
    patients = [f"BraTS-TST-{i:05d}" for i in range(4)]
    split = {"train": patients[:2], "validation": patients[2:3], "test": patients[3:]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    run_bundle(
        "cgan", "evaluate_translation", dataset_dir=small_dir, split_file=tmp_path / "split.json",
        output_dir=tmp_path / "out", ckpt_path=random_weights["cgan"], slice_range=[2, 6], **SETTINGS,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["patients"] == patients[3:] and metrics["slices"] == 4
    assert len(metrics["directions"]) == metrics["better_than_copy"]["of"] == 12
    assert set(metrics["mean"]["copy"]) == {"ssim", "psnr", "ssim_brain", "psnr_brain"}
