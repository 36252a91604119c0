"""Removal of a lesion from a structural feature map, and fusion of a map with a lesion label (Qu et al.)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

__all__ = [
    "EraseLesion",
    "EraseLesionD",
    "EraseLesionDict",
    "EraseLesiond",
    "FuseLesion",
    "FuseLesionD",
    "FuseLesionDict",
    "FuseLesiond",
    "erase_lesion",
    "fuse_lesion",
]


def erase_lesion(feature_map: torch.Tensor, label: torch.Tensor, shown: Sequence[int] = ()) -> torch.Tensor:
    """Clear a structural feature map where the label of its slice has a lesion: ``feature_map * (label == 0)``.

    Source: Qu et al., Algorithm 2 without padding, applied to the label, "Synthesis of registered multimodal brain MRI
    with a conditional GAN".

    Args:
        feature_map: maps of shape [..., C, H, W], floating point.
        label: lesion labels of shape [..., 1, H, W] or [..., C, H, W], any real dtype, 0 where there is no lesion.
        shown: classes that do not hide the structure under them and are left alone.

    Returns:
        Maps of the shape and dtype of ``feature_map``, 0 on the lesion.

    Raises:
        ValueError: When the shape of ``label`` does not broadcast to that of ``feature_map``.
    """
    feature_map = convert_to_tensor(feature_map, track_meta=False)
    label = convert_to_tensor(label, track_meta=False)
    sizes = zip(reversed(label.shape), reversed(feature_map.shape))
    same_plane = label.shape[-2:] == feature_map.shape[-2:]
    if label.ndim != feature_map.ndim or not same_plane or any(a not in (1, b) for a, b in sizes):
        raise ValueError(
            f"label of shape {tuple(label.shape)} does not fit a feature map of shape {tuple(feature_map.shape)}."
        )
    keep = label == 0
    for value in shown:
        keep = keep | (label == value)
    return feature_map * keep


def fuse_lesion(
    feature_map: torch.Tensor,
    label: torch.Tensor,
    num_classes: int = 3,
    structure_weight: float = 0.8,
    label_weight: float = 0.2,
) -> torch.Tensor:
    """Fuse a structural feature map with a lesion label, one channel a class with the background first.

    Channel ``k`` is ``structure_weight * feature_map + label_weight * (label == k)``.

    Source: Qu et al., fusion of structure and lesion, "Synthesis of registered multimodal brain MRI with a conditional
    GAN".

    Args:
        feature_map: maps of shape [..., 1, H, W], values in [0, 1]; gradients flow through.
        label: lesion labels of shape [..., 1, H, W], whole numbers in 0 .. ``num_classes`` of any dtype.
        num_classes: number of lesion classes, background not counted.
        structure_weight: weight of the map.
        label_weight: weight of the one-hot label.

    Returns:
        Fused maps of shape [..., num_classes + 1, H, W], float32, values in [0, structure_weight + label_weight].

    Raises:
        ValueError: When the two shapes differ or are not [..., 1, H, W], or a label is not a whole number in
            0 .. ``num_classes``.
    """
    feature_map = convert_to_tensor(feature_map, track_meta=False)
    label = convert_to_tensor(label, track_meta=False)
    if feature_map.ndim < 3 or feature_map.shape[-3] != 1 or label.shape != feature_map.shape:
        raise ValueError(
            "feature_map and label must have the same shape [..., 1, H, W], "
            f"got {tuple(feature_map.shape)} and {tuple(label.shape)}."
        )
    classes = torch.arange(num_classes + 1, device=label.device).view(-1, 1, 1)
    one_hot = label == classes
    known = one_hot.any(dim=-3)
    if not bool(known.all()):
        found = sorted(set(label.squeeze(-3)[~known].tolist()))
        raise ValueError(f"label must hold whole numbers in 0..{num_classes}, found {found[:8]}.")
    return structure_weight * feature_map.float() + label_weight * one_hot.float()


class EraseLesion(Transform):
    """Clear a structural feature map where the label of its slice has a lesion.

    Source: Qu et al., Algorithm 2 without padding, applied to the label, "Synthesis of registered multimodal brain MRI
    with a conditional GAN".

    Args:
        shown: see :func:`erase_lesion`.
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.TORCH]

    def __init__(self, shown: Sequence[int] = ()) -> None:
        self.shown = tuple(shown)

    def __call__(self, img: NdarrayOrTensor, label: NdarrayOrTensor) -> torch.Tensor:
        """
        Args:
            img: structural feature map of shape (C, H, W).
            label: lesion label of shape (1, H, W) or (C, H, W), any real dtype, 0 where there is no lesion.

        Returns:
            Map of shape (C, H, W), dtype and metadata of ``img``, 0 on the lesion.

        Raises:
            ValueError: When the shape of ``label`` does not broadcast to that of ``img``.
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        return convert_to_dst_type(erase_lesion(img, label, self.shown), img)[0]


class EraseLesiond(MapTransform):
    """Dictionary-based version of :py:class:`EraseLesion`.

    Args:
        keys: keys of the structural feature maps, each of shape (C, H, W).
        label_key: key of the lesion label, of shape (1, H, W) or (C, H, W).
        new_key_prefix: prepended to the key to store the result beside the map, which is then left intact. By default
            the result replaces the map.
        allow_missing_keys: don't raise exception if key is missing.
        shown: see :func:`erase_lesion`.
    """

    backend = EraseLesion.backend

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        new_key_prefix: str | None = None,
        allow_missing_keys: bool = False,
        shown: Sequence[int] = (),
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = EraseLesion(shown)
        self.label_key = label_key
        self.new_key_prefix = new_key_prefix or ""

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{self.new_key_prefix}{key}"] = self.transform(d[key], d[self.label_key])
        return d


class FuseLesion(Transform):
    """Fuse a structural feature map with a lesion label, one channel a class with the background first.

    Source: Qu et al., fusion of structure and lesion, "Synthesis of registered multimodal brain MRI with a conditional
    GAN".

    Args:
        num_classes: number of lesion classes, background not counted.
        structure_weight: weight of the map.
        label_weight: weight of the one-hot label.

    Raises:
        ValueError: When ``num_classes`` is below 1.
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.TORCH]

    def __init__(self, num_classes: int = 3, structure_weight: float = 0.8, label_weight: float = 0.2) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}.")
        self.num_classes = num_classes
        self.structure_weight = structure_weight
        self.label_weight = label_weight

    def __call__(self, img: NdarrayOrTensor, label: NdarrayOrTensor) -> torch.Tensor:
        """
        Args:
            img: structural feature map of shape (1, H, W), values in [0, 1].
            label: lesion label of shape (1, H, W), whole numbers in 0 .. ``num_classes`` of any dtype.

        Returns:
            Fused map of shape (num_classes + 1, H, W), float32, values in [0, structure_weight + label_weight], with
            the metadata of ``img``.

        Raises:
            ValueError: When the two shapes differ or are not (1, H, W), or a label is not a whole number in
                0 .. ``num_classes``.
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        fused = fuse_lesion(img, label, self.num_classes, self.structure_weight, self.label_weight)
        return convert_to_dst_type(fused, img, dtype=torch.float32)[0]


class FuseLesiond(MapTransform):
    """Dictionary-based version of :py:class:`FuseLesion`.

    Args:
        keys: keys of the structural feature maps, each of shape (1, H, W).
        label_key: key of the lesion label, of shape (1, H, W).
        num_classes: number of lesion classes, background not counted.
        structure_weight: weight of the map.
        label_weight: weight of the one-hot label.
        new_key_prefix: prepended to the key to store the fused map beside the map, which is then left intact. By
            default the fused map replaces the map.
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = FuseLesion.backend

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        num_classes: int = 3,
        structure_weight: float = 0.8,
        label_weight: float = 0.2,
        new_key_prefix: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = FuseLesion(num_classes, structure_weight, label_weight)
        self.label_key = label_key
        self.new_key_prefix = new_key_prefix or ""

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{self.new_key_prefix}{key}"] = self.transform(d[key], d[self.label_key])
        return d


EraseLesionD = EraseLesionDict = EraseLesiond
FuseLesionD = FuseLesionDict = FuseLesiond
