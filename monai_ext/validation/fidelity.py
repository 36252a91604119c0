"""Lesion fidelity: do segmentors trained on real patients find the lesion that a synthetic image was asked for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from monai_ext.bundles import from_config, load_weights, model_file, segmentor_weights
from monai_ext.data import SliceDataset
from monai_ext.labels import MODALITIES
from monai_ext.validation.segmentation import evaluate_cases

SCORES = ("dice_index", "WT", "TC", "ET")


def open_segmentors(root: str | Path, names: str | Sequence[str] = ("all", *MODALITIES)) -> dict[str, nn.Module]:
    """Segmentors of the ``segmentor`` bundle.

    Args:
        root: folder of that bundle.
        names: each ``all`` or a modality; one or several, separated by commas in a text.

    Raises:
        BundleError: when the weights of one are missing.
    """
    return {
        name: load_weights(
            from_config(root, "train.json", "network_def", modalities=name), model_file(root, segmentor_weights(name))
        )
        for name in (names.split(",") if isinstance(names, str) else names)
    }


def lesion_fidelity(
    segmentors: Mapping[str, nn.Module],
    synthetic: SliceDataset,
    real: SliceDataset,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Scores of segmentors on synthetic slices against their labels, beside held-out real slices against theirs.

    Means are over slices with a lesion, on both sides. A ratio near 1 means lesions as hard to find as real ones;
    well above
    1 means lesions too easy.

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
