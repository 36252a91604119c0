"""Folds by patient for cross-validation: split files that trainings and evaluations read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_ext.data.atomic import write_json
from monai_ext.data.cases import Case
from monai_ext.data.split import guard_leak


def fold_splits(
    cases: Sequence[Case], folds: int = 5, seed: int = 0, num_validation: int = 1
) -> list[dict[str, list[str]]]:
    """Deal labelled patients into folds; each is the test side of one split.

    Args:
        cases: what :func:`monai_ext.data.find_cases` returns. Patients without a segmentation go to train.
        folds: number of splits.
        seed: of the shuffle. The same patients and seed give the same folds whatever their order on disk.
        num_validation: patients of each split, of the next fold, that curves are drawn on; the rest train.

    Returns:
        A split a fold: side -> sorted patients. Each patient is tested once.

    Raises:
        ValueError: when there are fewer patients than the folds need.
    """
    patients = sorted({c.patient_id for c in cases if c.segmentation is not None})
    if folds < 2 or len(patients) < folds or len(patients) - -(-len(patients) // folds) <= num_validation:
        raise ValueError(
            f"{len(patients)} labelled patient(s) do not make {folds} folds with {num_validation} to validate"
        )
    unlabelled = sorted({c.patient_id for c in cases} - set(patients))
    order = [patients[i] for i in np.random.default_rng(seed).permutation(len(patients))]
    tests = [order[k::folds] for k in range(folds)]
    splits = []
    for k, test in enumerate(tests):
        others = [p for step in range(1, folds) for p in tests[(k + step) % folds]]
        split = {
            "train": sorted(others[num_validation:] + unlabelled), "validation": sorted(others[:num_validation]),
            "test": sorted(test),
        }  # fmt: skip
        guard_leak(split)
        splits.append(split)
    return splits


def write_folds(
    cases: Sequence[Case], output_dir: str | Path, folds: int = 5, seed: int = 0
) -> list[tuple[Path, dict[str, list[str]]]]:
    """Write ``fold_<k>/split.json`` for each of :func:`fold_splits`; returns each file and its split.

    Raises:
        ValueError: see there; or when a file of other folds is in the way.
    """
    written = []
    for k, split in enumerate(fold_splits(cases, folds, seed)):
        file, content = Path(output_dir) / f"fold_{k}" / "split.json", {"seed": seed, "folds": folds, **split}
        if file.exists() and json.loads(file.read_text(encoding="utf-8")) != content:
            raise ValueError(f"{file} holds another fold, of other cases, folds or seed: name another folder")
        write_json(file, content)
        written.append((file, split))
    return written
