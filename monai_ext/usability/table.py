"""The table of the experiments, as JSON and as CSV in the paper's layout beside the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_ext.usability.cells import Cell
from monai_ext.usability.rows import REFERENCE, SYNTHETIC_ONLY, Row
from monai_ext.usability.statistics import (
    METRICS,
    cell_scores,
    mean_by_patient,
    mean_over_models,
    paired_bootstrap,
    ratios,
    summarise,
)


def _cases(results: Mapping[Cell, Mapping[str, Any]], models: Sequence[str], repeats: int, row: Row) -> dict[str, list]:
    """Segmentor -> cases of each repeat; ``mean`` is the mean of the segmentors of one modality."""
    found = {m: [results[Cell(row, k, m)]["cases"] for k in range(repeats)] for m in models}
    single = [m for m in models if m != "all"]
    if len(single) > 1:
        found["mean"] = [mean_over_models([found[m][k] for m in single]) for k in range(repeats)]
    return found


def build_rows(
    rows: Sequence[Row], models: Sequence[str], repeats: int, results: Mapping[Cell, Mapping[str, Any]], seed: int = 0
) -> list[dict[str, Any]]:
    """What ``utility.json`` says about each row.

    Args:
        rows: in the order of the table.
        models: segmentors.
        repeats: trainings of each.
        results: of every cell.
        seed: of the bootstrap.

    Returns:
        Per row its mixture, slices, the paper's figures, and per segmentor the summary of each metric, the WT Dice of
        each patient and ``to_row_1``, the paired difference of that (``None`` without row 1 or with one patient).
    """
    cases = {row.name: _cases(results, models, repeats, row) for row in rows}
    patients = {name: {m: mean_by_patient(c) for m, c in found.items()} for name, found in cases.items()}
    table = []
    for row in rows:
        figures: dict[str, Any] = {}
        for model, runs in cases[row.name].items():
            scores = [cell_scores(c) for c in runs]
            figures[model] = {m: summarise([s[m] for s in scores], m) for m in METRICS}
            mine = patients[row.name][model]
            figures[model]["WT_by_patient"] = {p: round(v, 4) for p, v in mine.items()}
            compared = REFERENCE in patients and row.name != REFERENCE
            figures[model]["to_row_1"] = (
                paired_bootstrap(mine, patients[REFERENCE][model], seed=seed) if compared else None
            )
        table.append(
            {
                "row": row.name, "real": row.real, "synthetic": row.synthetic, "classical": row.classical,
                "order": row.order, "slices": results[Cell(row, 0, models[0])]["slices"],
                "paper": None if row.paper_mse is None else {"mse": row.paper_mse, "dice_index": row.paper_dice},
                "models": figures,
            }
        )  # fmt: skip
    return table


def synthetic_over_real(table: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Row 2 over row 1, see :func:`monai_ext.usability.statistics.ratios`; ``None`` unless both were run."""
    rows = {r["row"]: r["models"] for r in table}
    return ratios(rows[SYNTHETIC_ONLY], rows[REFERENCE]) if {REFERENCE, SYNTHETIC_ONLY} <= rows.keys() else None


def csv_lines(table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line for each row and segmentor."""
    lines = []
    for row in table:
        for model, figures in row["models"].items():
            line = {k: row[k] for k in ("row", "real", "synthetic", "classical", "order")}
            line["model"] = model
            for metric in METRICS:
                line.update({f"{metric}_{k}": figures[metric][k] for k in ("mean", "std", "best")})
            gap = figures["to_row_1"] or {}
            line.update({f"WT_to_row_1{suffix}": gap.get(key) for suffix, key in (("", "difference"), ("_low", "low"),
                                                                                 ("_high", "high"))})  # fmt: skip
            paper = row["paper"] or {}
            lines.append({**line, "paper_mse": paper.get("mse"), "paper_dice_index": paper.get("dice_index")})
    return lines
