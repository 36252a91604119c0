"""``python -m monai_ext run cgan/train``: a bundle's config by name, then MONAI's own ``run``.

``python -m monai.bundle run`` reads the config before any line of this package runs, so a wrong path there is
MONAI's traceback. Here the name is looked up first.
"""

from __future__ import annotations

import difflib
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_ext.bundles import BundleError, bundle_root
from monai_ext.cli import brief_errors
from monai_ext.packaging import BUNDLES


class ConfigNameError(ValueError):
    """No such bundle or config, or none that can be read."""


def bundle_configs(name: str) -> dict[str, Path]:
    """Configs of a bundle, by name without ``.json``.

    Raises:
        ConfigNameError: naming the bundles that there are.
    """
    if name not in BUNDLES:
        raise ConfigNameError(f"no bundle {name!r}: {_instead(name, BUNDLES)}")
    try:
        folder = Path(bundle_root(name)) / "configs"
    except BundleError as error:
        raise ConfigNameError(f"bundle {name!r} is not here: {error}") from error
    return {p.stem: p for p in sorted(folder.glob("*.json")) if p.name != "metadata.json"}


def find_configs(name: str) -> list[Path]:
    """Files behind a name.

    Args:
        name: ``BUNDLE/CONFIG``, from any folder; ``CONFIG`` in a bundle's own folder; or the path of a file. What
            changes ``train.json`` brings that file along.

    Raises:
        ConfigNameError: saying what there is instead.
    """
    if name.endswith(".json"):
        path = Path(name)
        if not path.is_file():
            raise ConfigNameError(f"no file {name}: {_similar_file(path)}")
        return _with_train(path)
    bundle, _, config = name.rpartition("/")
    if not bundle:
        here = Path("configs") / f"{config}.json"
        if here.is_file():
            return _with_train(here.resolve())
        hint = f"{config}/{next(iter(bundle_configs(config)))}" if config in BUNDLES else "cgan/train"
        raise ConfigNameError(f"expected BUNDLE/CONFIG, for instance {hint}, got {name!r}")
    configs = bundle_configs(bundle)
    if config not in configs:
        raise ConfigNameError(f"bundle {bundle} has no config {config!r}: {_instead(config, configs)}")
    return _with_train(configs[config])


def is_overlay(path: Path) -> bool:
    """Whether a config changes parts of the ``train.json`` beside it, and is nothing without: it imports nothing.

    Raises:
        ConfigNameError: for a file that is not JSON.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigNameError(f"{path} is not JSON: {error}") from error
    return "imports" not in config and path.with_stem("train").is_file()


def _with_train(path: Path) -> list[Path]:
    return [path.with_stem("train"), path] if is_overlay(path) else [path]


def _instead(word: str, choices: Sequence[str] | dict[str, Path]) -> str:
    similar = difflib.get_close_matches(word, list(choices), n=2)
    return f"did you mean {' or '.join(similar)}?" if similar else f"it is one of {', '.join(choices)}"


def _similar_file(path: Path) -> str:
    if path.parent.is_dir():
        names = sorted(p.name for p in path.parent.glob("*.json") if p.name != "metadata.json")
        return _instead(path.name, names) if names else f"{path.parent} has no configs"
    return f"{path.parent} is not a folder; BUNDLE/CONFIG, such as cgan/train, finds a config from anywhere"


def run(arguments: Sequence[str]) -> None:
    """Run a config as ``python -m monai.bundle run`` does; mistakes take two lines.

    Args:
        arguments: name of the config (see :func:`find_configs`), then what ``monai.bundle run`` takes.
    """
    brief_errors()
    if not arguments or arguments[0].startswith("-"):
        raise ConfigNameError("expected the name of a config first, for instance: python -m monai_ext run cgan/train")
    files = [str(p) for p in find_configs(arguments[0])]
    sys.argv[1:] = ["run", "--config_file", files[0] if len(files) == 1 else str(files), *arguments[1:]]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
