"""Labels of the datastore as a folder of cases that the training of a bundle reads."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from lib.cases import EXTENSIONS, complete_case
from monai_ext.data import Case, CaseError, find_cases, split_patients, write_json, write_nifti
from monai_ext.labels import CLASSES

logger = logging.getLogger(__name__)

NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class StoredLabel:
    """A label of the datastore.

    Args:
        image: file of the image it belongs to.
        label: its file.
        info: what the datastore knows of it: ``ts``, when it was stored, and ``label_info``, names of its values.
    """

    image: Path
    label: Path
    info: Mapping[str, Any]


def canonical_values(info: Mapping[str, Any]) -> dict[int, int]:
    """Value in a label's file -> canonical class.

    3D Slicer numbers the segments that there are, so that a value alone says nothing; their names come with it.

    Raises:
        CaseError: for a segment of another name.
    """
    names = info.get("label_info") or info.get("params", {}).get("label_info") or []
    classes = {name: value for value, name in CLASSES.items()}
    unknown = [entry["name"] for entry in names if entry["name"] not in classes]
    if unknown:
        raise CaseError(f"unknown segment(s) {', '.join(unknown)}: expected {', '.join(CLASSES[k] for k in (1, 2, 3))}")
    return {int(entry["idx"]): classes[entry["name"]] for entry in names} or {k: k for k in CLASSES if k}


def write_label(stored: StoredLabel, target: Path) -> None:
    """Write a label with canonical classes.

    Raises:
        CaseError: for a file that is not NIfTI, or that has values without a name.
    """
    if not stored.label.name.endswith(NIFTI):
        raise CaseError(f"label {stored.label.name} is not NIfTI: choose .nii.gz in the settings of 3D Slicer")
    image = nib.load(stored.label)
    array = np.asanyarray(image.dataobj)
    table = {0: 0, **canonical_values(stored.info)}
    unknown = [v.item() for v in np.unique(array) if v not in table]
    if unknown:
        raise CaseError(f"label {stored.label.name} has value(s) {unknown}, expected {sorted(table)}")
    lookup = np.zeros(max(table) + 1, dtype=np.uint8)
    for value, canonical in table.items():
        lookup[value] = canonical
    write_nifti(target, lookup[array.astype(np.uint8)], image.affine)


def newest_of_each_case(labels: Sequence[StoredLabel]) -> list[tuple[Case, StoredLabel]]:
    """One label a case, the one stored last, whichever image carries it; a case that lacks an image is left out."""
    newest: dict[str, tuple[Case, StoredLabel]] = {}
    for stored in sorted(labels, key=lambda s: s.info.get("ts", 0)):
        try:
            case = complete_case(stored.image)
        except CaseError as error:
            logger.warning("not trained on: %s", error)
            continue
        newest[case.case_id] = (case, stored)
    return [newest[name] for name in sorted(newest)]


def slices_of(label: str | Path) -> int:
    """Axial slices of a label's volume, by its header, in any orientation."""
    image = nib.load(label)
    axis = next(i for i, code in enumerate(nib.aff2axcodes(image.affine)) if code in "SI")
    return int(image.shape[axis])


def usable_labels(labels: Sequence[StoredLabel], slices: int = 1) -> list[tuple[Case, StoredLabel]]:
    """Labels that a training can use, one a case.

    Args:
        labels: of the datastore.
        slices: volumes of fewer slices are left out: one training reads one range of slices.

    Raises:
        CaseError: when fewer than two patients are left.
    """
    chosen = []
    for case, stored in newest_of_each_case(labels):
        if slices_of(stored.label) < slices:
            logger.warning("not trained on: case %s has fewer than %d slices", case.case_id, slices)
            continue
        chosen.append((case, stored))
    patients = {case.patient_id for case, _ in chosen}
    if len(patients) < 2:
        raise CaseError(
            f"a training needs labels of two patients at least, one to train and one to validate; the datastore has "
            f"{len(labels)} label(s), usable ones of {len(patients)} patient(s) (all four images, {slices} slices)"
        )
    return chosen


def write_training_set(
    labels: Sequence[tuple[Case, StoredLabel]], folder: str | Path, val_fraction: float = 0.2, seed: int = 0
) -> dict[str, list[str]]:
    """Write ``cases/CASE/CASE-{t1n,t1c,t2w,t2f,seg}`` (links to the images, labels as canonical classes) and a split.

    Args:
        labels: see :func:`usable_labels`.
        folder: empty; ``cases`` and ``split.json`` go there.
        val_fraction: of the patients, to validate with; one at least.
        seed: of the split.

    Returns:
        Patients by side.

    Raises:
        CaseError: when a label cannot be read.
    """
    folder = Path(folder)
    for case, stored in labels:
        target = folder / "cases" / case.case_id
        target.mkdir(parents=True)
        for modality, source in case.images.items():
            ending = next(e for e in EXTENSIONS if source.path.name.endswith(e))
            (target / f"{case.case_id}-{modality}{ending}").symlink_to(source.path)
        write_label(stored, target / f"{case.case_id}-seg.nii.gz")
    cases = find_cases(folder / "cases")
    sides = split_patients(cases, (1 - val_fraction, val_fraction, 0), seed)
    write_json(folder / "split.json", sides)
    return sides


def clear(folder: str | Path) -> Path:
    """An empty folder of that name."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    return Path(folder)
