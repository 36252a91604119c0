"""Find the cases under a folder, whatever release of BraTS they came from."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_ext.labels import DECATHLON_CHANNELS, MODALITIES, NUM_CLASSES, canonical_modality, merged_classes

logger = logging.getLogger(__name__)

EXTENSIONS = (".nii.gz", ".nii", ".mha")
SEGMENTATION = "seg"


class CaseError(ValueError):
    """A case that cannot be used; the message names the case, the file and what was expected."""


@dataclass(frozen=True)
class Source:
    """Where one volume lies: a file and, for 4-D files, the channel in it."""

    path: Path
    channel: int | None = None


@dataclass(frozen=True)
class Case:
    """One imaging session of one patient, and how it is to be read.

    Args:
        case_id: name of the case; outputs are named after it.
        patient_id: what a split must never separate; several sessions may share it.
        convention: key of :data:`monai_ext.labels.CONVENTIONS` that its segmentation follows.
        images: canonical modality -> where its volume lies.
        segmentation: where the label volume lies, ``None`` for an unlabelled case.
        num_classes: lesion classes that its label is read as, see :func:`monai_ext.labels.merged_classes`.
        resample: read it at 1 mm whatever its spacing; a spacing other than 1 mm is an error without.
    """

    case_id: str
    patient_id: str
    convention: str
    images: dict[str, Source] = field(default_factory=dict)
    segmentation: Source | None = None
    num_classes: int = NUM_CLASSES
    resample: bool = False


# <case>-t1n.nii.gz (2023 on) and <case>_t1ce.nii.gz (2017 to 2021)
_BRATS2023 = re.compile(r"^(?P<case>.+)-(?P<kind>t1n|t1c|t2w|t2f|seg)$", re.IGNORECASE)
_BRATS2017 = re.compile(r"^(?P<case>.+)_(?P<kind>t1|t1ce|t2|flair|seg)$", re.IGNORECASE)
# VSD.Brain.XX.O.MR_T1c.54514.mha, VSD.Brain_3more.XX.XX.OT.54517.mha; the case is the folder two levels up
_BRATS2015 = re.compile(r"^VSD\.Brain.*?(?:MR_(?P<kind>T1c|T1|T2|Flair)|(?P<seg>OT))(?:\.\d+)?$", re.IGNORECASE)
_DECATHLON_FOLDERS = {"imagestr": "image", "imagests": "image", "labelstr": "label"}

_PATIENT_RULES = (
    # BraTS 2023 re-issued the 2021 subjects under the same numbers; -000, -001 are time points of one patient
    (re.compile(r"^(?:BraTS2021_|BraTS-GLI-)(\d{5})(?:-\d{3})?$", re.IGNORECASE), r"GLI-\1"),
    # 2017 to 2020 re-issued subjects with the year in the name; a trailing _1, _2 is the session
    (re.compile(r"^Brats(?:17|18|19|20)_(?!Training|Validation)(.+)_\d+$", re.IGNORECASE), r"\1"),
    (re.compile(r"^(BraTS-[A-Za-z]+-\d{5})-\d{3}$"), r"\1"),
    # BRATS 2015 names, as 2017 took them over: brats_tcia_pat105_0001 became Brats17_TCIA_105_1
    (re.compile(r"^brats_tcia_pat0*(\d+)_\d+$", re.IGNORECASE), r"TCIA_\1"),
    (re.compile(r"^brats_2013_pat0*(\d+)_\d+$", re.IGNORECASE), r"2013_\1"),
)


def patient_of(case_id: str) -> str:
    """Patient behind a case: sessions and re-issues of one patient share it.

    ``BraTS-GLI-00006-001`` and ``BraTS2021_00006`` give ``GLI-00006``; ``Brats17_TCIA_105_1`` gives ``TCIA_105``;
    a name that follows no known rule is its own patient.
    """
    for pattern, replacement in _PATIENT_RULES:
        if pattern.match(case_id):
            return pattern.sub(replacement, case_id)
    return case_id


def _stem(path: Path) -> str | None:
    return next((path.name[: -len(e)] for e in EXTENSIONS if path.name.lower().endswith(e)), None)


def _classify(path: Path, stem: str) -> tuple[str, Path, str, str] | None:
    """(convention, folder that groups the case, case id, kind) of one file; None for a file of no known layout."""
    folder = _DECATHLON_FOLDERS.get(path.parent.name.lower())
    if folder:
        return "decathlon", path.parent.parent, stem, "decathlon" if folder == "image" else SEGMENTATION
    match = _BRATS2015.match(stem)
    if match:
        # files may lie in a folder of their own (as released) or directly in the case's folder
        group = path.parent.parent if path.parent.name == stem else path.parent
        kind = SEGMENTATION if match["seg"] else canonical_modality(match["kind"])
        return "brats2015", group, group.absolute().name, kind
    for convention, pattern in (("brats2023", _BRATS2023), ("brats2017", _BRATS2017)):
        match = pattern.match(stem)
        if match:
            kind = match["kind"].lower()
            return (
                convention,
                path.parent,
                match["case"],
                SEGMENTATION if kind == SEGMENTATION else canonical_modality(kind),
            )
    return None


def list_cases(
    dataset_dir: str | Path, modalities: Sequence[str] = MODALITIES
) -> tuple[list[Case], list[tuple[str, str]]]:
    """Every case under a folder, and what is wrong with those that cannot be used; nothing is read but file names.

    Args:
        dataset_dir: see :func:`find_cases`.
        modalities: likewise.

    Returns:
        Usable cases sorted by id, and (case id, what is wrong with it) of the others.

    Raises:
        CaseError: when there is no such folder.
    """
    root = Path(dataset_dir).expanduser()
    if not root.is_dir():
        raise CaseError(f"dataset_dir {str(root)!r} is not a folder")
    found: dict[tuple[Path, str], dict[str, Source]] = defaultdict(dict)
    conventions: dict[tuple[Path, str], str] = {}
    twice: dict[tuple[Path, str], str] = {}
    for path in sorted(root.rglob("*")):
        stem = _stem(path)
        if stem is None or path.name.startswith("."):
            continue
        kinds = _classify(path, stem)
        if kinds is None:
            continue
        convention, group, case_id, kind = kinds
        key = (group, case_id)
        if conventions.setdefault(key, convention) != convention:
            twice[key] = f"files of two layouts ({conventions[key]}, {convention}): {path.name}"
        sources = (
            {m: Source(path, i) for i, m in enumerate(DECATHLON_CHANNELS)}
            if kind == "decathlon"
            else {kind: Source(path)}
        )
        for name, source in sources.items():
            if name in found[key]:
                twice[key] = f"two files for {name}: {found[key][name].path.name} and {path.name}"
            found[key][name] = source

    cases, bad = [], []
    for key, files in sorted(found.items(), key=lambda item: item[0][1]):
        case_id = key[1]
        missing = [m for m in modalities if m not in files]
        if key in twice or missing:
            reason = (
                twice.get(key) or f"no file for {', '.join(missing)} in {key[0]} (found: {', '.join(sorted(files))})"
            )
            bad.append((case_id, reason))
            continue
        images = {m: files[m] for m in (modalities or MODALITIES) if m in files}
        cases.append(Case(case_id, patient_of(case_id), conventions[key], images, files.get(SEGMENTATION)))
    return cases, bad


def find_cases(
    dataset_dir: str | Path,
    modalities: Sequence[str] = MODALITIES,
    require_segmentation: bool = False,
    on_bad_case: str = "raise",
    num_classes: int = NUM_CLASSES,
    resample: bool = False,
) -> list[Case]:
    """Find every case under a folder; nothing is read but file names.

    Layouts: BRATS 2015 (``VSD.Brain.*.mha``), BraTS 2017-2021 (``*_t1ce.nii.gz``), BraTS 2023 and later
    (``*-t1c.nii.gz``) and Decathlon Task01 (``imagesTr/*.nii.gz``, 4-D). They may be mixed and nested.

    Args:
        dataset_dir: folder to search, recursively.
        modalities: canonical modalities a case must have; empty takes what there is.
        require_segmentation: leave out cases without a segmentation (said in the log).
        on_bad_case: ``raise`` at the first case that misses a file, or ``skip`` it with a warning.
        num_classes: of the cases, see :class:`Case`.
        resample: likewise.

    Returns:
        Cases sorted by id.

    Raises:
        CaseError: for a bad case under ``raise``, for two cases of one name, or when nothing usable is found.
        ValueError: for another ``on_bad_case`` or a number of classes that labels cannot be merged into.
    """
    merged_classes(num_classes)
    if on_bad_case not in ("raise", "skip"):
        raise ValueError(f"on_bad_case is 'raise' or 'skip', got {on_bad_case!r}")
    everything, problems = list_cases(dataset_dir, modalities)
    cases = [c for c in everything if c.segmentation is not None or not require_segmentation]
    bad = [f"case {case_id}: {reason}" for case_id, reason in problems]
    if bad and on_bad_case == "raise":
        raise CaseError("; ".join(bad[:5]) + (f"; and {len(bad) - 5} more" if len(bad) > 5 else ""))
    for message in bad:
        logger.warning("skipped %s", message)
    names = Counter(c.case_id for c in cases)
    repeated = [n for n, k in names.items() if k > 1]
    if repeated:
        folders = sorted({str(folder_of(c)) for c in cases if c.case_id == repeated[0]})
        raise CaseError(f"case {repeated[0]} is found more than once: {', '.join(folders)}")
    unlabelled = len(everything) - len(cases)
    if not cases:
        raise CaseError(
            f"no usable case under {str(dataset_dir)!r} ({len(bad)} incomplete, {unlabelled} without segmentation): "
            "expected files such as CASE-t1n.nii.gz, CASE_t1ce.nii.gz, VSD.Brain.XX.O.MR_T1.1.mha or "
            "imagesTr/BRATS_001.nii.gz"
        )
    if unlabelled:
        logger.info("%d cases without segmentation are left out", unlabelled)
    return [replace(c, num_classes=num_classes, resample=resample) for c in cases]


def folder_of(case: Case) -> Path:
    """Folder of a case's first file."""
    return next(s for s in (*case.images.values(), case.segmentation) if s is not None).path.parent


def case_of_file(path: str | Path, modalities: Sequence[str] = MODALITIES) -> Case:
    """The case that one of its files belongs to; its siblings are found by name.

    Raises:
        CaseError: when the file's name follows no known layout or a sibling is missing.
    """
    path = Path(path)
    stem = _stem(path)
    kinds = _classify(path, stem) if stem is not None else None
    if kinds is None:
        raise CaseError(f"{path} follows no known layout: expected for instance CASE-t1n.nii.gz or CASE_t1ce.nii.gz")
    _, group, case_id, _ = kinds
    for case in find_cases(group, (), on_bad_case="skip"):
        if case.case_id == case_id:
            missing = [m for m in modalities if m not in case.images]
            if missing:
                raise CaseError(f"case {case_id}: no file for {', '.join(missing)} beside {path}")
            return case
    raise CaseError(f"case {case_id}: its files beside {path} cannot be used")
