"""Small networks with random weights, and a small generated set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn as nn

from monai_ext.data import Case, SliceDataset, StudyWriter, find_cases, study_name
from monai_ext.labels import MODALITIES
from monai_ext.networks import UnshuffleUNet


class Constant(nn.Module):
    """Predicts one class everywhere; counts the channels it was given."""

    def __init__(self, value: int) -> None:
        super().__init__()
        self.value, self.channels = value, set()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.channels.add(images.shape[1])
        logits = torch.zeros(len(images), 4, *images.shape[2:])
        logits[:, self.value] = 1
        return logits


@pytest.fixture(scope="session")
def constant() -> type[nn.Module]:
    """:class:`Constant`."""
    return Constant


@pytest.fixture
def segmentors() -> dict[str, nn.Module]:
    """Random networks: ``all`` and one for each modality."""
    torch.manual_seed(0)
    return {n: UnshuffleUNet(4 if n == "all" else 1, 4, (4, 4, 4, 4)) for n in ("all", *MODALITIES)}


@pytest.fixture(scope="session")
def write_generated() -> Callable[..., Path]:
    """Write studies of 64 x 64 as the generator does, with a lesion of every class."""

    def write(folder: Path, count: int = 3, layout: str = "brats") -> Path:
        writer, lines = StudyWriter(folder, layout), []
        for index in range(count):
            rng = np.random.default_rng(index)
            images, label = np.zeros((4, 64, 64), np.float32), np.zeros((64, 64), np.uint8)
            structure, mask = np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)
            images[:, 8:56, 8:56] = rng.uniform(0.02, 1, (4, 48, 48))
            label[20:32, 20:32], label[24:30, 24:30], label[26:28, 26:28] = 2, 3, 1
            structure[8:56, [8, 55]], mask[8:56, 8:56] = 1, 0
            name = study_name(index)
            writer.write(name, images, label)
            writer.write_structure(name, structure, mask)
            files = {**writer.files(name), **writer.structure_files(name)}
            lines.append({"name": name, "seed": 0, "candidate": index, **files})
        (folder / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        return folder

    return write


@pytest.fixture(scope="session")
def cases(tmp_path_factory, write_case, volumes) -> list[Case]:
    """Four labelled cases of 64 x 64 x 8."""
    root = tmp_path_factory.mktemp("cases")
    for seed in range(4):
        write_case(root, "brats2023", f"P{seed}", volumes(seed, (64, 64, 8)))
    return find_cases(root)


@pytest.fixture(scope="session")
def cut_slices() -> Callable[[list[Case]], SliceDataset]:
    """Four slices of each case."""
    return lambda cases: SliceDataset(cases, slice_range=(2, 6), roi_size=(64, 64), progress=False)


@pytest.fixture(scope="session")
def held_out(cases, cut_slices) -> SliceDataset:
    """Slices of the first two cases."""
    return cut_slices(cases[:2])


@pytest.fixture(scope="session")
def training(cases, cut_slices) -> SliceDataset:
    """Slices of the other two."""
    return cut_slices(cases[2:])
