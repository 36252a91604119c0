"""Draw generated studies as one picture: draw_studies.py STUDIES PICTURE [ROWS] (a folder that generate.json wrote)."""

from __future__ import annotations

import sys
from pathlib import Path

from monai_ext.data import SliceDataset, atomic_path, find_cases
from monai_ext.labels import MODALITIES, MODALITY_TITLES
from monai_ext.synthesis.pictures import as_seen, colour_label, panel


def draw(studies: Path, picture: Path, rows: int = 6) -> None:
    """Write a picture with a row a study: label, the modalities, the label over FLAIR."""
    dataset = SliceDataset(find_cases(studies)[:rows], MODALITIES, (0, 1), progress=False)
    items = [dataset.raw(i) for i in range(len(dataset))]
    pictures = [
        [colour_label(i["label"][0]), *[as_seen(c) for c in i["image"]], colour_label(i["label"][0], i["image"][-1])]
        for i in items
    ]
    figure = panel(pictures, ["label", *MODALITY_TITLES.values(), "overlay"])
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=figure.get_facecolor(), format="png", metadata={"Software": None})


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    draw(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else 6)
