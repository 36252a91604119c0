"""Curves of the shipped trainings, in TensorBoard and, asked for, in MLflow."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

ROI = {"featgen": [96, 96], "cgan": [64, 64], "segmentor": [64, 64]}
METRICS = {"featgen": "val_mask_dice", "cgan": "val_ssim", "segmentor": "val_mean_dice"}

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture
def train(run_bundle, small_dir, tmp_path):
    """Two iterations of a training and a validation; returns the output folder, which goes away afterwards."""

    def run(bundle, **overrides):
        settings = {
            "dataset_dir": small_dir, "output_dir": tmp_path / "out", "slice_range": [3, 5], "roi_size": ROI[bundle],
            "batch_size": 2, "max_epochs": 1, "val_interval": 1, **overrides,
        }  # fmt: skip
        run_bundle(bundle, "train", **settings)
        return tmp_path / "out"

    yield run
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


def scalars(folder) -> dict[str, float]:
    """Last value of every curve, whichever process and handler wrote it."""
    values = {}
    for file in sorted(folder.iterdir()):
        events = event_accumulator.EventAccumulator(str(file))
        events.Reload()
        values |= {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    return values


@pytest.mark.parametrize("bundle", METRICS)
def test_tensorboard(train, bundle):
    curves = scalars(train(bundle) / "tensorboard")
    assert {"loss", METRICS[bundle]} <= set(curves)
    assert bundle == "segmentor" or len(curves) > 5, "a curve for each loss term"


@pytest.mark.parametrize("bundle", METRICS)
def test_mlflow(train, bundle):
    """MONAI's own settings: a data base beside the checkpoints, with losses, the metric and the config."""
    pytest.importorskip("mlflow", reason='needs pip install "monai-ext[mlflow]"')
    out = train(bundle, tracking="mlflow", experiment_name="tracked", run_name=bundle)
    with sqlite3.connect(out / "mlruns.db") as data:
        values = dict(data.execute("select key, value from metrics"))
        runs = set(data.execute("select name, status from runs"))
        experiments = {name for (name,) in data.execute("select name from experiments")}
    assert {"train_loss", METRICS[bundle]} <= set(values)
    assert runs == {(bundle, "FINISHED")} and "tracked" in experiments
    assert list(out.glob("config_*.json"))
