"""Puts the MONAI Label app on the search path, as MONAI Label does; at the end, where it shifts nothing."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "apps" / "monailabel"))
