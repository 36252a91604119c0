"""Procedural lesion labels: inside the brain, of the sizes and classes asked for, never empty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from monai_ext.data.lesions import random_lesion_label, random_lesion_slice, smooth_noise


def ball(shape: tuple[int, ...], radius: float) -> np.ndarray:
    grid = np.indices(shape) - (np.array(shape).reshape(-1, *[1] * len(shape)) - 1) / 2
    return (grid**2).sum(0) <= radius**2


BRAIN_2D = ball((160, 200), 75)
BRAIN_3D = ball((90, 100, 60), 48)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("draw, brain", [(random_lesion_slice, BRAIN_2D), (random_lesion_label, BRAIN_3D)])
def test_inside_the_brain_never_empty_and_repeatable(draw, brain):
    labels = [draw(brain, rng(seed)) for seed in range(30)]
    for seed, label in enumerate(labels):
        assert label.shape == brain.shape and label.dtype == np.uint8
        assert label.any() and not label[~brain].any() and label.max() <= 3
        np.testing.assert_array_equal(label, draw(brain, rng(seed)))
    assert len({label.tobytes() for label in labels}) == len(labels)


@pytest.mark.parametrize(
    "probabilities, classes",
    [((0.0, 0.0), {0, 1, 2, 3}), ((1.0, 0.0), {0, 1, 2}), ((0.0, 1.0), {0, 2, 3})],
    ids=["rim", "no enhancement", "no necrosis"],
)
def test_classes_of_each_kind(probabilities, classes):
    kinds = dict(zip(("prob_no_enhancement", "prob_no_necrosis"), probabilities, strict=True))
    for seed in range(8):
        assert set(np.unique(random_lesion_label(BRAIN_3D, rng(seed), **kinds))) == classes
        assert set(np.unique(random_lesion_slice(BRAIN_2D, rng(seed), max_height=0.0, **kinds))) == classes


def test_kinds_come_at_their_probabilities():
    labels = [random_lesion_slice(BRAIN_2D, rng(seed), max_height=0.0) for seed in range(400)]
    assert np.mean([not (label == 3).any() for label in labels]) == pytest.approx(0.2, abs=0.06)
    assert np.mean([not (label == 1).any() for label in labels]) == pytest.approx(0.1, abs=0.05)


def test_size_is_the_diameter_asked_for_in_mm():
    disc = random_lesion_slice(BRAIN_2D, rng(), diameter=(40, 40), max_height=0.0)
    assert np.count_nonzero(disc) == pytest.approx(np.pi * 20**2, rel=0.3)
    coarse = random_lesion_slice(BRAIN_2D, rng(), diameter=(40, 40), max_height=0.0, spacing=2.0)
    assert np.count_nonzero(coarse) == pytest.approx(np.pi * 10**2, rel=0.3)
    flat = random_lesion_label(BRAIN_3D, rng(), diameter=(40, 40), spacing=(1.0, 1.0, 2.0))
    assert np.count_nonzero(flat) == pytest.approx(4 / 3 * np.pi * 20**3 / 2, rel=0.4)


def test_rim_lies_between_necrosis_and_oedema():
    label = random_lesion_label(BRAIN_3D, rng(3), diameter=(50, 50), prob_no_enhancement=0, prob_no_necrosis=0)
    core = (label == 1) | (label == 3)
    depth = ndimage.distance_transform_edt(core)
    assert depth[label == 3].mean() < depth[label == 1].mean()
    assert (ndimage.binary_dilation(label == 1) & (label == 2)).sum() < 0.1 * (label == 3).sum()


def test_a_slice_off_the_centre_may_hold_oedema_alone():
    alone = [set(np.unique(random_lesion_slice(BRAIN_2D, rng(seed)))) == {0, 2} for seed in range(100)]
    assert 0.05 < np.mean(alone) < 0.4


def test_allowed_is_favoured():
    half = np.zeros_like(BRAIN_2D)
    half[:80] = BRAIN_2D[:80]
    share = [
        np.mean([(label > 0)[half].sum() / (label > 0).sum() for label in labels])
        for labels in (
            [random_lesion_slice(BRAIN_2D, rng(seed), allowed=half) for seed in range(20)],
            [random_lesion_slice(BRAIN_2D, rng(seed)) for seed in range(20)],
        )
    ]
    assert share[0] > 0.85 > share[1]


def test_a_small_brain_lowers_the_upper_bound():
    small = ball((64, 64), 24)
    for seed in range(20):
        assert random_lesion_slice(small, rng(seed), diameter=(15, 75)).any()


@pytest.mark.parametrize(
    "brain, kwargs, message",
    [
        (np.zeros((50, 50), bool), {}, "no lesion of 35 mm fits"),
        (ball((50, 50), 10), {}, "equivalent diameter is 2"),
        (BRAIN_2D, {"max_height": 1.0}, "max_height"),
        (BRAIN_2D, {"diameter": (50, 20)}, "diameter"),
        (BRAIN_2D, {"core_radius": (0.4, 1.0)}, "core_radius"),
        (BRAIN_2D, {"allowed": np.ones((3, 3), bool)}, "allowed must have the shape"),
        (BRAIN_3D, {}, "2-D"),
    ],
)
def test_what_is_impossible_is_named(brain, kwargs, message):
    with pytest.raises(ValueError, match=message):
        random_lesion_slice(brain, rng(), **kwargs)


def test_draws_are_bounded():
    confetti = np.zeros((200, 200), bool)
    confetti[::3, ::3] = True  # large enough in sum, but no two pixels touch
    with pytest.raises(ValueError, match="in 7 draws"):
        random_lesion_slice(confetti, rng(), max_tries=7)


def test_smooth_noise_is_standard_and_smooth():
    field = np.stack([smooth_noise(rng(seed), (40, 50), (8, 5)) for seed in range(200)])
    assert field.dtype == np.float32
    np.testing.assert_allclose(field.std(0).mean(), 1.0, atol=0.05)
    np.testing.assert_allclose(field.mean(0), 0.0, atol=0.4)
    assert np.abs(np.diff(field, axis=1)).mean() < 0.2 < np.abs(field).mean()
