"""What ``evaluate_maps`` says of generators whose quality is known."""

from __future__ import annotations

import json
import logging

import matplotlib.image
import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn as nn

from monai_ext.data import LeakError
from monai_ext.labels import MODALITIES
from monai_ext.transforms import ContourMask
from monai_ext.validation import evaluate_maps
from monai_ext.validation.map_codes import ks_distance, normality
from monai_ext.validation.map_sets import choose, real_set

SIZE = 64
COVERAGE = {"density", "coverage", "coverage_of_all"}
COLUMN = {"closed", "edge_density", "similarity", "profile_distance", "nearest_training"} | COVERAGE


class Prior(nn.Module):
    def to_noise(self, code):
        return code


class Known(nn.Module):
    """A map is its own code, MASK is Algorithm 3, and noise gives these very maps, in turn."""

    latent_size = SIZE * SIZE

    def __init__(self, maps):
        super().__init__()
        self.maps, self.done, self.prior, self.contour = maps.float(), 0, Prior(), ContourMask()

    def encoder(self, structure):
        mean = structure.flatten(1)
        return mean, torch.full_like(mean, -8)

    def decoder(self, code):
        return code.view(-1, 1, SIZE, SIZE) - 0.5

    def mask(self, structure):
        return torch.stack([torch.as_tensor(self.contour(s)) for s in structure]) * 2 - 1

    def forward(self, noise):
        turn = torch.arange(self.done, self.done + len(noise)) % len(self.maps)
        self.done += len(noise)
        return self.maps[turn], (self.mask(self.maps[turn]) > 0).float()


@pytest.fixture(scope="module")
def copied(tmp_path_factory, held_out, training):
    """A generator that hands out the training maps, each once, and its folder."""
    folder = tmp_path_factory.mktemp("copied")
    return evaluate_maps(Known(real_set(training).maps), held_out, folder, training, num_samples=16, pairs=50), folder


def test_keys_and_files(copied):
    report, folder = copied
    assert json.loads((folder / "metrics.json").read_text()) == report
    assert sorted(p.name for p in folder.iterdir()) == ["generated.png", "maps.png", "metrics.json", "metrics.png"]
    for column in ("generated", "reconstructed", "real"):
        assert set(report[column]) == COLUMN, column
    assert set(report["training"]) == {"edge_density", "closed", "similarity"}
    assert set(report["gap"]) == {"closed", "edge_density", "coverage"}
    assert set(report["code"]) == {"mean", "variance", "ks_mean", "ks_max", "ks_floor"}
    assert (report["patients"], report["training_patients"]) == (["P0", "P1"], ["P2", "P3"])
    assert [report[f"{n}_maps"] for n in ("generated", "real", "training", "compared")] == [16] * 4
    assert report["modalities"] == list(MODALITIES) and report["maps_per_second"] > 0


def test_copies_of_training_maps(copied):
    report, _ = copied
    made = report["generated"]
    assert made["nearest_training"] == {"p05": 1, "p50": 1, "p95": 1} and made["coverage"] == 1 and made["density"] > 1
    assert made["profile_distance"] == {"radial": 0, "angular": 0}
    assert made["edge_density"] == report["training"]["edge_density"]
    real = report["real"]
    assert real["nearest_training"]["p95"] < 1 and real["profile_distance"]["radial"] > 0
    assert report["edge_density_ratio"] == pytest.approx(made["edge_density"] / real["edge_density"], abs=0.01)


def test_perfect_reconstruction(copied):
    report, _ = copied
    assert report["reconstructed"] == report["real"] and report["reconstruction_dice"] == 1
    assert report["closed_real"] == report["real"]["closed"] == 1, "MASK is Algorithm 3 itself"
    for figure, value in report["gap"].items():
        assert value == pytest.approx(report["generated"][figure] - report["real"][figure], abs=2e-4)


def test_pictures(copied, held_out, training):
    _, folder = copied
    sheet = matplotlib.image.imread(folder / "maps.png")[..., 0]
    half = 8 * (SIZE + 2) - 2
    assert sheet.shape == (6 * (SIZE + 2) - 2, 2 * half + 12)
    assert (sheet[:, half : half + 12] == 1).all()
    first, other = (real_set(d).maps[0, 0].numpy().T for d in (training, held_out))
    assert (sheet[:SIZE, :SIZE] == first).all() and (sheet[:SIZE, half + 12 : half + 12 + SIZE] == other).all()
    assert matplotlib.image.imread(folder / "metrics.png").std() > 0


def test_one_map_for_every_noise(tmp_path, held_out, training):
    network = Known(real_set(training).maps[:1])
    report = evaluate_maps(network, held_out, tmp_path, training, num_samples=16, pairs=50)
    made = report["generated"]
    assert made["similarity"] == {"mean": 1, "std": 0} and made["coverage"] < 1
    assert report["gap"]["coverage"] == pytest.approx(made["coverage"] - report["reconstructed"]["coverage"], abs=2e-4)


def test_without_training_patients(tmp_path, held_out, caplog):
    network = Known(real_set(held_out).maps)
    with caplog.at_level(logging.WARNING):
        report = evaluate_maps(network, held_out, tmp_path, num_samples=4, pairs=20)
    assert "no training patients at hand" in caplog.text
    assert set(report["generated"]) == {"closed", "edge_density", "similarity"}
    assert set(report["reconstructed"]) == set(report["real"]) == {"closed", "edge_density"}
    assert set(report["gap"]) == {"closed", "edge_density"} and report["code"]["ks_mean"] > 0
    assert not report.keys() & {"training", "training_maps", "training_patients"}
    assert (tmp_path / "metrics.png").is_file() and (tmp_path / "maps.png").is_file()


def test_one_training_patient(tmp_path, held_out, cases, cut_slices, caplog):
    """Has no neighbours of other patients; what needs them is left out."""
    report = evaluate_maps(Known(real_set(held_out).maps), held_out, tmp_path, cut_slices(cases[2:3]), num_samples=1)
    assert COLUMN - set(report["real"]) == COVERAGE
    assert COLUMN - set(report["generated"]) == COVERAGE | {"similarity"}
    assert "similarity" not in report["training"] and "coverage" not in report["gap"]
    assert "a figure is left out: each real map needs 5 neighbours of other patients" in caplog.text
    assert "no pair of different groups" in caplog.text and "no pair of different maps" in caplog.text


def test_a_patient_on_both_sides(tmp_path, held_out, cases, cut_slices):
    with pytest.raises(LeakError, match=r"P1 \(training and held out\)"):
        evaluate_maps(Known(torch.zeros(1, 1, SIZE, SIZE)), held_out, tmp_path, cut_slices(cases[1:]))
    assert not list(tmp_path.iterdir())


def test_same_seed_same_report(tmp_path, held_out, training, copied):
    again = evaluate_maps(Known(real_set(training).maps), held_out, tmp_path, training, num_samples=16, pairs=50)
    del again["maps_per_second"]
    assert again == {k: v for k, v in copied[0].items() if k != "maps_per_second"}


def test_real_maps(held_out, caplog):
    maps = real_set(held_out)
    assert maps.maps.shape == maps.masks.shape == (16, 1, SIZE, SIZE) and maps.maps.dtype == torch.uint8
    assert maps.patients == ("P0",) * 8 + ("P1",) * 8
    assert len(real_set(held_out, every=3).maps) == 12
    with caplog.at_level(logging.INFO):
        few = real_set(held_out, limit=8)
    assert len(few.maps) == 8 and "2 of 4 slices are drawn" in caplog.text


def test_choose():
    assert choose(3, 5, 0) == [0, 1, 2]
    drawn = choose(100, 10, 1)
    assert drawn == sorted(set(drawn)) and len(drawn) == 10 and max(drawn) < 100
    assert drawn == choose(100, 10, 1) != choose(100, 10, 2)


def test_ks_distance_is_that_of_scipy():
    noise = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 2, 0.1]) + 0.3
    expected = [scipy.stats.kstest(column, "norm").statistic for column in noise.double().numpy().T]
    assert ks_distance(noise).tolist() == pytest.approx(expected)
    # one sample at the median: half of the distribution lies on either side
    assert ks_distance(torch.zeros(1, 1)).item() == pytest.approx(0.5)


def test_normality():
    rng = torch.Generator().manual_seed(5)
    noise = torch.randn(200, 300, generator=rng)
    good = normality(noise)
    assert good["ks_mean"] == pytest.approx(good["ks_floor"], rel=0.1) and good["ks_max"] > good["ks_mean"]
    assert good["mean"] == pytest.approx(0, abs=0.02) and good["variance"] == pytest.approx(1, abs=0.03)
    off = normality(0.5 * noise + 1)
    assert off["mean"] == pytest.approx(1, abs=0.02) and off["variance"] == pytest.approx(0.25, abs=0.01)
    assert off["ks_mean"] > 3 * off["ks_floor"] and off["ks_floor"] == good["ks_floor"]
    assert all(np.isfinite(list(normality(torch.zeros(1, 2)).values())))
