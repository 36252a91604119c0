"""Open the user's data, or the phantom where there is none, split by patient."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import fire

from monai_ext.data.cases import Case, find_cases
from monai_ext.data.phantom import write_phantom_cases
from monai_ext.data.split import load_or_make_split
from monai_ext.labels import MODALITIES, NUM_CLASSES

logger = logging.getLogger(__name__)

PHANTOM_CASES = 8


def dataset_or_phantom(dataset_dir: str | Path | None, phantom_dir: str | Path, seed: int = 0) -> Path:
    """The user's folder, or a folder of phantom cases written for the occasion (said in the log).

    Args:
        dataset_dir: the user's folder, or ``None``.
        phantom_dir: where phantom cases go.
        seed: of the phantom.
    """
    if dataset_dir:
        return Path(dataset_dir).expanduser()
    logger.warning("no dataset_dir given: using %d phantom cases in %s (not real patients)", PHANTOM_CASES, phantom_dir)
    return write_phantom_cases(phantom_dir, num_cases=PHANTOM_CASES, seed=seed)


def open_dataset(
    dataset_dir: str | Path | None,
    split_file: str | Path,
    phantom_dir: str | Path,
    modalities: Sequence[str] = MODALITIES,
    fractions: Sequence[float] = (0.65, 0.15, 0.2),
    seed: int = 0,
    require_segmentation: bool = False,
    on_bad_case: str = "raise",
    num_classes: int = NUM_CLASSES,
    resample: bool = False,
) -> dict[str, list[Case]]:
    """Cases of a folder by side of the split.

    Args:
        dataset_dir: folder in any layout of :func:`monai_ext.data.find_cases`; ``None`` for the phantom.
        split_file: see :func:`monai_ext.data.load_or_make_split`.
        phantom_dir: where phantom cases go.
        modalities: canonical modalities each case must have.
        fractions: of the split, when it is made.
        seed: of the split and the phantom.
        require_segmentation: leave out cases without one.
        on_bad_case: ``raise`` or ``skip``.
        num_classes: see :class:`monai_ext.data.Case`.
        resample: likewise.

    Returns:
        ``train``, ``validation`` and ``test`` -> cases.

    Raises:
        CaseError: see ``find_cases``.
        LeakError: see ``load_or_make_split``.
        ValueError: likewise.
    """
    root = dataset_or_phantom(dataset_dir, phantom_dir, seed)
    cases = find_cases(root, modalities, on_bad_case=on_bad_case, num_classes=num_classes, resample=resample)
    sides = load_or_make_split(cases, split_file, fractions, seed)
    if require_segmentation:
        sides = {side: [c for c in found if c.segmentation is not None] for side, found in sides.items()}
    logger.info("cases: %s", ", ".join(f"{len(found)} {side}" for side, found in sides.items()))
    return sides


def main(dataset_dir: str, split_file: str, seed: int = 0) -> None:
    """Find the cases under a folder and write their split, where there is none yet."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    open_dataset(dataset_dir, split_file, Path(split_file).parent / "phantom", modalities=(), seed=int(seed))


if __name__ == "__main__":
    fire.Fire(main)
