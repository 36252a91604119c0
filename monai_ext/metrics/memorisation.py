"""How near generated studies come to the slices that their generator was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

THUMBNAIL = (40, 48)
"""Size that a brain is brought to, left-right and front-back: about 3.5 mm a pixel, so that gyri count and noise does
not."""


def study_descriptors(images: torch.Tensor, size: Sequence[int] = THUMBNAIL) -> torch.Tensor:
    """Studies as unit vectors whose dot product is the mean correlation of their modalities.

    Each brain is cut to its bounding box and averaged down to one size, so that a copy is found where the generator has
    moved or scaled it; each modality has the mean of its brain taken off and is divided by its norm, so that a copy is
    found in another contrast too.

    Args:
        images: (N, M, H, W) in [0, 1], background 0.
        size: of the small brain.

    Returns:
        (N, M * size[0] * size[1]) float32; zeros for a study without brain.
    """
    found = images.new_zeros(len(images), images.shape[1], *size, dtype=torch.float32)
    for small, study in zip(found, images.float()):
        brain = (study > 0).any(0)
        rows, columns = (torch.nonzero(brain.any(axis))[:, 0] for axis in (1, 0))
        if not len(rows):
            continue
        box = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
        inside = F.adaptive_avg_pool2d(brain[box].float()[None], list(size)) > 0.5
        pooled = F.adaptive_avg_pool2d(study[box], list(size))
        count = inside.sum().clamp(min=1)
        centred = (pooled - (pooled * inside).sum((1, 2), keepdim=True) / count) * inside
        small.copy_(centred / centred.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-6))
    return found.flatten(1) / images.shape[1] ** 0.5


def nearest_study(
    images: torch.Tensor, bank: torch.Tensor, mirror: bool = True, size: Sequence[int] = THUMBNAIL
) -> tuple[torch.Tensor, torch.Tensor]:
    """The study of a bank that each study is most like.

    Args:
        images: (N, M, H, W) in [0, 1], background 0.
        bank: :func:`study_descriptors` of B studies.
        mirror: also compare left-right mirrored (axis 2 of the images, as slices lie here).
        size: that of the bank.

    Returns:
        Similarity (N,), 1 for a copy and about 0 for brains that share nothing, and its index in the bank (N,).
    """
    similarity = study_descriptors(images, size) @ bank.T
    if mirror:
        similarity = torch.maximum(similarity, study_descriptors(images.flip(2), size) @ bank.T)
    return similarity.max(1)
