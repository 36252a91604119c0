"""Networks of the bundles as TorchScript and ONNX, by MONAI's own verbs.

The verbs make up one input called ``image``; networks with several inputs get the others from the metadata here.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import monai.bundle
import torch

from monai_ext.bundles import bundle_root, from_config, load_weights

logger = logging.getLogger(__name__)

FORMATS = ("torchscript", "onnx")
ONNX_PACKAGES = ("onnx", "onnxruntime")


def data_format(root: str | Path) -> dict[str, Any]:
    """What the metadata of a bundle says of its network: ``inputs`` and ``outputs``, in the order of its arguments."""
    metadata = json.loads((Path(root) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return metadata["network_data_format"]


def example_inputs(
    described: Mapping[str, Mapping[str, Any]], batch: int = 1, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Inputs as the metadata describes them, drawn at random.

    Args:
        described: name -> tensor, as in ``network_data_format``.
        batch: items.
        seed: of the values; whole numbers for a segmentation, N(0, 1) where no range is given.
    """
    rng, made = torch.Generator().manual_seed(seed), {}
    for name, tensor in described.items():
        shape = (batch, tensor["num_channels"], *tensor["spatial_shape"])
        if not tensor["value_range"]:
            value = torch.randn(shape, generator=rng)
        else:
            low, high = tensor["value_range"]
            value = low + (high - low) * torch.rand(shape, generator=rng)
            value = value.round() if tensor["format"] == "segmentation" else value
        made[name] = value.to(getattr(torch, tensor["dtype"]))
    return made


def bundle_network(name: str, **overrides: Any) -> torch.nn.Module:
    """Network of a bundle's ``inference.json`` with its weights, ready to run.

    Args:
        name: of the bundle.
        overrides: keys of that config; ``ckpt_path`` names other weights.
    """
    root = bundle_root(name)
    network = from_config(root, "inference.json", "network_def", **overrides)
    config = json.loads((Path(root) / "configs" / "inference.json").read_text(encoding="utf-8"))
    if "ckpt_path" in config:  # else it is made of other bundles' networks and weights
        load_weights(network, from_config(root, "inference.json", "ckpt_path", **overrides))
    return network.eval()


def export_bundle(
    name: str, out: str | Path, formats: tuple[str, ...] | list[str] = ("torchscript",), **overrides: Any
) -> list[Path]:
    """Export the network of a bundle for any batch size, at the image size of its metadata.

    Nothing is drawn inside a network: noise is an input, and a flow's steps are unrolled, so that an export gives what
    PyTorch gives.

    Args:
        name: of the bundle.
        out: folder of ``<name>.ts`` and ``<name>.onnx``.
        formats: of :data:`FORMATS`.
        overrides: keys of the bundle's ``inference.json``.

    Returns:
        The files.

    Raises:
        ValueError: for an unknown format, or ONNX without its packages.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise ValueError(f"unknown format(s) {', '.join(unknown)}: choose from {', '.join(FORMATS)}")
    if "onnx" in formats and not all(monai.utils.optional_import(p)[1] for p in ONNX_PACKAGES):
        raise ValueError('ONNX needs more packages: pip install "monai-ext[export]"')
    configs = Path(bundle_root(name)) / "configs"
    described, network = data_format(configs.parent), bundle_network(name, **overrides)
    inputs = example_inputs(described["inputs"])
    first, *others = inputs
    Path(out).mkdir(parents=True, exist_ok=True)
    files = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # checks of shapes, not of values
        warnings.filterwarnings("ignore", category=DeprecationWarning)

        def checkpoint(module: torch.nn.Module) -> dict[str, str]:
            torch.save(module.state_dict(), Path(folder) / "model.pt")
            return {"ckpt_file": str(Path(folder) / "model.pt")}

        common = {
            "net_id": "network_def", "meta_file": str(configs / "metadata.json"),
            "config_file": str(configs / "inference.json"), **overrides,
        }  # fmt: skip
        if "torchscript" in formats:
            files.append(Path(out) / f"{name}.ts")
            # the verb traces with one input: it is given what is traced already
            traced = torch.jit.trace(network, tuple(inputs.values()), check_trace=False)
            made = {**common, **checkpoint(traced), "network_def": traced}
            monai.bundle.ckpt_export(filepath=str(files[-1]), **made)
        if "onnx" in formats:
            files.append(Path(out) / f"{name}.onnx")
            names = [*inputs, *described["outputs"]]
            settings = {
                "kwargs": {n: inputs[n] for n in others}, "input_names": list(inputs),
                "output_names": list(described["outputs"]), "dynamic_axes": {n: {0: "batch"} for n in names},
                # the exporter that is default now takes minutes over the unrolled flow
                "dynamo": False,
            }  # fmt: skip
            monai.bundle.onnx_export(
                filepath=str(files[-1]), converter_kwargs=settings, input_shape=list(inputs[first].shape),
                use_trace=True, **common, **checkpoint(network),
            )  # fmt: skip
    for file in files:
        logger.info("%s: %.1f MB", file, file.stat().st_size / 1e6)
    return files
