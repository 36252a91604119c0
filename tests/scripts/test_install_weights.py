"""What training a generator leaves beside it is installed too, from the newest checkpoint."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="module")
def install_weights(script):
    return script("install_weights")


def test_companions_of_the_newest_checkpoint(install_weights, cgan_objective, tmp_path):
    newest = cgan_objective(seed=1)
    for epoch, objective in ((9, cgan_objective(seed=2)), (10, newest)):
        torch.save({"objective": objective.state_dict()}, tmp_path / f"checkpoint_epoch={epoch}.pt")
    found = install_weights.companions(tmp_path)
    expected = newest.companions.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(v, expected[k].half() if v.is_floating_point() else expected[k]) for k, v in found.items())

    torch.save(found, tmp_path / "companions.pt")
    started = cgan_objective(seed=3, companion_weights=tmp_path / "companions.pt").companions.state_dict()
    assert all(torch.equal(started[k], v.to(started[k].dtype)) for k, v in found.items())


def test_no_checkpoint(install_weights, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        install_weights.companions(tmp_path)
