#!/usr/bin/env bash
# Starts the MONAI Label app on this machine alone: bash scripts/label_server.sh STUDIES [PORT] [WORK]
#
# STUDIES  folder of BraTS-style cases, in any layout of the README; it is read and never written to
# PORT     of 127.0.0.1 (default: 8000)
# WORK     working folder with copies of app and images, labels and trained weights; given again, it goes on where it
#          was (default: a new folder for temporary files)
#
# The first start makes .venv-label with the pinned packages. MONAI_LABEL_PYTHON names another Python that has them.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
APP="$ROOT/apps/monailabel"
USAGE="usage: bash scripts/label_server.sh STUDIES [PORT] [WORK]"
STUDIES="${1:?$USAGE}"
PORT="${2:-8000}"
WORK="${3:-$(mktemp -d "${TMPDIR:-/tmp}/monai-ext-label.XXXXXX")}"
STAMP="$ROOT/.venv-label/.installed"

if [ -z "${MONAI_LABEL_PYTHON:-}" ]; then
    MONAI_LABEL_PYTHON="$ROOT/.venv-label/bin/python"
    if [ ! -f "$STAMP" ] || [ "$APP/requirements.txt" -nt "$STAMP" ]; then
        echo "making $ROOT/.venv-label, once; this takes minutes"
        [ -x "$MONAI_LABEL_PYTHON" ] || "${BASE_PYTHON:-python3}" -m venv "$ROOT/.venv-label"
        pip() { "$MONAI_LABEL_PYTHON" -m pip --quiet --disable-pip-version-check "$@"; }
        # torch with what it depends on, which its builds differ in, as long as no other build is there
        pip install -c "$APP/requirements.txt" "$(grep '^torch==' "$APP/requirements.txt")"
        pip install --no-deps -r "$APP/requirements.txt"
        touch "$STAMP"
    fi
fi

STUDIES="$(cd "$STUDIES" && pwd -P)"
WORK="$(realpath -m "$WORK")"
case "$WORK/" in "$STUDIES"/*) echo "error: $WORK lies in $STUDIES, which must not be written to" >&2; exit 1 ;; esac
mkdir -p "$WORK/tmp" "$WORK/sessions"
# nothing is written beside the sources, and nothing into the home folder
export PYTHONDONTWRITEBYTECODE=1 TMPDIR="$WORK/tmp" MONAI_LABEL_SESSION_PATH="$WORK/sessions"
PYTHONPATH="$APP:$ROOT" "$MONAI_LABEL_PYTHON" -m lib.scratch "$STUDIES" "$WORK"

export PYTHONPATH="$ROOT"
"$MONAI_LABEL_PYTHON" -c "import torchvision" 2>/dev/null || PYTHONPATH="$ROOT:$APP/torchvision_stub"
cd "$WORK"
echo "labels and trained weights stay in $WORK; server: http://127.0.0.1:$PORT"
exec "$MONAI_LABEL_PYTHON" -m monailabel.main start_server --app "$WORK/app" --studies "$WORK/studies" \
    --host 127.0.0.1 --port "$PORT"
