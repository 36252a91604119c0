"""Labels of training patients, labels by procedure, and what is said when there is none."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from monai_ext.data import CaseError, PlacementError
from monai_ext.synthesis import ProceduralLesions, RealLesions, open_lesions
from monai_ext.synthesis.stream import candidate_rng

SLICES = {"roi_size": (32, 32), "slice_range": (2, 8)}


@pytest.fixture
def split(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["P0", "P2"], "validation": ["P1"], "test": ["P3"]}))
    return path


def test_only_training_patients_lend_labels(cases_dir, split):
    lesions = open_lesions(cases_dir, split, **SLICES)
    assert isinstance(lesions, RealLesions)
    # slices 3 to 6 of each case hold a lesion
    assert sorted(set(lesions.sources)) == ["P0", "P2"] and len(lesions.sources) == 8
    assert sorted(set(open_lesions(cases_dir, None, **SLICES).sources)) == ["P0", "P1", "P2", "P3"]


def test_held_out_patients_lend_none_and_unknown_ones_do(cases_dir, split):
    split.write_text(json.dumps({"train": ["P0"], "validation": ["P1"], "test": ["P3"]}))
    assert sorted(set(open_lesions(cases_dir, split, **SLICES).sources)) == ["P0", "P2"]


def test_real_lesions_are_placed_inside(cases_dir, split):
    lesions = open_lesions(cases_dir, split, **SLICES)
    mask = torch.zeros(1, 32, 32)
    mask[:, :4] = 1
    placed = [lesions.place(mask, candidate_rng(0, k)) for k in range(6)]
    for label, source, tries in placed:
        assert label.shape == (1, 32, 32) and label.any() and float((label * mask).sum()) == 0
        assert source in ("P0", "P2") and 1 <= tries <= 50
    again = lesions.place(mask, candidate_rng(0, 5))
    assert again.label.equal(placed[5].label) and again.source == placed[5].source
    with pytest.raises(PlacementError, match="no lesion label lies inside this brain in 50 draws"):
        lesions.place(torch.ones(1, 32, 32), candidate_rng(0, 0))


def test_segmentations_alone_are_enough(tmp_path, cases_dir):
    for path in cases_dir.rglob("*-seg.nii.gz"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / path.name).write_bytes(path.read_bytes())
    assert sorted(set(open_lesions(tmp_path / "labels", **SLICES).sources)) == ["P0", "P1", "P2", "P3"]


def test_a_source_of_real_labels_needs_some(tmp_path, cases_dir, split, write_case, volumes):
    with pytest.raises(CaseError, match=r"no lesion in slices \(8, 10\) of the 2 cases"):
        open_lesions(cases_dir, split, (32, 32), (8, 10))
    split.write_text(json.dumps({"train": ["P9"], "validation": ["P0", "P1"], "test": ["P2", "P3"]}))
    with pytest.raises(CaseError, match="no segmentation to take labels from under .*split.json holds out"):
        open_lesions(cases_dir, split, **SLICES)
    write_case(tmp_path / "bare", "brats2023", "P7", volumes(), label=False)
    with pytest.raises(CaseError, match="no segmentation to take labels from under"):
        open_lesions(tmp_path / "bare", None, **SLICES)
    with pytest.raises(CaseError, match="is not a folder"):
        open_lesions(tmp_path / "nowhere", None, **SLICES)
    with pytest.raises(FileNotFoundError, match="split file .* does not exist"):
        open_lesions(cases_dir, tmp_path / "none.json", **SLICES)
    with pytest.raises(ValueError, match="no lesion label to draw from"):
        RealLesions([], [])


def test_procedural_lesions(caplog):
    with caplog.at_level(logging.WARNING):
        lesions = open_lesions(None)
    assert isinstance(lesions, ProceduralLesions) and "drawn by procedure" in caplog.text
    mask = torch.ones(1, 96, 96)
    mask[:, 10:80, 10:80] = 0
    placed = lesions.place(mask, np.random.default_rng(0))
    assert placed.label.dtype == torch.float32 and placed.label.any() and not (placed.label * mask).any()
    assert placed.label.equal(lesions.place(mask, np.random.default_rng(0)).label)
    with pytest.raises(PlacementError, match="no lesion of 35 mm fits"):
        lesions.place(1 - (torch.arange(96) < 8).float().expand(1, 8, 96), np.random.default_rng(0))
