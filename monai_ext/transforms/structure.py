"""Structural feature maps of axial slices (Qu et al., Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

__all__ = [
    "StructuralFeatureMap",
    "StructuralFeatureMapD",
    "StructuralFeatureMapDict",
    "StructuralFeatureMapd",
    "soft_structural_feature_map",
    "structural_feature_map",
]

_CHUNK = 8  # slices of 240 x 240 whose intermediate results stay in a CPU's cache


def _as_slices(image: torch.Tensor, top: int, left: int) -> torch.Tensor:
    """Slices (N, H, W) float32, ``top`` rows and ``left`` columns of background around them on both sides."""
    if image.ndim < 2:
        raise ValueError(f"image must have at least the two dimensions (H, W), got shape {tuple(image.shape)}.")
    if min(image.shape[-2:]) < 2:
        raise ValueError(f"each slice must be at least 2x2 pixels, got shape {tuple(image.shape)}.")
    slices = convert_to_tensor(image, track_meta=False).reshape(-1, *image.shape[-2:]).float()
    return F.pad(slices, (left, left, top, top)) if top or left else slices


def _sobel_extremes(slices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimum and maximum over the two signed Sobel responses of (N, H, W), each 8 times that of ``SobelGradients``.

    Sums of shifted slices take a fifth of the time of a depthwise convolution on a CPU.
    """
    framed = F.pad(slices[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    smooth = (framed[:, :-2] + framed[:, 2:]).add(framed[:, 1:-1], alpha=2)
    across = smooth[:, :, 2:] - smooth[:, :, :-2]
    smooth = (framed[:, :, :-2] + framed[:, :, 2:]).add(framed[:, :, 1:-1], alpha=2)
    down = smooth[:, 2:] - smooth[:, :-2]
    return torch.minimum(across, down), torch.maximum(across, down)


def _span(response: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest value and range of every slice of (N, H, W), each (N, 1, 1)."""
    low = response.amin(dim=(-2, -1), keepdim=True)
    return low, response.amax(dim=(-2, -1), keepdim=True) - low


def _min_max_normalise(response: torch.Tensor) -> torch.Tensor:
    """Scale every slice of (N, H, W) to [0, 1]; a constant slice becomes 0."""
    low, span = _span(response)
    return (response - low) / torch.where(span > 0, span, torch.ones_like(span))


def _exact_mean(response: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """Mean (N, 1, 1) of every slice of (N, H, W), the same whatever the order of the summation.

    The values are rounded to fixed point below ``bound`` (N, 1, 1), coarse enough for the sum of a row, about 14 bits,
    to be exact in float32; the error of the mean stays below that of one value in float32.
    """
    bits = 24 - math.ceil(math.log2(response.shape[-1]))
    scale = torch.ldexp(torch.ones_like(bound), bits - 1 - torch.frexp(bound).exponent)  # a power of two: exact
    rows = (response * scale).round_().sum(dim=-1, keepdim=True)
    total = rows.sum(dim=-2, keepdim=True, dtype=torch.float64)
    return (total / (scale.double() * response.shape[-2] * response.shape[-1])).to(response.dtype)


def _edges(slices: torch.Tensor, beta: float) -> torch.Tensor:
    """Algorithm 1 on (N, H, W). Its thresholds are put in the units of the responses: nothing is normalised."""
    low, high = _sobel_extremes(slices)
    thresholds = []
    for response in (low, high):
        least, span = _span(response)
        bound = torch.maximum(least.abs(), (least + span).abs())
        thresholds.append((_exact_mean(response, bound), beta * span))
    (dark, below), (bright, above) = thresholds
    # differences compared in place: torch is ten times slower where a comparison makes a new bool tensor
    return torch.maximum((dark - below) - low, high - (bright + above)).gt_(0)


def _check_beta(beta: float) -> None:
    if beta < 0:
        raise ValueError(f"beta must be at least 0, got {beta}.")


def _margins(image: torch.Tensor, canvas_size: Sequence[int] | None) -> tuple[int, int]:
    """Rows and columns of background that surround a centre crop on its canvas, on one side of two."""
    if canvas_size is None or image.ndim < 2:
        return 0, 0
    return tuple(max(int(c) - s, 0) // 2 for c, s in zip(canvas_size, image.shape[-2:]))


def structural_feature_map(
    image: torch.Tensor, beta: float = 0.07, canvas_size: Sequence[int] | None = None
) -> torch.Tensor:
    """Draw the outline, sulci and ventricles of brain slices as binary maps.

    With ``f1`` and ``f2`` the pixelwise minimum and maximum of the two signed Sobel responses, each scaled to [0, 1]
    over its slice, the map is 1 where ``mean(f1) - f1 > beta`` or ``f2 - mean(f2) > beta``. A slice gives bit for bit
    the same map alone as within a batch.

    Source: Qu et al., Algorithm 1, "Synthesis of registered multimodal brain MRI with a conditional GAN".

    Args:
        image: finite slices of shape [..., H, W], any real dtype and value range; each slice is processed on its own.
        beta: threshold on the normalised responses, at least 0. A small one keeps sulci, 0.2 only the outline.
        canvas_size: (H, W) of the canvas that the slices were cut from, when they are centre crops. The means of the
            algorithm count the background, so a crop loses outlines that the whole slice shows; with the canvas given
            a crop gets the map it has within the whole slice.

    Returns:
        Maps of shape [..., H, W], float32, values in {0, 1}; a constant slice gives zeros.

    Raises:
        ValueError: When ``image`` has fewer than two dimensions or slices smaller than 2x2, or ``beta`` is negative.
    """
    _check_beta(beta)
    top, left = _margins(image, canvas_size)
    with torch.no_grad(), torch.autocast(device_type=image.device.type, enabled=False):
        slices = _as_slices(image, top, left)
        chunk = _CHUNK if slices.device.type == "cpu" else max(len(slices), 1)
        edges = torch.cat([_edges(part, beta) for part in slices.split(chunk)])
    edges = edges[..., top : edges.shape[-2] - top, left : edges.shape[-1] - left]
    return edges.reshape(image.shape)


def soft_structural_feature_map(
    image: torch.Tensor, beta: float = 0.07, temperature: float = 0.02, canvas_size: Sequence[int] | None = None
) -> torch.Tensor:
    """Differentiable counterpart of :py:func:`structural_feature_map`, for a structure loss.

    The threshold is replaced by ``sigmoid((max(g1, g2) - beta) / temperature)``, with ``g1 = mean(f1) - f1`` and
    ``g2 = f2 - mean(f2)``; it exceeds 0.5 where the binary map is 1.

    Source: Qu et al., Algorithm 1, "Synthesis of registered multimodal brain MRI with a conditional GAN".

    Args:
        image: finite slices of shape [..., H, W], any real dtype and value range; each slice is processed on its own.
        beta: threshold on the normalised responses, at least 0.
        temperature: width of the sigmoid, above 0; the smaller, the closer to the binary map.
        canvas_size: see :py:func:`structural_feature_map`.

    Returns:
        Maps of shape [..., H, W], float32, values in [0, 1], differentiable with respect to ``image``.

    Raises:
        ValueError: When ``image`` has fewer than two dimensions or slices smaller than 2x2, ``beta`` is negative, or
            ``temperature`` is not above 0.
    """
    _check_beta(beta)
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}.")
    top, left = _margins(image, canvas_size)
    with torch.autocast(device_type=image.device.type, enabled=False):
        low, high = (_min_max_normalise(r) for r in _sobel_extremes(_as_slices(image, top, left)))
    dark = low.mean(dim=(-2, -1), keepdim=True) - low
    bright = high - high.mean(dim=(-2, -1), keepdim=True)
    edges = torch.maximum(dark, bright)[..., top : dark.shape[-2] - top, left : dark.shape[-1] - left]
    return torch.sigmoid((edges - beta) / temperature).reshape(image.shape)


class StructuralFeatureMap(Transform):
    """Draw the structural feature map of a channel-first slice, each channel by itself.

    Source: Qu et al., Algorithm 1, "Synthesis of registered multimodal brain MRI with a conditional GAN".

    Args:
        beta: threshold on the normalised Sobel responses, at least 0. A small one keeps sulci, 0.2 only the outline.

    Raises:
        ValueError: When ``beta`` is negative.
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.TORCH]

    def __init__(self, beta: float = 0.07) -> None:
        _check_beta(beta)
        self.beta = beta

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """
        Args:
            img: finite slice of shape (C, H, W), any real dtype and value range.

        Returns:
            Map of shape (C, H, W), float32, values in {0, 1}, with the metadata of ``img``.

        Raises:
            ValueError: When ``img`` is not of shape (C, H, W).
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        if img.ndim != 3:
            raise ValueError(f"img must be of shape (C, H, W), got {tuple(img.shape)}.")
        edges = structural_feature_map(img, self.beta)
        return convert_to_dst_type(edges, img, dtype=torch.float32)[0]


class StructuralFeatureMapd(MapTransform):
    """Dictionary-based version of :py:class:`StructuralFeatureMap`.

    Args:
        keys: keys of the slices, each of shape (C, H, W).
        beta: threshold on the normalised Sobel responses, at least 0.
        new_key_prefix: prepended to the key to store the map beside the slice, which is then left intact. By default
            the map replaces the slice.
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = StructuralFeatureMap.backend

    def __init__(
        self,
        keys: KeysCollection,
        beta: float = 0.07,
        new_key_prefix: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = StructuralFeatureMap(beta)
        self.new_key_prefix = new_key_prefix or ""

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{self.new_key_prefix}{key}"] = self.transform(d[key])
        return d


StructuralFeatureMapD = StructuralFeatureMapDict = StructuralFeatureMapd
