"""Figures of a row against numbers worked out by hand."""

from __future__ import annotations

import csv
import json

import pytest

from monai_ext.data import write_csv, write_json
from monai_ext.usability import Cell, paired_bootstrap, parse_rows
from monai_ext.usability.figure import mixture_title, write_figure
from monai_ext.usability.statistics import cell_scores, mean_over_models, ratios, summarise
from monai_ext.usability.table import build_rows, csv_lines, synthetic_over_real


def case(patient, wt, slices=10, session=0, mse=0.1, dice=0.5):
    return {"case_id": f"{patient}-{session}", "patient_id": patient, "slices": slices, "mse": mse, "dice_index": dice,
            "WT": wt, "TC": wt / 2, "ET": 0.0}  # fmt: skip


def test_scores_of_a_training():
    """Slices weigh alike in the paper's scores, patients in the BraTS ones."""
    scores = cell_scores([case("A", 0.2, 30, 0, 0.4), case("A", 0.4, 10, 1), case("B", 0.9, 10, dice=1.0)])
    assert scores["mse"] == pytest.approx((30 * 0.4 + 10 * 0.1 + 10 * 0.1) / 50)
    assert scores["dice_index"] == pytest.approx((40 * 0.5 + 10 * 1.0) / 50)
    assert scores["WT"] == pytest.approx((0.3 + 0.9) / 2) and scores["TC"] == pytest.approx(0.3)


def test_summary():
    assert summarise([0.2, 0.4], "WT") == {"mean": 0.3, "std": 0.1414, "best": 0.4, "repeats": [0.2, 0.4]}
    assert summarise([0.2, 0.4], "mse")["best"] == 0.2
    assert summarise([0.5], "WT") == {"mean": 0.5, "std": None, "best": 0.5, "repeats": [0.5]}


def test_mean_over_models():
    (mean,) = mean_over_models([[case("A", 0.2)], [case("A", 0.6, mse=0.3)]])
    assert mean["WT"] == pytest.approx(0.4) and mean["mse"] == pytest.approx(0.2) and mean["patient_id"] == "A"


def test_paired_bootstrap():
    """Of two patients with differences 0 and 1 a sample's mean is 0, 1/2 or 1, the ends with a chance of 1/4 each."""
    assert paired_bootstrap({"A": 0.5, "B": 1.0}, {"A": 0.5, "B": 0.0}) == {
        "difference": 0.5, "low": 0.0, "high": 1.0, "patients": 2
    }  # fmt: skip
    same = paired_bootstrap({"A": 0.9, "B": 0.2, "C": 0.6}, {"A": 0.8, "B": 0.1, "C": 0.5})
    assert (same["difference"], same["low"], same["high"]) == (0.1, 0.1, 0.1), "pairs: patients may differ a lot"
    first, second = ({p: 0.1 * k for k, p in enumerate("ABCDE")}, dict.fromkeys("ABCDE", 0.0))
    wide = paired_bootstrap(first, second)
    # the mean of five draws from 0 to 0.4 has a standard deviation of 0.063
    assert wide["difference"] == 0.2 and wide["low"] == pytest.approx(0.08, abs=0.021)
    assert wide["high"] == pytest.approx(0.32, abs=0.021) and wide == paired_bootstrap(first, second)


def test_bootstrap_needs_two_patients():
    assert paired_bootstrap({"A": 0.5}, {"A": 0.1}) is None
    with pytest.raises(ValueError, match="different patients: \\['B'\\]"):
        paired_bootstrap({"A": 0.5, "B": 0.2}, {"A": 0.1})


def models(**means):
    return {n: {k: {"mean": m} for k in ("dice_index", "WT", "TC", "ET")} for n, m in means.items()}


def test_ratios():
    out = ratios(models(t1n=0.1, t2f=0.6, mean=0.35), models(t1n=0.5, t2f=0.8, mean=0.65))
    assert out["t1n"]["WT"] == 0.2 and out["t2f"]["WT"] == 0.75 and out["mean"]["WT"] == 0.475
    assert ratios(models(all=0.3), models(all=0.0)) == {"all": dict.fromkeys(("dice_index", "WT", "TC", "ET"))}


@pytest.fixture
def table():
    """Rows 1, 2 and 17, two repeats, two segmentors; patient B gains 0.1 and A nothing from row 1 to 17."""
    rows, results = parse_rows("1,2,17"), {}
    wt = {"1": (0.5, 0.5), "2": (0.2, 0.2), "17": (0.5, 0.6)}
    for row in rows:
        for k in range(2):
            for model in ("t1n", "t2f"):
                a, b = (w + 0.02 * k + 0.1 * (model == "t2f") for w in wt[row.name])
                results[Cell(row, k, model)] = {
                    "cases": [case("A", a), case("B", b)], "slices": {"real": 8, "synthetic": 0, "classical": 0}
                }  # fmt: skip
    return build_rows(rows, ["t1n", "t2f"], 2, results)


def test_table(table):
    assert [r["row"] for r in table] == ["1", "2", "17"] and list(table[0]["models"]) == ["t1n", "t2f", "mean"]
    assert table[2]["paper"] == {"mse": 0.021, "dice_index": 0.94} and table[2]["order"] == "synthetic_first"
    mean = table[2]["models"]["mean"]
    assert mean["WT"]["repeats"] == [0.6, 0.62] and mean["WT"]["best"] == 0.62
    assert mean["WT_by_patient"] == {"A": 0.56, "B": 0.66}
    assert mean["to_row_1"] == {"difference": 0.05, "low": 0.0, "high": 0.1, "patients": 2}
    assert table[0]["models"]["mean"]["to_row_1"] is None
    ratio = synthetic_over_real(table)
    assert ratio["t1n"]["WT"] == round(0.21 / 0.51, 3) and ratio["t2f"]["WT"] == round(0.31 / 0.61, 3)
    assert ratio["mean"]["WT"] == pytest.approx((0.21 / 0.51 + 0.31 / 0.61) / 2, abs=1e-3)
    assert synthetic_over_real(table[:1]) is None


def test_files(table, tmp_path):
    write_json(tmp_path / "t.json", table)
    assert json.loads((tmp_path / "t.json").read_text()) == table
    write_csv(tmp_path / "t.csv", csv_lines(table))
    with (tmp_path / "t.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 9 and lines[0]["WT_to_row_1"] == ""
    last = lines[-1]
    assert (last["row"], last["model"], last["order"]) == ("17", "mean", "synthetic_first")
    assert (last["WT_mean"], last["WT_to_row_1"], last["WT_to_row_1_high"]) == ("0.61", "0.05", "0.1")
    assert (last["paper_mse"], last["paper_dice_index"]) == ("0.021", "0.94")
    write_figure(tmp_path / "t.png", table)
    assert (tmp_path / "t.png").read_bytes()[:4] == b"\x89PNG"


def test_titles():
    titles = [mixture_title({**vars(r), "row": r.name}) for r in parse_rows("33,17,0.5:0:0.25")]
    assert titles == ["33: 1 real + 0.5 synthetic", "17: 1 real + 1 synthetic\nsynthetic first",
                      "0.5 real + 0.25 classical"]  # fmt: skip
