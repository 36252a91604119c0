"""Say what a folder of cases holds and what is wrong with it, before hours are spent on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from tqdm import tqdm

from monai_ext.data.cases import Case, CaseError, list_cases
from monai_ext.data.reading import read_case
from monai_ext.data.split import SIDES, load_or_make_split, split_patients
from monai_ext.labels import CLASSES, MODALITIES

ALL_GOOD, PROBLEMS, NOTHING_FOUND = 0, 1, 2
"""Exit codes of the command."""

MAX_FOREGROUND = 0.75  # share of voxels that are not 0; more is no skull-stripped brain


def inspect_case(
    case: Case, modalities: Sequence[str] = MODALITIES, slice_range: Sequence[int] = (55, 105)
) -> dict[str, Any]:
    """Read a case as the trainings do, and describe it.

    Args:
        case: what to read.
        modalities: channels that are wanted.
        slice_range: first slice wanted and the one after the last.

    Returns:
        ``case``, ``patient``, ``layout``, ``modalities``, ``labelled``, ``problems`` (texts) and, when it could be
        read, ``shape``, ``spacing`` (mm), ``orientation`` (axis codes), ``slices``; with a segmentation also
        ``voxels`` (class -> number), ``lesion_slices`` and ``lesion_slices_in_range``.
    """
    found: dict[str, Any] = {
        "case": case.case_id,
        "patient": case.patient_id,
        "layout": case.convention,
        "modalities": list(case.images),
        "labelled": case.segmentation is not None,
        "problems": [],
    }
    try:
        image, label = read_case(case, modalities)
    except CaseError as error:
        found["problems"].append(str(error).removeprefix(f"case {case.case_id}: "))
        return found
    affine = image.affine.numpy()
    codes = nib.aff2axcodes(affine)
    upwards = next(axis for axis, code in enumerate(codes) if code in "SI")
    slices = image.shape[1 + upwards]
    first, end = slice_range
    found |= {
        "shape": list(image.shape[1:]),
        "spacing": np.round(np.linalg.norm(affine[:3, :3], axis=0), 3).tolist(),
        "orientation": "".join(codes),
        "slices": slices,
    }
    if end > slices:
        found["problems"].append(f"slices {first} to {end} are wanted, but it has {slices}")
    for name, volume in zip(modalities, image.numpy()):
        share = float(np.count_nonzero(volume[np.isfinite(volume)])) / volume.size
        if share == 0:
            found["problems"].append(f"{name} is empty")
        elif share > MAX_FOREGROUND:
            found["problems"].append(f"{share:.0%} of {name} is not 0, the background too: strip the skull first")
    if label is not None:
        classes = label.numpy()[0]
        lesion = np.moveaxis(classes, upwards, 0).reshape(slices, -1).any(1)
        lesion = lesion[::-1] if codes[upwards] == "I" else lesion
        found["voxels"] = {name: int((classes == value).sum()) for value, name in CLASSES.items() if value}
        found["lesion_slices"] = int(lesion.sum())
        found["lesion_slices_in_range"] = int(lesion[first:end].sum())
        if not lesion.any():
            found["problems"].append("its segmentation holds no lesion")
    return found


def inspect_dataset(
    dataset_dir: str | Path,
    modalities: Sequence[str] = MODALITIES,
    slice_range: Sequence[int] = (55, 105),
    split_file: str | Path | None = None,
    resample: bool = False,
) -> dict[str, Any]:
    """Read every case under a folder once, and describe the lot; nothing is written.

    Args:
        dataset_dir: folder in any layout of :func:`monai_ext.data.find_cases`.
        modalities: channels that each case must have.
        slice_range: see :func:`inspect_case`.
        split_file: split to check against the cases; without one, or while it is not there, the split that the first
            training would make is shown.
        resample: read cases of another spacing than 1 mm as ``--resample true`` does: shapes and slices are then those
            at 1 mm.

    Returns:
        ``dataset_dir``; ``cases``, see :func:`inspect_case`; ``problems``, texts that name the case; ``split``, side ->
        patients, and ``split_made``, whether it is one that would be made; ``exit_code``.
    """
    report: dict[str, Any] = {"dataset_dir": str(dataset_dir), "cases": [], "split": None, "split_made": None}
    try:
        cases, bad = list_cases(dataset_dir, modalities)
    except CaseError as error:
        return {**report, "problems": [str(error)], "exit_code": NOTHING_FOUND}
    if not cases and not bad:
        problem = f"no case of a known layout under {str(dataset_dir)!r}"
        return {**report, "problems": [problem], "exit_code": NOTHING_FOUND}
    bar = tqdm(cases, desc="reading cases", disable=None)
    report["cases"] = [inspect_case(replace(case, resample=resample), modalities, slice_range) for case in bar]
    problems = [f"case {case_id}: {reason}" for case_id, reason in bad]
    problems += [f"case {c['case']}: {text}" for c in report["cases"] for text in c["problems"]]
    repeated = [name for name, count in Counter(c.case_id for c in cases).items() if count > 1]
    problems += [f"case {name}: found more than once" for name in repeated]
    try:
        report["split_made"] = split_file is None or not Path(split_file).is_file()
        report["split"] = split_patients(cases) if report["split_made"] else _split_of(cases, split_file)
    except ValueError as error:
        problems.append(f"split: {error}")
    return {**report, "problems": problems, "exit_code": PROBLEMS if problems else ALL_GOOD}


def _split_of(cases: Sequence[Case], split_file: str | Path) -> dict[str, list[str]]:
    return {s: sorted({c.patient_id for c in found}) for s, found in load_or_make_split(cases, split_file).items()}


def describe(report: dict[str, Any]) -> str:
    """A report of :func:`inspect_dataset` as text for a terminal."""
    cases = report["cases"]
    read = [c for c in cases if "shape" in c]
    labelled = [c for c in read if "voxels" in c]
    lines = [
        f"{report['dataset_dir']}: {len(cases)} cases of {len({c['patient'] for c in cases})} patients, "
        f"{sum(c['labelled'] for c in cases)} with a segmentation"
    ]
    rows = {
        "layout": (c["layout"] for c in cases),
        "modalities": (", ".join(c["modalities"]) for c in cases),
        "shape": (" x ".join(map(str, c["shape"])) for c in read),
        "spacing": (" x ".join(f"{s:g}" for s in c["spacing"]) + " mm" for c in read),
        "orientation": (c["orientation"] for c in read),
        "classes": ("+".join(n for n, k in c["voxels"].items() if k) or "none" for c in labelled),
    }
    lines += [f"  {name:<12} {_counted(values)}" for name, values in rows.items() if cases]
    for key, where in (("lesion_slices", "in all"), ("lesion_slices_in_range", "in the slices wanted")):
        counts = [c[key] for c in labelled]
        if counts:
            lines.append(f"  {'lesions':<12} {min(counts)} to {max(counts)} slices a case {where}")
    if report["split"]:
        lines.append("split by patient, as the first training would make it:" if report["split_made"] else "split:")
        for side in SIDES:
            patients = report["split"][side]
            number = sum(c["patient"] in patients for c in cases)
            lines.append(f"  {side:<12} {len(patients)} patients, {number} cases: {', '.join(patients) or 'none'}")
    lines += [f"problems: {len(report['problems']) or 'none'}", *(f"  {text}" for text in report["problems"])]
    return "\n".join(lines)


def _counted(values: Iterable[str]) -> str:
    return "; ".join(f"{value} ({count})" for value, count in Counter(values).most_common()) or "unknown"
