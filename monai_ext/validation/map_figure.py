"""Pictures of an evaluation of maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave

from monai_ext.data import atomic_path
from monai_ext.synthesis.pictures import as_seen
from monai_ext.validation.map_scores import RADIAL, Measured
from monai_ext.validation.map_sets import choose

COLOURS = {"generated": "tab:red", "reconstructed": "tab:orange", "real": "tab:blue", "training": "0.4"}
COLUMNS, ROWS = 8, 6
GAP, MIDDLE = 2, 12  # pixels between maps, and between the two halves


def draw_metrics(measured: Mapping[str, Measured], path: str | Path) -> None:
    """Distributions behind the figures: edge density, similarity to the nearest training map, radial profile.

    Args:
        measured: name -> set; the second panel is left out where no set has been compared with training maps.
        path: of the PNG.
    """
    compared = {n: m for n, m in measured.items() if m.nearest is not None}
    figure = Figure(figsize=(13 if compared else 9, 3.6), layout="constrained")
    axes = list(figure.subplots(1, 3 if compared else 2))
    _histogram(axes[0], {n: m.density for n, m in measured.items()}, "share of edge pixels")
    if compared:
        _histogram(axes[1], {n: m.nearest for n, m in compared.items()}, "Dice with the nearest training map")
    radius = (np.arange(RADIAL) + 0.5) * 1.5 / RADIAL
    for name, one in measured.items():
        axes[-1].plot(radius, one.profiles.mean(0)[:RADIAL], color=COLOURS[name], label=name)
    axes[-1].set(xlabel="distance from the brain's centre, in its radii", ylabel="share of edges")
    axes[-1].legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def draw_maps(sets: Sequence[torch.Tensor], path: str | Path, seed: int = 0) -> None:
    """48 maps of each set, side by side; fewer where there are fewer.

    Maps of patients among them: keep the picture where their images may lie.

    Args:
        sets: each (N, 1, H, W) in {0, 1}.
        path: of the PNG.
        seed: of the choice.
    """
    sheets: list[np.ndarray] = []
    for maps in sets:
        sheet = _sheet(maps[choose(len(maps), COLUMNS * ROWS, seed)])
        sheets += [np.ones((len(sheet), MIDDLE), dtype=np.float32), sheet] if sheets else [sheet]
    with atomic_path(path) as temporary:
        imsave(temporary, np.hstack(sheets), cmap="gray", vmin=0, vmax=1)


def _histogram(axis: Axes, values: Mapping[str, torch.Tensor], title: str) -> None:
    low, high = (float(f(torch.cat(list(values.values())))) for f in (torch.min, torch.max))
    bins = np.linspace(low, max(high, low + 1e-3), 31)
    for name, one in values.items():
        share = np.full(len(one), 1 / len(one))
        axis.hist(one.numpy(), bins, weights=share, histtype="step", color=COLOURS[name], label=name)
    axis.set(xlabel=title, ylabel="share of maps")


def _sheet(maps: torch.Tensor) -> np.ndarray:
    """Maps (N, 1, H, W) in rows of eight, as viewers show them, on grey."""
    tiles = [as_seen(m[0]) for m in maps]
    height, width = tiles[0].shape
    sheet = np.full((ROWS * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP), 0.5, dtype=np.float32)
    for n, tile in enumerate(tiles):
        top, left = n // COLUMNS * (height + GAP), n % COLUMNS * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet
