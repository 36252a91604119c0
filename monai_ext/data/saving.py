"""Save label maps, one file a case."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import SaveImaged
from monai.utils import convert_to_numpy

from monai_ext.data.nifti import write_nifti


class SaveLabelMapd(SaveImaged):
    """Writes ``<output_dir>/<case>.nii.gz`` (uint8), atomically, with the affine in the label map's metadata.

    A ``SaveImaged``, so whatever looks for savers in a chain finds it; MONAI's own fails on volumes of one slice.

    Args:
        keys: label maps (1, X, Y, Z) whose ``meta["filename_or_obj"]`` is the case's name.
        output_dir: where the files go.
        allow_missing_keys: as in ``MapTransform``.
    """

    def __init__(self, keys: KeysCollection, output_dir: str | Path, allow_missing_keys: bool = False) -> None:
        super().__init__(
            keys, output_dir=output_dir, output_postfix="", separate_folder=False, allow_missing_keys=allow_missing_keys
        )
        self.folder = Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the label maps and hand the data on.

        Raises:
            ValueError: for a label map with more than one channel.
        """
        out = dict(data)
        for key in self.key_iterator(out):
            label = out[key]
            if label.shape[0] != 1:
                raise ValueError(f"expected a label map with one channel, got shape {tuple(label.shape)}")
            name = Path(str(label.meta["filename_or_obj"])).name
            array = convert_to_numpy(label)[0].astype(np.uint8)
            write_nifti(self.folder / f"{name}.nii.gz", array, convert_to_numpy(label.affine).astype(np.float64))
        return out
