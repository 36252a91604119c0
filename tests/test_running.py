"""A config by its name, from anywhere; what is not there is answered with what is."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from monai_ext import running
from monai_ext.cli import user_error
from monai_ext.packaging import BUNDLES
from monai_ext.running import ConfigNameError, bundle_configs, find_configs

ROOT = Path(__file__).parents[1] / "bundles"
OVERLAYS = {"multi_gpu_train", "paper", "train_translation"}


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_config_has_a_name(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = bundle_configs(bundle)
    files = {p.stem for p in (ROOT / bundle / "configs").glob("*.json")} - {"metadata"}
    assert set(found) == files
    for name in found:
        *below, path = find_configs(f"{bundle}/{name}")
        assert path == ROOT / bundle / "configs" / f"{name}.json"
        assert [p.name for p in below] == (["train.json"] if name in OVERLAYS else [])


def test_from_the_folder_of_a_bundle(monkeypatch):
    monkeypatch.chdir(ROOT / "cgan")
    assert find_configs("train") == [ROOT / "cgan" / "configs" / "train.json"]
    assert find_configs("configs/translate.json") == [Path("configs/translate.json")]
    assert [p.name for p in find_configs("multi_gpu_train")] == ["train.json", "multi_gpu_train.json"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("cgn/train", "no bundle 'cgn': did you mean cgan?"),
        ("x/train", "no bundle 'x': it is one of featgen, cgan, segmentor, synthesis"),
        ("cgan/trian", "bundle cgan has no config 'trian': did you mean train?"),
        ("segmentor/zzz", "bundle segmentor has no config 'zzz': it is one of evaluate, inference"),
        ("cgan", "expected BUNDLE/CONFIG, for instance cgan/"),
        ("train", "expected BUNDLE/CONFIG, for instance cgan/train, got 'train'"),
        ("nowhere/a.json", "no file nowhere/a.json: nowhere is not a folder; BUNDLE/CONFIG, such as cgan/train"),
        (str(ROOT / "cgan" / "configs" / "trian.json"), "trian.json: did you mean train.json"),
        (str(ROOT / "a.json"), "bundles has no configs"),
    ],
)
def test_what_there_is_instead(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigNameError) as error:
        find_configs(name)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert user_error(error.value) is error.value  # so the command line says it in two lines


def test_an_overlay_of_one_s_own(tmp_path):
    """A config that imports nothing brings the ``train.json`` beside it along; without one it stands for itself."""
    mine = tmp_path / "mine.json"
    mine.write_text('{"seed": 1}')
    assert find_configs(str(mine)) == [mine]
    (tmp_path / "train.json").write_text('{"imports": [], "seed": 0}')
    assert find_configs(str(mine)) == [tmp_path / "train.json", mine]
    mine.write_text('{"imports": [], "seed": 1}')
    assert find_configs(str(mine)) == [mine]


def test_what_is_not_json(tmp_path):
    (tmp_path / "mine.json").write_text('{"seed": 0,}')
    with pytest.raises(ConfigNameError, match="mine.json is not JSON: .*line 1"):
        find_configs(str(tmp_path / "mine.json"))


def test_a_bundle_that_is_not_here(monkeypatch, tmp_path):
    def absent(name):
        raise running.BundleError(f"bundle {name!r} not found")

    monkeypatch.setattr(running, "bundle_root", absent)
    with pytest.raises(ConfigNameError, match="bundle 'featgen' is not here: bundle 'featgen' not found"):
        find_configs("featgen/train")


def test_hands_over_to_monai(monkeypatch):
    """MONAI's own command line gets the path and all the rest as typed."""
    seen = []
    monkeypatch.setattr(sys, "argv", ["monai_ext", "run"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(running, "brief_errors", lambda: seen.append("brief"))
    monkeypatch.setattr(runpy, "run_module", lambda name, **kwargs: seen.append((name, kwargs, sys.argv[1:])))
    running.run(["cgan/multi_gpu_train", "--max_epochs", "2"])
    configs = ROOT / "cgan" / "configs"
    both = str([str(configs / "train.json"), str(configs / "multi_gpu_train.json")])
    expected = ["run", "--config_file", both, "--max_epochs", "2"]
    assert seen == ["brief", ("monai.bundle", {"run_name": "__main__", "alter_sys": True}, expected)]
    for wrong in ([], ["--max_epochs", "2"]):
        with pytest.raises(ConfigNameError, match="expected the name of a config first"):
            running.run(wrong)
