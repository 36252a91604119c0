"""Where the bundles are, and one config's component in another config."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_ext.labels import MODALITIES, parse_modalities


class BundleError(FileNotFoundError):
    """A bundle, or a part of it, is not where it was expected."""


def _is_bundle(folder: Path, name: str) -> bool:
    metadata = folder / "configs" / "metadata.json"
    try:
        return metadata.is_file() and json.loads(metadata.read_text(encoding="utf-8")).get("name") == name
    except (OSError, ValueError):
        return False


def bundle_root(name: str) -> str:
    """Folder of a bundle, whichever folder a command is started from.

    Looked for in this order: the bundle MONAI is running (it puts that folder on ``sys.path``), the bundle that this
    package was unpacked in (see :mod:`monai_ext.packaging`), the working folder, beside this package (a source
    checkout); in each, the folder itself, then ``bundles/<name>`` and ``<name>`` in it and ``<name>`` beside it.

    Args:
        name: of the bundle, as in its metadata.

    Returns:
        Absolute path.

    Raises:
        BundleError: naming the folders that were tried.
    """
    package = Path(__file__).resolve().parent.parent
    unpacked = [package] if (package / "configs" / "metadata.json").is_file() else []
    places = [*map(Path, sys.path[1:2]), *unpacked, Path.cwd(), package]
    tried = []
    for place in places:
        for folder in (place, place / "bundles" / name, place / name, place.parent / name):
            if _is_bundle(folder, name):
                return str(folder.resolve())
            tried.append(str(folder))
    raise BundleError(
        f"bundle {name!r} not found (no configs/metadata.json of that name in {', '.join(tried[:4])}, ...)"
    )


def from_config(root: str | Path, config: str, component: str, **overrides: Any) -> Any:
    """Build one component that another config of a bundle defines, so that it is defined once.

    Args:
        root: folder of the bundle.
        config: file under ``configs``, for instance ``train.json``.
        component: id in it, for instance ``network_def``.
        overrides: ids of that config and the values they take instead.

    Returns:
        The instantiated component.

    Raises:
        BundleError: when the file does not exist.
    """
    path = Path(root) / "configs" / config
    if not path.is_file():
        raise BundleError(f"{path} does not exist: is the bundle complete?")
    parser = ConfigParser()
    parser.read_config(str(path))
    parser.update({"bundle_root": str(root), **overrides})
    return parser.get_parsed_content(component)


def model_file(root: str | Path, name: str = "model.pt") -> str:
    """Weights of a bundle.

    Args:
        root: folder of the bundle.
        name: of the file under ``models``.

    Raises:
        BundleError: saying how to make them, when they are not there.
    """
    path = Path(root) / "models" / name
    if not path.is_file():
        raise BundleError(
            f"{path} does not exist: train the bundle first (configs/train.json), or name another file on "
            "the command line"
        )
    return str(path)


def segmentor_weights(modalities: str) -> str:
    """File name of a segmentor's weights: ``model.pt`` for all modalities, else for instance ``model_t2f.pt``.

    Raises:
        ValueError: for an unknown modality.
    """
    chosen = parse_modalities(modalities)
    return "model.pt" if chosen == MODALITIES else f"model_{'_'.join(chosen)}.pt"


def flag(value: bool | str) -> bool:
    """Truth of a config's value; ``--key false`` on the command line arrives as a text, which Python takes for true.

    Raises:
        ValueError: for a text other than ``true`` and ``false``.
    """
    if isinstance(value, str) and value.strip().lower() not in ("true", "false"):
        raise ValueError(f"expected true or false, got {value!r}")
    return value.strip().lower() == "true" if isinstance(value, str) else bool(value)


def listed(value: Any) -> list[str]:
    """Names that a config or a command line gives: a list, a text with commas between them, or both."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return [name for item in items for text in str(item).split(",") if (name := text.strip())]


def digests(**files: str | Path) -> dict[str, str]:
    """First 12 hex digits of each file's SHA-256: which weights a result was made with."""
    return {name: hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12] for name, path in files.items()}


def load_weights(network: torch.nn.Module, path: str | Path | None) -> torch.nn.Module:
    """Load a bundle's weights, strictly.

    Args:
        network: what they belong to.
        path: state dictionary written by a training; ``None`` leaves the network as it is.

    Raises:
        RuntimeError: when the file fits another network; the message names the file and what differs.
    """
    if path is None:
        return network
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("model", state)
    differences = _differences(network.state_dict(), state)
    if differences:
        raise RuntimeError(
            f"{path} does not fit this network: {differences}; was it trained with other settings "
            "(modalities, num_classes, roi_size)?"
        )
    network.load_state_dict(state, strict=True)
    return network


def _differences(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str:
    """What keeps one state dictionary from being loaded for another, an example of each kind; empty when nothing."""
    found = []
    shapes = [k for k in own if k in given and own[k].shape != given[k].shape]
    if shapes:
        theirs, ours = (tuple(state[shapes[0]].shape) for state in (given, own))
        found.append(
            f"{len(shapes)} of {len(own)} tensors have another shape ({shapes[0]}: {theirs} in the file, {ours} in the "
            "network)"
        )
    for word, names in (("missing", own.keys() - given.keys()), ("unknown", given.keys() - own.keys())):
        if names:
            found.append(f"{len(names)} {word} ({min(names)}{', ...' if len(names) > 1 else ''})")
    return ", ".join(found)
