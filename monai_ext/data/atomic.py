"""Write files so that a reader, or a restart after a kill, never sees half of one."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Path of a temporary file beside ``path``, which takes its place when the block ends without an error.

    The temporary name keeps the file's ending (``.nii.gz`` stays ``.nii.gz``), since writers go by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write one line a row, atomically; a value that is missing or ``None`` leaves its cell empty.

    Args:
        path: of the file.
        rows: column -> value.
        columns: in this order; those of the first row when ``None``.

    Raises:
        ValueError: for a row with another column, or without rows and columns.
    """
    if not rows and columns is None:
        raise ValueError(f"{path}: no rows, and no columns to write without them")
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if columns is None else list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)
