"""Train and judge segmentors on folds by patient: cross_validate.py DATA OUT [--models all,t2f] [--folds 5].

Every labelled patient under DATA is held out once. Keys of the segmentor's train.json may follow, such as
``--max_epochs 40 --samples_per_epoch 448``. The same command goes on where it stopped; ``--only "[0, 1]"`` trains some
folds, so that several processes share the work. The table goes to OUT/cross_validation.json; ``--tta true`` and
``--largest_lesion true`` judge the same networks in other ways, each in a table of its own.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import fire

from monai_ext.bundles import BundleError, bundle_root, listed
from monai_ext.validation.cross_validation import cross_validate


def main(dataset_dir: str, output_dir: str, models: Any = ("all", "t2f"), **options: Any) -> None:
    """See :func:`monai_ext.validation.cross_validation.cross_validate`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        report = cross_validate(bundle_root("segmentor"), str(dataset_dir), str(output_dir), listed(models), **options)
    except (BundleError, ValueError) as error:
        sys.exit(f"error: {error}")
    for model, scores in (report or {"segmentors": {}})["segmentors"].items():
        print(f"{model}: {scores['mean']} over {len(scores['cases'])} cases")


if __name__ == "__main__":
    fire.Fire(main)
