"""Files at the top level that name a version agree with the package."""

from __future__ import annotations

import re
from pathlib import Path

from monai_ext import __version__

ROOT = Path(__file__).parents[1]


def test_one_version():
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf"^version: {re.escape(__version__)}$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
