"""Everything there is to run, as text."""

from __future__ import annotations

import ast
from pathlib import Path

from monai_ext.packaging import BUNDLES, PACKAGE
from monai_ext.running import ConfigNameError, bundle_configs, is_overlay

COMMANDS = {
    "run BUNDLE/CONFIG [--key value ...]": "run a config, found from any folder; short messages for wrong names",
    "check_dataset DIR [--json FILE] [--split FILE]": "what a folder of cases holds",
    "export BUNDLE [--out DIR] [--formats torchscript,onnx]": "a network as TorchScript or ONNX",
    "package [--out dist] [--bundles NAMES]": "zips of the bundles",
    "COMMAND --help": "its arguments",
}


def overview() -> str:
    """Commands, configs and scripts."""
    lines = ["Labelled synthetic brain MRI on MONAI.", "", "python -m monai_ext ..."]
    width = max(map(len, COMMANDS))
    lines += [f"  {command:{width}}  {meaning}" for command, meaning in COMMANDS.items()]
    lines += ["", "Configs, for `run` above or as python -m monai.bundle run --config_file CONFIG [--key value ...]:"]
    for name in BUNDLES:
        try:
            configs = bundle_configs(name)
        except ConfigNameError:
            continue
        lines += [f"  {name}/{stem:22} {_shown(path)}{_note(path)}" for stem, path in configs.items()]
    lines += ["", "The keys of a config, their defaults and meaning: docs/README.md of its bundle."]
    scripts = {p: said for p in sorted((PACKAGE.parent / "scripts").glob("*")) if (said := _first_line(p))}
    if scripts:
        lines += ["", "Scripts:", *(f"  {_shown(p)}: {said}" for p, said in scripts.items())]
    return "\n".join(lines)


def _first_line(script: Path) -> str | None:
    """What a script says of itself; ``None`` for a file that is no script."""
    text = script.read_text(encoding="utf-8") if script.suffix in (".py", ".sh") else ""
    if script.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
        return said.splitlines()[0] if said and "__main__" in text else None
    return next((line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")), None)


def _note(path: Path) -> str:
    return "  (over train.json, which `run` brings along)" if is_overlay(path) else ""


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
