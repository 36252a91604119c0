"""Read a case: every volume once, checked, in the order of its files, labels canonical."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Spacing
from monai.utils import optional_import

from monai_ext.data.cases import Case, CaseError, Source, case_of_file, find_cases
from monai_ext.data.export import is_synthetic
from monai_ext.labels import CONVENTIONS, DECATHLON_CHANNELS, MODALITIES, merged_classes
from monai_ext.transforms import BrainSpacing

SPACING = (1.0, 1.0, 1.0)  # mm, what every network is trained at
SPACING_TOLERANCE = 0.02  # mm
ORIGIN_TOLERANCE = 1.0  # mm
logger = logging.getLogger(__name__)

_itk, has_itk = optional_import("itk")


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(path)
    return np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)


def _read_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not has_itk:
        raise CaseError(f"{path}: reading .mha needs itk: pip install itk-core itk-io")
    image = _itk.imread(str(path))
    array = np.ascontiguousarray(_itk.array_view_from_image(image).transpose())
    affine = np.eye(4)
    direction = np.asarray(_itk.array_from_matrix(image.GetDirection()), dtype=np.float64)
    affine[:3, :3] = direction @ np.diag(np.asarray(image.GetSpacing(), dtype=np.float64))
    affine[:3, 3] = np.asarray(image.GetOrigin(), dtype=np.float64)
    return array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK's world is LPS, NIfTI's is RAS


def _read_file(case: Case, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array in the file's voxel order and its 4x4 RAS affine in mm."""
    try:
        return (_read_itk if path.suffix.lower() == ".mha" else _read_nifti)(path)
    except CaseError:
        raise
    except Exception as error:  # nibabel, zlib and itk raise many types for a damaged file
        raise CaseError(f"case {case.case_id}: {path} cannot be read ({type(error).__name__}: {error})") from error


def _pick_volume(case: Case, source: Source, array: np.ndarray) -> np.ndarray:
    """The 3-D volume of a source in its file's array."""
    if source.channel is not None:
        if array.ndim != 4 or array.shape[3] <= source.channel:
            raise CaseError(
                f"case {case.case_id}: {source.path.name} has shape {array.shape}, expected 4-D with "
                f"{len(DECATHLON_CHANNELS)} channels"
            )
        return array[..., source.channel]
    if array.ndim != 3:
        raise CaseError(f"case {case.case_id}: {source.path.name} has shape {array.shape}, expected a 3-D volume")
    return array


def has_spacing(affine: np.ndarray) -> bool:
    """Whether voxels of this 4x4 affine have the spacing that every network is trained at, :data:`SPACING`."""
    return np.allclose(np.linalg.norm(affine[:3, :3], axis=0), SPACING, atol=SPACING_TOLERANCE)


def _check_spacing(case: Case, affine: np.ndarray, path: Path) -> None:
    if not has_spacing(affine):
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        raise CaseError(
            f"case {case.case_id}: {path.name} has a spacing of {np.round(spacing, 3).tolist()} mm, "
            "expected 1 mm: resample it, or give '--resample true'"
        )


def _canonical_label(case: Case, array: np.ndarray, path: Path) -> np.ndarray:
    table = CONVENTIONS[case.convention].to_canonical
    outside = [v.item() for v in np.unique(array) if v not in table]
    if outside:
        raise CaseError(
            f"case {case.case_id}: {path.name} has label value(s) {outside}; its layout ({case.convention}) "
            f"allows {sorted(table)}"
        )
    lookup, merged = np.zeros(max(table) + 1, dtype=np.uint8), merged_classes(case.num_classes)
    for value, canonical in table.items():
        lookup[value] = merged[canonical]
    return lookup[array.astype(np.uint8)]


def read_case(
    case: Case, modalities: Sequence[str] | None = None, label: bool = True, any_spacing: bool = False
) -> tuple[MetaTensor, MetaTensor | None]:
    """Read the volumes of a case, each file once.

    Args:
        case: the case to read.
        modalities: which of its modalities, in this order; all it has when ``None``, the label alone when empty.
        label: read the segmentation too, where there is one.
        any_spacing: neither refuse nor resample another spacing than 1 mm.

    Returns:
        Image (C, X, Y, Z) float32 and label (1, X, Y, Z) uint8 of canonical classes, merged as the case says (or
        ``None``), in the voxel order of the files, with the affine of the first modality; the meta dictionary holds
        ``case_id``. A case to be resampled comes at 1 mm, images linearly (see
        :class:`monai_ext.transforms.BrainSpacing`), labels by the nearest neighbour.

    Raises:
        CaseError: for an unreadable file, another shape or other voxel axes among the files, a spacing other than 1 mm
            of a case that is not to be resampled, or a label outside the layout's convention.
    """
    sources = [case.images[m] for m in (case.images if modalities is None else modalities)]
    with_label = label and case.segmentation is not None
    if with_label:
        sources.append(case.segmentation)
    if not sources:
        raise CaseError(f"case {case.case_id}: nothing to read")
    files = {path: _read_file(case, path) for path in dict.fromkeys(s.path for s in sources)}
    first = sources[0].path
    affine = files[first][1]
    if not (case.resample or any_spacing):
        _check_spacing(case, affine, first)
    arrays = [_pick_volume(case, s, files[s.path][0]) for s in sources]
    for source, array in zip(sources, arrays):
        if array.shape != arrays[0].shape:
            raise CaseError(
                f"case {case.case_id}: {source.path.name} has shape {array.shape}, but {first.name} {arrays[0].shape}"
            )
        this = files[source.path][1]
        if not np.allclose(this[:3, :3], affine[:3, :3], atol=SPACING_TOLERANCE):
            raise CaseError(
                f"case {case.case_id}: {source.path.name} has other voxel axes than {first.name}: "
                f"{np.round(this[:3, :3], 3).tolist()} against {np.round(affine[:3, :3], 3).tolist()}"
            )
        # released segmentations may have lost their origin; the voxels still correspond and the first file counts
        if not np.allclose(this[:3, 3], affine[:3, 3], atol=ORIGIN_TOLERANCE):
            logger.warning(
                "case %s: %s has another origin than %s; its voxels are taken to correspond",
                case.case_id, source.path.name, first.name,
            )  # fmt: skip
    meta = {
        "case_id": case.case_id,
        "filename_or_obj": case.case_id,
        "convention": case.convention,
        "intensity_scaled": is_synthetic(case.case_id),
    }
    volumes = np.zeros((len(arrays) - with_label, *arrays[0].shape), dtype=np.float32)
    for volume, array in zip(volumes, arrays):
        volume[...] = array
    resample = case.resample and not any_spacing and not has_spacing(affine)
    image = MetaTensor(torch.from_numpy(volumes), affine=torch.from_numpy(affine), meta=dict(meta))
    if resample and len(volumes):
        image = BrainSpacing(SPACING)(image)
    if not with_label:
        return image, None
    array = _canonical_label(case, arrays[-1], sources[-1].path)
    classes = MetaTensor(torch.from_numpy(array[None]), affine=torch.from_numpy(affine), meta=dict(meta))
    return image, Spacing(SPACING, mode="nearest")(classes).to(torch.uint8) if resample else classes


class LoadCased(MapTransform):
    """Load a whole case: ``image`` (C, X, Y, Z) float32 and, where there is one, ``label`` (1, X, Y, Z) uint8.

    The image entry may be a :class:`~monai_ext.data.cases.Case`, the path of any one of a case's files (its
    siblings are found by name) or a list of such paths. Unlike a list given to ``LoadImaged`` the files' affines may
    differ by rounding, labels become canonical, and ``meta["filename_or_obj"]`` is the case's name, so that
    ``SaveImaged`` names its output after the case.

    Args:
        keys: the image key (one).
        label_key: where the label goes; ``None`` to leave it unread.
        modalities: modalities to load, in this order.
        any_spacing: see :func:`read_case`; for a chain that resamples, and inverts that, itself.
        allow_missing_keys: as in ``MapTransform``.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        label_key: str | None = "label",
        modalities: Sequence[str] = MODALITIES,
        any_spacing: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key, self.any_spacing = label_key, any_spacing
        self.modalities = tuple(modalities)

    def _case(self, value: Any) -> Case:
        if isinstance(value, Case):
            return value
        path = Path(value[0] if isinstance(value, (list, tuple)) else value)
        if path.is_dir():
            return find_cases(path, self.modalities)[0]
        return case_of_file(path, self.modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the case under the image key by its volumes.

        Raises:
            CaseError: see :func:`read_case`.
        """
        out = dict(data)
        for key in self.key_iterator(out):
            case, label_too = self._case(out[key]), self.label_key is not None
            image, label = read_case(case, self.modalities, label_too, self.any_spacing)
            out[key] = image
            if label is not None:
                out[self.label_key] = label
        return out
