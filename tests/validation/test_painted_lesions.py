"""Lesion fidelity before and after a blur: a pattern that only a segmentor reads does not outlive it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn as nn

from monai_ext.validation.painted_lesions import blurred, compare_scores, lesion_scores, with_difference

SIZE = 40


def slices(value=0.5, count=2):
    """Brains at 0.3 in a background of 0, with a lesion of class 2 at ``value``, and its label."""
    images, label = torch.zeros(count, 2, SIZE, SIZE), torch.zeros(count, 1, SIZE, SIZE)
    images[..., 4:36, 4:36] = 0.3
    images[..., 12:28, 12:28] = value
    label[..., 12:28, 12:28] = 2
    return images, label


def checkerboard(images, label, size=0.2):
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return images + size * (1 - 2 * ((rows + columns) % 2)) * (label > 0)


class Roughness(nn.Module):
    """Finds a lesion where pixels differ from their neighbours' mean, or where they are bright."""

    def forward(self, images):
        mean = nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
        found = (((images - mean).abs() > 0.15) | (images > 0.45)).any(1) & (images[:, 0] > 0)
        logits = torch.zeros(len(images), 4, SIZE, SIZE)
        logits[:, 2] = 2 * found.float() - 1
        return logits


def test_blur():
    images, label = slices(0.3)
    rough = checkerboard(images, label, 0.2)
    soft = blurred(rough)
    assert torch.equal(soft == 0, rough == 0), "background stays background"
    inside = soft[..., 16:24, 16:24]
    assert (inside - 0.3).abs().max() < 0.01, "a checkerboard fades to its mean"
    assert torch.allclose(soft[..., 8, 8:10], torch.tensor(0.3), atol=1e-3)
    dot = torch.full((1, 1, 21, 21), 1e-9)
    dot[..., 10, 10] = 1
    peak = math.erf(0.5 / 2**0.5) ** 2  # a Gaussian of 1 pixel, integrated over one pixel in each direction
    assert blurred(dot)[0, 0, 10, 10].item() == pytest.approx(peak, abs=0.01)


def test_a_gamed_segmentor_is_seen():
    """Painted lesions have a checkerboard and nothing else; real ones are bright."""
    segmentors = {"all": Roughness(), "t2w": Roughness()}
    real, label = slices(0.6)
    painted = checkerboard(slices(0.3)[0], label)

    def compare(made, held_out):
        return compare_scores(*(lesion_scores(segmentors, x, label, ("t1n", "t2w")) for x in (made, held_out)))

    sharp = compare(painted, real)
    report = with_difference(compare(blurred(painted), blurred(real)), sharp)
    assert sharp["all"]["ratio"]["WT"] > 0.8 and sharp["all"]["painted"]["slices"] == 2
    for name, row in report.items():
        assert row["ratio"]["WT"] < 0.4
        assert row["difference"]["WT"] == pytest.approx(row["ratio"]["WT"] - sharp[name]["ratio"]["WT"], abs=2e-3)
    honest = with_difference(compare(blurred(real), blurred(real)), compare(real, real))
    assert honest["all"]["difference"] == {"dice_index": 0, "WT": 0}


def test_channels(constant):
    images, label = slices()
    judges = {"all": constant(2), "t2w": constant(2)}
    scores = lesion_scores(judges, images, label, ("t1n", "t2w"), batch_size=1)
    assert judges["all"].channels == {2} and judges["t2w"].channels == {1}
    share = 16 * 16 / SIZE**2
    assert scores["all"]["WT"] == pytest.approx(2 * share / (1 + share), abs=1e-4)
    assert scores["all"]["TC"] is None and scores["all"] == scores["t2w"]


def test_ratios():
    made = {"all": {"slices": 3, "dice_index": 0.5, "WT": 0.9, "TC": None, "ET": 0.3}}
    real = {"all": {"slices": 5, "dice_index": 0.4, "WT": 0.6, "TC": 0.1, "ET": 0.0}}
    sharp = compare_scores(made, real)
    assert sharp == {"all": {"painted": made["all"], "real": real["all"], "ratio": {"dice_index": 1.25, "WT": 1.5}}}
    soft = compare_scores({"all": {**made["all"], "WT": 0.3, "ET": 0.2}}, {"all": {**real["all"], "ET": 0.1}})
    report = with_difference(soft, sharp)
    assert report["all"]["ratio"] == {"dice_index": 1.25, "WT": 0.5, "ET": 2.0}
    assert report["all"]["difference"] == {"dice_index": 0, "WT": -1}, "where both have a ratio"
