"""Are painted lesions as hard to find as real ones, and still so once the finest texture is blurred away?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from monai.networks.layers import GaussianFilter

from monai_ext.metrics import slice_scores
from monai_ext.validation.fidelity import SCORES
from monai_ext.validation.segmentation import lesion_slice_means, predict

Scores = dict[str, dict[str, float | int | None]]


def blurred(images: torch.Tensor, sigma: float = 1.0) -> torch.Tensor:
    """Images (N, M, H, W) after a Gaussian blur, 0 where they were 0."""
    smooth = GaussianFilter(2, sigma)
    return torch.cat([smooth(x) * (x > 0) for x in images.split(16)])


def lesion_scores(
    segmentors: Mapping[str, nn.Module],
    images: torch.Tensor,
    label: torch.Tensor,
    modalities: Sequence[str],
    batch_size: int = 16,
    device: str | torch.device = "cpu",
) -> Scores:
    """Mean scores of each segmentor over the slices with a lesion.

    Args:
        segmentors: ``all`` or a modality -> network.
        images: (N, M, H, W) in [0, 1].
        label: (N, 1, H, W) of canonical classes.
        modalities: names of the M channels.
        batch_size: slices at a time.
        device: device to run on.
    """
    classes, scores = label[:, 0].to(torch.uint8), {}
    for name, segmentor in segmentors.items():
        channels = images if name == "all" else images[:, [modalities.index(name)]]
        scores[name] = lesion_slice_means(slice_scores(predict(segmentor, channels, batch_size, device), classes))
    return scores


def compare_scores(painted: Scores, real: Scores) -> dict[str, dict[str, Any]]:
    """``painted``, ``real`` and ``ratio`` of each segmentor; no ratio where a region is not there or never found."""
    out = {}
    for name, made in painted.items():
        ratio = {
            k: round(made[k] / real[name][k], 3) for k in SCORES if made[k] is not None and real[name][k]
        }  # fmt: skip
        out[name] = {"painted": made, "real": real[name], "ratio": ratio}
    return out


def with_difference(blurred: Mapping[str, Any], sharp: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The comparison after the blur, with ``difference``, its ratios less those before.

    What real scanners leave outlives a blur of one pixel; a pattern that only a segmentor reads does not. A generator
    that plays to the segmentors shows a difference well below 0.
    """
    return {
        name: {**row, "difference": {k: round(r - sharp[name]["ratio"][k], 3) for k, r in row["ratio"].items()
                                     if k in sharp[name]["ratio"]}}
        for name, row in blurred.items()
    }  # fmt: skip
