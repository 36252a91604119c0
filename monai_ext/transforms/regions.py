"""BraTS evaluation regions from canonical classes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor

from monai_ext.labels import NUM_CLASSES, regions


class LesionRegions(Transform):
    """Label map (1, spatial...) of canonical classes -> (3, spatial...) float32 {0, 1}: whole tumour, core, enhancing.

    MONAI's ``ConvertToMultiChannelBasedOnBratsClasses`` knows the files' values (ET 3 or 4), not canonical ones.

    Args:
        num_classes: lesion classes that the label map has; fewer classes give fewer channels, see
            :func:`monai_ext.labels.regions`.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        self.regions = tuple(regions(num_classes).values())

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """Apply to one label map.

        Raises:
            ValueError: when there is more than one channel.
        """
        label = convert_to_tensor(img, track_meta=True)
        if label.shape[0] != 1:
            raise ValueError(f"expected a label map with one channel, got shape {tuple(label.shape)}")
        masks = [torch.isin(label, torch.tensor(r, dtype=label.dtype, device=label.device)) for r in self.regions]
        return torch.cat(masks).to(torch.float32)


class LesionRegionsd(MapTransform):
    """Dictionary twin of :class:`LesionRegions`.

    Args:
        keys: label maps.
        num_classes: see :class:`LesionRegions`.
        allow_missing_keys: as in ``MapTransform``.
    """

    backend = LesionRegions.backend

    def __init__(self, keys: KeysCollection, num_classes: int = NUM_CLASSES, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.regions = LesionRegions(num_classes)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.regions(out[key])
        return out


LesionRegionsD = LesionRegionsDict = LesionRegionsd
