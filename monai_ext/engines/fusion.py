"""Structure maps with the lesion that is asked for, as the image generator takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from monai_ext.transforms import background_mask, erase_lesion, fuse_lesion, structural_feature_map


@dataclass(frozen=True)
class FusedBatch:
    """Structure maps with their lesion, ready for the fusion encoder; every tensor (B, ., H, W)."""

    structure: torch.Tensor
    keep: torch.Tensor
    target: torch.Tensor
    fused: torch.Tensor
    mask: torch.Tensor


def fuse_batch(
    image: torch.Tensor,
    own: torch.Tensor,
    target: torch.Tensor,
    num_classes: int = 3,
    beta: float = 0.07,
    pad: int = 5,
    canvas_size: Sequence[int] | None = (240, 240),
    drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None,
    shown: Sequence[int] = (),
) -> FusedBatch:
    """Structure map of a slice, erased under its own lesion and under the one asked for, fused with the latter.

    The target's place is erased too so that a map of a healthy brain and a map that lost its own tumour look alike
    to the network.

    Args:
        image: (B, 1, H, W) in [0, 1].
        own: label of the image (B, 1, H, W).
        target: label to generate (B, 1, H, W).
        num_classes: lesion classes.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        drawn: maps and masks from noise (B, 1, H, W), and which items (B,) > 0 take theirs instead of the image's.
        shown: see :class:`monai_ext.networks.CGAN`. Under them the map is kept, unless it shows another lesion.
    """
    structure, mask = structural_feature_map(image, beta, canvas_size), background_mask(image, pad)
    if drawn is not None:
        maps, masks, use = drawn[0], drawn[1], drawn[2].view(-1, 1, 1, 1) > 0
        structure, mask, own = torch.where(use, maps, structure), torch.where(use, masks, mask), own * ~use
    keep = erase_lesion(((own == 0) | (own == target)).to(image.dtype), target, shown)
    structure = structure * keep
    return FusedBatch(structure, keep, target, fuse_lesion(structure, target, num_classes), mask)
