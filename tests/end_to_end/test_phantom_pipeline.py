"""Four small cases -> every training -> a generated set -> its validation, through the shipped configs alone."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.utils import set_determinism

from monai_ext.bundles import segmentor_weights
from monai_ext.data import find_cases
from monai_ext.labels import MODALITIES

BUNDLES = Path(__file__).parents[2] / "bundles"
SIZE = {"roi_size": [96, 96], "slice_range": [2, 6]}


@pytest.fixture
def run(monkeypatch):
    """Run a config of a bundle; what it does to the process is undone at the end."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    backend = torch.backends.cudnn
    deterministic, benchmark = backend.deterministic, backend.benchmark

    def run(config, **overrides):
        paths = {k: str(v) if isinstance(v, Path) else v for k, v in overrides.items()}
        monai.bundle.run(config_file=str(BUNDLES / f"{config}.json"), **paths)

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    set_determinism(None)
    backend.deterministic, backend.benchmark = deterministic, benchmark


@pytest.mark.slow
def test_from_cases_to_a_validated_set(tmp_path, run, write_case, volumes):
    for seed in range(4):
        case = volumes(seed, (25, 24, 8))  # made four times larger: a head that fills the crop
        case.images = {m: v.repeat(4, 0).repeat(4, 1) for m, v in case.images.items()}
        case.label = case.label.repeat(4, 0).repeat(4, 1)
        write_case(tmp_path / "cases", "brats2023", f"BraTS-PHA-{seed:05d}-000", case)
        # small lesions, for masks that are still full of holes
        write_case(tmp_path / "labels", "brats2023", f"BraTS-PHA-{seed:05d}-000", volumes(seed, (100, 96, 8)))
    data = {"dataset_dir": tmp_path / "cases", "split_file": tmp_path / "split.json"}
    # masks need a few more steps before a lesion finds room in them
    run(
        "featgen/configs/train", **data, **SIZE, output_dir=tmp_path / "featgen", max_epochs=6, batch_size=2,
        autoencoder_epochs=4,
        flow_epochs=1,
    )  # fmt: skip
    run("cgan/configs/train", **data, **SIZE, output_dir=tmp_path / "cgan", max_epochs=1, batch_size=4)
    segmentor = tmp_path / "segmentor"
    shutil.copytree(BUNDLES / "segmentor" / "configs", segmentor / "configs")
    (segmentor / "models").mkdir()
    for name in ("all", *MODALITIES):
        run(
            "segmentor/configs/train", **data, **SIZE, output_dir=tmp_path / name, max_epochs=1, batch_size=4,
            modalities=name,
        )  # fmt: skip
        shutil.copyfile(tmp_path / name / "model.pt", segmentor / "models" / segmentor_weights(name))

    run(
        "synthesis/configs/generate", **SIZE, output_dir=tmp_path / "studies", label_dir=tmp_path / "labels",
        label_split=tmp_path / "split.json", featgen_weights=tmp_path / "featgen" / "model.pt",
        cgan_weights=tmp_path / "cgan" / "model.pt", segmentor_weights=tmp_path / "all" / "model.pt",
        num_samples=3, batch_size=4, mae_threshold=1.0, dice_threshold=0.0, max_attempts=20,
    )  # fmt: skip
    split = json.loads((tmp_path / "split.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "studies" / "manifest.jsonl").read_text().splitlines()]
    assert len(find_cases(tmp_path / "studies", require_segmentation=True)) == len(lines) == 3
    assert {line["label_source"].rsplit("-", 1)[0] for line in lines} <= set(split["train"])

    run(
        "synthesis/configs/validate", **data, **SIZE, synthetic_dir=tmp_path / "studies",
        output_dir=tmp_path / "validation", segmentor_root=segmentor,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "validation" / "metrics.json").read_text())
    assert metrics["synthetic"]["samples"] == 3 and metrics["real"]["patients"] == split["test"]
    assert set(metrics["lesion_fidelity"]) == {"all", *MODALITIES}
    assert (tmp_path / "validation" / "report.html").is_file()
    for folder in ("featgen", "cgan"):
        shutil.rmtree(tmp_path / folder)  # checkpoints are large
