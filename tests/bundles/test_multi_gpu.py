"""``multi_gpu_train.json`` over ``train.json``, started by torchrun as the README says, on two processes of the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_ext.bundles import bundle_root, from_config, load_weights
from monai_ext.engines import start_ranks

CONFIGS = [str(Path(bundle_root("cgan")) / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]

needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="torch has no Gloo"
)


@needs_gloo
def test_two_processes(tmp_path, small_dir):
    settings = {
        "dataset_dir": small_dir, "output_dir": tmp_path, "max_epochs": 2, "val_interval": 1, "batch_size": 2,
        "slice_range": [2, 6], "roi_size": [64, 64],
    }  # fmt: skip
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle",
        "run", "--config_file", str(CONFIGS),
    ]  # fmt: skip
    for key, value in settings.items():
        command += [f"--{key}", str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    # one process writes; eight slices, two a step on each of two processes
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint_epoch=2.pt",
        "model.pt",
        "split.json",
        "tensorboard",
    ]
    writers = {p.name.split(".")[-2] for p in (tmp_path / "tensorboard").iterdir()}
    assert len(writers) == 1, "event files are named after the process"
    state = torch.load(tmp_path / "checkpoint_epoch=2.pt", weights_only=True)["trainer"]
    assert state["iteration"] == 4 and state["epoch_length"] == 2
    assert done.stderr.count("epoch 2/2 in") == 1 and done.stderr.count("Got new best metric of val_ssim") <= 2
    load_weights(from_config(bundle_root("cgan"), "train.json", "network_def"), tmp_path / "model.pt")


def test_other_ranks_report_nothing():
    """What only rank 0 is to do is not even built elsewhere."""
    config = ConfigParser.load_config_files(CONFIGS[0])
    for side, reporting in (
        (
            "train",
            {"DiscriminatorGuard", "TrainingProgress", "TensorBoardStatsHandler", "FixedStudies", "CheckpointSaver"},
        ),
        ("validate", {"StatsHandler", "TensorBoardStatsHandler"}),
    ):
        quiet = {h["_target_"].split(".")[-1] for h in config[side]["handlers"] if h.get("_disabled_") == "$@rank > 0"}
        assert quiet == reporting


def test_needs_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RuntimeError, match="start it with torchrun --nproc_per_node=N"):
        start_ranks()
