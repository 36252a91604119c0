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


def companions(folder: Path) -> dict[str, torch.Tensor]:
    """Guidance and discriminators of the newest checkpoint, as :attr:`monai_ext.engines.CGANObjective.companions`.

    Raises:
        FileNotFoundError: when there is no checkpoint.
    """
    checkpoints = sorted(folder.glob("checkpoint_epoch=*.pt"), key=lambda p: int(p.stem.split("=")[1]))
    if not checkpoints:
        raise FileNotFoundError(f"{folder} has no checkpoint to take the discriminators from")
    state = torch.load(checkpoints[-1], map_location="cpu", weights_only=True)["objective"]
    prefixes = {"generator.guidance.": "guidance.", "discriminator.": ""}
    return {
        new + name.removeprefix(old): value.half() if value.is_floating_point() else value
        for name, value in state.items()
        for old, new in prefixes.items()
        if name.startswith(old)
    }


def check_translation(out: Path) -> None:
    """The stage for translation must have started from the generator that is installed with it.

    Raises:
        ValueError: when they differ in more than the image encoder.
    """
    generator, translation = (
        torch.load(out / name / "model.pt", map_location="cpu", weights_only=True) for name in ("cgan", "translation")
    )
    other = [k for k, v in generator.items() if not k.startswith("image_encoder.") and not v.equal(translation[k])]
    if other:
        raise ValueError(
            f"{out / 'translation'} is not of the generator in {out / 'cgan'} ({other[0]} differs): remove it and "
            "train it again from that one's weights (cgan/configs/train_translation.json)"
        )


def install(out: Path) -> list[Path]:
    """Copy what ``train_all.sh`` wrote to ``out``; returns the files written.

    Raises:
        FileNotFoundError: when a stage has no weights yet.
        ValueError: when a file is too large to ship, in half precision too; see :func:`check_translation` too.
    """
    models = {name: Path(bundle_root(name)) / "models" for name in ("featgen", "cgan", "segmentor")}
    files = {
        models["featgen"] / "model.pt": out / "featgen" / "model.pt",
        models["cgan"] / "model.pt": out / "translation" / "model.pt",
        **{
            models["segmentor"] / segmentor_weights(m): out / "segmentor" / m / "model.pt" for m in ("all", *MODALITIES)
        },
        **{folder / "split.json": out / "split.json" for folder in models.values()},
    }
    for source in (*files.values(), out / "cgan" / "model.pt"):
        if not source.is_file():
            raise FileNotFoundError(f"{source} is missing: has train_all.sh finished?")
    check_translation(out)
    for target, source in files.items():
        with atomic_path(target) as temporary:
            if source.stat().st_size > LIMIT and source.suffix == ".pt":
                save_half(source, temporary)
            else:
                shutil.copyfile(source, temporary)
            if temporary.stat().st_size > LIMIT:
                raise ValueError(f"{source} is over the 25 MB that a bundle may hold, in half precision too")
    beside = models["cgan"] / "companions.pt"
    with atomic_path(beside) as temporary:
        torch.save(companions(out / "cgan"), temporary)
    return [*files, beside]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path in install(Path(sys.argv[1])):
        print(path)
