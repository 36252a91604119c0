"""Split by patient, once, in a file that every later stage reads; no patient on two sides."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from monai_ext.data.atomic import write_json
from monai_ext.data.cases import Case

logger = logging.getLogger(__name__)

SIDES = ("train", "validation", "test")


class LeakError(ValueError):
    """One patient stands on two sides of a split."""


def guard_leak(sides: Mapping[str, Iterable[str]]) -> None:
    """Refuse one patient on two sides.

    Args:
        sides: side -> patients.

    Raises:
        LeakError: naming the patients and the sides.
    """
    seen: dict[str, str] = {}
    leaks = []
    for side, patients in sides.items():
        for patient in set(patients):
            if seen.setdefault(patient, side) != side:
                leaks.append(f"{patient} ({seen[patient]} and {side})")
    if leaks:
        raise LeakError(f"patients on two sides of the split: {', '.join(sorted(leaks))}")


def split_patients(
    cases: Sequence[Case], fractions: Sequence[float] = (0.65, 0.15, 0.2), seed: int = 0
) -> dict[str, list[str]]:
    """Deal patients into train, validation and test.

    Patients with a segmentation are dealt by ``fractions`` (each side with a positive fraction gets one as long as
    there are enough); patients without go to train, where structure maps can use them.

    Args:
        cases: what :func:`monai_ext.data.cases.find_cases` returns.
        fractions: of the labelled patients, for train, validation and test; they sum to 1.
        seed: of the shuffle. The same patients and seed give the same split whatever their order on disk.

    Returns:
        Side -> sorted patient ids.

    Raises:
        ValueError: for fractions that do not fit or fewer patients than sides.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions are three numbers >= 0 that sum to 1, got {list(fractions)}")
    labelled = sorted({c.patient_id for c in cases if c.segmentation is not None})
    others = sorted({c.patient_id for c in cases} - set(labelled))
    wanted = [f > 0 for f in fractions]
    if labelled and len(labelled) < sum(wanted):
        raise ValueError(f"{len(labelled)} labelled patient(s) cannot fill {sum(wanted)} sides of a split: {labelled}")
    order = [labelled[i] for i in np.random.default_rng(seed).permutation(len(labelled))]
    counts = [max(int(round(f * len(order))), int(w)) if labelled else 0 for f, w in zip(fractions, wanted)]
    counts[0] = len(order) - counts[1] - counts[2]
    while counts[0] < int(wanted[0]) and max(counts[1:]) > 1:
        larger = 1 if counts[1] > counts[2] else 2
        counts[larger] -= 1
        counts[0] += 1
    ends = np.cumsum(counts)
    sides = {s: sorted(order[e - n : e]) for s, e, n in zip(SIDES, ends, counts)}
    sides["train"] = sorted(sides["train"] + others)
    return sides


def read_split(split_file: str | Path) -> dict[str, list[str]]:
    """Patients by side, from a split file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when a side is missing.
        LeakError: when a patient stands on two sides.
    """
    split_file = Path(split_file)
    if not split_file.is_file():
        raise FileNotFoundError(f"split file {split_file} does not exist; a training writes one to its output_dir")
    sides = json.loads(split_file.read_text(encoding="utf-8"))
    absent = [s for s in SIDES if not isinstance(sides.get(s), list)]
    if absent:
        raise ValueError(f"{split_file}: no list for {', '.join(absent)}")
    sides = {s: list(sides[s]) for s in SIDES}
    guard_leak(sides)
    return sides


def load_or_make_split(
    cases: Sequence[Case],
    split_file: str | Path,
    fractions: Sequence[float] = (0.65, 0.15, 0.2),
    seed: int = 0,
) -> dict[str, list[Case]]:
    """The split of these cases: read from ``split_file`` when it is there, else made from the seed and written.

    Args:
        cases: the cases at hand.
        split_file: JSON with ``train``, ``validation`` and ``test`` lists of patients.
        fractions: see :func:`split_patients`; used when the file is made.
        seed: likewise.

    Returns:
        Side -> cases, each sorted by case id.

    Raises:
        LeakError: when the file has one patient on two sides.
        ValueError: when the file knows none of these patients, or not all of them.
    """
    split_file = Path(split_file)
    if split_file.exists():
        sides = read_split(split_file)
        known = {p for patients in sides.values() for p in patients}
        new = sorted({c.patient_id for c in cases} - known)
        if new:
            raise ValueError(
                f"{split_file} does not place patient(s) {', '.join(new[:5])}{' ...' if len(new) > 5 else ''}: it was "
                "made for other data; name another --split_file, or remove it to make a new split"
            )
    else:
        sides = split_patients(cases, fractions, seed)
        guard_leak(sides)
        write_json(split_file, {"seed": seed, "fractions": list(fractions), **sides})
        logger.info("split of %d cases by patient written to %s", len(cases), split_file)
    ordered = sorted(cases, key=lambda c: c.case_id)
    return {s: [c for c in ordered if c.patient_id in set(sides[s])] for s in SIDES}
