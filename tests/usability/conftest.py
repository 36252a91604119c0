"""Two training patients, two judges, and synthetic studies, all of 32 x 32 pixels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from monai_ext.bundles import bundle_root
from monai_ext.data import StudyWriter, study_name
from monai_ext.usability import CellTrainer, Settings, Sources, open_sources, parse_rows

SMALL = {"slice_range": (2, 6), "roi_size": (32, 32)}


def write_studies(folder: Path, count: int, sources: Sequence[str] = ("procedural",)) -> Path:
    """Studies as the generator writes them; ``sources`` are the cases that labels come from, in turn."""
    writer, lines = StudyWriter(folder), []
    for index in range(count):
        images, label = np.zeros((4, 32, 32), np.float32), np.zeros((32, 32), np.uint8)
        images[:, 4:28, 4:28] = np.random.default_rng(index).uniform(0.02, 1, (4, 24, 24))
        label[10:20, 10:20], label[13:17, 13:17] = 2, 3
        writer.write(study_name(index), images, label)
        lines.append({"name": study_name(index), "label_source": sources[index % len(sources)]})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    return folder


@pytest.fixture(scope="session")
def studies() -> Callable[..., Path]:
    """:func:`write_studies`."""
    return write_studies


@pytest.fixture(scope="session")
def split_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """P0 and P1 are trained on, P2 and P3 judge."""
    path = tmp_path_factory.mktemp("split") / "split.json"
    path.write_text(json.dumps({"train": ["P0", "P1"], "validation": [], "test": ["P2", "P3"]}))
    return path


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, cases_dir: Path, split_file: Path) -> Sources:
    """8 real slices of 2 patients, 8 synthetic ones, 8 of 2 judges."""
    folder = write_studies(tmp_path_factory.mktemp("studies"), 8, ("procedural", "P0"))
    return open_sources(cases_dir, folder, split_file, folder / "unused", **SMALL)


@pytest.fixture(scope="session")
def make_trainer(sources: Sources) -> Callable[..., CellTrainer]:
    """A trainer of these rows with three iterations of four slices."""

    def make(rows: str, iterations: int = 3, augment: bool = False, seed: int = 0, **kwargs) -> CellTrainer:
        settings = Settings(iterations=iterations, batch_size=4, augment=augment, seed=seed)
        return CellTrainer(sources, parse_rows(rows), settings, bundle_root("segmentor"), **kwargs)

    return make
