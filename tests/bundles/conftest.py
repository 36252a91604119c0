"""Runs shipped configs as the command line does, on cases of 64 x 64 x 8 voxels."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fire
import monai.bundle
import pytest
import torch
from monai.utils import set_determinism

from monai_ext.bundles import bundle_root, from_config, segmentor_weights
from monai_ext.labels import MODALITIES

BUNDLES = Path(__file__).parents[2] / "bundles"
SHAPE = (64, 64, 8)


@pytest.fixture(autouse=True)
def restore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a run does to the process: search path, log handlers, seeds."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    deterministic, benchmark = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    set_determinism(None)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark


@pytest.fixture(scope="session")
def run_bundle() -> Callable[..., None]:
    """``run_bundle("cgan", "train", max_epochs=1)``: what the command line does with ``--max_epochs 1``.

    ``"train,paper"`` runs one config over the other.
    """

    def run(bundle: str, config: str, **overrides: Any) -> None:
        files = [str(BUNDLES / bundle / "configs" / f"{name}.json") for name in config.split(",")]
        command = ["--config_file", files[0] if len(files) == 1 else str(files)]
        for key, value in overrides.items():
            command += [f"--{key}", str(value)]
        fire.Fire(monai.bundle.run, command=command, name="run")

    return run


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory: pytest.TempPathFactory, volumes: Callable, write_case: Callable) -> Path:
    """Four labelled cases of four patients, in the layout of BraTS 2023; do not write to it."""
    root = tmp_path_factory.mktemp("small")
    for seed in range(4):
        write_case(root, "brats2023", f"BraTS-TST-{seed:05d}-000", volumes(seed, SHAPE))
    return root


@pytest.fixture(scope="session")
def segmentor_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the segmentor bundle's configs with random weights for every segmentor, and no split."""
    root = tmp_path_factory.mktemp("bundles") / "segmentor"
    shutil.copytree(BUNDLES / "segmentor" / "configs", root / "configs")
    (root / "models").mkdir()
    for name in ("all", *MODALITIES):
        torch.manual_seed(len(name))
        network = from_config(root, "train.json", "network_def", modalities=name)
        torch.save(network.state_dict(), root / "models" / segmentor_weights(name))
    return root


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights of the other two networks; the mask finds brain nearly everywhere, so that lesions find room."""
    root, files = tmp_path_factory.mktemp("weights"), {}
    for name in ("featgen", "cgan"):
        torch.manual_seed(1)
        network = from_config(bundle_root(name), "train.json", "network_def")
        if name == "featgen":
            torch.nn.init.constant_(list(network.mask.parameters())[-1], -5.0)
        files[name] = root / f"{name}.pt"
        torch.save(network.state_dict(), files[name])
    return files


@pytest.fixture(scope="session")
def message_of() -> Callable[[BaseException], str]:
    """What an error and everything that caused it say."""

    def join(error: BaseException | None) -> str:
        return "" if error is None else f"{error}\n{join(error.__cause__ or error.__context__)}"

    return join
