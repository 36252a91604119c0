"""Options of a request: what clients send may be text, and may be wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from monai_ext.data import CaseError


def whole_number(request: Mapping[str, Any], key: str, default: int, low: int = 0, high: int | None = None) -> int:
    """A whole number of a request; missing or empty gives the default.

    Raises:
        CaseError: naming the key and what it allows.
    """
    value = request.get(key)
    if value in (None, ""):
        return default
    allowed = f"from {low} to {high}" if high is not None else f"of at least {low}"
    try:
        found = int(str(value))
    except ValueError:
        found = None
    if found is None or found < low or (high is not None and found > high):
        raise CaseError(f"{key} is a whole number {allowed}, got {value!r}")
    return found


def positive_number(request: Mapping[str, Any], key: str, default: float, below: float = math.inf) -> float:
    """A number above 0 of a request; missing or empty gives the default.

    Raises:
        CaseError: naming the key and what it allows.
    """
    value = request.get(key)
    if value in (None, ""):
        return default
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 < found < below:
        limit = "" if below == math.inf else f" and below {below:g}"
        raise CaseError(f"{key} is a number above 0{limit}, got {value!r}")
    return found


def choice(request: Mapping[str, Any], key: str, *allowed: str) -> str:
    """One of some words; missing or empty gives the first.

    Raises:
        CaseError: naming the key and what it allows.
    """
    value = request.get(key) or allowed[0]
    if value not in allowed:
        raise CaseError(f"{key} is one of {', '.join(allowed)}, got {value!r}")
    return value
