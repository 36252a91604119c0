"""Draw generated studies as one picture: draw_studies.py STUDIES PICTURE [--studies 6] [--across 1].

STUDIES is a folder that generate.json wrote. One study across shows its label, the modalities and the label over FLAIR;
several across show the modalities alone.
"""

from __future__ import annotations

from pathlib import Path

import fire
import numpy as np

from monai_ext.data import SliceDataset, atomic_path, find_cases
from monai_ext.labels import MODALITIES, MODALITY_TITLES
from monai_ext.synthesis.pictures import as_seen, colour_label, panel


def draw(folder: str, picture: str, studies: int = 6, across: int = 1) -> None:
    """Write a picture of the first studies.

    Args:
        folder: what ``generate.json`` wrote.
        picture: PNG file.
        studies: how many.
        across: side by side.
    """
    dataset = SliceDataset(find_cases(str(folder))[:studies], MODALITIES, (0, 1), progress=False)
    shown: list[list[np.ndarray]] = []
    for item in (dataset.raw(i) for i in range(len(dataset))):
        images = [as_seen(c) for c in item["image"]]
        if across == 1:
            images = [colour_label(item["label"][0]), *images, colour_label(item["label"][0], item["image"][-1])]
        shown.append(images)
    lines = [sum(shown[i : i + across], []) for i in range(0, len(shown) - len(shown) % across, across)]
    titles = list(MODALITY_TITLES.values())
    figure = panel(lines, ["label", *titles, "overlay"] if across == 1 else titles * across)
    with atomic_path(Path(picture)) as temporary:
        figure.savefig(
            temporary, dpi=110 if across == 1 else 60, facecolor=figure.get_facecolor(), format="png",
            metadata={"Software": None},
        )  # fmt: skip


if __name__ == "__main__":
    fire.Fire(draw)
