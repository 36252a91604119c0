"""Lesion fidelity: do segmentors trained on real patients find the lesion that a synthetic image was asked for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from monai_ext.bundles import from_config, listed, load_weights, model_file, segmentor_weights
from monai_ext.data import SliceDataset
from monai_ext.labels import MODALITIES, NUM_CLASSES, parse_modalities
from monai_ext.validation.segmentation import evaluate_cases

SCORES = ("dice_index", "WT", "TC", "ET")


def open_segmentors(
    root: str | Path,
    names: str | Sequence[str] = ("all", *MODALITIES),
    modalities: str | Sequence[str] = "all",
    num_classes: int = NUM_CLASSES,
    ckpt_path: str | Path | None = None,
) -> dict[str, nn.Module]:
    """Segmentors of the ``segmentor`` bundle.

    Args:
        root: folder of that bundle.
        names: each ``all`` or a modality; one or several, separated by commas in a text.
        modalities: what ``all`` means.
        num_classes: lesion classes they were trained with.
        ckpt_path: weights of the only name, or a folder with ``<name>/model.pt`` of each, as a cross-validation leaves
            them; those of the bundle when ``None``.

    Raises:
        BundleError: when the weights of one are missing.
        ValueError: for one file and several names, or a name that reads what ``modalities`` leaves out.
    """
    names = listed(names)
    folder = ckpt_path is not None and Path(ckpt_path).is_dir()
    if ckpt_path is not None and not folder and len(names) != 1:
        raise ValueError(f"{ckpt_path} is of one segmentor: give one --segmentor_names, not {', '.join(names)}")
    found, chosen = {}, parse_modalities(modalities)
    for name in names:
        wanted = chosen if name == "all" else parse_modalities(name)
        if not set(wanted) <= set(chosen):
            raise ValueError(f"segmentor {name!r} reads what --modalities leaves out, which is {', '.join(chosen)}")
        read = ",".join(wanted)
        network = from_config(root, "train.json", "network_def", modalities=read, num_classes=num_classes)
        own = Path(ckpt_path) / name / "model.pt" if folder else ckpt_path
        found[name] = load_weights(network, own or model_file(root, segmentor_weights(read)))
    return found


def lesion_fidelity(
    segmentors: Mapping[str, nn.Module],
    synthetic: SliceDataset,
    real: SliceDataset,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Scores of segmentors on synthetic slices against their labels, beside held-out real slices against theirs.

    Means are over slices with a lesion, on both sides. A ratio near 1 means lesions as hard to find as real ones; well
    above 1 means lesions too easy.

    Args:
        segmentors: ``all`` (reads every modality) or a modality -> network.
        synthetic: synthetic slices.
        real: slices of held-out patients.
        batch_size: slices at a time.
        device: device to run on.

    Returns:
        Segmentor -> ``synthetic``, ``real`` (each with ``slices`` and the scores), ``real_by_case`` and ``ratio``.
    """
    out: dict[str, Any] = {}
    for name, network in segmentors.items():
        channels = None if name == "all" else [MODALITIES.index(name)]
        made = evaluate_cases(network, synthetic, channels, batch_size, device, progress=False)
        held = evaluate_cases(network, real, channels, batch_size, device, progress=False)
        ratio = {
            s: round(made["lesion_slices"][s] / held["lesion_slices"][s], 3)
            if made["lesion_slices"][s] is not None and held["lesion_slices"][s]
            else None
            for s in SCORES
        }
        out[name] = {
            "synthetic": made["lesion_slices"], "real": held["lesion_slices"], "ratio": ratio,
            "real_by_case": held["cases"],
        }  # fmt: skip
    return out
