#!/usr/bin/env bash
# Trains every network of the package: bash scripts/train_all.sh DATA OUT [THREADS]
#
# DATA  folder of BraTS-style cases, labelled and unlabelled, in any layout
# OUT   folder for weights, logs, the split and held-out figures; a second call goes on where the first one stopped
#
# One split by patient serves every stage. Two lanes run side by side: the image generator needs nothing of the others.
# The epochs below fit two CPU cores and about a dozen cases; on a GPU raise them (or leave them out: train.json's).
set -euo pipefail

DATA="${1:?usage: bash scripts/train_all.sh DATA OUT [THREADS]}"
OUT="${2:?usage: bash scripts/train_all.sh DATA OUT [THREADS]}"
export OMP_NUM_THREADS="${3:-1}"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
mkdir -p "$OUT"
OUT="$(cd "$OUT" && pwd)"
DATA="$(cd "$DATA" && pwd)"

bundle() { # bundle CONFIG[,OVERLAY] OUTPUT_DIR [--key value ...]
    local configs="['$ROOT/bundles/${1/,/\',\'$ROOT/bundles/}']"
    "$PYTHON" -m monai.bundle run --config_file "$configs" --dataset_dir "$DATA" --split_file "$OUT/split.json" \
        --output_dir "$OUT/$2" "${@:3}"
}

train() { # train CONFIG OUTPUT_DIR [--key value ...]; nothing to do once OUTPUT_DIR/model.pt is there
    [ -f "$OUT/$2/model.pt" ] && return
    local start=$SECONDS
    mkdir -p "$OUT/$2"
    bundle "$1" "$2" --resume true "${@:3}" >"$OUT/$2/log.txt" 2>&1 || { echo "failed: see $OUT/$2/log.txt" >&2; exit 1; }
    echo "$2: $(((SECONDS - start + 30) / 60)) min" | tee -a "$OUT/minutes.txt"
}

# the split, before two lanes want it
"$PYTHON" -m monai_ext.data.dataset "$DATA" "$OUT/split.json"

images() {
    train cgan/configs/train.json cgan --max_epochs 16
    train cgan/configs/train.json,cgan/configs/train_translation.json translation \
        --initial_weights "$OUT/cgan/model.pt"
}
maps_and_segmentors() {
    train segmentor/configs/train.json segmentor/all --modalities all --max_epochs 40 --samples_per_epoch 448
    train featgen/configs/train.json featgen
    for m in t2f t2w t1c t1n; do
        train segmentor/configs/train.json "segmentor/$m" --modalities "$m" --max_epochs 24 --samples_per_epoch 448
    done
}
images &
LANE=$!
maps_and_segmentors
wait "$LANE"

"$PYTHON" "$ROOT/scripts/install_weights.py" "$OUT"
echo "weights are in bundles/*/models; figures on held-out patients:"
bundle segmentor/configs/evaluate.json segmentor/evaluation
bundle featgen/configs/evaluate.json featgen/evaluation
bundle cgan/configs/evaluate.json cgan/evaluation
bundle cgan/configs/evaluate_translation.json cgan/evaluation_translation
