"""Every bundle's metadata.json is complete and true to its network; its README is true to its configs."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from monai.bundle import ConfigParser

from monai_ext import __version__
from monai_ext.bundles import bundle_root, from_config
from monai_ext.exporting import example_inputs

ROOT = Path(__file__).parents[2]
BUNDLES = ("featgen", "cgan", "segmentor", "synthesis")
SECTIONS = [
    "Model Overview", "Data", "Training configuration", "Input", "Output", "Performance", "MONAI Bundle Commands",
    "Limitations", "References", "License",
]  # fmt: skip

TENSOR = {
    "type": "object",
    "properties": {
        "num_channels": {"type": "integer", "minimum": 1},
        "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object", "additionalProperties": {"type": "string"}},
        **{key: {"type": "string"} for key in ("type", "format", "modality", "dtype")},
    },
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
}
TENSORS = {"type": "object", "minProperties": 1, "additionalProperties": TENSOR}
FORMAT = {
    "type": "object",
    "properties": {"inputs": TENSORS, "outputs": TENSORS, "post_processed_outputs": TENSORS},
    "required": ["inputs", "outputs"],
}
TEXTS = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "name", "task", "description", "authors",
    "copyright", "data_source", "data_type", "intended_use",
)  # fmt: skip
SCHEMA = {
    "type": "object",
    "properties": {
        **{key: {"type": "string", "minLength": 1} for key in TEXTS},
        "changelog": {"type": "object", "additionalProperties": {"type": "string"}},
        "required_packages_version": {"type": "object", "additionalProperties": {"type": "string"}},
        "references": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    },
    "patternProperties": {"^[_a-zA-Z0-9]+_data_format$": FORMAT},
    "required": [*TEXTS, "changelog", "required_packages_version", "references", "network_data_format"],
}
"""What MONAI's schema of 2024-07-25 requires, and the keys that a reader of a model zoo looks for."""


def read(bundle: str, config: str = "metadata") -> dict[str, Any]:
    return json.loads((ROOT / "bundles" / bundle / "configs" / f"{config}.json").read_text(encoding="utf-8"))


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


@pytest.mark.parametrize("bundle", BUNDLES)
def test_structure(bundle):
    metadata = read(bundle)
    jsonschema.validate(metadata, SCHEMA)
    assert metadata["schema"].endswith("/meta_schema_20240725.json")
    assert metadata["name"] == bundle  # a bundle is looked up by this name
    assert "not for clinical use" in metadata["intended_use"].lower()


@pytest.mark.parametrize("bundle", BUNDLES)
def test_versions_are_those_of_the_tests(bundle):
    metadata, versions = read(bundle), pinned()
    assert metadata["version"] == __version__ and __version__ in metadata["changelog"]
    for key, package in {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}.items():
        assert metadata[key] == versions[package]
    wanted = metadata["required_packages_version"]
    assert wanted and wanted == {package: versions[package] for package in wanted}


def network_of(bundle: str, key: str) -> tuple[str, torch.nn.Module]:
    """Bundle whose network a key describes, and that network with random weights."""
    part = key.removesuffix("_data_format")
    part = bundle if part == "network" else part
    if part == "synthesis":
        none = {"featgen_weights": None, "cgan_weights": None}
        return "featgen", from_config(bundle_root(part), "inference.json", "network_def", **none)
    return part, from_config(bundle_root(part), "train.json", "network_def")


FORMATS = [(b, k) for b in BUNDLES for k in read(b) if k.endswith("_data_format")]


@pytest.mark.parametrize("bundle, key", FORMATS, ids=[f"{b}-{k}" for b, k in FORMATS])
def test_network_takes_and_gives_what_is_said(bundle, key):
    """The inputs, in their order, go through the network that the config defines; the outputs are as described."""
    (part, network), described = network_of(bundle, key), read(bundle)[key]
    with torch.no_grad():
        outputs = network.eval()(*example_inputs(described["inputs"], batch=2).values())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert len(outputs) == len(described["outputs"])
    for output, tensor in zip(outputs, described["outputs"].values()):
        assert output.shape == (2, tensor["num_channels"], *tensor["spatial_shape"])
        assert output.dtype == getattr(torch, tensor["dtype"])
        if tensor["value_range"]:
            low, high = tensor["value_range"]
            assert low <= output.min() and output.max() <= high
    for tensor in (*described["inputs"].values(), *described["outputs"].values()):
        assert tensor["spatial_shape"] in ([], read(part, "train")["roi_size"])
        assert not tensor["channel_def"] or len(tensor["channel_def"]) == tensor["num_channels"]


def test_synthesis_describes_the_networks_it_composes():
    metadata = read("synthesis")
    for part in ("featgen", "cgan", "segmentor"):
        assert metadata[f"{part}_data_format"] == read(part)["network_data_format"]
    whole, painter = metadata["network_data_format"], metadata["cgan_data_format"]
    assert whole["outputs"] == painter["outputs"]
    assert whole["inputs"]["latent"] == metadata["featgen_data_format"]["inputs"]["noise"]
    assert all(whole["inputs"][n] == painter["inputs"][n] for n in ("style", "noise"))


def readme(bundle: str) -> str:
    return (ROOT / "bundles" / bundle / "docs" / "README.md").read_text(encoding="utf-8")


def tables(text: str, *columns: str) -> list[list[list[str]]]:
    """Cells of each table whose header has these columns."""
    found, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip().strip("`") for cell in line.strip().strip("|").split(" | ")])
        elif rows:
            if [c.strip() for c in rows[0]] == list(columns):
                found.append(rows[2:])
            rows = []
    return found


def commands(text: str) -> list[list[str]]:
    """Words of each ``monai.bundle`` command in the code blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(re.sub(r"\s# .*", "", line)) for line in lines if "monai.bundle" in line]


@pytest.mark.parametrize("bundle", BUNDLES)
def test_readme_has_the_sections_of_the_zoo(bundle):
    titles = re.findall(r"^#{1,2} (.+)$", re.sub(r"```.*?```", "", readme(bundle), flags=re.DOTALL), flags=re.MULTILINE)
    assert [t for t in titles if t in SECTIONS] == SECTIONS
    assert (ROOT / "bundles" / bundle / "docs" / "data_license.txt").is_file()


@pytest.mark.parametrize("place", [*BUNDLES, None])
def test_commands_name_configs_and_keys_that_exist(place):
    found = commands(readme(place) if place else (ROOT / "README.md").read_text(encoding="utf-8"))
    assert found
    for words in found:
        words = words[words.index("monai.bundle") :]  # without torchrun and its own options
        value = words[words.index("--config_file") + 1]
        configs = [ROOT / c for c in (ast.literal_eval(value) if value.startswith("[") else [value])]
        assert all(c.is_file() for c in configs), words
        if "run" not in words:
            continue
        known = ConfigParser.load_config_files([str(c) for c in configs])
        keys = {w.removeprefix("--").split("#")[0] for w in words if w.startswith("--")} - {"config_file"}
        assert keys <= known.keys(), f"{sorted(keys - known.keys())} in {' '.join(words)}"


@pytest.mark.parametrize("bundle", BUNDLES)
def test_keys_and_defaults_of_the_readme(bundle):
    """Each table ``| key | default | meaning |`` follows a line that names its config."""
    text = readme(bundle)
    parts = re.split(r"^Keys of `configs/(\w+)\.json`", text, flags=re.MULTILINE)
    assert len(parts) > 2
    for config, part in zip(parts[1::2], parts[2::2]):
        known = read(bundle, config)
        for key, default, _ in tables(part, "key", "default", "meaning")[0]:
            assert key in known, f"{key} is not in {config}.json"
            if not str(known[key]).startswith("$"):
                assert json.loads(default) == known[key], (
                    f"{key}: {default} in the README, {known[key]} in {config}.json"
                )


def test_every_key_of_the_experiments_is_in_the_readme():
    part = readme("synthesis").split("Keys of `configs/utility.json`")[1]
    explained = {key for key, _, _ in tables(part, "key", "default", "meaning")[0]}
    internal = {"imports", "bundle_root", "segmentor_root", "device", "experiments", "initialize", "run"}
    assert explained == read("synthesis", "utility").keys() - internal


@pytest.mark.parametrize("bundle", ["featgen", "cgan"])
def test_losses_and_weights_of_the_readme(bundle):
    rows = [row for table in tables(readme(bundle), "term", "weight", "formula", "paper") for row in table]
    assert {row[0]: float(row[1]) for row in rows} == read(bundle, "train")["objective_def"]["weights"]
