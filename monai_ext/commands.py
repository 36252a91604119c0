"""What ``python -m monai_ext`` and the scripts of this name do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundles import BundleError, bundle_root
from monai_ext.data.atomic import write_json
from monai_ext.data.inspection import describe, inspect_dataset
from monai_ext.labels import parse_modalities
from monai_ext.packaging import BUNDLES, PACKAGE, package_bundles


def _fail(error: Exception) -> None:
    sys.exit(f"error: {error}")


def check_dataset(
    dataset_dir: str,
    json: str | None = None,
    split: str | None = None,
    modalities: Any = "all",
    slice_range: Any = (55, 105),
) -> None:
    """Say what a folder of cases holds and what is wrong with it: exit code 0 all good, 1 problems, 2 no case found.

    Args:
        dataset_dir: folder of cases, in any layout.
        json: write all of it, case by case, to this file too.
        split: split file to check against the cases.
        modalities: those that each case must have.
        slice_range: first slice wanted and the one after the last.
    """
    try:
        report = inspect_dataset(str(dataset_dir), parse_modalities(modalities), slice_range, split)
    except ValueError as error:
        _fail(error)
    print(describe(report))
    if json is not None:
        write_json(str(json), report)
    sys.exit(report["exit_code"])


def package(out: str = "dist", bundles: Any = BUNDLES, url: str = "") -> None:
    """Zip the bundles of a source checkout, each to run alone; with them SHA256SUMS and model_info.json.

    Args:
        out: folder that they go to.
        bundles: names, with commas between them.
        url: where the zips will be served from, for model_info.json.
    """
    names = tuple(bundles.split(",")) if isinstance(bundles, str) else tuple(bundles)
    try:
        zips = package_bundles(PACKAGE.parent / "bundles", str(out), names, str(url))
    except (BundleError, ValueError) as error:
        _fail(error)
    for path in zips:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def overview() -> str:
    """Everything there is to run, as text."""
    lines = [
        "Labelled synthetic brain MRI on MONAI.",
        "",
        "python -m monai_ext check_dataset DIR [--json FILE] [--split FILE]   what a folder of cases holds",
        "python -m monai_ext package [--out dist] [--bundles NAMES]           zips of the bundles",
        "python -m monai_ext COMMAND --help                                   its arguments",
        "",
        "python -m monai.bundle run --config_file CONFIG [--key value ...]    with one of these configs:",
    ]
    for name in BUNDLES:
        try:
            root = Path(bundle_root(name))
        except BundleError:
            continue
        configs = sorted(p for p in (root / "configs").glob("*.json") if p.name != "metadata.json")
        lines += [f"  {_shown(path)}{_note(path)}" for path in configs]
    lines += ["", "The keys of a config, their defaults and meaning: docs/README.md of its bundle."]
    return "\n".join(lines)


def _note(path: Path) -> str:
    whole = "imports" in ConfigParser.load_config_file(path)
    return "" if whole else """  (changes train.json: --config_file "['TRAIN', 'THIS']")"""


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
