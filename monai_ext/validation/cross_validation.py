"""Cross-validation of the ``segmentor`` bundle by patient: every labelled patient is held out once."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_ext import __version__
from monai_ext.bundles import flag, from_config, load_weights
from monai_ext.data import SliceDataset, find_cases, write_folds, write_json
from monai_ext.engines import FlipInferer
from monai_ext.metrics import mean_scores
from monai_ext.training_process import train_bundle
from monai_ext.transforms import KeepLargestLesion
from monai_ext.validation.segmentors import evaluate_segmentors

logger = logging.getLogger(__name__)


def summarise_folds(judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Scores of one segmentor over folds: each patient counts once.

    Args:
        judged: a fold's :func:`monai_ext.validation.evaluate_cases`, one a fold.

    Returns:
        ``cases`` of every fold with its number, their ``mean`` and ``std``, and the ``mean`` of each fold.
    """
    cases = [{**c, "fold": k} for k, fold in enumerate(judged) for c in fold["cases"]]
    numbers = [{k: v for k, v in c.items() if isinstance(v, float)} for c in cases]
    names = sorted({k for n in numbers for k in n})
    spread = {k: round(float(np.nanstd([n.get(k, np.nan) for n in numbers])), 4) for k in names}
    return {"cases": cases, "mean": mean_scores(numbers), "std": spread, "folds": [f["mean"] for f in judged]}


def cross_validate(
    root: str | Path,
    dataset_dir: str,
    output_dir: str | Path,
    models: Sequence[str] = ("all", "t2f"),
    folds: int = 5,
    only: Sequence[int] | None = None,
    seed: int = 0,
    judged_slices: Sequence[int] = (55, 105),
    tta: bool | str = False,
    largest_lesion: bool | str = False,
    device: str | torch.device = "cpu",
    **options: Any,
) -> dict[str, Any] | None:
    """Train and judge segmentors on folds by patient; what is finished in ``output_dir`` is not done again.

    Args:
        root: folder of the ``segmentor`` bundle.
        dataset_dir: labelled cases in any layout.
        output_dir: ``fold_<k>/<model>/`` with weights and figures, ``cross_validation.json`` over all of them
            (``cross_validation_tta.json`` and so on for the other ways of judging).
        models: ``all`` or a modality, each a segmentor.
        folds: number of folds.
        only: folds to train now, to spread them over processes; all when ``None``.
        seed: of folds and trainings.
        judged_slices: first slice that is judged and the one after the last.
        tta: judge with left-right flips (:class:`monai_ext.engines.FlipInferer`), in a table of its own.
        largest_lesion: judge the largest lesion alone (:class:`monai_ext.transforms.KeepLargestLesion`), likewise.
        device: device to judge on.
        **options: keys of ``train.json``, such as ``max_epochs``.

    Returns:
        What ``cross_validation.json`` holds; ``None`` when folds are left to other processes.

    Raises:
        ValueError: see :func:`monai_ext.data.fold_splits`.
        BundleError: when a training fails.
    """
    root, output_dir = Path(root), Path(output_dir)
    tta, largest_lesion = flag(tta), flag(largest_lesion)
    num_classes, resample, roi_size = (
        from_config(root, "train.json", key, **options) for key in ("num_classes", "resample", "roi_size")
    )
    cases = find_cases(dataset_dir, num_classes=num_classes, resample=flag(resample))
    judged: dict[str, list[dict[str, Any]]] = {m: [] for m in models}
    judging = {
        "inferer": FlipInferer(enabled=tta), "postprocessing": KeepLargestLesion() if largest_lesion else None,
        "device": device, "settings": {"tta": tta, "largest_lesion": largest_lesion},
    }  # fmt: skip
    suffix = "_tta" * tta + "_largest_lesion" * largest_lesion
    for fold, (split_file, split) in enumerate(write_folds(cases, output_dir, folds, seed)):
        tested = [c for c in cases if c.patient_id in split["test"] and c.segmentation is not None]
        dataset = None  # read once a fold, and only when something is left to judge
        for model in models:
            folder = output_dir / f"fold_{fold}" / model
            metrics = folder / f"evaluation{suffix}" / "metrics.json"
            if not metrics.is_file():
                if only is not None and fold not in only:
                    continue
                weights = train_bundle(
                    root, folder, dataset_dir=dataset_dir, split_file=split_file, modalities=model, seed=seed, **options
                )
                network = load_weights(
                    from_config(root, "train.json", "network_def", **{**options, "modalities": model}), weights
                )
                dataset = dataset or SliceDataset(tested, slice_range=judged_slices, roi_size=roi_size)
                evaluate_segmentors({model: network}, dataset, metrics.parent, **judging)
            judged[model].append(json.loads(metrics.read_text(encoding="utf-8"))["segmentors"][model])
    if any(len(found) < folds for found in judged.values()):
        logger.info("folds are left to do: the table is written by the call that finds all of them")
        return None
    report = {
        "segmentors": {model: summarise_folds(found) for model, found in judged.items()}, "folds": folds, "seed": seed,
        "judged_slices": list(judged_slices), "tta": tta, "largest_lesion": largest_lesion,
        "options": {k: str(v) for k, v in options.items()},
        "version": __version__,
    }  # fmt: skip
    write_json(output_dir / f"cross_validation{suffix}.json", report)
    return report
