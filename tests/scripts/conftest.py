"""The modules in ``scripts``, which are no package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def script():
    """Import a script by its name."""
    folder = str(Path(__file__).parents[2] / "scripts")
    sys.path.insert(0, folder)
    yield importlib.import_module
    sys.path.remove(folder)
