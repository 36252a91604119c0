"""What the shipped configs say, without running them."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

BUNDLES = Path(__file__).parents[2] / "bundles"
CONFIGS = sorted(p for p in BUNDLES.glob("*/configs/*.json") if p.name != "metadata.json")
IDS = [f"{p.parts[-3]}-{p.stem}" for p in CONFIGS]
OVERLAYS = {"multi_gpu_train": "train", "paper": "train", "train_translation": "train"}
"""A config that changes parts of another one, and that other one."""
REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)")

every_config = pytest.mark.parametrize("path", CONFIGS, ids=IDS)


def strings(value: Any) -> Iterator[str]:
    """Every string in a config."""
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def expressions(config: dict) -> Iterator[ast.AST]:
    """Every ``$`` expression but imports, its references replaced by a name."""
    for text in strings({k: v for k, v in config.items() if k != "imports"}):
        if text.startswith("$"):
            yield ast.parse(REFERENCE.sub("reference", text[1:]), mode="eval")


def files(path: Path) -> list[str]:
    """What a command line names to run a config."""
    below = [path.with_stem(OVERLAYS[path.stem])] if path.stem in OVERLAYS else []
    return [str(p) for p in (*below, path)]


def load(path: Path) -> dict:
    """A config as it runs."""
    return ConfigParser.load_config_files(files(path))


def test_there_are_configs():
    assert {"cgan-train", "featgen-train", "segmentor-inference", "synthesis-generate"} <= set(IDS)


@pytest.mark.parametrize("path", [p for p in CONFIGS if p.stem == "paper"], ids=lambda p: p.parts[-3])
def test_a_paper_config_only_sets_what_is_there(path):
    """A key that the config below does not have would change nothing, in silence."""
    below = ConfigParser()
    below.read_config(files(path)[0])
    for key, value in json.loads(path.read_text(encoding="utf-8")).items():
        there = below[key.replace("#", "::")]
        assert isinstance(value, dict) == isinstance(there, dict) and value != there, key
        if isinstance(value, dict):
            assert value.keys() == there.keys(), key


@every_config
def test_expressions_name_what_exists(path):
    """Every ``package.module.name`` in an expression is imported by the config and is there."""
    config = load(path)
    imported = {line.removeprefix("$import ") for line in config["imports"]} | {"monai"}
    assert all(line.startswith("$import ") for line in config["imports"])
    for name in imported:
        importlib.import_module(name)
    for tree in expressions(config):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute):
                continue
            chain = ast.unparse(node)
            root = chain.split(".")[0]
            if not re.fullmatch(r"[\w.]+", chain) or root not in {"monai", "monai_ext", "torch"}:
                continue
            assert root in {n.split(".")[0] for n in imported}, f"{chain} is not imported"
            if root == "monai_ext" and chain.count(".") > 1:
                assert chain.rsplit(".", 1)[0] in imported, f"{chain} is used without an import of its module"
            value: Any = importlib.import_module(root)
            for part in chain.split(".")[1:]:
                value = getattr(value, part)


@every_config
def test_references_lead_somewhere(path):
    parser = ConfigParser()
    parser.read_config(files(path))
    for text in strings(load(path)):
        for reference in REFERENCE.findall(text):
            assert reference.replace("#", "::") in parser, f"@{reference} in {text}"


@every_config
def test_targets_exist(path):
    parser = ConfigParser()
    parser.read_config(files(path))

    def targets(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if "_target_" in value:
                yield value["_target_"]
            for item in value.values():
                yield from targets(item)
        elif isinstance(value, list):
            for item in value:
                yield from targets(item)

    for target in targets(load(path)):
        if "." in target:
            module, name = target.rsplit(".", 1)
            assert hasattr(importlib.import_module(module), name), target
        else:
            assert parser.locator.get_component_module_name(target), target


@every_config
def test_no_absolute_path(path):
    config = load(path)
    for text in strings(config):
        if not text.startswith("$"):
            assert not re.match(r"[/~\\]|[A-Za-z]:\\", text), text
    for tree in expressions(config):
        joined = {id(n.right) for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(("/", "~")):
                assert id(node) in joined, f"{node.value} is not under a folder of the config"


@every_config
def test_a_network_is_defined_once(path):
    """In ``train.json``; every other config takes it from there."""
    config = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(config)
    if path.stem == "train":
        assert config["network_def"]["_target_"].startswith("monai_ext.networks.")
        return
    assert '"_target_": "monai_ext.networks.' not in text
    whole = {"_target_": "monai_ext.synthesis.StudyNetwork", "featgen": "@featgen", "cgan": "@cgan"}
    for name in ("network_def", "featgen", "cgan", "segmentor"):
        if name in config and config[name] != whole:
            assert re.search(r"from_config\(@\w*root, 'train.json', 'network_def'", config[name]), name


@pytest.mark.parametrize("bundle", ["featgen", "cgan", "segmentor"])
def test_defaults_agree_within_a_bundle(bundle):
    """A key that two configs of a bundle share has one default."""
    train = load(BUNDLES / bundle / "configs" / "train.json")
    for path in (BUNDLES / bundle / "configs").glob("*.json"):
        if path.stem in OVERLAYS:
            continue
        config = load(path)
        for key in ("modalities", "slice_range", "roi_size", "seed", "dataset_dir", "device", "on_bad_case",
                    "num_classes", "resample"):  # fmt: skip
            if (bundle, key) == ("segmentor", "slice_range"):  # trained on all, judged on the paper's
                assert config.get(key) in ([10, 145], [55, 105], None)
                continue
            assert key not in config or config[key] == train[key], f"{path.name}: {key}"


@every_config
def test_every_config_that_reads_cases_can_resample(path):
    config = load(path)
    if any("@dataset_dir" in s or "@label_dir" in s for s in strings(config)):
        assert config["resample"] is False
        assert "$monai_ext.bundles.flag(@resample)" in strings(config)


@every_config
def test_expected_keys(path):
    config = load(path)
    for key in ("imports", "bundle_root", "output_dir", "device", "seed", "run"):
        assert key in config, key
    assert config["bundle_root"] == f"$monai_ext.bundles.bundle_root('{path.parts[-3]}')"
    assert (path.parent / "logging.conf").is_file() and load(path.parent / "metadata.json")["name"] == path.parts[-3]
