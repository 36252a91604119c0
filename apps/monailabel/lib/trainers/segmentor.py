"""Training of the segmentor on the labels of the datastore."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.utils import set_determinism
from monailabel.interfaces.tasks.train import TrainTask

from lib.datastore import CaseDatastore
from lib.options import choice, positive_number, whole_number
from lib.training_set import clear, usable_labels, write_training_set
from monai_ext.bundles import bundle_root, from_config, model_file
from monai_ext.data import CaseError, write_json

logger = logging.getLogger(__name__)

METRIC = "val_mean_dice"


class TrainSegmentor(TrainTask):
    """Goes on from the weights in use with ``train.json`` of the segmentor, in a process of its own.

    The new weights replace those in use when they do at least as well on the patients set aside, by the mean Dice of
    WT, TC and ET, before and after.

    Args:
        folder: gets ``segmentor.pt``, ``train_stats.json`` and ``training``, which holds the cases, the split, curves
            and checkpoints of the last training.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("Segmentor of four modalities, from the weights in use, on the labels of the datastore")
        self.folder = folder
        self.trained, self.statistics = folder / "segmentor.pt", folder / "train_stats.json"

    def config(self) -> dict[str, Any]:
        """Options of a request and their defaults."""
        return {
            "max_epochs": 10,
            "val_fraction": 0.2,
            "learning_rate": 0.0005,
            "samples_per_epoch": "",
            "slice_range": "",
            "weights": ["newest", "shipped"],
            "seed": 0,
        }

    def stats(self) -> dict[str, Any]:
        """Of the training that runs, or of the last one."""
        return json.loads(self.statistics.read_text(encoding="utf-8")) if self.statistics.is_file() else {}

    def settings(self, request: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Keys of ``train.json``, and the fraction of patients to validate with.

        Raises:
            CaseError: for options that do not fit.
        """
        newest = choice(request, "weights", "newest", "shipped") == "newest" and self.trained.is_file()
        keys = {
            "max_epochs": whole_number(request, "max_epochs", 10, low=1),
            "learning_rate": positive_number(request, "learning_rate", 0.0005),
            "samples_per_epoch": whole_number(request, "samples_per_epoch", 0, low=1) or None,
            "slice_range": list(slice_range(request.get("slice_range"))),
            "seed": whole_number(request, "seed", 0),
            "initial_weights": str(self.trained) if newest else model_file(bundle_root("segmentor")),
        }
        return keys, positive_number(request, "val_fraction", 0.2, below=1)

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> dict[str, Any]:
        """Train.

        Args:
            request: see :meth:`config`; what is missing takes its default.
            datastore: labels with the tag ``final`` count.

        Returns:
            Epochs, seconds, patients by side, the metric before and after, and whether the weights are in use now.

        Raises:
            CaseError: for options that do not fit, or too few labels.
        """
        start = time.perf_counter()
        settings, fraction = self.settings(request)
        labels = usable_labels(datastore.finished_labels(), settings["slice_range"][1])
        folder = clear(self.folder / "training")
        sides = write_training_set(labels, folder, fraction, settings["seed"])
        set_determinism(settings["seed"])
        parts = from_config(
            bundle_root("segmentor"),
            "train.json",
            "parts",
            parts={"trainer": "@train#trainer", "evaluator": "@validate#evaluator"},
            dataset_dir=str(folder / "cases"),
            split_file=str(folder / "split.json"),
            output_dir=str(folder / "output"),
            val_interval=1,
            network="$monai_ext.bundles.load_weights(@network_def, @initial_weights).to(@device, "
            "memory_format=torch.channels_last)",
            **settings,
        )
        trainer, evaluator = parts["trainer"], parts["evaluator"]
        evaluator.run(0)
        before = evaluator.state.metrics[METRIC]
        report = {
            "epoch": 0,
            "total_epochs": settings["max_epochs"],
            "before": before,
            "best_metric": before,
            "patients": sides,
        }

        def note(engine: Engine) -> None:
            report.update(epoch=engine.state.epoch, after=evaluator.state.metrics[METRIC])
            report["best_metric"] = max(before, report["after"])
            write_json(self.statistics, report)

        write_json(self.statistics, report)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, note)
        trainer.run()
        report["in_use"] = report["after"] >= before
        if report["in_use"]:
            temporary = self.trained.with_suffix(".tmp")
            shutil.copyfile(folder / "output" / "model.pt", temporary)
            os.replace(temporary, self.trained)
        report["total_time"] = f"{time.perf_counter() - start:.0f} s"
        write_json(self.statistics, report)
        logger.info("training: %s", report)
        return report


def slice_range(value: Any) -> tuple[int, int]:
    """First slice and the one after the last, from ``"10,145"`` or a list; that of ``train.json`` when empty.

    Raises:
        CaseError: for anything else.
    """
    if value in (None, ""):
        return tuple(from_config(bundle_root("segmentor"), "train.json", "slice_range"))
    parts = value.strip("[] ").split(",") if isinstance(value, str) else list(value)
    try:
        first, end = (int(part) for part in parts)
    except (TypeError, ValueError):
        first, end = 0, 0
    if not 0 <= first < end:
        raise CaseError(f"slice_range is two whole numbers, such as 10,145, got {value!r}")
    return first, end
