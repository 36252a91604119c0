"""Random placement of real lesion labels (Qu et al.)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor, ensure_tuple, ensure_tuple_rep

__all__ = ["RandLesionLabel", "RandLesionLabelD", "RandLesionLabelDict", "RandLesionLabeld"]


def _translation(offset: Sequence[float]) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2, 2] = offset
    return matrix


class RandLesionLabel(RandomizableTransform):
    """Scale, rotate, shift and flip a lesion label at random, in one nearest-neighbour resampling.

    The flip mirrors the label about the middle of the image, then it is scaled and rotated about ``center`` and
    shifted.
    A draw that moves the whole lesion out of the image is drawn again, up to ``max_tries`` times; after that the label
    is returned unchanged, so the result is never empty.

    Source: Qu et al., random lesion labels for synthesis, "Synthesis of registered multimodal brain MRI with a
    conditional GAN".

    Args:
        prob: probability of moving the label.
        scale_range: lowest and highest scale factor, above 0.
        rotate_range: the angle in radians is drawn from (-rotate_range, rotate_range); ``math.pi`` covers the full
            turn.
        shift_range: the shift in pixels is drawn from (-shift_range, shift_range) on each spatial axis; one number, or
            one for each axis.
        flip_prob: probability of a flip, drawn for each axis in ``flip_axes``.
        flip_axes: spatial axes that may be flipped; axis 0 is left-right in slices read from NIfTI files, axis 1
            anterior-posterior.
        center: ``"image"`` scales and rotates about the middle of the image, ``"lesion"`` about the lesion's centroid.
        max_tries: number of draws before the label is returned unchanged, at least 1.

    Raises:
        ValueError: When a range, an axis, ``center`` or ``max_tries`` is not as described.
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.TORCH]

    def __init__(
        self,
        prob: float = 1.0,
        scale_range: tuple[float, float] = (0.8, 1.2),
        rotate_range: float = math.pi / 6,
        shift_range: float | Sequence[float] = 20.0,
        flip_prob: float = 0.5,
        flip_axes: Sequence[int] | int = (0,),
        center: str = "image",
        max_tries: int = 10,
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        if len(scale_range) != 2 or not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f"scale_range must be (low, high) with 0 < low <= high, got {scale_range}.")
        if rotate_range < 0 or min(ensure_tuple(shift_range)) < 0:
            raise ValueError(f"rotate_range and shift_range must be at least 0, got {rotate_range} and {shift_range}.")
        if not 0 <= flip_prob <= 1:
            raise ValueError(f"flip_prob must be in [0, 1], got {flip_prob}.")
        if not set(ensure_tuple(flip_axes)) <= {0, 1}:
            raise ValueError(f"flip_axes must be among the spatial axes 0 and 1, got {flip_axes}.")
        if center not in ("image", "lesion"):
            raise ValueError(f"center must be 'image' or 'lesion', got {center!r}.")
        if max_tries < 1:
            raise ValueError(f"max_tries must be at least 1, got {max_tries}.")
        self.scale_range = tuple(scale_range)
        self.rotate_range = rotate_range
        self.shift_range = ensure_tuple_rep(shift_range, 2)
        self.flip_prob = flip_prob
        self.flip_axes = ensure_tuple(flip_axes)
        self.center = center
        self.max_tries = max_tries
        self._scale, self._angle = 1.0, 0.0
        self._shift: tuple[float, ...] = (0.0, 0.0)
        self._flips = (1.0, 1.0)
        self._centroid: np.ndarray | None = None

    def _draw(self) -> None:
        self._scale = self.R.uniform(*self.scale_range)
        self._angle = self.R.uniform(-self.rotate_range, self.rotate_range)
        self._shift = tuple(self.R.uniform(-limit, limit) for limit in self.shift_range)
        flips = [1.0, 1.0]
        for axis in self.flip_axes:
            flips[axis] = -1.0 if self.R.random_sample() < self.flip_prob else 1.0
        self._flips = (flips[0], flips[1])

    def randomize(self, data: Any | None = None) -> None:
        """Draw whether to move the label and by how much; ``data`` is not used."""
        super().randomize(None)
        if self._do_transform:
            self._draw()

    def _affine(self, label: torch.Tensor) -> np.ndarray:
        """Homogeneous 3x3 matrix from input to output pixel indices (row, column)."""
        middle = (np.array(label.shape[-2:]) - 1) / 2
        flip = _translation(middle) @ np.diag([*self._flips, 1.0]) @ _translation(-middle)
        pivot = middle
        if self.center == "lesion" and self._centroid is not None:
            pivot = (flip @ np.append(self._centroid, 1.0))[:2]
        cos, sin = self._scale * math.cos(self._angle), self._scale * math.sin(self._angle)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return _translation(pivot + np.array(self._shift)) @ turn @ _translation(-pivot) @ flip

    def _move(self, label: torch.Tensor) -> torch.Tensor:
        height, width = label.shape[-2:]
        # affine_grid wants the map from output to input, in (x, y) coordinates that run over [-1, 1] from edge to edge
        to_pixel = np.array([[0.0, height / 2, (height - 1) / 2], [width / 2, 0.0, (width - 1) / 2], [0.0, 0.0, 1.0]])
        theta = np.linalg.inv(to_pixel) @ np.linalg.inv(self._affine(label)) @ to_pixel
        source = label.unsqueeze(0).double()
        grid = F.affine_grid(torch.as_tensor(theta[None, :2]).to(source), list(source.shape), align_corners=False)
        moved = F.grid_sample(source, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        return moved[0].to(label.dtype)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> torch.Tensor:
        """
        Args:
            img: lesion label of shape (C, H, W), whole numbers of any dtype, 0 where there is no lesion; channels move
                together.
            randomize: whether to draw anew, or to apply the last draw, centroid included, once more.

        Returns:
            Label of the shape, dtype and metadata of ``img``, never empty.

        Raises:
            ValueError: When ``img`` is not of shape (C, H, W) or has no lesion.
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        if img.ndim != 3:
            raise ValueError(f"img must be a label of shape (C, H, W), got shape {tuple(img.shape)}.")
        label = convert_to_tensor(img, track_meta=False)
        if not bool(label.any()):
            raise ValueError("img is an empty label (every pixel is 0): choose slices that hold a lesion.")
        if randomize or self._centroid is None:
            self._centroid = torch.nonzero(label)[:, -2:].double().mean(dim=0).cpu().numpy()
        if randomize:
            self.randomize()
        for attempt in range(self.max_tries if randomize else 1):
            if not self._do_transform:
                break
            if attempt > 0:
                self._draw()
            moved = self._move(label)
            if bool(moved.any()):
                return convert_to_dst_type(moved, img)[0]
        self._do_transform = False
        return img


class RandLesionLabeld(MapTransform, RandomizableTransform):
    """Dictionary-based version of :py:class:`RandLesionLabel`.

    One draw, made for the first key present and about its lesion's centroid, is applied to every key.

    Args:
        keys: keys of the lesion labels, each of shape (C, H, W).
        prob: probability of moving the labels.
        scale_range: lowest and highest scale factor, above 0.
        rotate_range: the angle in radians is drawn from (-rotate_range, rotate_range).
        shift_range: the shift in pixels is drawn from (-shift_range, shift_range) on each spatial axis.
        flip_prob: probability of a flip, drawn for each axis in ``flip_axes``.
        flip_axes: spatial axes that may be flipped.
        center: ``"image"`` scales and rotates about the middle of the image, ``"lesion"`` about the lesion's centroid.
        max_tries: number of draws before the labels are returned unchanged, at least 1.
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = RandLesionLabel.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 1.0,
        scale_range: tuple[float, float] = (0.8, 1.2),
        rotate_range: float = math.pi / 6,
        shift_range: float | Sequence[float] = 20.0,
        flip_prob: float = 0.5,
        flip_axes: Sequence[int] | int = (0,),
        center: str = "image",
        max_tries: int = 10,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.transform = RandLesionLabel(
            prob, scale_range, rotate_range, shift_range, flip_prob, flip_axes, center, max_tries
        )

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandLesionLabeld:
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for index, key in enumerate(self.key_iterator(d)):
            d[key] = self.transform(d[key], randomize=index == 0)
        return d


RandLesionLabelD = RandLesionLabelDict = RandLesionLabeld
