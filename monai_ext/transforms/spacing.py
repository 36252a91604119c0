"""Resampling of skull-stripped brains that keeps the background exactly 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import Spacing, Spacingd

__all__ = ["BrainSpacing", "BrainSpacingD", "BrainSpacingDict", "BrainSpacingd"]


class BrainSpacing(Spacing):
    """MONAI's ``Spacing``, linear, with a background of exactly 0 wherever the nearest voxel is background.

    Linear interpolation alone leaves a rim of mixed, or of vanishing but not quite vanished, values around the brain,
    and what is not 0 counts as brain. Background is what is 0 or not finite, channel by channel.

    Args:
        pixdim: spacing wanted, in mm, one for all axes or one per axis.
    """

    def __init__(self, pixdim: Sequence[float] | float = 1.0) -> None:
        super().__init__(pixdim=pixdim, mode="bilinear")
        self.nearest = Spacing(pixdim=pixdim, mode="nearest")

    def __call__(self, data_array: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Resample an image (C, spatial...) with an affine; see MONAI's ``Spacing`` for further arguments."""
        clean = torch.nan_to_num(data_array, nan=0.0, posinf=0.0, neginf=0.0)
        resampled = super().__call__(clean, *args, **kwargs)
        resampled[self.nearest((clean != 0).float()) == 0] = 0
        return resampled


class BrainSpacingd(Spacingd):
    """Dictionary-based version of :py:class:`BrainSpacing`; its inverse is that of MONAI's ``Spacingd``.

    Args:
        keys: images (C, spatial...) with an affine.
        pixdim: see :py:class:`BrainSpacing`.
        allow_missing_keys: as in ``MapTransform``.
    """

    def __init__(
        self, keys: KeysCollection, pixdim: Sequence[float] | float = 1.0, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, pixdim, allow_missing_keys=allow_missing_keys)
        self.spacing_transform = BrainSpacing(pixdim)


BrainSpacingD = BrainSpacingDict = BrainSpacingd
