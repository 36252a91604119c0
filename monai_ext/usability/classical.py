"""Set A: real slices under the usual augmentation (scale, rotation, shift, flip), made once and kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms import Compose, RandAffined, RandFlipd

from monai_ext.data import SliceDataset, apply_seeded

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassicalAugmentation:
    """How far a slice is changed; image and label move together.

    Args:
        scale_range: the scale is drawn from 1 -+ this.
        rotate_range: the angle in radians from -+ this.
        translate_range: the shift in pixels, on each axis, from -+ this.
        flip_prob: probability of a left-right flip.
    """

    scale_range: float = 0.15
    rotate_range: float = 0.35
    translate_range: float = 10
    flip_prob: float = 0.5

    def transform(self) -> Compose:
        """As a transform of ``image`` and ``label``; every slice is changed."""
        keys = ["image", "label"]
        affine = RandAffined(
            keys, prob=1.0, rotate_range=self.rotate_range, scale_range=self.scale_range,
            translate_range=self.translate_range, mode=["bilinear", "nearest"], padding_mode="zeros",
        )  # fmt: skip
        return Compose([affine, RandFlipd(keys, prob=self.flip_prob, spatial_axis=0)])


class ClassicalSet:
    """Augmented slices in half precision (the size is logged).

    Item k comes from slice ``origins[k % len(origins)]`` and is drawn from (seed, k), so a smaller set is the beginning
    of a larger one.

    Args:
        real: the slices.
        origins: indices of those to augment.
        count: slices to make.
        augmentation: how.
        seed: numbers that decide the draws.
    """

    def __init__(
        self,
        real: SliceDataset,
        origins: Sequence[int],
        count: int,
        augmentation: ClassicalAugmentation,
        seed: Sequence[int],
    ) -> None:
        transform, keys = augmentation.transform(), ("image", "label")
        shapes = {k: real.raw(int(origins[0]))[k].shape for k in keys}
        self._images = np.zeros((count, *shapes["image"]), np.float16)
        self._labels = np.zeros((count, *shapes["label"]), np.uint8)
        for k in range(count):
            item = real.raw(int(origins[k % len(origins)]))
            moved = apply_seeded(transform, {key: item[key] for key in keys}, (*seed, k))
            self._images[k], self._labels[k] = (np.asarray(moved[key]) for key in keys)
        size = (self._images.nbytes + self._labels.nbytes) / 1e6
        logger.info("%d slices augmented and kept: %.0f MB of RAM", count, size)

    def __len__(self) -> int:
        return len(self._images)

    def raw(self, index: int) -> dict[str, torch.Tensor]:
        """``image`` (C, H, W) float32 in [0, 1] and ``label`` (1, H, W) float32."""
        return {
            "image": torch.from_numpy(self._images[index].astype(np.float32)),
            "label": torch.from_numpy(self._labels[index].astype(np.float32)),
        }
