"""Which modalities a translation makes, and under which names they are stored."""

from __future__ import annotations

from collections.abc import Sequence

from lib.cases import sibling_id
from monai_ext.data import Case
from monai_ext.labels import MODALITIES
from monai_ext.synthesis import other_modalities


def targets_of(wanted: str | Sequence[str], source: str, given: Sequence[str]) -> list[str]:
    """Modalities to make from another one.

    Args:
        wanted: ``missing``, ``all``, or names; with nothing missing, ``missing`` is all.
        source: canonical modality to make them from.
        given: modalities that the case has, not made by a translation.

    Raises:
        ValueError: for a name that is unknown, or is the source.
    """
    if wanted == "missing":
        wanted = [m for m in MODALITIES if m not in (*given, source)] or "all"
    return other_modalities(source, wanted)


def translated_id(case: Case, source: str, target: str, given: Sequence[str]) -> str:
    """Id of a translated image: a sibling where the case lacks it, else of a case of its own, so as to hide nothing."""
    return f"{case.case_id}-from-{source}-{target}" if target in given else sibling_id(case, target)
