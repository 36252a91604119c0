"""A training keeps its newest checkpoint, goes on from it when asked to, and overwrites none."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn as nn
from monai.engines import SupervisedTrainer

from monai_ext.handlers import TrainingCheckpoint, latest_checkpoint


def trainer(folder, max_epochs, interval=1, resume=False):
    """One weight that grows by 0.1 an epoch."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    checkpoint = TrainingCheckpoint(folder, {"network": network, "optimizer": optimizer}, interval, resume)
    batches = [{"image": torch.ones(1, 1), "label": torch.ones(1, 1)}]
    engine = SupervisedTrainer(
        "cpu", max_epochs, batches, network, optimizer, lambda p, _: -p.mean(), train_handlers=[checkpoint]
    )
    return engine, network


def names(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize(
    "interval, max_epochs, kept",
    [(1, 3, ["3"]), (2, 4, ["4"]), (2, 3, ["3"]), (5, 3, ["3"]), (5, 1, ["1"])],
)
def test_the_last_epoch_alone_is_kept(tmp_path, interval, max_epochs, kept):
    engine, _ = trainer(tmp_path, max_epochs, interval)
    engine.run()
    assert names(tmp_path) == [f"checkpoint_epoch={e}.pt" for e in kept]
    assert latest_checkpoint(tmp_path).name == f"checkpoint_epoch={max_epochs}.pt"


def test_latest_is_by_number(tmp_path):
    assert latest_checkpoint(tmp_path) is None and latest_checkpoint(tmp_path / "absent") is None
    for name in ("checkpoint_epoch=9.pt", "checkpoint_epoch=10.pt", "model.pt", "checkpoint_epoch=8.pt"):
        (tmp_path / name).touch()
    assert latest_checkpoint(tmp_path).name == "checkpoint_epoch=10.pt"


def test_an_earlier_run_is_not_overwritten(tmp_path):
    trainer(tmp_path, 2)[0].run()
    before = latest_checkpoint(tmp_path).read_bytes()
    with pytest.raises(FileExistsError, match="checkpoint_epoch=2.pt is from an earlier run: give '--resume true'"):
        trainer(tmp_path, 3)
    assert latest_checkpoint(tmp_path).read_bytes() == before


def test_resume(tmp_path, caplog):
    trainer(tmp_path, 2)[0].run()
    engine, network = trainer(tmp_path, 5, resume=True)
    with caplog.at_level(logging.INFO):
        engine.run()
    assert "at epoch 2 of 5" in caplog.text
    assert network.weight.item() == pytest.approx(0.5) and engine.state.iteration == 5
    assert latest_checkpoint(tmp_path).name == "checkpoint_epoch=5.pt"


def test_resume_without_a_checkpoint_starts_anew(tmp_path):
    engine, network = trainer(tmp_path, 2, resume=True)
    engine.run()
    assert network.weight.item() == pytest.approx(0.2)


def test_a_finished_training_does_nothing_more(tmp_path):
    trainer(tmp_path, 3)[0].run()
    engine, network = trainer(tmp_path, 3, resume=True)
    engine.run()
    assert network.weight.item() == pytest.approx(0.3) and engine.state.iteration == 3
    with pytest.raises(ValueError, match="max_epochs"):
        trainer(tmp_path, 2, resume=True)[0].run()
