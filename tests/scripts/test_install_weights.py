"""What training a generator leaves beside it is installed too, from the newest checkpoint."""

from __future__ import annotations

import pytest
import torch

from monai_ext.labels import MODALITIES


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


@pytest.fixture
def trained(tmp_path, monkeypatch, install_weights, cgan_objective):
    """What ``train_all.sh`` leaves, and empty bundles to install it in."""
    monkeypatch.setattr(install_weights, "bundle_root", lambda name: str(tmp_path / "bundles" / name))
    out, objective = tmp_path / "out", cgan_objective(seed=0)
    state = objective.network.state_dict()
    for name in ("featgen", "segmentor/all", *(f"segmentor/{m}" for m in MODALITIES)):
        (out / name).mkdir(parents=True)
        torch.save({"name": torch.zeros(1)}, out / name / "model.pt")
    for name in ("cgan", "translation"):
        (out / name).mkdir()
        moved = {k: v + 1 if name == "translation" and k.startswith("image_encoder.") else v for k, v in state.items()}
        torch.save(moved, out / name / "model.pt")
    torch.save({"objective": objective.state_dict()}, out / "cgan" / "checkpoint_epoch=1.pt")
    (out / "split.json").write_text("{}")
    return out


def test_the_generator_that_translates_is_installed(install_weights, trained):
    files = install_weights.install(trained)
    assert len(files) == 11 and all(f.is_file() for f in files)
    (generator,) = (f for f in files if f.parts[-3:] == ("cgan", "models", "model.pt"))
    assert generator.read_bytes() == (trained / "translation" / "model.pt").read_bytes()


def test_a_translation_of_another_generator_is_refused(install_weights, trained, tmp_path):
    state = torch.load(trained / "cgan" / "model.pt", weights_only=True)
    torch.save({k: v + 1 for k, v in state.items()}, trained / "cgan" / "model.pt")
    with pytest.raises(ValueError, match="is not of the generator in"):
        install_weights.install(trained)
    assert not (tmp_path / "bundles").exists()


def test_a_missing_stage_is_told_before_anything_is_copied(install_weights, trained, tmp_path):
    (trained / "segmentor" / "t2f" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"t2f/model\.pt is missing"):
        install_weights.install(trained)
    assert not (tmp_path / "bundles").exists()
