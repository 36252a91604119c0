#!/usr/bin/env bash
# Makes .venv with the pinned packages, once; sourced by the other scripts, which find $PYTHON afterwards.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="$ROOT/.venv/bin/python"
STAMP="$ROOT/.venv/.installed"

if [ ! -f "$STAMP" ] || [ "$ROOT/constraints.txt" -nt "$STAMP" ] || [ "$ROOT/pyproject.toml" -nt "$STAMP" ]; then
    [ -x "$PYTHON" ] || "${BASE_PYTHON:-python3}" -m venv "$ROOT/.venv"
    # torch first and by its exact version: an open range would bring gigabytes of CUDA to a machine without a GPU
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "$(grep '^torch==' "$ROOT/constraints.txt")"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check -c "$ROOT/constraints.txt" -e "$ROOT[test,export]"
    touch "$STAMP"
fi
