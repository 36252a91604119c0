#!/usr/bin/env bash
# Sets everything up (once), generates 16 labelled studies from noise and validates them: bash scripts/demo.sh [OUT] [DATA]
#
# OUT   folder for the data set and its validation (default: output/demo)
# DATA  folder of real BraTS-style cases to validate against; without it the phantom stands in, and the report says so
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$ROOT"
OUT="${1:-output/demo}"
SECONDS=0
"$PYTHON" -m monai.bundle run --config_file bundles/synthesis/configs/generate.json --num_samples 16 --seed 0 \
    --output_dir "$OUT/studies"
"$PYTHON" -m monai.bundle run --config_file bundles/synthesis/configs/validate.json --synthetic_dir "$OUT/studies" \
    ${2:+--dataset_dir "$2"} --output_dir "$OUT/validation"
echo "done in $SECONDS s:"
echo "  data set    $OUT/studies (report.html, manifest.jsonl, dataset.json)"
echo "  validation  $OUT/validation (report.html, metrics.json)"
