"""Modalities, lesion classes and the conventions of every BraTS release: the one place that knows ET is 3 or 4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MODALITIES: tuple[str, ...] = ("t1n", "t1c", "t2w", "t2f")
"""Canonical modality order: native T1, contrast-enhanced T1, T2, FLAIR."""

MODALITY_TITLES: Mapping[str, str] = {"t1n": "T1", "t1c": "T1c", "t2w": "T2", "t2f": "FLAIR"}

MODALITY_ALIASES: Mapping[str, str] = {
    "t1n": "t1n", "t1": "t1n", "t1w": "t1n",
    "t1c": "t1c", "t1ce": "t1c", "t1gd": "t1c",
    "t2w": "t2w", "t2": "t2w",
    "t2f": "t2f", "flair": "t2f",
}  # fmt: skip
"""Every spelling a user may type or a file may carry (lower case) -> canonical name."""

CLASSES: Mapping[int, str] = {0: "background", 1: "NCR", 2: "ED", 3: "ET"}
"""Canonical label values: 1 necrosis and non-enhancing core, 2 oedema, 3 enhancing tumour."""

NUM_CLASSES = len(CLASSES) - 1
"""Lesion classes, background not counted."""

REGIONS: Mapping[str, tuple[int, ...]] = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
"""BraTS evaluation regions (whole tumour, tumour core, enhancing tumour) as unions of canonical classes."""

MERGED: Mapping[int, Mapping[int, int]] = {
    1: {0: 0, 1: 1, 2: 1, 3: 1},
    2: {0: 0, 1: 1, 2: 2, 3: 1},
    3: {0: 0, 1: 1, 2: 2, 3: 3},
}
"""Number of lesion classes wanted -> canonical class -> class: the whole tumour; core and oedema; all of them.

A class keeps its meaning when it is merged again, so what was written with fewer classes is read with as many."""

_MERGED_NAMES: Mapping[int, Mapping[int, str]] = {
    1: {0: "background", 1: "WT"},
    2: {0: "background", 1: "TC", 2: "ED"},
    3: CLASSES,
}


@dataclass(frozen=True)
class Convention:
    """What one release of the data calls its labels.

    Args:
        name: the convention's short name.
        to_canonical: file value -> canonical class.
        from_canonical: canonical class -> file value, for writing.
    """

    name: str
    to_canonical: Mapping[int, int]
    from_canonical: Mapping[int, int]


CONVENTIONS: Mapping[str, Convention] = {
    "brats2023": Convention("brats2023", {0: 0, 1: 1, 2: 2, 3: 3}, {0: 0, 1: 1, 2: 2, 3: 3}),
    "brats2017": Convention("brats2017", {0: 0, 1: 1, 2: 2, 4: 3}, {0: 0, 1: 1, 2: 2, 3: 4}),
    # necrosis (1) and non-enhancing core (3) are one class from 2017 on
    "brats2015": Convention("brats2015", {0: 0, 1: 1, 2: 2, 3: 1, 4: 3}, {0: 0, 1: 1, 2: 2, 3: 4}),
    "decathlon": Convention("decathlon", {0: 0, 1: 2, 2: 1, 3: 3}, {0: 0, 1: 2, 2: 1, 3: 3}),
}

DECATHLON_CHANNELS: tuple[str, ...] = ("t2f", "t1n", "t1c", "t2w")
"""Channel order of Medical Segmentation Decathlon Task01 images: FLAIR, T1w, T1gd, T2w."""


def merged_classes(num_classes: int) -> Mapping[int, int]:
    """Canonical class -> class, for a network that knows fewer; see :data:`MERGED`.

    Args:
        num_classes: lesion classes wanted, background not counted.

    Raises:
        ValueError: for a number there is no table for.
    """
    if num_classes not in MERGED:
        raise ValueError(
            f"num_classes is 1 (whole tumour), 2 (core, oedema) or 3 (NCR, ED, ET), got {num_classes!r}: other "
            "classes need a table in monai_ext/labels.py"
        )
    return MERGED[num_classes]


def class_names(num_classes: int = NUM_CLASSES) -> Mapping[int, str]:
    """Class -> name, background first, where canonical classes are merged into ``num_classes``."""
    return _MERGED_NAMES[num_classes]


def regions(num_classes: int = NUM_CLASSES) -> dict[str, tuple[int, ...]]:
    """Those of :data:`REGIONS` that ``num_classes`` classes can tell: WT; WT and TC; WT, TC and ET."""
    return dict(list(REGIONS.items())[:num_classes])


def file_values(convention: str, num_classes: int = NUM_CLASSES) -> Mapping[int, int]:
    """Class -> value in a file of this convention; a whole tumour is 1 in all of them.

    Args:
        convention: key of :data:`CONVENTIONS`.
        num_classes: lesion classes that there are.
    """
    return MERGED[1] if num_classes == 1 else CONVENTIONS[convention].from_canonical


def canonical_modality(name: str) -> str:
    """Canonical name of a modality.

    Args:
        name: any spelling in :data:`MODALITY_ALIASES`, case ignored.

    Raises:
        ValueError: when ``name`` is no known modality.
    """
    try:
        return MODALITY_ALIASES[name.strip().lower()]
    except KeyError:
        raise ValueError(f"unknown modality {name!r}: expected one of {', '.join(MODALITY_ALIASES)}") from None


def parse_modalities(modalities: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Modalities from a command-line value, in canonical order.

    Args:
        modalities: ``"all"``, one name, a comma-separated string or a sequence of names.

    Returns:
        Canonical names without repeats, in the order of :data:`MODALITIES`.

    Raises:
        ValueError: for an unknown or an empty choice.
    """
    names = modalities.split(",") if isinstance(modalities, str) else list(modalities)
    if [n.strip().lower() for n in names] == ["all"]:
        return MODALITIES
    chosen = {canonical_modality(n) for n in names if n.strip()}
    if not chosen:
        raise ValueError("no modality given: expected 'all' or a comma-separated list such as 't1c,t2f'")
    return tuple(m for m in MODALITIES if m in chosen)
