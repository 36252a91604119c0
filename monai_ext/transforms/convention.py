"""Write labels the way a release of BraTS names them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

from monai_ext.labels import CONVENTIONS, NUM_CLASSES, file_values


class LabelConvention(Transform):
    """Canonical classes -> the values of a convention (ET is 3 canonically and in BraTS 2023, 4 from 2015 to 2021).

    Args:
        convention: key of :data:`monai_ext.labels.CONVENTIONS`.
        num_classes: lesion classes that there are, see :func:`monai_ext.labels.file_values`.

    Raises:
        ValueError: for an unknown convention.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, convention: str = "brats2023", num_classes: int = NUM_CLASSES) -> None:
        if convention not in CONVENTIONS:
            raise ValueError(f"label convention is one of {', '.join(CONVENTIONS)}, got {convention!r}")
        self.table = dict(file_values(convention, num_classes))

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """Apply to a label map of any shape; dtype and metadata are kept."""
        label = convert_to_tensor(img, track_meta=True)
        values = torch.tensor([self.table[k] for k in sorted(self.table)], device=label.device)
        return convert_to_dst_type(values[label.long()], label)[0]


class LabelConventiond(MapTransform):
    """Dictionary twin of :class:`LabelConvention`.

    Args:
        keys: label maps of canonical classes.
        convention: key of :data:`monai_ext.labels.CONVENTIONS`.
        num_classes: see :class:`LabelConvention`.
        allow_missing_keys: as in ``MapTransform``.
    """

    backend = LabelConvention.backend

    def __init__(
        self,
        keys: KeysCollection,
        convention: str = "brats2023",
        num_classes: int = NUM_CLASSES,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.convention = LabelConvention(convention, num_classes)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self.convention(out[key])
        return out


LabelConventionD = LabelConventionDict = LabelConventiond
