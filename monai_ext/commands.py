"""What ``python -m monai_ext`` and the scripts of this name do."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai_ext.bundles import BundleError, flag, listed
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
    resample: bool = False,
) -> None:
    """Say what a folder of cases holds and what is wrong with it: exit code 0 all good, 1 problems, 2 no case found.

    Args:
        dataset_dir: folder of cases, in any layout.
        json: write all of it, case by case, to this file too.
        split: split file to check against the cases.
        modalities: those that each case must have.
        slice_range: first slice wanted and the one after the last.
        resample: read cases of another spacing as the trainings do with ``--resample true``.
    """
    try:
        report = inspect_dataset(str(dataset_dir), parse_modalities(modalities), slice_range, split, flag(resample))
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
    names = tuple(listed(bundles))
    try:
        zips = package_bundles(PACKAGE.parent / "bundles", str(out), names, str(url))
    except (BundleError, ValueError) as error:
        _fail(error)
    _list_files(zips)


def export(bundle: str, out: str = "exported", formats: Any = ("torchscript",), **keys: Any) -> None:
    """Write the network of a bundle as TorchScript or ONNX, for any batch size.

    Args:
        bundle: its name.
        out: folder of the files.
        formats: torchscript, onnx, or both with a comma between them.
        keys: of the bundle's inference.json, for instance --ckpt_path FILE.
    """
    from monai_ext.exporting import export_bundle  # with MONAI's exports behind it, too slow for every command

    try:
        files = export_bundle(str(bundle), str(out), listed(formats), **keys)
    except (BundleError, ValueError) as error:
        _fail(error)
    _list_files(files)


def _list_files(files: Iterable[Path]) -> None:
    for path in files:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
