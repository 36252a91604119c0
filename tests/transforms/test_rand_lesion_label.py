from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import affine_transform

from monai_ext.transforms import RandLesionLabel, RandLesionLabeld

STILL = {"scale_range": (1.0, 1.0), "rotate_range": 0.0, "shift_range": 0.0, "flip_prob": 0.0}


def pixels(values: dict[tuple[int, int], int], shape=(5, 6)) -> torch.Tensor:
    label = torch.zeros(1, *shape, dtype=torch.int64)
    for (row, column), value in values.items():
        label[0, row, column] = value
    return label


def blob(shape=(64, 72)) -> torch.Tensor:
    label = torch.zeros(1, *shape, dtype=torch.int64)
    label[0, 25:40, 30:45] = 2
    label[0, 29:35, 33:40] = 1
    label[0, 30:33, 35:38] = 3
    return label


def moved(label, center="image", scale=1.0, angle=0.0, shift=(0.0, 0.0), flips=(1.0, 1.0)):
    """Apply a known affine through the public call that repeats the last draw."""
    transform = RandLesionLabel(center=center)
    transform._do_transform = True
    transform._scale, transform._angle, transform._shift, transform._flips = scale, angle, shift, flips
    return transform(label, randomize=False)


@pytest.mark.parametrize(
    ("values", "affine", "expected"),
    [
        ({(1, 2): 3, (2, 2): 1}, {}, {(1, 2): 3, (2, 2): 1}),
        ({(1, 2): 3, (2, 2): 1}, {"shift": (2.0, -1.0)}, {(3, 1): 3, (4, 1): 1}),
        ({(1, 2): 3, (2, 2): 1}, {"flips": (-1.0, 1.0)}, {(3, 2): 3, (2, 2): 1}),  # axis 0: row r -> 4 - r
        ({(1, 2): 3, (2, 2): 1}, {"flips": (1.0, -1.0)}, {(1, 3): 3, (2, 3): 1}),  # axis 1: column c -> 5 - c
        # the flip mirrors the image whichever the centre
        ({(1, 2): 3, (1, 3): 1}, {"flips": (-1.0, 1.0), "center": "lesion"}, {(3, 2): 3, (3, 3): 1}),
        # half a turn about the lesion's centroid (1, 2.5) exchanges its two pixels
        ({(1, 2): 3, (1, 3): 1}, {"angle": math.pi, "center": "lesion"}, {(1, 3): 3, (1, 2): 1}),
        ({(1, 2): 3, (1, 3): 1}, {"angle": math.pi}, {(3, 3): 3, (3, 2): 1}),
        # flip, then half a turn, then the shift
        ({(0, 1): 2}, {"flips": (-1.0, 1.0), "angle": math.pi, "shift": (1.0, 1.0)}, {(1, 5): 2}),
    ],
)
def test_known_affines(values, affine, expected):
    assert torch.equal(moved(pixels(values), **affine), pixels(expected))


def test_quarter_turn_takes_rows_towards_columns():
    # about the middle (2, 2): the offset (-1, 1) turns into (-1, -1) and (-1, 0) into (0, -1)
    assert torch.equal(
        moved(pixels({(1, 3): 1, (1, 2): 2}, (5, 5)), angle=math.pi / 2), pixels({(1, 1): 1, (2, 1): 2}, (5, 5))
    )


def test_threefold_scale_of_one_pixel():
    expected = pixels({(r, c): 2 for r in (2, 3, 4) for c in (2, 3, 4)}, (7, 7))
    assert torch.equal(moved(pixels({(3, 3): 2}, (7, 7)), scale=3.0), expected)
    expected = pixels({(r, c): 2 for r in (0, 1, 2) for c in (4, 5, 6)}, (7, 7))
    assert torch.equal(moved(pixels({(1, 5): 2}, (7, 7)), scale=3.0, center="lesion"), expected)


@pytest.mark.parametrize("center", ["image", "lesion"])
@pytest.mark.parametrize("flip_axes", [0, (0, 1)])
def test_random_draws_against_scipy(center, flip_axes):
    label = blob()
    transform = RandLesionLabel(shift_range=8, flip_axes=flip_axes, center=center).set_random_state(3)
    for _ in range(10):
        result = transform(label)
        middle = np.array([31.5, 35.5])
        flips = np.array(transform._flips)
        pivot = middle
        if center == "lesion":
            pivot = (np.argwhere(label[0].numpy() > 0).mean(axis=0) - middle) * flips + middle
        cos, sin = math.cos(transform._angle), math.sin(transform._angle)
        forward = transform._scale * np.array([[cos, -sin], [sin, cos]]) @ np.diag(flips)
        # forward: p -> forward @ (p - middle) + about, with the pivot fixed but for the shift
        about = transform._scale * np.array([[cos, -sin], [sin, cos]]) @ (middle - pivot) + pivot + transform._shift
        backward = np.linalg.inv(forward)
        expected = affine_transform(label[0].numpy(), backward, middle - backward @ about, order=0, mode="constant")
        np.testing.assert_array_equal(result[0].numpy(), expected)


def test_ranges_of_the_draws():
    transform = RandLesionLabel(scale_range=(0.5, 0.6), rotate_range=0.1, shift_range=(3, 0)).set_random_state(0)
    flips = []
    for _ in range(200):
        transform.randomize()
        assert 0.5 <= transform._scale <= 0.6
        assert abs(transform._angle) <= 0.1
        assert abs(transform._shift[0]) <= 3
        assert transform._shift[1] == 0
        assert transform._flips[1] == 1
        flips.append(transform._flips[0])
    assert 60 < flips.count(-1.0) < 140


def test_deterministic_and_repeatable():
    label = blob()
    first = [RandLesionLabel().set_random_state(7)(label) for _ in range(2)]
    assert torch.equal(*first)
    transform = RandLesionLabel().set_random_state(7)
    draws = [transform(label) for _ in range(4)]
    assert torch.equal(draws[0], first[0])
    assert any(not torch.equal(draws[0], draw) for draw in draws[1:])
    assert torch.equal(transform(label, randomize=False), draws[-1])


def test_never_empty():
    label = pixels({(0, 0): 3}, (24, 28))
    transform = RandLesionLabel(shift_range=60).set_random_state(0)
    results = [transform(label) for _ in range(100)]
    assert all(result.any() for result in results)
    assert any(not torch.equal(result, label) for result in results)


def test_gives_up_with_the_input_unchanged():
    label = pixels({(0, 0): 3}, (24, 28))
    transform = RandLesionLabel(**{**STILL, "shift_range": 1e6}, max_tries=3).set_random_state(0)
    assert torch.equal(transform(label), label)


def test_prob_zero_leaves_the_label():
    assert torch.equal(RandLesionLabel(prob=0.0)(blob()), blob())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_dtype_and_values_are_kept(dtype):
    result = RandLesionLabel().set_random_state(1)(blob().to(dtype))
    assert result.dtype == dtype
    assert result.shape == blob().shape
    assert set(result.unique().tolist()) <= {0, 1, 2, 3}


def test_metadata_is_kept():
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    result = RandLesionLabel()(MetaTensor(blob(), affine=affine))
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)


@pytest.mark.parametrize("center", ["image", "lesion"])
def test_dictionary_equals_array(center):
    label = blob()
    array = RandLesionLabel(shift_range=5, center=center).set_random_state(11)
    dictionary = RandLesionLabeld(["label", "copy"], shift_range=5, center=center).set_random_state(11)
    for _ in range(5):
        expected = array(label)
        result = dictionary({"label": label, "copy": label.to(torch.uint8), "name": "a"})
        assert torch.equal(result["label"], expected)
        assert torch.equal(result["copy"].to(torch.int64), expected)
        assert result["name"] == "a"


def test_dictionary_applies_one_centroid_to_every_key():
    part = torch.where(blob() == 3, 3, 0)
    part[0, 26, 31] = 3
    result = RandLesionLabeld(["label", "part"], center="lesion", shift_range=5).set_random_state(2)(
        {"label": blob(), "part": part}
    )
    assert ((result["part"] > 0) & (result["label"] == 0)).sum() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RandLesionLabel()(torch.zeros(1, 8, 8)), "empty label"),
        (lambda: RandLesionLabel()(torch.ones(8, 8)), r"\(C, H, W\)"),
        (lambda: RandLesionLabel(scale_range=(1.2, 0.8)), "scale_range"),
        (lambda: RandLesionLabel(rotate_range=-1), "rotate_range"),
        (lambda: RandLesionLabel(flip_prob=2), "flip_prob"),
        (lambda: RandLesionLabel(flip_axes=2), "flip_axes"),
        (lambda: RandLesionLabel(center="brain"), "center"),
        (lambda: RandLesionLabel(max_tries=0), "max_tries"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
