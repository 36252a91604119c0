"""Copy trained weights, and the split they were trained with, into the bundles: install_weights.py OUT."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch

from monai_ext.bundles import bundle_root, segmentor_weights
from monai_ext.data import atomic_path
from monai_ext.labels import MODALITIES

LIMIT = 25_000_000  # bytes; larger files belong in large_files.yml


def save_half(source: Path, target: Path) -> None:
    """Write weights in half precision; they are loaded into single precision."""
    state = torch.load(source, map_location="cpu", weights_only=True)
    state = state.get("model", state)
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, target)


def install(out: Path) -> list[Path]:
    """Copy what ``train_all.sh`` wrote to ``out``; returns the files written.

    Raises:
        FileNotFoundError: when a stage has no weights yet.
        ValueError: when a file is too large to ship, in half precision too.
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
        with atomic_path(target) as temporary:
            if source.stat().st_size > LIMIT and source.suffix == ".pt":
                save_half(source, temporary)
            else:
                shutil.copyfile(source, temporary)
            if temporary.stat().st_size > LIMIT:
                raise ValueError(f"{source} is over the 25 MB that a bundle may hold, in half precision too")
    return list(files)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path in install(Path(sys.argv[1])):
        print(path)
