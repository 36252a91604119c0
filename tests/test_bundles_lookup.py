"""A bundle is found from any folder, and one config's component is built in another."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from monai_ext.bundles import (
    BundleError,
    bundle_root,
    digests,
    from_config,
    listed,
    load_weights,
    model_file,
    segmentor_weights,
)

CONFIG = {
    "imports": ["$import torch"],
    "bundle_root": ".",
    "width": 3,
    "layer": {"_target_": "torch.nn.Linear", "in_features": "@width", "out_features": 2, "bias": False},
    "file": "$@bundle_root + '/models/model.pt'",
}


def make_bundle(folder: Path, name: str = "mine") -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps({"name": name}))
    (folder / "configs" / "train.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.mark.parametrize("where", [".", "..", "other", "../.."])
def test_found_from_other_working_folders(tmp_path, monkeypatch, where):
    """The bundle's own folder, the folder of bundles, a sister bundle, and the folder above."""
    bundle = make_bundle(tmp_path / "project" / "bundles" / "mine")
    make_bundle(tmp_path / "project" / "bundles" / "other", "other")
    start = bundle.parent / "other" if where == "other" else bundle / where
    monkeypatch.chdir(start.resolve())
    assert bundle_root("mine") == str(bundle)


def test_the_bundle_that_runs_comes_first(tmp_path, monkeypatch):
    running, here = make_bundle(tmp_path / "a" / "mine"), make_bundle(tmp_path / "b" / "mine")
    monkeypatch.chdir(here)
    assert bundle_root("mine") == str(here)
    monkeypatch.setattr(sys, "path", [sys.path[0], str(running), *sys.path[1:]])
    assert bundle_root("mine") == str(running)


@pytest.mark.parametrize("name", ["featgen", "cgan", "segmentor", "synthesis"])
def test_bundles_of_the_checkout(tmp_path, monkeypatch, name):
    root = Path(__file__).parent.parent / "bundles" / name
    for start in (tmp_path, root, root.parent / "featgen" / "configs"):
        monkeypatch.chdir(start)
        assert bundle_root(name) == str(root)


@pytest.mark.parametrize("metadata", [None, "not json", '{"name": "other"}'])
def test_not_found(tmp_path, monkeypatch, metadata):
    monkeypatch.chdir(tmp_path)
    if metadata is not None:
        (tmp_path / "configs").mkdir()
        (tmp_path / "configs" / "metadata.json").write_text(metadata)
    with pytest.raises(BundleError, match="bundle 'mine' not found .*metadata.json of that name in") as error:
        bundle_root("mine")
    assert isinstance(error.value, FileNotFoundError)


def test_from_config(tmp_path):
    root = make_bundle(tmp_path / "mine")
    layer = from_config(root, "train.json", "layer")
    assert isinstance(layer, torch.nn.Linear) and layer.weight.shape == (2, 3) and layer.bias is None
    assert from_config(root, "train.json", "layer", width=5).weight.shape == (2, 5)
    assert from_config(str(root), "train.json", "layer", **{"layer#bias": True}).bias.shape == (2,)
    assert from_config(root, "train.json", "file") == f"{root}/models/model.pt"
    assert from_config(root, "train.json", "width") == 3
    with pytest.raises(BundleError, match="synthesis.json does not exist: is the bundle complete"):
        from_config(root, "synthesis.json", "layer")


def test_network_of_the_segmentor_bundle():
    network = from_config(bundle_root("segmentor"), "train.json", "network_def", modalities="t1,flair")
    assert network(torch.zeros(1, 2, 32, 32)).shape == (1, 4, 32, 32)


def test_model_file(tmp_path):
    root = make_bundle(tmp_path / "mine")
    with pytest.raises(BundleError, match="models/model_t2f.pt does not exist: train the bundle first"):
        model_file(root, "model_t2f.pt")
    (root / "models").mkdir()
    (root / "models" / "model.pt").touch()
    assert model_file(root) == str(root / "models" / "model.pt")


@pytest.mark.parametrize(
    "modalities, name",
    [
        ("all", "model.pt"),
        ("t1,t1ce,t2,flair", "model.pt"),
        ("flair", "model_t2f.pt"),
        ("t2f,t1n", "model_t1n_t2f.pt"),
    ],
)
def test_segmentor_weights(modalities, name):
    assert segmentor_weights(modalities) == name


def test_segmentor_weights_refuses():
    with pytest.raises(ValueError, match="unknown modality 'ct'"):
        segmentor_weights("ct")


def test_digests(tmp_path):
    """The first digits of the SHA-256 of b"abc" and of nothing."""
    (tmp_path / "a.pt").write_bytes(b"abc")
    (tmp_path / "b.pt").write_bytes(b"")
    assert digests(a=tmp_path / "a.pt", b=str(tmp_path / "b.pt")) == {"a": "ba7816bf8f01", "b": "e3b0c44298fc"}


@pytest.mark.parametrize("wrapped", [True, False])
def test_load_weights(tmp_path, wrapped):
    trained, network = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    state = trained.state_dict()
    torch.save({"model": state} if wrapped else state, tmp_path / "model.pt")
    assert load_weights(network, tmp_path / "model.pt") is network
    assert torch.equal(network.weight, trained.weight)
    with pytest.raises(RuntimeError, match=r"1 of 2 tensors .* \(weight: \(3, 2\) in the file, \(3, 4\)"):
        load_weights(torch.nn.Linear(4, 3), tmp_path / "model.pt")


@pytest.mark.parametrize("value", ["t2f, all", ["t2f", "all"], ("t2f", " all ", ""), ["t2f,all"]])
def test_names_of_a_command_line(value):
    assert listed(value) == ["t2f", "all"]
    assert listed("1seg") == ["1seg"] and listed("") == []
