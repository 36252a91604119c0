"""Cells: the same every time, done once, found again after a kill, done again under other settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from monai_ext.bundles import bundle_root
from monai_ext.data import write_json
from monai_ext.usability import (
    Cell,
    CellTrainer,
    ClassicalAugmentation,
    Grid,
    parse_rows,
    train_segmentor,
    training_order,
)


def without_time(results):
    return {c.name: {k: v for k, v in r.items() if k != "seconds"} for c, r in results.items()}


def cells_of(trainer, repeats=2, model="all"):
    return [Cell(row, k, model) for k in range(repeats) for row in trainer.counts]


@pytest.mark.parametrize("model, channels", [("all", 4), ("t2f", 1)])
def test_training_repeats_itself(make_trainer, model, channels):
    trainer = make_trainer("17")
    (row,) = trainer.counts
    order = training_order(trainer.counts[row], row.order, 4, 4, (0,))
    states = []
    for seed in (3, 3, 4):
        torch.rand(seed + 1)  # what happened before does not matter
        network, losses = train_segmentor(
            model, trainer.pool(Cell(row, 0, model)), order, bundle_root("segmentor"), 0.002, seed=seed
        )
        states.append(network.state_dict())
        assert len(losses) == 4 and len({round(x, 6) for x in losses}) > 1
    assert next(network.parameters()).shape[1] in (channels, 4 * channels)
    assert all(v.equal(states[1][k]) for k, v in states[0].items())
    assert any(not v.equal(states[2][k]) for k, v in states[0].items())


def test_a_loss_that_is_no_number(make_trainer):
    trainer = make_trainer("1")
    (row,) = trainer.counts
    pool = trainer.pool(Cell(row, 0, "t2f"))
    with pytest.raises(FloatingPointError, match="in iteration 2: lower learning_rate"):
        train_segmentor(
            "t2f", pool, training_order(trainer.counts[row], "mix", 2, 2, (0,)), bundle_root("segmentor"), float("inf")
        )


def test_resume(make_trainer, tmp_path, caplog):
    """A missing cell, and one that was half written, are done again, and the table is the same."""
    trainer = make_trainer("1,17")
    cells = cells_of(trainer)
    first = Grid(trainer, tmp_path).run(cells)
    files = sorted(p.name for p in (tmp_path / "cells").iterdir())
    assert files == ["17_0_all.json", "17_1_all.json", "1_0_all.json", "1_1_all.json"]
    assert first[cells[0]]["slices"] == {"real": 8, "synthetic": 0, "classical": 0}
    assert [c["patient_id"] for c in first[cells[0]]["cases"]] == ["P2", "P3"]
    assert first[cells[0]]["cases"] != first[cells[2]]["cases"], "repeats differ"
    (tmp_path / "cells" / "17_1_all.json").unlink()
    (tmp_path / "cells" / "1_0_all.json").write_text('{"row": "1", "rep')
    kept = (tmp_path / "cells" / "17_0_all.json").stat().st_mtime_ns
    again = Grid(make_trainer("1,17"), tmp_path).run(cells)
    assert without_time(again) == without_time(first) and list(again) == cells
    assert (tmp_path / "cells" / "17_0_all.json").stat().st_mtime_ns == kept
    assert "1_0_all.json cannot be read: trained again" in caplog.text


def test_a_row_does_not_depend_on_the_others(make_trainer):
    alone, among = make_trainer("35"), make_trainer("1,35,22,17")
    cell = Cell(parse_rows("35")[0], 1, "t2f")
    assert alone.digest(cell) == among.digest(cell)
    assert alone.run(cell)["cases"] == among.run(cell)["cases"]


def test_other_settings_are_never_mixed(make_trainer, tmp_path, caplog):
    cell = Cell(parse_rows("1")[0], 0, "t2f")
    Grid(make_trainer("1"), tmp_path).run([cell])
    path = tmp_path / "cells" / "1_0_t2f.json"
    first = json.loads(path.read_text())["digest"]
    Grid(make_trainer("1", iterations=4), tmp_path).run([cell])
    assert json.loads(path.read_text())["digest"] != first
    assert "1_0_t2f.json was made with other settings or data: trained again" in caplog.text


def test_what_a_digest_depends_on(make_trainer):
    rows = {r.name: r for r in parse_rows("1,17,16,35")}
    base = make_trainer("1,17,16,35")
    seen = {base.digest(Cell(r, k, m)) for r in rows.values() for k in (0, 1) for m in ("all", "t2f")}
    assert len(seen) == 16
    for changed in (make_trainer("1", seed=1), make_trainer("1", iterations=5), make_trainer("1", augment=True)):
        assert changed.digest(Cell(rows["1"], 0, "all")) not in seen
    other = make_trainer("1,35", classical=ClassicalAugmentation(rotate_range=0.1))
    assert other.digest(Cell(rows["1"], 0, "all")) in seen, "row 1 has no augmented slices"
    assert other.digest(Cell(rows["35"], 0, "all")) not in seen


def test_what_counts_of_the_segmentors_training(make_trainer, sources, tmp_path):
    """Another loss is another training; what else train.json says does not matter."""
    base, row = make_trainer("1"), parse_rows("1")
    config = json.loads((Path(bundle_root("segmentor")) / "configs" / "train.json").read_text())
    seen = []
    for change in (
        {},
        {"max_epochs": 1},
        {"loss": {"_target_": "monai_ext.losses.LesionLoss", "criterion": "squared"}},
    ):
        write_json(tmp_path / "configs" / "train.json", {**config, **change})
        seen.append(CellTrainer(sources, row, base.settings, tmp_path).digest(Cell(row[0], 0, "all")))
    assert base.digest(Cell(row[0], 0, "all")) == seen[0] == seen[1] != seen[2]


def test_augmentation_changes_the_training(make_trainer):
    cell = Cell(parse_rows("1")[0], 0, "t2f")
    plain, augmented = (make_trainer("1", augment=a).run(cell) for a in (False, True))
    assert plain["loss"] != augmented["loss"]
    assert augmented["loss"] == make_trainer("1", augment=True).run(cell)["loss"]


def test_studies_that_are_missing(make_trainer):
    with pytest.raises(
        ValueError, match=r"row 3 needs 16 synthetic studies \(2 x 8\), but there are 8: generate 8 more"
    ):
        make_trainer("1,3")
    with pytest.raises(ValueError, match="unit_slices is at least 1"):
        make_trainer("1", unit_slices=0)
    assert make_trainer("3", unit_slices=4).unit == 4


def test_workers_must_be_positive(make_trainer, tmp_path):
    with pytest.raises(ValueError, match="workers is at least 1, got 0"):
        Grid(make_trainer("1"), tmp_path, 0)
