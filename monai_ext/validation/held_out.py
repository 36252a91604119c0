"""Which real patients may judge: those that no weights were trained on; and which those were."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from monai_ext.data import Case, LeakError, find_cases, read_split
from monai_ext.labels import MODALITIES, NUM_CLASSES

logger = logging.getLogger(__name__)


def held_out_cases(
    dataset_dir: str | Path,
    split_file: str | Path | None,
    on_bad_case: str = "raise",
    modalities: Sequence[str] = MODALITIES,
    num_classes: int = NUM_CLASSES,
    resample: bool = False,
) -> list[Case]:
    """Labelled cases under a folder whose patients took no part in the training of the judging weights.

    Args:
        dataset_dir: real cases in any layout.
        split_file: the split of that training; patients it does not know are held out by themselves. ``None`` when the
            weights come from no patient (a phantom).
        on_bad_case: ``raise`` or ``skip``.
        modalities: those that a case must have.
        num_classes: see :class:`monai_ext.data.Case`.
        resample: likewise.

    Returns:
        Cases of the test side and of unknown patients.

    Raises:
        CaseError: see :func:`monai_ext.data.find_cases`; for a folder without labelled cases too.
        LeakError: when every case was used in training.
    """
    cases = find_cases(dataset_dir, modalities, True, on_bad_case, num_classes, resample)
    if split_file is None:
        return cases
    sides = read_split(split_file)
    used = {*sides["train"], *sides["validation"]}
    kept = [c for c in cases if c.patient_id not in used]
    if not kept:
        raise LeakError(
            f"all {len(cases)} labelled cases under {str(dataset_dir)!r} were used to train the weights "
            f"({split_file}): nothing is left to judge with"
        )
    logger.info(
        "%d held-out cases; %d others were used in training and are left out", len(kept), len(cases) - len(kept)
    )
    return kept


def training_cases(
    dataset_dir: str | Path | None,
    split_file: str | Path | None,
    on_bad_case: str = "raise",
    modalities: Sequence[str] = MODALITIES,
    resample: bool = False,
) -> list[Case]:
    """Cases under a folder whose patients the weights were trained on, with and without a segmentation.

    Args:
        dataset_dir: real cases in any layout; ``None`` for the phantom.
        split_file: the split of that training; ``None`` when the weights come from no patient.
        on_bad_case: ``raise`` or ``skip``.
        modalities: those that a case must have.
        resample: see :class:`monai_ext.data.Case`.

    Returns:
        Cases of the training side; none when none of its patients is in the folder.

    Raises:
        CaseError: see :func:`monai_ext.data.find_cases`.
        LeakError: see :func:`monai_ext.data.read_split`.
    """
    if dataset_dir is None or split_file is None:
        return []
    used = set(read_split(split_file)["train"])
    found = find_cases(dataset_dir, modalities, on_bad_case=on_bad_case, resample=resample)
    cases = [c for c in found if c.patient_id in used]
    logger.info("%d cases of training patients to compare with", len(cases))
    return cases
