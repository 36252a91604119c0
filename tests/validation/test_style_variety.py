"""One map in many styles, by a generator whose contrast is known."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn as nn

from monai_ext.networks import CGAN
from monai_ext.validation.style_variety import paint_styles, style_variety

SIZE = 32


class Slices:
    """Patients at one or more slice heights; ``levels[p]`` is the brightness of patient p's two modalities."""

    modalities = ("t1n", "t2w")

    def __init__(self, levels, heights=(60,), first=0):
        self.items = []
        for number, values in enumerate(levels):
            for height in heights:
                image = torch.zeros(2, SIZE, SIZE)
                image[:, 4:28, 4:28] = torch.tensor(values)[:, None, None]
                image[:, 10:20, 10:20] += 0.2
                label = torch.zeros(1, SIZE, SIZE)
                label[:, 6:9, 6:9] = 2
                self.items.append({"image": image, "label": label, "slice": height, "patient_id": f"P{first + number}"})

    def __len__(self):
        return len(self.items)

    def raw(self, index):
        return self.items[index]


class Contrast(nn.Module):
    """Paints the left half at 0.5 and the right half brighter, as the style says; keeps what it was given."""

    num_classes, noise_channels, style_size, shown_classes = 3, 1, 2, ()

    def __init__(self, gain=(0.01, 0.02)):
        super().__init__()
        self.gain, self.styles, self.noise = torch.tensor(gain), [], []

    def forward(self, fused, style, noise):
        self.styles.append(style)
        self.noise.append(noise)
        images = torch.full((len(style), 2, SIZE, SIZE), 0.5)
        images[..., SIZE // 2 :] += 0.2 + (self.gain * style)[..., None, None]
        return images


def test_hand_computed():
    network, dataset = Contrast(), Slices([(0.2, 0.4), (0.4, 0.4)])
    report = style_variety(network, dataset, styles=6, canvas_size=None, seed=3)
    assert (report["styles"], report["maps"], report["patients"]) == (6, 2, 2)
    styles = torch.stack(network.styles)
    assert styles.shape == (2, 6, 2)
    assert all((n == n[:1]).all() for n in network.noise), "one texture for all styles of a map"
    expected = (network.gain * styles).var(1).mean(0).sqrt().tolist()
    for i, modality in enumerate(dataset.modalities):
        row = report["deviation"][modality]
        # more than a tenth of the brain lies on either side; its median is on one side or on its border
        assert row["contrast"]["painted"] == pytest.approx(expected[i], rel=1e-3)
    # 0.2 and 0.4 in two patients: deviation 0.1 * sqrt(2); the second modality is the same in both
    assert report["deviation"]["t1n"]["median"]["real"] == pytest.approx(0.1 * 2**0.5, abs=1e-4)
    assert report["deviation"]["t2w"]["median"]["real"] == pytest.approx(0, abs=1e-6)
    assert report["deviation"]["t1n"]["contrast"]["real"] == pytest.approx(0, abs=1e-6)
    assert report["edge_agreement"]["styles"] == pytest.approx(1) and 0.5 < report["edge_agreement"]["patients"] <= 1


def test_a_generator_that_ignores_the_style():
    report = style_variety(Contrast(gain=(0.0, 0.0)), Slices([(0.2, 0.3)] * 2), canvas_size=None)
    assert report["styles"] == 8
    for row in report["deviation"].values():
        assert row["median"]["painted"] == row["contrast"]["painted"] == 0


def test_training_patients_join():
    held, training = Slices([(0.2, 0.4)]), Slices([(0.4, 0.4), (0.4, 0.4)], first=1)
    report = style_variety(Contrast(), held, training, canvas_size=None)
    assert report["patients"] == 3 and report["maps"] == 1
    expected = torch.tensor([0.2, 0.4, 0.4]).std()
    assert report["deviation"]["t1n"]["median"]["real"] == pytest.approx(float(expected), abs=1e-4)


def test_only_the_same_height_is_compared():
    """The second patient has a slice at another height only."""
    held, training = Slices([(0.2, 0.4)], heights=(60, 61)), Slices([(0.4, 0.4)], heights=(61, 62), first=1)
    report = style_variety(Contrast(), held, training, canvas_size=None)
    assert report["deviation"]["t1n"]["median"]["real"] == pytest.approx(0.1 * 2**0.5, abs=1e-4)


def test_one_patient(caplog):
    dataset = Slices([(0.2, 0.4)], heights=(60, 61))
    dataset.items.append(dict(dataset.items[0]))  # a second scan of the same patient
    with caplog.at_level(logging.WARNING):
        report = style_variety(Contrast(), dataset, canvas_size=None)
    assert "the variety of real patients is left out" in caplog.text
    assert set(report["deviation"]["t1n"]["median"]) == {"painted"} and set(report["edge_agreement"]) == {"styles"}
    assert report["patients"] == 1


def test_maps_are_spread_over_the_data_set():
    dataset = Slices([(0.2, 0.4), (0.3, 0.4)], heights=range(60, 70))
    network = Contrast()
    assert style_variety(network, dataset, count=4, styles=2, canvas_size=None)["maps"] == 4
    assert style_variety(network, dataset, count=40, styles=2, canvas_size=None)["maps"] == 20
    with pytest.raises(ValueError, match="at least two styles, got 1"):
        style_variety(network, dataset, styles=1)


def test_real_network():
    torch.manual_seed(0)
    network = CGAN(2, 3, noise_channels=1, channels=(4, 4, 6, 6))
    item = Slices([(0.2, 0.4)]).raw(0)
    style, noise = torch.randn(3, network.style_size), torch.randn(1, SIZE, SIZE)
    images = paint_styles(network, item["image"][:1], item["label"], style, noise, canvas_size=None)
    assert images.shape == (3, 2, SIZE, SIZE) and not images.requires_grad
    assert (images[..., 0] == 0).all() and (images[..., 10:20, 10:20] > 0).all(), "cut by the mask"
    again = paint_styles(network, item["image"][:1], item["label"], style[1:2], noise, canvas_size=None)
    assert torch.allclose(images[1:2], again, atol=1e-5) and not torch.allclose(images[0], images[1])
    first, second = (style_variety(network, Slices([(0.2, 0.4)] * 2), styles=2, seed=5) for _ in range(2))
    assert first == second
