"""What ``evaluate_images`` says of generators whose quality is known."""

from __future__ import annotations

import json
import logging

import pytest
import torch
import torch.nn as nn

from monai_ext.data import LeakError
from monai_ext.labels import MODALITIES
from monai_ext.networks import CGAN
from monai_ext.validation import Studies, evaluate_images

SIZE = 64
WITH_REFERENCE = {"modality", "distribution"}
ALWAYS = {
    "quality", "mean_ssim", "lesion_fidelity", "lesion_fidelity_blurred", "registration", "style", "slices", "every",
    "patients", "seed", "version",
}  # fmt: skip


def stack(dataset):
    items = [dataset.raw(i) for i in range(len(dataset))]
    return torch.stack([i["image"] for i in items]), torch.stack([i["label"] for i in items])


class Copy(nn.Module):
    """Paints the very slices that it is asked for, in order."""

    num_classes, noise_channels, shown_classes = 3, 2, ()

    def __init__(self, images):
        super().__init__()
        self.images, self.done = images, 0

    def style(self, quantiles):
        return quantiles

    def forward(self, fused, style, noise):
        self.done += len(fused)
        return self.images[self.done - len(fused) : self.done]


@pytest.fixture(scope="module")
def perfect(tmp_path_factory, held_out, training, constant):
    """A generator that paints the held-out slices as they are, and whose studies from noise are those too."""
    images, label = stack(held_out)
    folder = tmp_path_factory.mktemp("perfect")
    judges = {"all": constant(2), "t2f": constant(2)}
    report = evaluate_images(
        Copy(images), held_out, judges, folder, reference=training, style_maps=0, classifier_steps=2,
        studies=Studies(images[:4], label[:4], 9),
    )  # fmt: skip
    return report, folder


def test_keys_and_file(perfect):
    report, folder = perfect
    assert json.loads((folder / "metrics.json").read_text()) == report
    assert set(report) == (ALWAYS - {"style"}) | WITH_REFERENCE | {"training_patients", "featgen_maps"}
    assert (report["patients"], report["training_patients"]) == (["P0", "P1"], ["P2", "P3"])
    assert (report["slices"], report["every"]) == (8, 1)


def test_a_perfect_generator_scores_as_real_images(perfect):
    report, _ = perfect
    registration = report["registration"]
    assert registration["painted"] == registration["real"] and set(registration["real"]) == {"edge_agreement", "nmi"}
    assert len(registration["real"]["nmi"]["by_pair"]) == 6
    assert registration["unregistered"]["nmi"]["mean"] != registration["real"]["nmi"]["mean"]
    assert report["modality"]["painted"] == report["modality"]["real"] and report["modality"]["real"]["n"] == 32
    distribution = report["distribution"]
    assert distribution["extractor"] == {
        "network": "ModalityClassifier, before its last layer", "features": 64, "steps": 2, "slices": 8, "patients": 2,
    }  # fmt: skip
    for row in distribution["by_modality"].values():
        assert row["n"] == {"painted": 8, "real": 8, "training": 8}
        for key in ("fid", "mmd"):
            assert row[key]["painted"] == row[key]["real"]
    for name, row in report["lesion_fidelity_blurred"].items():
        assert row["ratio"] == report["lesion_fidelity"][name]["ratio"] == {"dice_index": 1, "WT": 1}
        assert row["difference"] == {"dice_index": 0, "WT": 0}


def test_studies_from_noise(perfect, held_out):
    """Have all but what needs a real counterpart."""
    report, _ = perfect
    made = report["featgen_maps"]
    assert (made["studies"], made["candidates"]) == (4, 9)
    assert set(made) == {
        "studies", "candidates", "lesion_fidelity", "lesion_fidelity_blurred", "registration", "modality",
        "distribution",
    }  # fmt: skip
    assert made["registration"]["real"] == report["registration"]["real"]
    assert made["registration"]["painted"] != report["registration"]["painted"]
    assert made["distribution"]["by_modality"]["t1c"]["n"] == {"painted": 4, "real": 8, "training": 8}
    assert made["lesion_fidelity"]["all"]["painted"]["slices"] == 3, "slices 3 to 5 of the first patient"


def test_every_second_slice_and_no_reference(tmp_path, held_out, caplog):
    torch.manual_seed(0)
    network = CGAN(channels=(4, 4, 4, 4))
    with caplog.at_level(logging.WARNING):
        report = evaluate_images(network, held_out, {}, tmp_path, every=2, style_maps=2, styles=3, seed=2)
    assert set(report) == ALWAYS
    assert (report["slices"], report["every"], report["seed"]) == (4, 2, 2)
    assert "no training patients at hand: the figures of modality and distribution are left out" in caplog.text
    style = report["style"]
    assert (style["maps"], style["styles"], style["patients"]) == (2, 3, 2)
    assert list(style["deviation"]) == list(MODALITIES)
    assert set(style["deviation"]["t1n"]) == {"median", "contrast"}
    assert set(style["edge_agreement"]) == {"styles", "patients"}
    again = evaluate_images(network, held_out, {}, tmp_path, every=2, style_maps=2, styles=3, seed=2)
    assert again == report


def test_a_patient_on_both_sides(tmp_path, held_out, cases, cut_slices):
    with pytest.raises(LeakError, match=r"P1 \(training and held out\)"):
        evaluate_images(Copy(None), held_out, {}, tmp_path, reference=cut_slices(cases[1:]))
    assert not list(tmp_path.iterdir())
