"""A generated set against held-out cases, from folder to page."""

from __future__ import annotations

import json

import numpy as np
import pytest

import monai_ext.validation.validate as module
from monai_ext.data import CaseError, SliceDataset, StudyWriter, find_cases, study_name
from monai_ext.validation import Validation


@pytest.fixture
def real_like(tmp_path, write_case, volumes):
    for seed in range(3):
        write_case(tmp_path / "real", "brats2023", f"P{seed}", volumes(seed, (64, 64, 8)))
    (tmp_path / "split.json").write_text(json.dumps({"train": ["P0"], "validation": [], "test": ["P1"]}))
    return tmp_path / "real"


@pytest.fixture
def validate(tmp_path, real_like, write_generated, segmentors, monkeypatch):
    """Run a validation of a generated set in a layout, by random segmentors."""
    monkeypatch.setattr(module, "open_segmentors", lambda root, names, ckpt_path: segmentors)

    def run(layout="brats", **kwargs):
        settings = {
            "synthetic_dir": write_generated(tmp_path / layout, layout=layout), "dataset_dir": real_like,
            "output_dir": tmp_path / "out", "segmentor_root": "unused", "phantom_dir": tmp_path / "phantom",
            "split_file": tmp_path / "split.json", "roi_size": (64, 64), "slice_range": (2, 6), **kwargs,
        }  # fmt: skip
        return Validation(**settings).run()

    return run


@pytest.mark.parametrize("layout", ["brats", "decathlon"])
def test_metrics_and_page(tmp_path, validate, segmentors, layout):
    metrics = validate(layout)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert metrics["synthetic"] == {"dir": layout, "samples": 3}
    assert metrics["real"] == {"phantom": False, "slices": 8, "patients": ["P1", "P2"]}
    assert list(metrics["lesion_fidelity"]) == list(segmentors)
    for row in metrics["lesion_fidelity"].values():
        assert row["synthetic"]["slices"] == 3 and row["real"]["slices"] == 6
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and page.rstrip().endswith("</html>")
    assert "3 synthetic studies against 2 held-out patient(s)" in page and "keep it as you keep the data" in page
    assert "phantom stands in" not in page


def test_memorisation_beside_its_yardsticks(tmp_path, validate, write_generated, write_case, volumes):
    """P0 trained the generator; a study that is a slice of P0 is found, as a copy and with its picture."""
    write_case(tmp_path / "real", "brats2023", "P9", volumes(9, (64, 64, 8)), label=False)
    split = {"train": ["P0", "P9"], "validation": [], "test": ["P1"]}  # the generator reads labelled cases alone
    (tmp_path / "split.json").write_text(json.dumps(split))
    generated = write_generated(tmp_path / "set")
    (case,) = (c for c in find_cases(tmp_path / "real") if c.case_id == "P0")
    own = SliceDataset([case], slice_range=(2, 6), roi_size=(64, 64), progress=False).raw(1)
    StudyWriter(generated, "brats").write(study_name(1), own["image"].numpy(), own["label"][0].numpy().astype(np.uint8))
    metrics = validate(synthetic_dir=generated, generator_split_file=tmp_path / "split.json")["memorisation"]
    assert metrics["patients"] == 1 and metrics["held_out"]["n"] == 8 and metrics["next_slice"]["n"] == 3
    assert metrics["synthetic"]["n"] == 3 and metrics["synthetic"]["max"] == pytest.approx(1, abs=1e-3)
    assert metrics["closest"][0] == {
        "name": study_name(1), "similarity": metrics["synthetic"]["max"], "case_id": "P0", "slice": 3
    }  # fmt: skip
    assert metrics["nearer_than_held_out"] >= round(1 / 3, 4) and metrics["as_near_as_next_slice"] >= round(1 / 3, 4)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "slice of the 1 patients" in page


def test_memorisation_is_left_out_without_patients_to_compare_with(tmp_path, validate, caplog):
    """Nobody left that the generator never met, or nobody that it met: the rest is judged all the same."""
    for name, train in (("all", ["P0", "P1", "P2"]), ("nobody", ["P7"])):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"train": train, "validation": [], "test": []}))
        metrics = validate(generator_split_file=path)
        assert "memorisation" not in metrics and metrics["lesion_fidelity"]
    assert "memorisation is left out: all 3 labelled cases" in caplog.text


def test_layouts_score_the_same(validate):
    one, other = validate("brats"), validate("decathlon")
    assert one["lesion_fidelity"] == other["lesion_fidelity"]


def test_generated_images_are_taken_as_they_are(tmp_path, validate, write_generated, monkeypatch):
    """They are in [0, 1] already: the brain is not scaled to its own percentiles once more."""
    root = write_generated(tmp_path / "set")
    checked = Validation(
        root, tmp_path / "real", tmp_path / "out", "unused", tmp_path, None, (64, 64), (2, 6)
    ).synthetic.raw(0)["image"]
    import nibabel as nib
    import numpy as np

    name = "BraTS-SYN-00000-000"
    stored = np.asarray(nib.load(root / name / f"{name}-t2f.nii.gz").dataobj)[88:152, 88:152, 0]
    assert np.allclose(checked[3].numpy(), stored, atol=1e-3)


def test_the_phantom_is_named(tmp_path, real_like, validate, monkeypatch):
    monkeypatch.setattr(module, "dataset_or_phantom", lambda dataset_dir, phantom_dir: real_like)
    metrics = validate(dataset_dir=None, split_file=None)
    assert metrics["real"]["phantom"] is True and metrics["real"]["patients"] == ["P0", "P1", "P2"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "the phantom stands in for patients" in page and "keep it as you keep the data" not in page


def test_nothing_generated(tmp_path, validate):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError, match="no usable case under"):
        validate(synthetic_dir=tmp_path / "empty")
