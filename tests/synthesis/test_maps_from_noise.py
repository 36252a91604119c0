"""Maps and masks on disk."""

from __future__ import annotations

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_ext.synthesis import MapFilter, MapGenerator, SynthesisError
from monai_ext.synthesis.stream import candidate_rng, latent_code


@pytest.fixture
def make(ring_generator):
    def make(folder, threshold=0.05, **kwargs):
        return MapGenerator(ring_generator(), MapFilter(threshold), folder, **{"num_samples": 5, **kwargs})

    return make


def test_files_manifest_and_report(tmp_path, make, ring_generator):
    report = make(tmp_path).run()
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["accepted"] == len(lines) == 5
    assert report["candidates"] == report["accepted"] + report["rejected"] > 5
    assert [r["candidate"] for r in lines] == sorted({r["candidate"] for r in lines})
    names = {"manifest.jsonl", "report.json"}
    for index, record in enumerate(lines):
        files = {k: f"{k}-{index:05d}.nii.gz" for k in ("map", "mask")} | {"picture": f"map-{index:05d}.png"}
        assert {k: record[k] for k in files} == files and record["seed"] == 0 and record["mae"] <= 0.05
        names |= set(files.values())
        structure, mask = ring_generator()(latent_code(candidate_rng(0, record["candidate"]), 4))
        for kind, expected, outside in (("map", structure, 0), ("mask", mask, 1)):
            volume = np.asarray(nib.load(tmp_path / files[kind]).dataobj)
            assert volume.shape == (240, 240, 1) and volume.dtype == np.uint8
            assert (volume[40:200, 24:216, 0] == expected[0, 0].numpy()).all()
            assert (volume[:40] == outside).all() and (volume[:, 216:] == outside).all()
        with Image.open(tmp_path / files["picture"]) as picture:
            assert picture.size == (320, 192)
    assert {p.name for p in tmp_path.iterdir()} == names


def test_same_seed_same_files(tmp_path, make):
    make(tmp_path / "a", num_samples=2).run()
    make(tmp_path / "b", num_samples=3).run()
    for name in ("map-00000.nii.gz", "mask-00001.nii.gz", "map-00001.png"):
        one, two = (hashlib.sha256((tmp_path / d / name).read_bytes()).digest() for d in ("a", "b"))
        assert one == two
    make(tmp_path / "c", num_samples=2, seed=1).run()
    assert (tmp_path / "a" / "map-00000.nii.gz").read_bytes() != (tmp_path / "c" / "map-00000.nii.gz").read_bytes()


def test_attempts_run_out(tmp_path, make):
    with pytest.raises(SynthesisError, match="only 0 of 5 maps passed the filter in 10 candidates: raise --mae"):
        make(tmp_path, threshold=-1.0, max_attempts=2).run()
    assert json.loads((tmp_path / "report.json").read_text())["rejected"] == 10
    assert (tmp_path / "manifest.jsonl").read_text() == ""


def test_counts_below_one_are_refused(tmp_path, make):
    for wrong in ({"num_samples": 0}, {"max_attempts": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            make(tmp_path, **wrong)
