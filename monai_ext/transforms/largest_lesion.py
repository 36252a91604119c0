"""One lesion of a label map: what a segmentor finds far from it is mostly not there."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import ClassVar

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy, convert_to_tensor
from scipy import ndimage

__all__ = ["KeepLargestLesion", "KeepLargestLesionD", "KeepLargestLesionDict", "KeepLargestLesiond"]


class KeepLargestLesion(Transform):
    """Keep the largest connected whole tumour, all its classes, and set the rest to background.

    What touches by a corner is connected. For patients with one lesion: a second one is lost. MONAI's
    ``KeepLargestConnectedComponent`` does the same with ``independent=False``, and needs scikit-image.
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.NUMPY]

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """
        Args:
            img: label map (1, spatial...), background 0.

        Returns:
            Label map of the same shape and type, with the metadata of ``img``.

        Raises:
            ValueError: When ``img`` has not one channel.
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        if img.ndim < 2 or img.shape[0] != 1:
            raise ValueError(f"img must be a label map of shape (1, spatial...), got shape {tuple(img.shape)}.")
        label = convert_to_numpy(img)[0]
        parts, count = ndimage.label(label > 0, ndimage.generate_binary_structure(label.ndim, label.ndim))
        if count < 2:
            return img
        largest = 1 + int(np.bincount(parts.ravel())[1:].argmax())
        return convert_to_dst_type(np.where(parts == largest, label, 0)[None], img)[0]


class KeepLargestLesiond(MapTransform):
    """Dictionary-based version of :py:class:`KeepLargestLesion`.

    Args:
        keys: keys of the label maps, each of shape (1, spatial...).
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = KeepLargestLesion.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = KeepLargestLesion()

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key])
        return d


KeepLargestLesionD = KeepLargestLesionDict = KeepLargestLesiond
