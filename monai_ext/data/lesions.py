"""Procedural glioma-like lesion labels, for machines that hold no real label."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from monai.utils import ensure_tuple_rep
from scipy import ndimage

__all__ = ["random_lesion_label", "random_lesion_slice", "smooth_noise"]

NECROSIS, OEDEMA, ENHANCING = 1, 2, 3

# Irregularity of the boundaries, in units of the radius, and how much further a voxel outside `allowed` seems to be.
_COARSE, _FINE, _NOT_ALLOWED = 0.30, 0.12, 0.45
# The box that a lesion may fill, in radii: a boundary that would leave it is redrawn.
_REACH = 1.7


class _Plan(NamedTuple):
    """What one lesion is to be: sizes in mm, and the core's radius over that of the whole (0: no core)."""

    diameter: float
    core_radius: float
    rim_width: float
    enhancement: bool
    necrosis: bool


def _bspline_matrix(size: int, scale: float, offset: float) -> np.ndarray:
    """Return the (size, controls) cubic B-spline weights of unit-norm rows that spread a control grid over an axis."""
    position = np.arange(size) / scale + offset
    base = position.astype(int)
    t = position - base
    u = 1 - t
    weights = np.stack([u**3, 3 * t**3 - 6 * t**2 + 4, 3 * u**3 - 6 * u**2 + 4, t**3], axis=1)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    matrix = np.zeros((size, base[-1] + 4), dtype=np.float32)
    for tap in range(4):
        matrix[np.arange(size), base + tap] = weights[:, tap]
    return matrix


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], scale: float | Sequence[float]) -> np.ndarray:
    """
    Draw a smooth Gaussian random field: white noise on a coarse grid, spread by cubic B-splines.

    Args:
        rng: source of randomness.
        shape: spatial shape of the field, of any number of dimensions.
        scale: distance between the control points in voxels, one for all axes or one per axis.

    Returns:
        float32 array of ``shape``, of mean 0 and variance 1 at every voxel.
    """
    scales = ensure_tuple_rep(scale, len(shape))
    matrices = [_bspline_matrix(n, max(s, 1.0), rng.random()) for n, s in zip(shape, scales, strict=True)]
    field = rng.standard_normal([m.shape[1] for m in matrices], dtype=np.float32)
    for matrix in matrices:  # contracts the first axis and appends it, so that the order is restored at the end
        field = np.tensordot(field, matrix, axes=(0, 1))
    return np.ascontiguousarray(field)


def random_lesion_label(
    brain_mask: np.ndarray,
    rng: np.random.Generator,
    allowed: np.ndarray | None = None,
    *,
    spacing: float | Sequence[float] = 1.0,
    diameter: tuple[float, float] = (25.0, 75.0),
    core_radius: tuple[float, float] = (0.45, 0.95),
    rim_width: tuple[float, float] = (2.0, 5.0),
    prob_no_enhancement: float = 0.2,
    prob_no_necrosis: float = 0.1,
    max_tries: int = 20,
) -> np.ndarray:
    """
    Draw the label of one glioma-like lesion wholly inside a brain.

    A distance from a random centre, made irregular by smooth noise at two scales, is thresholded at the volume
    wanted: that is the whole tumour. A core, off-centre, is drawn likewise inside it, and an irregular enhancing rim
    is cut from the core by its distance to the core's border.

    Args:
        brain_mask: where a lesion may be, 2-D or 3-D, bool. Leave out the CSF to keep lesions away from it.
        rng: source of randomness; the same state gives the same label.
        allowed: what the lesion favours (the white matter), bool, shape of ``brain_mask``. The centre lies in it and
            the boundary follows it, but a lesion is not confined to it. No preference if None.
        spacing: voxel size in mm, one for all axes or one per axis.
        diameter: range of the whole tumour's diameter in mm, that of the ball (3-D) or disc (2-D) of the same size.
            The upper bound is lowered to what fits in the mask.
        core_radius: range of the core's radius relative to that of the whole tumour, in (0, 1).
        rim_width: range of the mean width of the enhancing rim in mm.
        prob_no_enhancement: probability of a lesion without enhancement, whose core is all class 1.
        prob_no_necrosis: probability of a lesion without necrosis, whose core is all class 3.
        max_tries: number of draws before giving up.

    Returns:
        uint8 array of the shape of ``brain_mask``: 0 background, 1 necrosis and non-enhancing core, 2 oedema,
        3 enhancing tumour. Never empty; oedema and core are always there.

    Raises:
        ValueError: when an argument is out of range, or no such lesion fits in the mask.
    """

    def plan(largest: float) -> _Plan:
        return _random_plan(rng, (diameter[0], largest), core_radius, rim_width, prob_no_enhancement, prob_no_necrosis)

    return _first_fit(brain_mask, rng, allowed, spacing, diameter, core_radius, max_tries, plan)


def random_lesion_slice(
    brain_mask: np.ndarray,
    rng: np.random.Generator,
    allowed: np.ndarray | None = None,
    *,
    spacing: float | Sequence[float] = 1.0,
    diameter: tuple[float, float] = (35.0, 78.0),
    core_radius: tuple[float, float] = (0.45, 0.95),
    rim_width: tuple[float, float] = (2.0, 5.0),
    prob_no_enhancement: float = 0.2,
    prob_no_necrosis: float = 0.1,
    max_height: float = 0.85,
    max_tries: int = 20,
) -> np.ndarray:
    """
    Draw the label of one axial slice through a glioma-like lesion, without drawing the volume.

    The slice cuts a ball at a random height, so that, as in real slices, the lesion is often smaller than its
    diameter and about a fifth of the slices miss the core and hold oedema alone. See :py:func:`random_lesion_label`
    for the other arguments; ``diameter`` is that of the ball.

    Args:
        brain_mask: where a lesion may be, (H, W), bool.
        rng: source of randomness; the same state gives the same label.
        allowed: what the lesion favours, (H, W), bool. No preference if None.
        spacing: pixel size in mm.
        diameter: range of the ball's diameter in mm.
        core_radius: range of the core's radius relative to that of the ball, in (0, 1).
        rim_width: range of the mean width of the enhancing rim in mm.
        prob_no_enhancement: probability of a lesion without enhancement.
        prob_no_necrosis: probability of a lesion without necrosis.
        max_height: largest distance of the slice from the centre of the ball, in radii, in [0, 1). With 0 the core
            is always there.
        max_tries: number of draws before giving up.

    Returns:
        uint8 array (H, W) of classes 0 to 3 as in :py:func:`random_lesion_label`. Never empty.

    Raises:
        ValueError: when the mask is not 2-D, an argument is out of range, or no such lesion fits in the mask.
    """
    if np.ndim(brain_mask) != 2:
        raise ValueError(f"random_lesion_slice needs a 2-D brain_mask, got shape {np.shape(brain_mask)}.")
    if not 0.0 <= max_height < 1.0:
        raise ValueError(f"max_height must be in [0, 1), got {max_height}.")

    def plan(largest: float) -> _Plan:
        ball = _random_plan(rng, (diameter[0], largest), core_radius, rim_width, prob_no_enhancement, prob_no_necrosis)
        height = rng.uniform(0.0, max_height)
        cut = math.sqrt(1.0 - height**2)
        core = math.sqrt(max(ball.core_radius**2 - height**2, 0.0)) / cut
        return ball._replace(diameter=ball.diameter * cut, core_radius=core)

    return _first_fit(brain_mask, rng, allowed, spacing, diameter, core_radius, max_tries, plan)


def _random_plan(
    rng: np.random.Generator,
    diameter: tuple[float, float],
    core_radius: tuple[float, float],
    rim_width: tuple[float, float],
    prob_no_enhancement: float,
    prob_no_necrosis: float,
) -> _Plan:
    kind = rng.random()
    return _Plan(
        diameter=rng.uniform(*diameter),
        core_radius=rng.uniform(*core_radius),
        rim_width=rng.uniform(*rim_width),
        enhancement=kind >= prob_no_enhancement,
        necrosis=not prob_no_enhancement <= kind < prob_no_enhancement + prob_no_necrosis,
    )


def _first_fit(
    brain_mask: np.ndarray,
    rng: np.random.Generator,
    allowed: np.ndarray | None,
    spacing: float | Sequence[float],
    diameter: tuple[float, float],
    core_radius: tuple[float, float],
    max_tries: int,
    plan: Callable[[float], _Plan],
) -> np.ndarray:
    """Check the arguments, then draw plans and lesions until one fits."""
    brain = np.asarray(brain_mask, dtype=bool)
    if brain.ndim not in (2, 3):
        raise ValueError(f"brain_mask must be 2-D or 3-D, got shape {brain.shape}.")
    if allowed is not None and np.shape(allowed) != brain.shape:
        raise ValueError(f"allowed must have the shape of brain_mask {brain.shape}, got {np.shape(allowed)}.")
    if not 0.0 < diameter[0] <= diameter[1]:
        raise ValueError(f"diameter must be an increasing range of positive lengths in mm, got {diameter}.")
    if not 0.0 < core_radius[0] <= core_radius[1] < 1.0:
        raise ValueError(f"core_radius must be an increasing range inside (0, 1), got {core_radius}.")
    voxel = np.asarray(ensure_tuple_rep(spacing, brain.ndim), dtype=float)

    size = float(np.count_nonzero(brain) * voxel.prod())
    largest = 2.0 * math.sqrt(size / math.pi) if brain.ndim == 2 else (6.0 * size / math.pi) ** (1 / 3)
    unit = "mm2" if brain.ndim == 2 else "mm3"
    if largest < diameter[0]:
        raise ValueError(
            f"no lesion of {diameter[0]:g} mm fits in a brain_mask of {size:.0f} {unit}, "
            f"whose equivalent diameter is {largest:.1f} mm."
        )
    preferred = brain if allowed is None else np.asarray(allowed, dtype=bool) & brain
    centres = np.flatnonzero(preferred if preferred.any() else brain)
    for _ in range(max_tries):
        centre = np.unravel_index(centres[rng.integers(centres.size)], brain.shape)
        # at most 0.7 of the largest diameter: half of a slice, a third of a volume
        upper = max(diameter[0], min(diameter[1], 0.7 * largest))
        label = _draw(brain, allowed, np.asarray(centre), voxel, plan(upper), rng)
        if label is not None:
            return label
    raise ValueError(
        f"no lesion of {diameter[0]:g} to {diameter[1]:g} mm fitted in a brain_mask of {size:.0f} {unit} in "
        f"{max_tries} draws: the mask is too small or too broken up."
    )


def _draw(
    brain: np.ndarray,
    allowed: np.ndarray | None,
    centre: np.ndarray,
    voxel: np.ndarray,
    plan: _Plan,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Draw one lesion around a centre, or return None when it does not fit there."""
    radius = plan.diameter / 2
    reach = np.ceil(_REACH * radius / voxel).astype(int)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, brain.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    inside = brain[box]
    volume = math.pi * radius**2 if brain.ndim == 2 else 4 / 3 * math.pi * radius**3
    target = max(round(volume / voxel.prod()), 1)
    if np.count_nonzero(inside) < target:
        return None

    score = _distance(inside.shape, centre - low, voxel / _stretch(rng, brain.ndim)) / radius
    score += _COARSE * smooth_noise(rng, inside.shape, radius / 2 / voxel)
    score += _FINE * smooth_noise(rng, inside.shape, 4.0 / voxel)
    if allowed is not None:
        score += _NOT_ALLOWED * ~np.asarray(allowed[box], dtype=bool)
    whole, level = _smallest(score, inside, target)
    whole = _largest_component(whole)
    if level > _REACH or np.count_nonzero(whole) < 0.6 * target:
        return None

    label = np.zeros(brain.shape, dtype=np.uint8)
    crop = label[box]
    crop[whole] = OEDEMA
    if plan.core_radius > 0:
        core = _core(inside, whole, score, voxel, plan, rng)
        crop[core] = _core_classes(core, voxel, plan, rng)
        if not (crop == OEDEMA).any():
            return None
    return label


def _core(
    brain: np.ndarray,
    whole: np.ndarray,
    score: np.ndarray,
    voxel: np.ndarray,
    plan: _Plan,
    rng: np.random.Generator,
) -> np.ndarray:
    """
    Draw the core around one of the third of the tumour's voxels that lie deepest.

    It displaces tissue rather than follow the fingers of the oedema, so that it is rounder than the whole tumour and
    may fill the gaps between them: it is confined to the brain only.
    """
    count = np.count_nonzero(whole)
    deepest = np.flatnonzero(_smallest(score, whole, max(count // 3, 1))[0])
    centre = np.asarray(np.unravel_index(deepest[rng.integers(deepest.size)], whole.shape))
    radius = plan.diameter / 2 * plan.core_radius
    core_score = _distance(whole.shape, centre, voxel / _stretch(rng, whole.ndim)) / radius
    core_score += 0.22 * smooth_noise(rng, whole.shape, radius / 1.5 / voxel)
    core_score += 0.08 * smooth_noise(rng, whole.shape, 4.0 / voxel)
    target = max(round(count * plan.core_radius**whole.ndim), 1)
    return _largest_component(_smallest(core_score, brain, target)[0])


def _core_classes(core: np.ndarray, voxel: np.ndarray, plan: _Plan, rng: np.random.Generator) -> np.ndarray:
    """Return the class of each voxel of the core: an irregular enhancing rim around necrosis, or one of the two."""
    count = np.count_nonzero(core)
    if not (plan.enhancement and plan.necrosis):
        return np.full(count, ENHANCING if plan.enhancement else NECROSIS, dtype=np.uint8)
    where = ndimage.find_objects(core.astype(np.uint8))[0]
    crop = core[where]
    depth = ndimage.distance_transform_edt(np.pad(crop, 1), sampling=voxel)[(slice(1, -1),) * core.ndim][crop]
    width = plan.rim_width * np.clip(1 + 0.35 * smooth_noise(rng, crop.shape, 7.0 / voxel)[crop], 0.2, 2.0)
    rim = depth <= width
    if rim.all():  # a core thinner than its rim keeps a necrosis in its middle
        rim = depth <= 0.6 * depth.max()
    if not rim.any() and count > 1:
        rim = depth <= depth.min()
    return np.where(rim, ENHANCING, NECROSIS).astype(np.uint8)


def _distance(shape: Sequence[int], centre: np.ndarray, voxel: np.ndarray) -> np.ndarray:
    squared = np.zeros(shape, dtype=np.float32)
    for axis, size in enumerate(shape):
        along = ((np.arange(size, dtype=np.float32) - centre[axis]) * voxel[axis]) ** 2
        squared += along.reshape([-1 if a == axis else 1 for a in range(len(shape))]).astype(np.float32)
    return np.sqrt(squared)


def _stretch(rng: np.random.Generator, ndim: int) -> np.ndarray:
    """Return a random elongation per axis, of product 1."""
    log = 0.18 * rng.standard_normal(ndim)
    return np.exp(log - log.mean())


def _smallest(score: np.ndarray, mask: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Return the ``count`` voxels of a mask with the smallest score, and the largest score among them."""
    level = np.partition(score[mask], count - 1)[count - 1]
    return mask & (score <= level), float(level)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    parts, number = ndimage.label(mask)
    if number < 2:
        return mask
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1
