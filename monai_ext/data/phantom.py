"""A procedural stand-in for BraTS: deformed MNI tissue maps with a tumour, for machines that hold no real case."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from monai.utils import OptionalImportError, optional_import
from scipy import ndimage
from tqdm import tqdm

from monai_ext.data.atomic import write_json
from monai_ext.data.lesions import random_lesion_label, smooth_noise
from monai_ext.data.nifti import BRATS_AFFINE, write_nifti
from monai_ext.labels import MODALITIES

__all__ = ["PHANTOM_SHAPE", "PhantomCase", "make_phantom_case", "phantom_name", "write_phantom_cases"]

logger = logging.getLogger(__name__)

VERSION = 1
"""Raised whenever the same seed no longer gives the same voxels."""

PHANTOM_SHAPE = (240, 240, 155)
"""Grid of BraTS, 1 mm, voxel axes towards left, posterior and superior."""

# Where the brain may lie on the axes left and posterior, and the voxel that the template's centre falls on. Arrays
# inside this file are ordered (superior, posterior, left): the memory order of a NIfTI file.
_ROI_J, _ROI_I = slice(28, 226), slice(38, 202)
_CENTRE_KJI = np.array([72.0, 129.0, 119.5])
# The same point in voxels of the template, (z, y, x) towards superior, anterior, right.
_TEMPLATE_CENTRE_ZYX = np.array([84.0, 117.0, 98.0])

# Rows: T1, T1c, T2, FLAIR. In units in which 1 is about the brightest healthy tissue of the modality (T2: CSF).
_WM = np.array([0.90, 0.90, 0.42, 0.55])
_GM = np.array([0.65, 0.70, 0.56, 0.70])
_CSF = np.array([0.25, 0.28, 1.10, 0.20])
_LESION = {  # by canonical class
    1: np.array([0.45, 0.42, 0.98, 0.80]),
    2: np.array([0.66, 0.66, 0.86, 1.05]),
    3: np.array([0.66, 1.55, 0.78, 0.95]),
}
_VESSEL_GAIN = 0.9  # T1c only
_GAIN = (600.0, 1000.0)  # intensity of 1, per modality and case
_LARGEST = 4000


@dataclass(frozen=True)
class PhantomCase:
    """
    One phantom case in memory.

    Args:
        name: BraTS-2023 style name, ``BraTS-PHA-<index>-000``.
        image: int16 (4, 240, 240, 155), order T1, T1c, T2, FLAIR, background exactly 0.
        label: uint8 (240, 240, 155), 0 background, 1 necrosis and non-enhancing core, 2 oedema, 3 enhancing tumour.
        affine: float64 (4, 4), voxel to world in mm.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray


def phantom_name(index: int) -> str:
    """Return the name of the phantom case of an index, which is also that of its folder."""
    return f"BraTS-PHA-{index:05d}-000"


def make_phantom_case(seed: int, index: int, axial_range: tuple[int, int] = (45, 116)) -> PhantomCase:
    """
    Make one case: a deformed anatomy with a tumour, seen in four registered modalities.

    Args:
        seed: seed of the whole set, non-negative.
        index: number of the case in the set, from 0. Each (seed, index) is one case, the same every time.
        axial_range: first axial slice that holds brain and the one after the last; the others are 0.

    Returns:
        The case; see :py:class:`PhantomCase`.

    Raises:
        ValueError: when the seed or the index is negative, or ``axial_range`` is shorter than 24 slices or leaves
            slices 5 to 135, where the brain is.
        OptionalImportError: when nilearn, whose package carries the template, is not installed.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}.")
    if not (axial_range[0] >= 5 and axial_range[0] + 24 <= axial_range[1] <= 136):
        raise ValueError(f"axial_range must span 24 slices or more within [5, 136), got {axial_range}.")
    # one stream per step, so that a change in one leaves the others alone
    streams = np.random.SeedSequence([seed, index]).spawn(4)
    anatomy_rng, lesion_rng, contrast_rng, scanner_rng = (np.random.default_rng(s) for s in streams)

    brain, tissues = _random_anatomy(anatomy_rng, axial_range)
    white, _, csf = tissues
    lesion = random_lesion_label(brain & (csf < 0.5), lesion_rng, allowed=white > 0.5)
    signal = _contrast(tissues, contrast_rng)
    signal[1] += _VESSEL_GAIN * contrast_rng.uniform(0.5, 1.2) * _vessels(white, contrast_rng)
    _add_lesion(signal, lesion, contrast_rng)
    values = _scan(signal, brain, scanner_rng)

    # nibabel writes the first axis fastest, so keep memory in that order: the file then needs no copy
    roi = (slice(*axial_range), _ROI_J, _ROI_I)
    image = np.zeros((len(MODALITIES), *PHANTOM_SHAPE[::-1]), dtype=np.int16)
    label = np.zeros(PHANTOM_SHAPE[::-1], dtype=np.uint8)
    image[(slice(None), *roi)] = values
    label[roi] = lesion
    return PhantomCase(phantom_name(index), image.transpose(0, 3, 2, 1), label.transpose(2, 1, 0), BRATS_AFFINE.copy())


def write_phantom_cases(
    output_dir: str | Path,
    num_cases: int = 8,
    seed: int = 0,
    axial_range: tuple[int, int] = (45, 116),
    overwrite: bool = False,
) -> Path:
    """
    Write phantom cases in the layout of BraTS 2023, one folder of five ``.nii.gz`` files per case.

    Files appear whole or not at all, and the same arguments give the same bytes. Cases already complete are kept, so
    that a killed run is resumed, or a set extended, by the same call. ``phantom.json`` records the settings.

    Args:
        output_dir: folder of the set, made if missing.
        num_cases: number of cases, indices 0 to ``num_cases - 1``.
        seed: seed of the set.
        axial_range: see :py:func:`make_phantom_case`.
        overwrite: whether to delete the phantom cases of other settings that are in ``output_dir``.

    Returns:
        ``output_dir``.

    Raises:
        ValueError: when ``num_cases`` is not positive, or ``output_dir`` holds phantom cases of other settings and
            ``overwrite`` is False.
    """
    if num_cases < 1:
        raise ValueError(f"num_cases must be 1 or more, got {num_cases}.")
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    settings = {"version": VERSION, "seed": seed, "axial_range": list(axial_range)}
    known = _claim(output_dir, settings, overwrite)
    write_json(output_dir / "phantom.json", {**settings, "num_cases": max(num_cases, known)})

    missing = [index for index in range(num_cases) if not _is_complete(output_dir, index)]
    if len(missing) < num_cases:
        logger.info("%d of %d phantom cases are already in %s", num_cases - len(missing), num_cases, output_dir)
    for index in tqdm(missing, desc="phantom cases", unit="case", disable=not missing):
        _write_case(make_phantom_case(seed, index, axial_range), output_dir)
    return output_dir


def _claim(output_dir: Path, settings: dict, overwrite: bool) -> int:
    """Return how many cases of these settings the folder is said to hold, after removing those of others if told to."""
    record = output_dir / "phantom.json"
    try:
        found = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        known = int(found.pop("num_cases", 0))
    except (ValueError, AttributeError, TypeError):  # not a record of ours
        found, known = {}, 0
    if found == settings:
        return known
    stale = sorted(output_dir.glob("BraTS-PHA-*"))
    if stale and not overwrite:
        raise ValueError(
            f"{output_dir} holds {len(stale)} phantom cases of other settings ({found or 'unknown'}, asked for "
            f"{settings}): choose another folder, or pass overwrite=True to delete them."
        )
    record.unlink(missing_ok=True)
    for folder in stale:
        shutil.rmtree(folder)
    return 0


def _case_files(output_dir: Path, name: str) -> dict[str, Path]:
    return {kind: output_dir / name / f"{name}-{kind}.nii.gz" for kind in (*MODALITIES, "seg")}


def _is_complete(output_dir: Path, index: int) -> bool:
    return all(path.is_file() for path in _case_files(output_dir, phantom_name(index)).values())


def _write_case(case: PhantomCase, output_dir: Path) -> None:
    volumes = {**dict(zip(MODALITIES, case.image, strict=True)), "seg": case.label}
    for kind, path in _case_files(output_dir, case.name).items():
        write_nifti(path, volumes[kind], case.affine)


@lru_cache(maxsize=1)
def _load_maps() -> torch.Tensor:
    """Load nilearn's packaged MNI ICBM152 maps: uint8 (3, z, y, x) of T1, white matter, grey matter, 1 mm, RAS+."""
    # imported when first used: importing nilearn takes a second
    datasets, has_nilearn = optional_import("nilearn.datasets")
    if not has_nilearn:
        raise OptionalImportError(
            'The phantom needs the MNI template in the nilearn package: pip install "monai-ext[phantom]"'
        )
    loaders = (datasets.load_mni152_template, datasets.load_mni152_wm_template, datasets.load_mni152_gm_template)
    # the packaged files are uint8, which nilearn rescales to [0, 1]: nothing is lost here
    maps = [np.rint(np.asarray(load(resolution=1).dataobj) * 255).astype(np.uint8).T for load in loaders]
    return torch.from_numpy(np.stack(maps))


def _random_anatomy(rng: np.random.Generator, axial_range: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """
    Deform the template at random.

    Returns:
        The brain, bool (k, j, i) over the region of interest, and its white matter, grey matter and CSF, float32
        (3, k, j, i) that sum to 1 inside the brain and are 0 outside.
    """
    ranges = (axial_range, (_ROI_J.start, _ROI_J.stop), (_ROI_I.start, _ROI_I.stop))
    shape = tuple(stop - start for start, stop in ranges)
    # output (k, j, i) -> template (z, y, x); j and i run against y and x
    rotation = _rotation(np.deg2rad(rng.normal(0.0, [2.0, 2.0, 3.0]).clip(-7, 7)))
    scaling = rng.normal(1.0, 0.02) * rng.normal(1.0, [0.025, 0.025, 0.025]) * [1.06, 1.06, 1.02]
    matrix = rotation @ np.diag(scaling * [1.0, -1.0, -1.0])
    maps = _load_maps()
    points = np.empty((*shape, 3), dtype=np.float32)
    axes = [np.arange(*r, dtype=np.float32) - c for r, c in zip(ranges, _CENTRE_KJI.astype(np.float32), strict=True)]
    for axis, size in enumerate(maps.shape[1:]):
        k, j, i = (axes[a] * np.float32(matrix[axis, a]) for a in range(3))
        position = k[:, None, None] + j[None, :, None] + i[None, None, :]
        position += np.float32(_TEMPLATE_CENTRE_ZYX[axis])
        position += 2.5 * smooth_noise(rng, shape, 40.0) + 0.7 * smooth_noise(rng, shape, 14.0)
        points[..., 2 - axis] = position * (2 / (size - 1)) - 1  # grid_sample wants (x, y, z) in [-1, 1]

    lowest = max(int((points[..., 2].min() + 1) / 2 * (maps.shape[1] - 1)), 0)  # only the slices asked for
    highest = min(int((points[..., 2].max() + 1) / 2 * (maps.shape[1] - 1)) + 2, maps.shape[1])
    points[..., 2] = ((points[..., 2] + 1) / 2 * (maps.shape[1] - 1) - lowest) * (2 / (highest - lowest - 1)) - 1
    block = maps[:, lowest:highest].float().div_(255)
    sampled = torch.nn.functional.grid_sample(block[None], torch.from_numpy(points)[None], align_corners=True)
    template, white, grey = sampled[0].numpy()

    brain = ndimage.binary_opening(template > 0.2, iterations=1)
    parts, number = ndimage.label(brain)
    if number > 1:
        brain = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    tissues = np.stack([white, grey, np.clip(1 - white - grey, 0, 1)])
    # the template is an average of many brains: sharpen it, and vary the width of the folds
    tissues[2] *= np.exp(rng.normal(0.0, 0.15) + 0.35 * smooth_noise(rng, shape, 9.0))
    tissues **= 1.8
    tissues /= np.maximum(tissues.sum(0), 1e-6)
    tissues *= brain
    return brain, tissues


def _rotation(angles: np.ndarray) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def _contrast(tissues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give tissues (3, k, j, i) their contrast in each modality, jittered per case: float32 (4, k, j, i)."""
    table = np.stack([_WM, _GM, _CSF], axis=1) * rng.normal(1.0, 0.04, size=(len(MODALITIES), 3)).clip(0.9, 1.1)
    table[1] = table[0] * (table[1] / table[0]).clip(0.98, 1.15)  # T1c is T1 with a little more grey
    signal = np.tensordot(table.astype(np.float32), tissues, axes=1)
    texture = smooth_noise(rng, tissues.shape[1:], 3.0)
    signal *= 1 + 0.025 * texture
    return signal


def _vessels(white: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw thin curves, where two random fields cross zero together, outside the white matter: float32 in [0, 1]."""
    first, second = smooth_noise(rng, white.shape, 9.0), smooth_noise(rng, white.shape, 9.0)
    return np.exp(-(first**2 + second**2) / 0.02) * (white < 0.3)


def _add_lesion(signal: np.ndarray, lesion: np.ndarray, rng: np.random.Generator) -> None:
    """Give the lesion's voxels, and a fuzzy border, the contrast of a tumour, in place in ``signal`` (4, k, j, i)."""
    bounds = ndimage.find_objects((lesion > 0).astype(np.uint8))[0]
    box = tuple(slice(max(b.start - 4, 0), b.stop + 4) for b in bounds)
    crop, local = signal[(slice(None), *box)], lesion[box]
    shape = local.shape
    patches = smooth_noise(rng, shape, 8.0), smooth_noise(rng, shape, 3.0)
    # each layer covers those inside it, so that no healthy tissue shines through the borders between them
    layers = ((2, local > 0, 1.2, 0.07), (1, (local == 1) | (local == 3), 0.8, 0.10), (3, local == 3, 0.6, 0.12))
    for kind, layer, width, texture in layers:
        values = _LESION[kind] * rng.normal(1.0, 0.06, size=len(MODALITIES)).clip(0.88, 1.12)
        if kind == 1:
            values[3] *= rng.uniform(0.6, 1.25)  # from fluid to solid
        weight = ndimage.gaussian_filter(layer.astype(np.float32), width)
        if kind == 2:
            weight *= 0.8  # oedema lets the anatomy through
        variation = 1 + texture * (0.8 * patches[0] + 0.6 * patches[1])
        for channel, value in zip(crop, values.astype(np.float32), strict=True):
            channel += weight * (value * variation - channel)


def _scan(signal: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add bias field, Rician noise and a gain to (4, k, j, i): int16, 1 or more in the brain and 0 outside."""
    values = np.zeros(signal.shape, dtype=np.int16)
    for channel, out in zip(signal, values, strict=True):
        gain, sigma = rng.uniform(*_GAIN), rng.uniform(0.012, 0.025)
        voxels = (channel * np.exp(0.07 * smooth_noise(rng, brain.shape, 70.0)))[brain]
        real = voxels + sigma * rng.standard_normal(voxels.size, dtype=np.float32)
        imaginary = sigma * rng.standard_normal(voxels.size, dtype=np.float32)
        out[brain] = np.rint(gain * np.hypot(real, imaginary)).clip(1, _LARGEST)
    return values
