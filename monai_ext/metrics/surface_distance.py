"""Distance between the surfaces of two lesions, in mm."""

from __future__ import annotations

import torch
from monai.metrics import compute_hausdorff_distance


def hausdorff95(pred: torch.Tensor, label: torch.Tensor, spacing: float = 1.0) -> torch.Tensor:
    """95th percentile of the Hausdorff distance, the larger of its two directions (HD95, MONAI's).

    In 2-D or in 3-D, as the masks are. A border of the image is a border of the mask: where a stack of slices cuts a
    lesion, the cut belongs to its surface.

    An empty mask has no surface. Both empty: 0. One of them empty: the diagonal of the image, the longest distance in
    it, as BraTS counts 373.13 mm for its volumes of 240 x 240 x 155.

    Args:
        pred: (N, R, spatial...), R regions, not 0 inside.
        label: likewise.
        spacing: mm between voxels, along every axis.

    Returns:
        (N, R) float32 in mm, on the CPU.

    Raises:
        ValueError: when the shapes differ.
    """
    if pred.shape != label.shape:
        raise ValueError(f"prediction and label must have one shape, got {tuple(pred.shape)} and {tuple(label.shape)}")
    pred, label = (torch.as_tensor(t).cpu() > 0 for t in (pred, label))
    found, there = pred.flatten(2).any(2), label.flatten(2).any(2)
    diagonal = spacing * float(torch.tensor(pred.shape[2:]).float().norm())
    distance = torch.where(found ^ there, diagonal, 0.0)
    both = found & there
    if both.any():
        masks = (t[both][:, None].float() for t in (pred, label))
        found95 = compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing)
        distance[both] = found95[:, 0]
    return distance
