"""The rows of the table as points with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from monai_ext.data import atomic_path
from monai_ext.labels import MODALITY_TITLES

_PANELS = {"WT": "WT Dice, mean over patients", "dice_index": "dice_index, mean over slices"}


def mixture_title(row: Mapping[str, Any]) -> str:
    """A row as a label: its number in Table 2, if it has one, and its mixture."""
    parts = [f"{row[k]:g} {k}" for k in ("real", "synthetic", "classical") if row[k]]
    order = "" if row["order"] == "mix" else f"\n{row['order'].replace('_', ' ')}"
    return ("" if ":" in row["row"] else f"{row['row']}: ") + " + ".join(parts) + order


def write_figure(path: str | Path, table: Sequence[Mapping[str, Any]]) -> None:
    """Write a PNG, atomically: each repeat a dot, the mean and its standard deviation a bar, the paper a diamond.

    Args:
        path: the file.
        table: see :func:`monai_ext.usability.table.build_rows`; its order is kept.
    """
    models = list(table[0]["models"])
    figure = Figure(figsize=(10, 1.5 + 0.32 * len(table) * (1 + 0.4 * len(models))), layout="constrained")
    axes = figure.subplots(1, len(_PANELS), sharey=True)
    for ax, (metric, title) in zip(axes, _PANELS.items()):
        for m, model in enumerate(models):
            colour, offset = f"C{m}", (m - (len(models) - 1) / 2) * 0.7 / len(models)
            label = {"all": "all four modalities", "mean": "mean of modalities", **MODALITY_TITLES}[model]
            for y, row in enumerate(table):
                found = row["models"][model][metric]
                ax.plot(found["repeats"], [y + offset] * len(found["repeats"]), ".", color=colour, alpha=0.5)
                ax.errorbar(found["mean"], y + offset, xerr=found["std"], fmt="o", color=colour, capsize=3,
                            label=label if y == 0 else None)  # fmt: skip
        if metric == "dice_index":
            known = [(r["paper"]["dice_index"], y) for y, r in enumerate(table) if r["paper"]]
            ax.plot(*zip(*known), "D", color="black", fillstyle="none", label="paper") if known else None
        ax.set_xlabel(title)
        ax.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(table)), [mixture_title(r) for r in table])
    axes[0].invert_yaxis()
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
