"""The three sets behind every experiment: real slices to train on, synthetic ones, and held-out real ones to judge."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from monai_ext.data import SliceDataset, dataset_or_phantom, find_cases, load_or_make_split, read_split
from monai_ext.labels import MODALITIES
from monai_ext.usability.leaks import guard_copies, guard_synthetic, guard_training
from monai_ext.validation import held_out_cases

logger = logging.getLogger(__name__)


def _digest(array: torch.Tensor) -> str:
    return hashlib.sha256(array.numpy().tobytes()).hexdigest()[:16]


def slice_digests(dataset: SliceDataset) -> list[str]:
    """``IMAGE-LABEL`` of each slice, 16 hex digits of the SHA-256 of either."""
    items = (dataset.raw(i) for i in range(len(dataset)))
    return [f"{_digest(i['image'])}-{_digest(i['label'])}" for i in items]


def choose_patients(
    patients: Sequence[str], data_fraction: float = 1.0, real_patients: int | None = None, seed: int = 0
) -> list[str]:
    """A seeded choice of training patients; a smaller one is a part of a larger one.

    Args:
        patients: all of them.
        data_fraction: share to keep, above 0 and at most 1; at least one patient stays.
        real_patients: number to keep instead.
        seed: of the choice.

    Raises:
        ValueError: for a number that cannot be met, or both ways at once.
    """
    if not 0 < data_fraction <= 1:
        raise ValueError(f"data_fraction is above 0 and at most 1, got {data_fraction}")
    if real_patients is not None and data_fraction != 1:
        raise ValueError("give data_fraction or real_patients, not both")
    count = max(math.floor(data_fraction * len(patients) + 0.5), 1) if real_patients is None else int(real_patients)
    if not 1 <= count <= len(patients):
        raise ValueError(f"real_patients is 1 to {len(patients)} (training patients of the split), got {count}")
    order = np.random.default_rng((seed, len(patients))).permutation(len(patients))
    return sorted(sorted(patients)[i] for i in order[:count])


@dataclass
class Sources:
    """What experiments draw on.

    Args:
        real: slices of the training patients.
        synthetic: synthetic slices; ``None`` where no row needs them.
        judges: slices of held-out patients.
        digests: ``real``, ``synthetic`` and ``judges`` -> digest of each slice.
    """

    real: SliceDataset
    synthetic: SliceDataset | None
    judges: SliceDataset
    digests: dict[str, list[str]]

    def patients(self) -> dict[str, list[str]]:
        """``train`` and ``test`` -> patients."""
        return {s: d.patients for s, d in (("train", self.real), ("test", self.judges))}


def open_sources(
    dataset_dir: str | Path | None,
    synthetic_dir: str | Path | None,
    split_file: str | Path,
    phantom_dir: str | Path,
    slice_range: Sequence[int] = (55, 105),
    roi_size: Sequence[int] = (160, 192),
    data_fraction: float = 1.0,
    real_patients: int | None = None,
    seed: int = 0,
    on_bad_case: str = "raise",
    resample: bool = False,
) -> Sources:
    """Read the three sets and see to it that no held-out patient is in the first two.

    Args:
        dataset_dir: real cases; ``None`` for the phantom, whose split is made here.
        synthetic_dir: what ``generate.json`` wrote (layouts ``brats`` and ``decathlon``), or ``None``.
        split_file: train patients are trained on, test patients and those it does not know judge.
        phantom_dir: where phantom cases go.
        slice_range: slices of the real cases.
        roi_size: centre crop.
        data_fraction: see :func:`choose_patients`.
        real_patients: likewise.
        seed: of the choice of patients.
        on_bad_case: ``raise`` or ``skip``.
        resample: of the real cases, see :class:`monai_ext.data.Case`.

    Raises:
        LeakError: when a held-out patient is in the training data.
        CaseError: see :func:`monai_ext.data.find_cases`.
        ValueError: when the split has no training patient among the cases, or a manifest is missing.
    """
    root = dataset_or_phantom(dataset_dir, phantom_dir)
    cases = find_cases(root, MODALITIES, require_segmentation=True, on_bad_case=on_bad_case, resample=resample)
    if not dataset_dir:
        load_or_make_split(cases, split_file, seed=seed)
    sides = read_split(split_file)
    patients = sorted({c.patient_id for c in cases} & set(sides["train"]))
    if not patients:
        raise ValueError(
            f"none of the {len(cases)} labelled cases under {str(root)!r} is a training one of {split_file}"
        )
    chosen = set(choose_patients(patients, float(data_fraction), real_patients, seed))
    training = [c for c in cases if c.patient_id in chosen]
    held_out = held_out_cases(root, split_file, on_bad_case, resample=resample)
    guard_training(((c.case_id, c.patient_id) for c in training), sides, {c.patient_id for c in held_out})
    synthetic = None
    if synthetic_dir:
        studies = find_cases(synthetic_dir, MODALITIES, require_segmentation=True, on_bad_case=on_bad_case)
        guard_synthetic(studies, synthetic_dir, sides)
        synthetic = SliceDataset(studies, MODALITIES, (0, 1), roi_size, on_bad_case=on_bad_case)
    real, judges = (
        SliceDataset(c, MODALITIES, slice_range, roi_size, on_bad_case=on_bad_case) for c in (training, held_out)
    )
    sets = {"real": real, "judges": judges, **({"synthetic": synthetic} if synthetic is not None else {})}
    digests = {name: slice_digests(dataset) for name, dataset in sets.items()}
    guard_copies(real, judges, digests["real"], digests["judges"])
    logger.info("%d real slices of %d patients to train on, %d of %d to judge by", len(real), len(chosen), len(judges),
                len({c.patient_id for c in held_out}))  # fmt: skip
    return Sources(real, synthetic, judges, digests)
