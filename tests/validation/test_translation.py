"""Translations against the real images and against the copied source."""

from __future__ import annotations

import json
import math

import pytest
import torch
from monai.metrics import SSIMMetric

from monai_ext.networks import CGAN
from monai_ext.validation.translation import CAP, SCORES, evaluate_translation, slice_quality


def disc(value: float = 0.5) -> torch.Tensor:
    x, y = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    inside = ((x - 15.5) / 11) ** 2 + ((y - 23.5) / 17) ** 2 <= 1
    return (value * inside)[None, None]


def test_by_hand():
    real = disc()
    scores = {n: float(v) for n, v in slice_quality(disc(0.6), real).items()}
    share = float((real > 0).float().mean())
    assert scores["psnr_brain"] == pytest.approx(20.0, abs=1e-3)  # 0.1 off in every pixel of the brain
    assert scores["psnr"] == pytest.approx(20.0 - 10 * math.log10(share), abs=1e-3)
    assert scores["ssim"] == pytest.approx(float(SSIMMetric(2, data_range=1.0)(disc(0.6), real)), abs=1e-6)


def test_empty_background_is_always_right():
    noise = torch.rand(1, 1, 32, 48, generator=torch.Generator().manual_seed(0)) * (disc() > 0)
    scores = slice_quality(noise, disc())
    assert float(scores["ssim_brain"]) < float(scores["ssim"]) and float(scores["psnr_brain"]) < float(scores["psnr"])


def test_equal_images():
    assert {n: round(float(v), 4) for n, v in slice_quality(disc(), disc()).items()} == {
        "ssim": 1.0, "psnr": CAP, "ssim_brain": 1.0, "psnr_brain": CAP,
    }  # fmt: skip


def test_outside_the_brain_counts_over_the_crop_alone():
    real, made = disc(), disc()
    made[..., 0, 0] = 0.5
    scores = slice_quality(made, real)
    assert float(scores["psnr"]) < CAP and float(scores["psnr_brain"]) == CAP


class PaintT2(torch.nn.Module):
    """Gives T2 the image it gets; all else is black."""

    def forward(self, image, wanted, style):
        return image * wanted[:, :, 2, None, None]


def perfect() -> CGAN:
    network = CGAN(channels=(4, 4, 4, 4))
    network.image_encoder, network.decoder = torch.nn.Identity(), PaintT2()
    return network


def test_directions(tmp_path, make_dataset):
    dataset = make_dataset(2, roi_size=(32, 32))
    for images in dataset._images:
        images[:, 2] = images[:, 0]
    report = evaluate_translation(perfect(), dataset, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == report
    assert len(report["directions"]) == 12 and report["slices"] == 12 and report["patients"] == ["P0", "P1"]
    copied = report["directions"]["t1n->t2w"]
    assert copied["translation"] == copied["copy"] == {"ssim": 1.0, "psnr": CAP, "ssim_brain": 1.0, "psnr_brain": CAP}
    assert copied["slices"] == 12
    black = report["directions"]["t1c->t2f"]["translation"]
    assert black["ssim_brain"] < 0.1 and black["psnr_brain"] < 10
    for name in SCORES:
        assert report["better_than_copy"][name] == sum(
            d["translation"][name] > d["copy"][name] for d in report["directions"].values()
        )
    assert report["better_than_copy"]["of"] == 12


def test_slices_without_the_target(tmp_path, make_dataset):
    dataset = make_dataset(1, roi_size=(32, 32))
    dataset._images[0][0, 1] = 0
    report = evaluate_translation(CGAN(channels=(4, 4, 4, 4)), dataset, tmp_path, style="random", seed=1)
    assert {n: d["slices"] for n, d in report["directions"].items() if "t1c" in n} == dict.fromkeys(
        [n for n in report["directions"] if "t1c" in n], 5
    )
    assert report["directions"]["t1n->t2w"]["slices"] == 6
