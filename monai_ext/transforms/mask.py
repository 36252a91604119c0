"""Background masks of axial slices (Qu et al., Algorithm 2)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

__all__ = ["BackgroundMask", "BackgroundMaskD", "BackgroundMaskDict", "BackgroundMaskd", "background_mask"]


def _check_pad(pad: int) -> None:
    if pad < 0 or pad != int(pad):
        raise ValueError(f"pad must be a whole number of pixels, at least 0, got {pad}.")


def background_mask(image: torch.Tensor, pad: int = 5) -> torch.Tensor:
    """Mask what lies outside the brain.

    The mask ``1 - (image > 0)`` is resized by nearest neighbour to (H + pad, W + pad) and cropped about its centre, at
    the offset ``pad // 2``, back to (H, W).

    Source: Qu et al., Algorithm 2, "Synthesis of registered multimodal brain MRI with a conditional GAN".

    Args:
        image: slices of shape [..., H, W], any real dtype, above 0 in the brain and 0 (or less, or NaN) outside it.
        pad: pixels by which the mask is enlarged before the crop, at least 0; 0 leaves ``1 - (image > 0)``.

    Returns:
        Masks of shape [..., H, W], float32, 1 OUTSIDE the brain and 0 inside.

    Raises:
        ValueError: When ``image`` has fewer than two dimensions, or ``pad`` is negative or not whole.
    """
    _check_pad(pad)
    if image.ndim < 2:
        raise ValueError(f"image must have at least the two dimensions (H, W), got shape {tuple(image.shape)}.")
    image = convert_to_tensor(image, track_meta=False)
    outside = (~(image > 0)).float()
    if pad == 0:
        return outside
    height, width = image.shape[-2:]
    enlarged = F.interpolate(
        outside.reshape(-1, 1, height, width), size=(height + int(pad), width + int(pad)), mode="nearest-exact"
    )
    start = int(pad) // 2
    return enlarged[..., start : start + height, start : start + width].reshape(image.shape)


class BackgroundMask(Transform):
    """Mask what lies outside the brain in a channel-first slice, each channel by itself.

    Source: Qu et al., Algorithm 2, "Synthesis of registered multimodal brain MRI with a conditional GAN".

    Args:
        pad: pixels by which the mask is enlarged before it is cropped to the slice, at least 0.

    Raises:
        ValueError: When ``pad`` is negative or not whole.
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.TORCH]

    def __init__(self, pad: int = 5) -> None:
        _check_pad(pad)
        self.pad = pad

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """
        Args:
            img: slice of shape (C, H, W), any real dtype, above 0 in the brain and 0 outside it.

        Returns:
            Mask of shape (C, H, W), float32, 1 OUTSIDE the brain and 0 inside, with the metadata of ``img``.

        Raises:
            ValueError: When ``img`` is not of shape (C, H, W).
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        if img.ndim != 3:
            raise ValueError(f"img must be of shape (C, H, W), got {tuple(img.shape)}.")
        return convert_to_dst_type(background_mask(img, self.pad), img, dtype=torch.float32)[0]


class BackgroundMaskd(MapTransform):
    """Dictionary-based version of :py:class:`BackgroundMask`.

    Args:
        keys: keys of the slices, each of shape (C, H, W).
        pad: pixels by which the mask is enlarged before it is cropped to the slice, at least 0.
        new_key_prefix: prepended to the key to store the mask beside the slice, which is then left intact. By default
            the mask replaces the slice.
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = BackgroundMask.backend

    def __init__(
        self,
        keys: KeysCollection,
        pad: int = 5,
        new_key_prefix: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = BackgroundMask(pad)
        self.new_key_prefix = new_key_prefix or ""

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{self.new_key_prefix}{key}"] = self.transform(d[key])
        return d


BackgroundMaskD = BackgroundMaskDict = BackgroundMaskd
