"""``table1.json`` as shipped, on six small cases: three groups of patients, two schemes, gone on with."""

from __future__ import annotations

import csv
import json

import pytest

from monai_ext.usability.schemes import mean_over_modalities, over_seeds


@pytest.fixture
def table(run_bundle, small_dir, tmp_path):
    def run(**overrides):
        settings = {
            "dataset_dir": small_dir, "output_dir": tmp_path, "schemes": "1seg,nseg", "max_epochs": 1,
            "judge_epochs": 1, "slice_range": [2, 5], "roi_size": [64, 64], **overrides,
        }  # fmt: skip
        run_bundle("synthesis", "table1", **settings)
        return json.loads((tmp_path / "table1.json").read_text())

    return run


@pytest.mark.slow
def test_three_groups_that_share_nobody(table, tmp_path):
    report = table()
    groups = report["patients"]
    assert [len(groups[g]) for g in ("generators", "judges", "judged")] == [2, 1, 1]
    assert len({p for group in groups.values() for p in group}) == 4
    judges = json.loads((tmp_path / "judges" / "split.json").read_text())
    assert judges["train"] == groups["judges"] and report["slices"] == 3
    assert list(report["schemes"]) == ["1seg", "nseg"] and report["schemes"]["nseg"]["paper"]["mse"] == 0.043
    for name, scheme in report["schemes"].items():
        assert set(scheme["modalities"]) == {"t1n", "t1c", "t2w", "t2f"}
        assert scheme["mean"]["mse"]["repeats"] and scheme["mean"]["mse"]["std"] is None
        assert (tmp_path / f"{name}_0" / "model.pt").is_file()
    with (tmp_path / "table1.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(x["images"], x["paper_dice_index"]) for x in lines] == [
        ("real", "0.915"), ("1seg", "0.741"), ("nseg", "0.838")
    ]  # fmt: skip
    assert float(lines[1]["mse"]) == report["schemes"]["1seg"]["mean"]["mse"]["mean"]

    (tmp_path / "table1.json").unlink()
    assert table() == report


def test_an_unknown_scheme_is_refused(table, message_of):
    with pytest.raises(RuntimeError) as error:
        table(schemes="2seg")
    assert "schemes are of 1seg, 1enc_ndec, nseg" in message_of(error.value)


def test_means_by_hand():
    scores = {"t1n": {"mse": 0.2, "WT": 0.5, "ET": None}, "t2f": {"mse": 0.4, "WT": 0.8, "ET": 0.3}}
    assert mean_over_modalities(scores) == {"mse": 0.3, "WT": 0.65, "ET": 0.3}
    table = over_seeds([{"mse": 0.3, "WT": 0.6}, {"mse": 0.5}])
    assert table["mse"] == {"mean": 0.4, "std": pytest.approx(0.1414, abs=1e-4), "best": 0.3, "repeats": [0.3, 0.5]}
    assert table["WT"] == {"mean": 0.6, "std": None, "best": 0.6, "repeats": [0.6]} and "TC" not in table
