"""From an image of the datastore to its case: MONAI Label knows one file an image, a case has four."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from monai_ext.data import Case, CaseError, case_of_file
from monai_ext.data.export import SYNTHETIC_PREFIX
from monai_ext.labels import MODALITIES, MODALITY_TITLES, canonical_modality

EXTENSIONS = (".nii.gz", ".nii", ".mha")
"""Files that the datastore takes for images."""

LABELLED = "t2f"
"""The image of a case that carries a label made here: FLAIR shows the whole tumour best."""

_NAME = re.compile(r"^(?P<case>.+)(?:-(?P<a>t1n|t1c|t2w|t2f)|_(?P<b>t1|t1ce|t2|flair))$", re.IGNORECASE)
_SUFFIXES_2017 = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}


def image_id(path: str | Path) -> str:
    """Id of an image in the datastore: its file's name without the ending."""
    name = Path(path).name
    return next((name[: -len(e)] for e in EXTENSIONS if name.endswith(e)), name)


def case_of_image(path: str | Path) -> tuple[Case, str]:
    """The case of an image, with whatever modalities it has, and which of them the image is.

    Args:
        path: of the image, in a folder of images whose names follow BraTS.

    Raises:
        CaseError: when the name follows no known layout, or is that of a segmentation.
    """
    case = case_of_file(path, ())
    for modality, source in case.images.items():
        if source.path == Path(path):
            return case, modality
    raise CaseError(f"{image_id(path)} is not one of the images of case {case.case_id}")


def complete_case(path: str | Path, modalities: Sequence[str] = MODALITIES) -> Case:
    """The case of an image, with these modalities.

    Args:
        path: of any image of the case.
        modalities: canonical names, in the order that a network wants them.

    Raises:
        CaseError: naming what is missing, what there is, and what can be done.
    """
    case, _ = case_of_image(path)
    missing = [m for m in modalities if m not in case.images]
    if missing:
        there = ", ".join(image_id(source.path) for source in case.images.values())
        raise CaseError(
            f"case {case.case_id} has no image for {', '.join(f'{m} ({MODALITY_TITLES[m]})' for m in missing)}; it has "
            f"{there}. Make what is missing with the model 'translate', or ask for a segmentor of one modality with "
            f"'modalities', such as {next(iter(case.images))}"
        )
    return replace(case, images={m: case.images[m] for m in modalities})


def sibling_id(case: Case, modality: str) -> str:
    """Id of another modality of a case, named as its own files are."""
    if case.convention == "brats2017":
        return f"{case.case_id}_{_SUFFIXES_2017[modality]}"
    return f"{case.case_id}-{modality}"


def next_study(image_ids: Iterable[str]) -> int:
    """Number that no synthetic study among these images has."""
    found = (re.match(rf"{SYNTHETIC_PREFIX}(\d+)-", name) for name in image_ids)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def images_by_case(image_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """Case -> modality -> image id, sorted by case; names that tell no case are left out."""
    cases: dict[str, dict[str, str]] = {}
    for name in sorted(image_ids):
        match = _NAME.match(name)
        if match:
            cases.setdefault(match["case"], {})[canonical_modality(match["a"] or match["b"])] = name
    return cases
