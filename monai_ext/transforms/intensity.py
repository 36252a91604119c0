"""Scaling of skull-stripped brain intensities that keeps the background exactly 0."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import ClassVar

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy, convert_to_tensor

__all__ = ["ScaleBrainIntensity", "ScaleBrainIntensityD", "ScaleBrainIntensityDict", "ScaleBrainIntensityd"]


class ScaleBrainIntensity(Transform):
    """Scale the brain of a skull-stripped image to [floor, 1] between two percentiles, each channel by itself.

    The foreground of a channel is every voxel that is finite and not 0; the percentiles are taken over it. Foreground
    stays above 0, so that ``image > 0`` is the brain, and background (0, NaN, infinite) becomes exactly 0. A foreground
    without contrast, where the two percentiles coincide, becomes 1. A channel without foreground becomes 0.

    Source: the standardisation of the slices in Qu et al., "Synthesis of registered multimodal brain MRI with a
    conditional GAN", made robust to outliers and to negative intensities.

    Args:
        lower: percentile of the foreground that is scaled to ``floor``, in [0, 100].
        upper: percentile of the foreground that is scaled to 1, in [0, 100] and above ``lower``.
        floor: lowest value of the foreground, in (0, 1).

    Raises:
        ValueError: When not 0 <= ``lower`` < ``upper`` <= 100 or ``floor`` is not in (0, 1).
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.NUMPY]

    def __init__(self, lower: float = 1.0, upper: float = 99.5, floor: float = 0.02) -> None:
        if not 0 <= lower < upper <= 100:
            raise ValueError(f"percentiles must be 0 <= lower < upper <= 100, got lower {lower} and upper {upper}.")
        if not 0 < floor < 1:
            raise ValueError(f"floor must be in (0, 1), got {floor}.")
        self.lower = lower
        self.upper = upper
        self.floor = floor

    def _scale(self, channel: np.ndarray) -> np.ndarray:
        foreground = (channel != 0) & np.isfinite(channel)
        scaled = np.zeros(channel.shape, dtype=np.float32)
        values = channel[foreground]
        if values.size == 0:
            return scaled
        low, high = np.percentile(values, (self.lower, self.upper)).astype(np.float32)
        if low < high:
            np.clip(values, low, high, out=values)
            values -= low
            values /= high - low
            values *= np.float32(1.0 - self.floor)
            values += np.float32(self.floor)
            scaled[foreground] = np.minimum(values, np.float32(1.0), out=values)
        else:
            scaled[foreground] = 1.0
        return scaled

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """
        Args:
            img: volume or slice of shape (C, spatial...), any real dtype, background 0.

        Returns:
            Image of the same shape, float32, 0 on the background and in [floor, 1] on the brain, with the metadata of
            ``img``. An image whose metadata says ``intensity_scaled`` (a generated study) is returned as it is.

        Raises:
            ValueError: When ``img`` has no spatial dimension.
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        if img.ndim < 2:
            raise ValueError(f"img must be channel-first, of shape (C, spatial...), got shape {tuple(img.shape)}.")
        if isinstance(img, MetaTensor) and img.meta.get("intensity_scaled", False):
            return img
        channels = convert_to_numpy(img, dtype=np.float32)
        scaled = np.stack([self._scale(channel) for channel in channels])
        return convert_to_dst_type(scaled, img, dtype=torch.float32)[0]


class ScaleBrainIntensityd(MapTransform):
    """Dictionary-based version of :py:class:`ScaleBrainIntensity`.

    Args:
        keys: keys of the images, each of shape (C, spatial...).
        lower: percentile of the foreground that is scaled to ``floor``, in [0, 100].
        upper: percentile of the foreground that is scaled to 1, in [0, 100] and above ``lower``.
        floor: lowest value of the foreground, in (0, 1).
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = ScaleBrainIntensity.backend

    def __init__(
        self,
        keys: KeysCollection,
        lower: float = 1.0,
        upper: float = 99.5,
        floor: float = 0.02,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = ScaleBrainIntensity(lower, upper, floor)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key])
        return d


ScaleBrainIntensityD = ScaleBrainIntensityDict = ScaleBrainIntensityd
