"""The experiments of the paper's Table 2 by number, and any other mixture by its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_ext.bundles import listed
from monai_ext.labels import MODALITIES, parse_modalities

ORDERS = ("mix", "real_first", "synthetic_first")


@dataclass(frozen=True)
class Row:
    """What one segmentor is trained on.

    Args:
        name: number in Table 2, or ``R:S:A:order``.
        real: share of the real training slices, 0 to 1.
        synthetic: synthetic slices, in units of the real set's size.
        classical: classically augmented real slices, in the same units.
        order: ``mix``, all shuffled together; ``real_first`` and ``synthetic_first``, half of the iterations on each.
        paper_mse: what the paper measured.
        paper_dice: likewise, its ``dice_index``.
    """

    name: str
    real: float
    synthetic: float
    classical: float
    order: str = "mix"
    paper_mse: float | None = None
    paper_dice: float | None = None

    @property
    def slug(self) -> str:
        """The name as a part of a file name."""
        return self.name.replace(":", "-")


_TABLE2 = (  # number, R, S, A, order, MSE, Dice; the paper's "-" (a single source) is "mix"
    (1, 1, 0, 0, "mix", 0.026, 0.915),
    (31, 0.5, 0, 0, "mix", 0.032, 0.902),
    (2, 0, 1, 0, "mix", 0.205, 0.708),
    (3, 0, 2, 0, "mix", 0.206, 0.736),
    (4, 0, 3, 0, "mix", 0.205, 0.754),
    (7, 0.1, 1, 0, "synthetic_first", 0.031, 0.908),
    (8, 0.1, 2, 0, "synthetic_first", 0.028, 0.907),
    (9, 0.1, 3, 0, "synthetic_first", 0.030, 0.907),
    (13, 0.2, 0.8, 0, "mix", 0.041, 0.850),
    (12, 0.5, 0.5, 0, "mix", 0.031, 0.904),
    (14, 0.8, 0.2, 0, "mix", 0.024, 0.935),
    (32, 1, 0.2, 0, "mix", 0.025, 0.921),
    (33, 1, 0.5, 0, "mix", 0.023, 0.939),
    (34, 1, 0.8, 0, "mix", 0.026, 0.916),
    (15, 1, 1, 0, "mix", 0.027, 0.913),
    (18, 1, 2, 0, "mix", 0.033, 0.901),
    (19, 1, 3, 0, "mix", 0.034, 0.897),
    (35, 1, 0, 0.2, "mix", 0.027, 0.911),
    (36, 1, 0, 0.5, "mix", 0.025, 0.927),
    (37, 1, 0, 0.8, "mix", 0.026, 0.920),
    (22, 1, 0, 1, "mix", 0.026, 0.915),
    (23, 1, 0, 2, "mix", 0.032, 0.898),
    (24, 1, 0, 3, "mix", 0.036, 0.885),
    (16, 1, 1, 0, "real_first", 0.195, 0.795),
    (17, 1, 1, 0, "synthetic_first", 0.021, 0.940),
)

TABLE2: Mapping[str, Row] = {
    str(number): Row(str(number), float(r), float(s), float(a), order, mse, dice)
    for number, r, s, a, order, mse, dice in _TABLE2
}
"""Qu et al., Table 2: number -> mixture and the paper's figures, in the order of the table."""

REFERENCE = "1"
"""The row that others are compared with: every real slice and nothing else."""

SYNTHETIC_ONLY = "2"


def _mixture(text: str) -> Row:
    """``R:S:A[:order]`` as a row; a row of Table 2 when it is one."""
    parts = [p.strip() for p in text.split(":")]
    form = f"row {text!r}: a mixture is R:S:A or R:S:A:order, such as 1:0.5:0:mix"
    if len(parts) not in (3, 4):
        raise ValueError(form)
    try:
        real, synthetic, classical = (float(p) for p in parts[:3])
    except ValueError:
        raise ValueError(form) from None
    order = parts[3] if len(parts) == 4 else "mix"
    if order not in ORDERS:
        raise ValueError(f"row {text!r}: order is one of {', '.join(ORDERS)}, got {order!r}")
    if not all(math.isfinite(x) and x >= 0 for x in (real, synthetic, classical)):
        raise ValueError(f"row {text!r}: R, S and A are numbers of at least 0")
    if real > 1:
        raise ValueError(f"row {text!r}: R is a share of the real set, at most 1")
    if real + synthetic == 0:
        raise ValueError(f"row {text!r}: R and S are both 0, nothing is left to train on")
    if classical > 0 and real == 0:
        raise ValueError(f"row {text!r}: A is made from real slices, so R must be above 0")
    if order != "mix" and 0 in (real, synthetic):
        raise ValueError(f"row {text!r}: {order} needs R and S above 0")
    for row in TABLE2.values():
        if (row.real, row.synthetic, row.classical, row.order) == (real, synthetic, classical, order):
            return row
    return Row(f"{real:g}:{synthetic:g}:{classical:g}:{order}", real, synthetic, classical, order)


def parse_rows(rows: int | str | Sequence[int | str]) -> list[Row]:
    """Rows from a command-line value, in the order of Table 2, mixtures of one's own after it, without repeats.

    Args:
        rows: numbers of Table 2 and mixtures ``R:S:A[:order]``, mixed: ``1``, ``"1,33"``, ``(1, 33)``,
            ``[1, "1:0.5:0:mix"]``.

    Raises:
        ValueError: for a number that Table 2 does not have, or a mixture that makes no sense.
    """
    chosen: dict[str, Row] = {}
    for text in listed(rows):
        if ":" not in text and text not in TABLE2:
            raise ValueError(
                f"row {text!r} is neither a row of Table 2 ({', '.join(TABLE2)}) nor a mixture such as 1:0.5:0:mix"
            )
        row = _mixture(text) if ":" in text else TABLE2[text]
        chosen[row.name] = row
    if not chosen:
        raise ValueError("no row given: expected numbers of Table 2 such as 1,33,17 or mixtures such as 1:0.5:0:mix")
    return [r for n, r in TABLE2.items() if n in chosen] + [r for n, r in chosen.items() if n not in TABLE2]


def parse_models(models: str | Sequence[str]) -> list[str]:
    """Segmentors from a command-line value.

    Args:
        models: ``all`` (one that reads every modality), ``each`` (one a modality), or a list of ``all`` and
            modalities such as ``"t2f,all"``.

    Returns:
        ``all`` or canonical modalities, without repeats, in the order given.

    Raises:
        ValueError: for anything else.
    """
    names = listed(models)
    if names == ["each"]:
        return list(MODALITIES)
    if not names or "each" in names:
        raise ValueError(f"models is 'all', 'each' or a list such as 't2f,all', got {models!r}")
    return list(dict.fromkeys("all" if n.lower() == "all" else parse_modalities(n)[0] for n in names))
