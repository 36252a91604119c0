"""Copy trained weights, and the split they were trained with, into the bundles: install_weights.py OUT."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from monai_ext.bundles import bundle_root, segmentor_weights
from monai_ext.data import atomic_path
from monai_ext.labels import MODALITIES

LIMIT = 25_000_000  # bytes; larger files belong in large_files.yml


def install(out: Path) -> list[Path]:
    """Copy what ``train_all.sh`` wrote to ``out``; returns the files written.

    Raises:
        FileNotFoundError: when a stage has no weights yet.
        ValueError: when a file is too large to ship.
    """
    models = {name: Path(bundle_root(name)) / "models" for name in ("featgen", "cgan", "segmentor")}
    files = {
        models["featgen"] / "model.pt": out / "featgen" / "model.pt",
        models["cgan"] / "model.pt": out / "cgan" / "model.pt",
        **{
            models["segmentor"] / segmentor_weights(m): out / "segmentor" / m / "model.pt" for m in ("all", *MODALITIES)
        },
        **{folder / "split.json": out / "split.json" for folder in models.values()},
    }
    for target, source in files.items():
        if not source.is_file():
            raise FileNotFoundError(f"{source} is missing: has train_all.sh finished?")
        if source.stat().st_size > LIMIT:
            raise ValueError(
                f"{source} has {source.stat().st_size / 1e6:.1f} MB, over the 25 MB that a bundle may hold"
            )
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    return list(files)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path in install(Path(sys.argv[1])):
        print(path)
