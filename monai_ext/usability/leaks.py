"""No held-out patient in the training data: not as a slice, not as the label behind a synthetic one, not renamed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from monai_ext.data import Case, LeakError, SliceDataset, patient_of

SOURCES = ("label_source", "map_source")
"""Fields of a manifest line that name the case a sample was made from."""

NOBODY = ("procedural", "noise", "", None)
"""What stands there when no patient lent anything."""


def guard_training(
    samples: Iterable[tuple[str, str]], sides: Mapping[str, Sequence[str]], judges: Iterable[str]
) -> None:
    """Refuse training data of a held-out patient.

    Args:
        samples: name and patient of everything trained on.
        sides: the split, side -> patients.
        judges: patients that the segmentors are judged by.

    Raises:
        LeakError: naming the first such sample and its patient.
    """
    held_out = {p: f"on the {side} side of the split" for side in ("validation", "test") for p in sides[side]}
    held_out.update({p: "one of those who judge" for p in judges if p not in held_out})
    for sample, patient in samples:
        if patient in held_out:
            raise LeakError(f"training sample {sample} is of patient {patient}, who is {held_out[patient]}")


def guard_synthetic(cases: Sequence[Case], synthetic_dir: str | Path, sides: Mapping[str, Sequence[str]]) -> None:
    """Refuse synthetic samples made from the label or the map of anyone but a training patient.

    Args:
        cases: the samples.
        synthetic_dir: folder with their ``manifest.jsonl``.
        sides: the split, side -> patients.

    Raises:
        LeakError: naming the first such sample and the patient.
        ValueError: when the manifest is missing or does not know a sample: nobody could tell where it comes from.
    """
    path = Path(synthetic_dir) / "manifest.jsonl"
    if not path.is_file():
        raise ValueError(f"{path} does not exist: without it nobody can tell which patients lent labels to the samples")
    records = {r["name"]: r for r in map(json.loads, filter(None, path.read_text(encoding="utf-8").splitlines()))}
    train = set(sides["train"])
    guard_training(((c.case_id, c.patient_id) for c in cases), sides, ())
    for case in cases:
        if case.case_id not in records:
            raise ValueError(f"sample {case.case_id} is not in {path}: nobody can tell whose label it has")
        for field in SOURCES:
            source = records[case.case_id].get(field)
            if source not in NOBODY and patient_of(source) not in train:
                raise LeakError(
                    f"synthetic sample {case.case_id}: its {field} is {source}, and patient {patient_of(source)} is "
                    "not on the training side of the split"
                )


def guard_copies(
    training: SliceDataset, judges: SliceDataset, digests: Sequence[str], judges_digests: Sequence[str]
) -> None:
    """Refuse an image that is trained on and judges, whatever the patient is called there.

    Args:
        training: slices trained on.
        judges: slices that judge.
        digests: ``IMAGE-LABEL`` of each slice trained on.
        judges_digests: of each slice that judges.

    Raises:
        LeakError: naming the slice on both sides.
    """
    known = {d.split("-")[0]: i for i, d in enumerate(judges_digests)}
    for index, digest in enumerate(digests):
        position = known.get(digest.split("-")[0])
        if position is not None:
            mine, other = training.raw(index), judges.raw(position)
            raise LeakError(
                f"training sample {mine['case_id']}, slice {mine['slice']}, is the same picture as slice "
                f"{other['slice']} of held-out patient {other['patient_id']}"
            )
