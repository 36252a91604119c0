#!/usr/bin/env bash
# Sets everything up (once) and runs the tests: bash scripts/test.sh [pytest arguments]
# Tests on real cases run when BRATS_DATA_DIR names a folder of BraTS-style cases, and are skipped otherwise.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$ROOT"
"$PYTHON" -m ruff check .
exec "$PYTHON" -m pytest "$@"
