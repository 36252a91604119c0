"""Judges come from the bundle, from one file, or from a folder that a cross-validation left."""

from __future__ import annotations

import pytest
import torch

from monai_ext.bundles import BundleError, bundle_root, from_config
from monai_ext.validation import open_segmentors

ROOT = bundle_root("segmentor")


@pytest.fixture
def folder(tmp_path):
    """Random weights of two judges, as ``<name>/model.pt``."""
    for seed, name in enumerate(("all", "t2f")):
        torch.manual_seed(seed)
        (tmp_path / name).mkdir()
        torch.save(from_config(ROOT, "train.json", "network_def", modalities=name).state_dict(),
                   tmp_path / name / "model.pt")  # fmt: skip
    return tmp_path


def test_folder(folder):
    judges = open_segmentors(ROOT, ["all", "t2f"], ckpt_path=folder)
    for name, judge in judges.items():
        saved = torch.load(folder / name / "model.pt", weights_only=True)
        assert all(v.equal(saved[k]) for k, v in judge.state_dict().items())


def test_one_file(folder):
    (judge,) = open_segmentors(ROOT, "t2f", ckpt_path=folder / "t2f" / "model.pt").values()
    saved = torch.load(folder / "t2f" / "model.pt", weights_only=True)
    assert all(v.equal(saved[k]) for k, v in judge.state_dict().items())
    with pytest.raises(ValueError, match="is of one segmentor"):
        open_segmentors(ROOT, "all,t2f", ckpt_path=folder / "t2f" / "model.pt")


def test_missing_from_the_folder(folder):
    with pytest.raises((BundleError, FileNotFoundError), match=r"t2w/model\.pt"):
        open_segmentors(ROOT, "t2w", ckpt_path=folder)
