"""``--finetune true``: trainings that start from the weights that come with a bundle."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_ext.bundles import bundle_root, from_config
from monai_ext.cli import user_error

ROI = {"featgen": [96, 96], "cgan": [64, 64], "segmentor": [64, 64]}
FITTED = {"style.mean", "style.whiten"}  # to the training data, at the start


@pytest.fixture(scope="session")
def shipped(tmp_path_factory):
    """Each bundle's configs, with random weights in the place of the shipped ones."""
    roots = {}
    for bundle, roi in ROI.items():
        root = tmp_path_factory.mktemp("bundles") / bundle
        shutil.copytree(f"{bundle_root(bundle)}/configs", root / "configs")
        (root / "models").mkdir()
        torch.manual_seed(7)
        network = from_config(root, "train.json", "network_def", roi_size=roi)
        torch.save(network.state_dict(), root / "models" / "model.pt")
        if bundle == "cgan":
            beside = {"guidance": from_config(root, "train.json", "guidance_def")}
            beside["image"] = from_config(root, "train.json", "objective_def::image_discriminator")
            beside["code"] = from_config(root, "train.json", "objective_def::code_discriminator")
            torch.save(torch.nn.ModuleDict(beside).state_dict(), root / "models" / "companions.pt")
        roots[bundle] = root
    return roots


@pytest.fixture
def train_config(shipped, small_dir, tmp_path):
    def make(bundle, **overrides):
        return ConfigWorkflow(
            f"{shipped[bundle]}/configs/train.json", workflow_type="train", logging_file=False,
            bundle_root=str(shipped[bundle]), dataset_dir=str(small_dir), roi_size=ROI[bundle],
            output_dir=str(tmp_path / "out"), **{"slice_range": [2, 6], **overrides},
        ).parser  # fmt: skip

    return make


@pytest.fixture
def train(run_bundle, shipped, small_dir, tmp_path):
    def run(bundle, **overrides):
        settings = {
            "bundle_root": shipped[bundle], "dataset_dir": small_dir, "roi_size": ROI[bundle], "max_epochs": 1,
            "output_dir": tmp_path / "out", "slice_range": [2, 4], "batch_size": 4, "val_interval": 5,
        }  # fmt: skip
        run_bundle(bundle, "train", **{**settings, **overrides})
        return tmp_path / "out"

    yield run
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


@pytest.mark.parametrize("bundle", ROI)
def test_starts_from_the_shipped_weights(train_config, shipped, bundle):
    expected = torch.load(shipped[bundle] / "models" / "model.pt", weights_only=True)
    parser = train_config(bundle, finetune="true")
    networks = [parser.get_parsed_content("network")]
    if bundle != "segmentor":  # validation and model.pt are of the moving average
        networks.append(parser.get_parsed_content("average").module)
        trained = parser.get_parsed_content("objective").generator
        if bundle == "cgan":
            beside = torch.load(shipped[bundle] / "models" / "companions.pt", weights_only=True)
            started = parser.get_parsed_content("objective").companions.state_dict()
            assert started.keys() == beside.keys() and all(started[k].equal(v) for k, v in beside.items())
            trained = trained["network"]
        assert trained is networks[0] and networks[1] is not networks[0]
    for network in networks:
        state = network.state_dict()
        assert state.keys() == expected.keys() and all(state[k].equal(v) for k, v in expected.items())
    plain = train_config(bundle).get_parsed_content("network").state_dict()
    assert any(not plain[k].equal(v) for k, v in expected.items()), "off by default"


@pytest.mark.parametrize("bundle", ROI)
def test_first_step(train, shipped, bundle):
    """With a learning rate of 0 the weights after a training are those it started from."""
    rates = {"learning_rate": 0, **({} if bundle == "segmentor" else {"discriminator_learning_rate": 0})}
    out = train(bundle, finetune="true", **rates)
    expected = torch.load(shipped[bundle] / "models" / "model.pt", weights_only=True)
    found = torch.load(out / "model.pt", weights_only=True)
    parameters = set(dict(from_config(shipped[bundle], "train.json", "network_def", roi_size=ROI[bundle])
                          .named_parameters()))  # fmt: skip
    assert parameters and all(found[k].equal(expected[k]) for k in parameters)
    if bundle == "cgan":
        assert expected.keys() - parameters == FITTED and not found["style.mean"].equal(expected["style.mean"])


def test_missing_weights(train_config):
    with pytest.raises(RuntimeError) as error:
        train_config("segmentor", finetune="true", modalities="t2f").get_parsed_content("network")
    cause = str(user_error(error.value))
    assert "models/model_t2f.pt does not exist: train the bundle first" in cause and "\n" not in cause


def test_weights_that_do_not_fit(train_config, shipped):
    weights = str(shipped["segmentor"] / "models" / "model.pt")
    with pytest.raises(RuntimeError) as error:
        train_config("segmentor", finetune="true", num_classes=1).get_parsed_content("network")
    cause = str(user_error(error.value))
    assert re.search(r"does not fit this network: \d+ of \d+ tensors have another shape \(.*in the file, .*\)", cause)
    assert cause.startswith(weights) and "(modalities, num_classes, roi_size)?" in cause and "\n" not in cause
    with pytest.raises(RuntimeError) as error:
        train_config("featgen", initial_weights=weights).get_parsed_content("network")
    cause = str(user_error(error.value))
    assert "missing (decoder." in cause and "unknown (unet." in cause and len(cause) < 400


def test_weights_of_another_training(train_config, shipped, tmp_path):
    """Any file may be started from; no flag is needed then."""
    torch.manual_seed(8)
    network = from_config(shipped["segmentor"], "train.json", "network_def", modalities="t2f")
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    parser = train_config("segmentor", initial_weights=str(tmp_path / "mine.pt"), modalities="t2f")
    assert all(v.equal(network.state_dict()[k]) for k, v in parser.get_parsed_content("network").state_dict().items())


def test_a_checkpoint_wins(train, shipped):
    """The same command with ``--resume true`` goes on, and does not begin again from the shipped weights."""
    out = train("segmentor", finetune="true")
    first = torch.load(out / "model.pt", weights_only=True)
    expected = torch.load(shipped["segmentor"] / "models" / "model.pt", weights_only=True)
    assert any(not v.equal(expected[k]) for k, v in first.items())
    (out / "model.pt").unlink()
    train("segmentor", finetune="true", resume="true")
    again = torch.load(out / "model.pt", weights_only=True)
    assert all(v.equal(again[k]) for k, v in first.items())


def test_an_earlier_run_is_not_overwritten(train, message_of):
    train("segmentor")
    with pytest.raises(RuntimeError) as error:
        train("segmentor", finetune="true")
    assert "is from an earlier run: give '--resume true' to go on with it" in message_of(error.value)
