"""Random changes that come to each modality by itself, as another scanner or a ruined acquisition brings them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.data.meta_obj import get_track_meta
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends, convert_to_tensor

__all__ = [
    "RandModalityContrast",
    "RandModalityContrastD",
    "RandModalityContrastDict",
    "RandModalityContrastd",
    "RandModalityDropout",
    "RandModalityDropoutD",
    "RandModalityDropoutDict",
    "RandModalityDropoutd",
]


def _channels(img: NdarrayOrTensor) -> torch.Tensor:
    img = convert_to_tensor(img, track_meta=get_track_meta(), dtype=torch.float32)
    if img.ndim < 2:
        raise ValueError(f"img must be channel-first, of shape (C, spatial...), got shape {tuple(img.shape)}.")
    return img


def _per_channel(img: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(values, dtype=img.dtype, device=img.device).view(-1, *[1] * (img.ndim - 1))


class RandModalityContrast(RandomizableTransform):
    """A gamma and a gain of its own for each channel; MONAI's ``RandAdjustContrast`` draws one gamma for all of them.

    Scanners change the modalities apart: a segmentor that always sees them change together reads their differences
    literally.

    Args:
        prob: probability of a change.
        gamma: lowest and highest exponent, drawn evenly on a logarithmic scale.
        gain: lowest and highest factor.

    Raises:
        ValueError: When a range is not 0 < low <= high.
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.TORCH]

    def __init__(
        self, prob: float = 0.5, gamma: Sequence[float] = (0.6, 1.7), gain: Sequence[float] = (0.8, 1.2)
    ) -> None:
        super().__init__(prob)
        for name, (low, high) in (("gamma", gamma), ("gain", gain)):
            if not 0 < low <= high:
                raise ValueError(f"{name} must be 0 < low <= high, got {low} and {high}.")
        self.gamma, self.gain = tuple(gamma), tuple(gain)
        self._drawn = (np.ones(0), np.ones(0))

    def randomize(self, channels: int) -> None:
        """Draw for ``channels`` channels."""
        super().randomize(None)
        if self._do_transform:
            exponent = np.exp(self.R.uniform(*np.log(self.gamma), size=channels))
            self._drawn = (exponent, self.R.uniform(*self.gain, size=channels))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> torch.Tensor:
        """
        Args:
            img: (C, spatial...), in [0, 1].
            randomize: draw anew; with ``False`` the last draw is applied again.

        Returns:
            Same shape, float32: ``gain * img ** gamma`` in [0, 1]; 0 stays 0.

        Raises:
            ValueError: When ``img`` has no spatial dimension.
        """
        img = _channels(img)
        if randomize:
            self.randomize(len(img))
        if not self._do_transform:
            return img
        gamma, gain = (_per_channel(img, d) for d in self._drawn)
        return (gain * img.clamp(min=0) ** gamma).clamp(max=1)


class RandModalityDropout(RandomizableTransform):
    """Set some channels to 0, never all of them: a segmentor learns to do without a modality that is missing or ruined.

    Args:
        prob: probability of a change.
        max_dropped: most channels dropped at once; one stays in any case.

    Raises:
        ValueError: When ``max_dropped`` is below 1.
    """

    backend: ClassVar[list[TransformBackends]] = [TransformBackends.TORCH]

    def __init__(self, prob: float = 0.3, max_dropped: int = 1) -> None:
        super().__init__(prob)
        if max_dropped < 1:
            raise ValueError(f"max_dropped must be at least 1, got {max_dropped}.")
        self.max_dropped = max_dropped
        self._kept = np.ones(0)

    def randomize(self, channels: int) -> None:
        """Draw for ``channels`` channels."""
        super().randomize(None)
        self._kept = np.ones(channels)
        if self._do_transform and channels > 1:
            count = self.R.randint(1, min(self.max_dropped, channels - 1) + 1)
            self._kept[self.R.permutation(channels)[:count]] = 0

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> torch.Tensor:
        """
        Args:
            img: (C, spatial...).
            randomize: draw anew; with ``False`` the last draw is applied again.

        Returns:
            Same shape, float32; an image of one channel as it is.

        Raises:
            ValueError: When ``img`` has no spatial dimension.
        """
        img = _channels(img)
        if randomize:
            self.randomize(len(img))
        return img * _per_channel(img, self._kept) if self._do_transform else img


class _Randd(MapTransform, RandomizableTransform):
    """Dictionary twin of ``transform``: one draw for all keys."""

    def __init__(self, keys: KeysCollection, transform: Any, allow_missing_keys: bool) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, 1.0)
        self.transform = transform

    def set_random_state(self, seed: Any = None, state: np.random.RandomState | None = None) -> _Randd:
        """Seed the transform."""
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, torch.Tensor | MetaTensor]:
        d = dict(data)
        for number, key in enumerate(self.key_iterator(d)):
            d[key] = self.transform(d[key], randomize=number == 0)
        return d


class RandModalityContrastd(_Randd):
    """Dictionary-based version of :py:class:`RandModalityContrast`; the same draw for every key.

    Args:
        keys: keys of the images, each of shape (C, spatial...).
        prob: probability of a change.
        gamma: lowest and highest exponent.
        gain: lowest and highest factor.
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = RandModalityContrast.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        gamma: Sequence[float] = (0.6, 1.7),
        gain: Sequence[float] = (0.8, 1.2),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandModalityContrast(prob, gamma, gain), allow_missing_keys)


class RandModalityDropoutd(_Randd):
    """Dictionary-based version of :py:class:`RandModalityDropout`; the same draw for every key.

    Args:
        keys: keys of the images, each of shape (C, spatial...).
        prob: probability of a change.
        max_dropped: most channels dropped at once.
        allow_missing_keys: don't raise exception if key is missing.
    """

    backend = RandModalityDropout.backend

    def __init__(
        self, keys: KeysCollection, prob: float = 0.3, max_dropped: int = 1, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, RandModalityDropout(prob, max_dropped), allow_missing_keys)


RandModalityContrastD = RandModalityContrastDict = RandModalityContrastd
RandModalityDropoutD = RandModalityDropoutDict = RandModalityDropoutd
