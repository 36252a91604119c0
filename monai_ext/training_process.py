"""Run a bundle's shipped training in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from monai_ext.bundles import BundleError


def train_bundle(root: str | Path, output_dir: str | Path, **options: Any) -> Path:
    """Train with the bundle's ``train.json``; an earlier run in ``output_dir`` goes on, a finished one is kept.

    Args:
        root: folder of the bundle.
        output_dir: gets weights, checkpoints and ``log.txt``.
        **options: keys of ``train.json``.

    Returns:
        Path of the weights, ``output_dir/model.pt``.

    Raises:
        BundleError: when the training fails, naming the log.
    """
    output_dir = Path(output_dir)
    weights, log = output_dir / "model.pt", output_dir / "log.txt"
    if weights.is_file():
        return weights
    output_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(Path(root) / "configs" / "train.json")]
    for key, value in {"output_dir": output_dir, "resume": "true", **options}.items():
        command += [f"--{key}", str(value)]
    with log.open("a", encoding="utf-8") as stream:
        if subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode:
            raise BundleError(f"a training failed: its last lines are in {log}")
    return weights
