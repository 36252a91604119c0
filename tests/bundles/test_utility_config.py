"""``utility.json`` as shipped, on four small cases: the whole table, after a kill, by two processes, and refusals."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from monai_ext.bundles import from_config
from monai_ext.data import StudyWriter, study_name

PATIENTS = [f"BraTS-TST-{i:05d}" for i in range(4)]
TEST = PATIENTS[2:]


def write_studies(folder, count, source="procedural"):
    """Studies of 64 x 64 as ``generate.json`` leaves them."""
    writer, lines = StudyWriter(folder), []
    for index in range(count):
        images, label = np.zeros((4, 64, 64), np.float32), np.zeros((64, 64), np.uint8)
        images[:, 8:56, 8:56] = np.random.default_rng(index).uniform(0.02, 1, (4, 48, 48))
        label[20:32, 20:32], label[24:30, 24:30] = 2, 3
        writer.write(study_name(index), images, label)
        lines.append({"name": study_name(index), "label_source": source})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    return folder


@pytest.fixture
def split(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": PATIENTS[:2], "validation": [], "test": TEST}))
    return path


@pytest.fixture
def utility(run_bundle, small_dir, split, tmp_path):
    """Run the config on 8 real slices of two patients and as many studies; what ``utility.json`` holds."""
    studies = write_studies(tmp_path / "studies", 8)

    def run(folder="out", **overrides):
        settings = {
            "synthetic_dir": studies, "dataset_dir": small_dir, "split_file": split, "output_dir": tmp_path / folder,
            "rows": "1,17", "repeats": 2, "iterations": 4, "batch_size": 4, "slice_range": [2, 6],
            "roi_size": [64, 64],
        }  # fmt: skip
        settings |= overrides
        run_bundle("synthesis", "utility", **{k: v for k, v in settings.items() if v is not None})
        return json.loads((tmp_path / folder / "utility.json").read_text())

    return run


def untimed(report):
    return {k: v for k, v in report.items() if k != "seconds"}


def test_utility(utility, tmp_path):
    report = utility()
    assert [r["row"] for r in report["rows"]] == ["1", "17"] and report["phantom"] is False
    assert report["patients"] == {"train": PATIENTS[:2], "test": TEST}
    assert report["unit_slices"] == 8 and report["synthetic"] == {"dir": "studies", "studies": 8}
    last = report["rows"][1]
    assert last["slices"] == {"real": 8, "synthetic": 8, "classical": 0}
    assert last["paper"] == {"mse": 0.021, "dice_index": 0.94}
    figures = last["models"]["all"]
    assert set(figures["WT_by_patient"]) == set(TEST) and figures["to_row_1"]["patients"] == 2
    for metric in ("mse", "dice_index", "WT", "TC", "ET"):
        assert len(figures[metric]["repeats"]) == 2 and figures[metric]["std"] is not None
    assert report["train_synthetic_over_real"] is None
    with (tmp_path / "out" / "utility.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(x["row"], x["paper_dice_index"]) for x in lines] == [("1", "0.915"), ("17", "0.94")]
    assert float(lines[1]["WT_mean"]) == figures["WT"]["mean"]
    assert (tmp_path / "out" / "utility.png").stat().st_size > 1000

    cells = sorted(p.name for p in (tmp_path / "out" / "cells").iterdir())
    assert cells == ["17_0_all.json", "17_1_all.json", "1_0_all.json", "1_1_all.json"]
    (tmp_path / "out" / "cells" / "17_1_all.json").unlink()  # as a kill during the last training leaves it
    (tmp_path / "out" / "utility.json").unlink()
    assert untimed(utility()) == untimed(report)


@pytest.mark.slow
def test_workers_give_the_same_table(utility):
    assert untimed(utility("two", workers=2)) == untimed(utility("one"))


def test_a_segmentor_for_each_modality(utility):
    report = utility(rows="2,1", repeats=1, iterations=2, models="each", augment="true")
    models = ["t1n", "t1c", "t2w", "t2f", "mean"]
    assert list(report["rows"][0]["models"]) == models and list(report["train_synthetic_over_real"]) == models
    assert report["settings"]["augment"] is True and report["rows"][1]["models"]["mean"]["WT"]["std"] is None


def test_a_mixture_of_ones_own_with_fewer_patients(utility):
    """One patient of two is left: 4 slices, of which half; the unit is these 4 slices."""
    report = utility(rows="1,0.5:0.5:0.5", repeats=1, iterations=2, models="t2f", data_fraction=0.5)
    assert [r["row"] for r in report["rows"]] == ["1", "0.5:0.5:0.5:mix"] and report["unit_slices"] == 4
    mine = report["rows"][1]
    assert mine["slices"] == {"real": 2, "synthetic": 2, "classical": 2} and mine["paper"] is None
    assert len(report["patients"]["train"]) == 1 and list(mine["models"]) == ["t2f"]


def test_one_judge_has_no_interval(utility, split):
    split.write_text(json.dumps({"train": PATIENTS[:2], "validation": PATIENTS[2:3], "test": PATIENTS[3:]}))
    report = utility(repeats=1, iterations=2)
    assert report["rows"][1]["models"]["all"]["to_row_1"] is None


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"synthetic_dir": None, "dataset_dir": None, "split_file": None, "rows": None},
         "row(s) 33, 17 need synthetic studies: give --synthetic_dir"),
        ({"rows": "1,3"}, "row 3 needs 16 synthetic studies (2 x 8), but there are 8: generate 8 more"),
        ({"rows": "5"}, "row '5' is neither a row of Table 2"),
        ({"models": "pet"}, "unknown modality 'pet'"),
        ({"iterations": 1}, "repeats and batch_size are at least 1 and iterations at least 2"),
        ({"augment": "maybe"}, "expected true or false, got 'maybe'"),
        ({"split_file": "nowhere.json"}, "split file nowhere.json does not exist"),
    ],
)  # fmt: skip
def test_refused(utility, message_of, overrides, message):
    with pytest.raises(RuntimeError) as error:
        utility(**overrides)
    assert message in message_of(error.value)


def test_a_held_out_label_is_refused(utility, message_of, tmp_path):
    write_studies(tmp_path / "leaky", 8, f"{TEST[0]}-000")
    with pytest.raises(RuntimeError) as error:
        utility(synthetic_dir=tmp_path / "leaky")
    assert f"synthetic sample BraTS-SYN-00000-000: its label_source is {TEST[0]}-000" in message_of(error.value)
    assert not (tmp_path / "out" / "cells").exists()


def test_learning_rate_is_the_segmentors(segmentor_copy, utility):
    expected = from_config(segmentor_copy, "train.json", "learning_rate")
    assert utility(rows=1, repeats=1, iterations=2, synthetic_dir=None)["settings"]["learning_rate"] == expected
