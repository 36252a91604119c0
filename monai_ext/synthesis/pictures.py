"""Pictures of slices for reports, as PNG in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {1: (0.90, 0.25, 0.20), 2: (0.20, 0.75, 0.35), 3: (0.98, 0.85, 0.20)}
"""NCR red, ED green, ET yellow."""


def as_seen(slice_: torch.Tensor | np.ndarray) -> np.ndarray:
    """Slice (H, W) with the first axis towards the left -> rows from front to back, as viewers show it."""
    return np.asarray(slice_, dtype=np.float32).T


def colour_label(label: torch.Tensor | np.ndarray, image: torch.Tensor | np.ndarray | None = None) -> np.ndarray:
    """Label (H, W) as colours (W, H, 3), over a grey image where one is given."""
    classes = as_seen(label)
    rgb = np.repeat(as_seen(image)[..., None] if image is not None else np.zeros((*classes.shape, 1)), 3, axis=2)
    for value, colour in COLOURS.items():
        rgb[classes == value] = 0.45 * rgb[classes == value] + 0.55 * np.array(colour)
    return np.clip(rgb, 0, 1)


def panel(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], row_titles: Sequence[str] = (), scale: float = 1.3
):
    """Grid of slices as a matplotlib figure.

    Args:
        rows: pictures (W, H) grey in [0, 1] or (W, H, 3); rows of the same length.
        titles: of the columns.
        row_titles: of the rows.
        scale: inches a picture.
    """
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=(scale * len(titles), 1.2 * scale * len(rows)), squeeze=False, facecolor="black"
    )
    for r, row in enumerate(rows):
        for c, ax in enumerate(axes[r]):
            ax.set_axis_off()
            if c < len(row):
                ax.imshow(row[c], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if r == 0:
                ax.set_title(titles[c], color="white", fontsize=9)
        if r < len(row_titles):
            axes[r, 0].text(-0.05, 0.5, row_titles[r], color="white", fontsize=8, rotation=90, va="center", ha="right",
                            transform=axes[r, 0].transAxes)  # fmt: skip
    title = 0.25 / figure.get_figheight()
    figure.subplots_adjust(left=0.04, right=0.995, top=1 - title, bottom=0.005, wspace=0.02, hspace=0.02)
    return figure


def as_data_uri(figure) -> str:
    """Figure as a PNG data URI; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor=figure.get_facecolor(), metadata={"Software": None})
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
