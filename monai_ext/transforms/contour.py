"""Classical brain masks filled from structural feature maps (Qu et al., Algorithm 3)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import ClassVar

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy, convert_to_tensor, optional_import

cv2, has_cv2 = optional_import("cv2", descriptor="ContourMask needs OpenCV: pip install opencv-python-headless ({})")

__all__ = ["ContourMask", "ContourMaskD", "ContourMaskDict", "ContourMaskd"]


class ContourMask(Transform):
    """Mask what lies outside the brain outline of a structural feature map.

    The map is blurred and thresholded, and its external contours are filled. A closed outline fills the whole brain; a
    broken one fills little more than its own strokes, so the mask is far from that of a network and the map can be
    rejected by the mean absolute error between the two. A brain cut by the border of the image has an open outline and
    is not filled: crop with a margin.

    Source: Qu et al., Algorithm 3, "Synthesis of registered multimodal brain MRI with a conditional GAN".

    Args:
        sigma: standard deviation of the Gaussian blur in pixels, above 0. It closes gaps of about its own size.
        threshold: a blurred pixel above this value belongs to the outline, in (0, 1).

    Raises:
        ValueError: When ``sigma`` is not above 0 or ``threshold`` is not in (0, 1).
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.NUMPY]

    def __init__(self, sigma: float = 1.0, threshold: float = 0.3) -> None:
        if sigma <= 0:
            raise ValueError(f"sigma must be above 0, got {sigma}.")
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be in (0, 1), got {threshold}.")
        self.sigma = sigma
        self.threshold = threshold

    def _outside(self, edges: np.ndarray) -> np.ndarray:
        blurred = cv2.GaussianBlur(edges, (0, 0), self.sigma, borderType=cv2.BORDER_REFLECT_101)
        outline = (blurred > self.threshold).astype(np.uint8)
        contours, _ = cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        outside = np.ones(edges.shape, dtype=np.uint8)
        cv2.drawContours(outside, contours, -1, 0, cv2.FILLED)
        return outside

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """
        Args:
            img: structural feature map of shape (C, H, W), values in {0, 1} or probabilities; each channel by itself.

        Returns:
            Mask of shape (C, H, W), float32, 1 OUTSIDE the filled outline and 0 inside, with the metadata of ``img``.

        Raises:
            ValueError: When ``img`` is not of shape (C, H, W).
        """
        img = convert_to_tensor(img, track_meta=get_track_meta())
        if img.ndim != 3:
            raise ValueError(f"img must be of shape (C, H, W), got {tuple(img.shape)}.")
        edges = convert_to_numpy(img, dtype=np.float32)
        outside = np.stack([self._outside(np.ascontiguousarray(channel)) for channel in edges])
        return convert_to_dst_type(outside, img, dtype=torch.float32)[0]


class ContourMaskd(MapTransform):
    """Dictionary-based version of :py:class:`ContourMask`.

    Args:
        keys: keys of the structural feature maps, each of shape (C, H, W).
        sigma: standard deviation of the Gaussian blur in pixels, above 0.
        threshold: a blurred pixel above this value belongs to the outline, in (0, 1).
        new_key_prefix: prepended to the key to store the mask beside the map, which is then left intact. By default
            the mask replaces the map.
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = ContourMask.backend

    def __init__(
        self,
        keys: KeysCollection,
        sigma: float = 1.0,
        threshold: float = 0.3,
        new_key_prefix: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = ContourMask(sigma, threshold)
        self.new_key_prefix = new_key_prefix or ""

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{self.new_key_prefix}{key}"] = self.transform(d[key])
        return d


ContourMaskD = ContourMaskDict = ContourMaskd
