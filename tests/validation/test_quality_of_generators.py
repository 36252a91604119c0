"""Maps and images against held-out ones."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn as nn

from monai_ext.data import SliceDataset, find_cases
from monai_ext.labels import MODALITIES
from monai_ext.networks import CGAN, FeatGen
from monai_ext.validation import closed_share, evaluate_images, evaluate_maps


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_case, volumes):
    root = tmp_path_factory.mktemp("cases64")
    for seed in range(2):
        write_case(root, "brats2023", f"P{seed}", volumes(seed, (64, 64, 8)))
    return SliceDataset(find_cases(root), slice_range=(2, 6), roi_size=(64, 64), progress=False)


def test_evaluate_maps(tmp_path, dataset):
    torch.manual_seed(0)
    network = FeatGen((64, 64), code_channels=2, prior_steps=2).train()
    report = evaluate_maps(network, dataset, tmp_path, num_samples=20, every=2, seed=3)
    assert json.loads((tmp_path / "metrics.json").read_text()) == report
    for name in ("mask_dice", "closed_generated", "closed_real", "reconstruction_dice"):
        assert 0 <= report[name] <= 1
    assert report["edge_density_ratio"] > 0
    assert report["generated_maps"] == 20 and report["real_maps"] == 4 * 4, "every second of 8 slices, 4 modalities"
    assert report["patients"] == ["P0", "P1"] and report["modalities"] == list(MODALITIES)
    again = evaluate_maps(network, dataset, tmp_path, num_samples=20, every=2, seed=3)
    assert {**again, "maps_per_second": 0} == {**report, "maps_per_second": 0} and not network.training


def test_closed_share():
    square = torch.zeros(2, 1, 64, 64)
    square[:, 0, 10:54, [10, 53]] = square[:, 0, [10, 53], 10:54] = 1
    mask = torch.ones(2, 1, 64, 64)
    mask[..., 10:54, 10:54] = 0
    assert closed_share(square, mask) == 1
    square[1, 0, 10:30, 10] = 0
    assert closed_share(square, mask) == 0.5
    assert closed_share(square, mask, 1.0) == 1


def test_evaluate_images(tmp_path, dataset, segmentors):
    torch.manual_seed(0)
    network = CGAN(channels=(8, 8, 8, 8))
    judges = {n: segmentors[n] for n in ("all", "t2f")}
    report = evaluate_images(network, dataset, judges, tmp_path, seed=1)
    assert json.loads((tmp_path / "metrics.json").read_text()) == report
    assert list(report["quality"]) == list(MODALITIES) and set(report["quality"]["t1n"]) == {"ssim", "psnr", "mae"}
    assert report["mean_ssim"] == pytest.approx(sum(q["ssim"] for q in report["quality"].values()) / 4, abs=1e-4)
    assert report["slices"] == 8 and report["patients"] == ["P0", "P1"]
    assert set(report["lesion_fidelity"]) == {"all", "t2f"}
    for row in report["lesion_fidelity"].values():
        assert set(row) == {"painted", "real", "ratio"}
        # slices 3 to 5 of each case
        assert row["painted"]["slices"] == row["real"]["slices"] == 6
        for score, ratio in row["ratio"].items():
            assert ratio == pytest.approx(row["painted"][score] / row["real"][score], abs=1e-3)
    assert evaluate_images(network, dataset, {}, tmp_path / "none", seed=1)["lesion_fidelity"] == {}


class Halved(nn.Module):
    """Paints the very slices of a data set, in order, at half the brightness."""

    num_classes, noise_channels, shown_classes = 3, 2, ()

    def __init__(self, dataset: SliceDataset) -> None:
        super().__init__()
        self.images = torch.stack([dataset.raw(i)["image"] for i in range(len(dataset))])
        self.done = 0

    def style(self, quantiles: torch.Tensor) -> torch.Tensor:
        return quantiles

    def forward(self, fused: torch.Tensor, style: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        self.done += len(fused)
        return 0.5 * self.images[self.done - len(fused) : self.done]


def test_hand_computed_quality(tmp_path, dataset, constant):
    network = Halved(dataset)
    judges = {"all": constant(2), "t1c": constant(2)}
    report = evaluate_images(network, dataset, judges, tmp_path, batch_size=3, style_maps=0)
    for m, modality in enumerate(MODALITIES):
        real = network.images[:, m]
        quality = report["quality"][modality]
        assert quality["mae"] == pytest.approx(float(real.mean()) / 2, abs=1e-4)
        psnr = -10 * torch.log10((real / 2).square().mean((1, 2)))
        assert quality["psnr"] == pytest.approx(float(psnr.mean()), abs=0.01)
        assert 0 < quality["ssim"] < 1
    # what sees no difference reports none
    assert report["lesion_fidelity"]["t1c"]["ratio"] == {"dice_index": 1.0, "WT": 1.0}
