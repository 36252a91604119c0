"""What MONAI's evaluators read and write when they generate."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import torch

from monai_ext.data import StudyWriter, find_cases, read_case
from monai_ext.synthesis import LabelDataset, NoiseDataset, SaveStudies, prepare_study
from monai_ext.synthesis.stream import candidate_rng, latent_code

SIZES = SimpleNamespace(latent_size=6, style_size=12, noise_channels=2)


def test_noise_of_candidates():
    dataset = NoiseDataset(6, 3, seed=4)
    items = [dataset[k] for k in range(len(dataset))]
    for number, item in enumerate(items):
        assert item["candidate"] == number
        assert torch.equal(item["image"], latent_code(candidate_rng(4, number), 6)[0])
    assert not torch.equal(items[0]["image"], items[1]["image"])


def test_labels_with_noise(make_dataset):
    slices = make_dataset(lesion_only=True)
    dataset = LabelDataset(slices, SIZES, seed=1, threshold=0.4, style_scale=0.5)
    again, other = LabelDataset(slices, SIZES, seed=1), LabelDataset(slices, SIZES, seed=2)
    assert len(dataset) == len(slices)
    item = dataset[2]
    assert torch.equal(item["label"], slices.raw(2)["label"]) and item["case_id"] == slices.raw(2)["case_id"]
    assert item["threshold"].tolist() == [np.float32(0.4)] and item["noise"].shape == (2, 16, 16)
    assert torch.equal(item["latent"], latent_code(candidate_rng(1, 2), 6)[0])
    assert torch.equal(item["noise"], again[2]["noise"]) and not torch.equal(item["noise"], other[2]["noise"])
    assert torch.equal(item["style"], 0.5 * again[2]["style"])


def test_prepared_for_an_evaluator(make_dataset):
    dataset = LabelDataset(make_dataset(lesion_only=True), SIZES)
    batch = torch.utils.data.default_collate([dataset[0], dataset[1]])
    latent, label, args, others = prepare_study(batch, "cpu", dtype=torch.float64)
    assert latent.shape == (2, 6) and args == () and list(others) == ["label", "threshold", "style", "noise"]
    assert others["label"] is label and latent.dtype == torch.float64


def test_what_lies_outside_the_brain_leaves_the_label(tmp_path):
    label = torch.zeros(1, 16, 16)
    label[:, 4:8, 4:8] = 2
    images = torch.zeros(4, 16, 16)
    images[1, :6] = 0.5
    item = {"index": torch.tensor(7), "case_id": "P3", "slice": torch.tensor(60)}
    handler = SaveStudies(StudyWriter(tmp_path), seed=9)
    handler.save(SimpleNamespace(state=SimpleNamespace(batch=[item], output=[{"pred": images, "label": label}])))
    handler.finish(SimpleNamespace())
    (case,) = find_cases(tmp_path, require_segmentation=True)
    _, written = read_case(case)
    assert int((written == 2).sum()) == 8 and int((written > 0).sum()) == 8
    (record,) = map(json.loads, (tmp_path / "manifest.jsonl").read_text().splitlines())
    assert record == {
        "name": "BraTS-SYN-00007-000", "seed": 9, "candidate": 7, "label_source": "P3", "label_slice": 60,
        "lesion_pixels": 8, "label_cut": 8,
    }  # fmt: skip
    assert json.loads((tmp_path / "dataset.json").read_text())["numTraining"] == 1
