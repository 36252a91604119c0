"""What a generation run has done so far: the accepted samples and the count of the others, safe against a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_ext.data.atomic import atomic_path, write_json


class ManifestError(ValueError):
    """The output folder holds another run."""


class Manifest:
    """``manifest.jsonl`` (one line an accepted sample) and ``progress.json`` (counts and the next candidate).

    ``progress.json`` is written after the lines it counts, and lines beyond it are dropped at a restart, so the two
    always
    agree.

    Args:
        output_dir: folder of the run.
        settings: what decides the samples; a restart must have the same.

    Raises:
        ManifestError: when the folder holds a run with other settings.
    """

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any]) -> None:
        self.root = Path(output_dir)
        self.root.mkdir(parents=True, exist_ok=True)
        self.lines, self.state = self.root / "manifest.jsonl", self.root / "progress.json"
        self.settings = json.loads(json.dumps(dict(settings)))
        self.records: list[dict[str, Any]] = []
        self.counts = {"candidates": 0, "map": 0, "placement": 0, "dice": 0, "accepted": 0}
        self.seconds = 0.0
        if self.state.is_file():
            self._load()
        else:  # lines of a run that was killed before it first saved its counts
            self._write_lines()

    def _load(self) -> None:
        state = json.loads(self.state.read_text(encoding="utf-8"))
        if state["settings"] != self.settings:
            different = sorted(
                k for k in {*state["settings"], *self.settings} if state["settings"].get(k) != self.settings.get(k)
            )
            raise ManifestError(
                f"{self.root} holds a run with other settings ({', '.join(different)}): give another --output_dir"
            )
        self.counts, self.seconds = state["counts"], state["seconds"]
        if self.lines.is_file():
            lines = self.lines.read_text(encoding="utf-8").splitlines()
            self.records = [json.loads(line) for line in lines[: self.counts["accepted"]]]
            self._write_lines()

    def _write_lines(self) -> None:
        with atomic_path(self.lines) as temporary:
            temporary.write_text("".join(json.dumps(r) + "\n" for r in self.records), encoding="utf-8")

    def add(self, record: Mapping[str, Any]) -> None:
        """Append one accepted sample, whose files are written."""
        self.records.append(dict(record))
        with self.lines.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def save(self) -> None:
        """Write the counts; call it after the samples they count."""
        write_json(self.state, {"settings": self.settings, "counts": self.counts, "seconds": self.seconds})
