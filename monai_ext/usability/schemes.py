"""The three lesion guidance schemes at one budget (Qu et al., Table 1): the job of ``table1.json``.

Three groups of patients that share nobody: generators train on the split's ``train`` side, the segmentors that judge
on its ``validation`` side, and what is judged are slices of its ``test`` side, painted anew and as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from monai_ext import __version__
from monai_ext.bundles import from_config, listed, load_weights
from monai_ext.data import SliceDataset, dataset_or_phantom, open_dataset, read_split, write_csv, write_json
from monai_ext.labels import MODALITIES
from monai_ext.networks.guidance import SCHEMES
from monai_ext.synthesis.repaint import repaint
from monai_ext.training_process import train_bundle
from monai_ext.usability.statistics import METRICS, summarise
from monai_ext.validation.image_judge import stacked
from monai_ext.validation.painted_lesions import Scores, lesion_scores

logger = logging.getLogger(__name__)

PAPER = {
    "real": {"mse": 0.026, "dice_index": 0.915},
    "1seg": {"mse": 0.053, "dice_index": 0.741},
    "1enc_ndec": {"mse": 0.055, "dice_index": 0.808},
    "nseg": {"mse": 0.043, "dice_index": 0.838},
}  # fmt: skip


def mean_over_modalities(scores: Scores) -> dict[str, float]:
    """Mean of each metric over the segmentors; one that a segmentor lacks is left out of the mean."""
    rows = {m: [s[m] for s in scores.values() if s.get(m) is not None] for m in METRICS}
    return {m: round(float(np.mean(found)), 4) for m, found in rows.items() if found}


def over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Metric -> :func:`monai_ext.usability.statistics.summarise` over the trainings that have it."""
    found = {m: [r[m] for r in runs if m in r] for m in METRICS}
    return {m: summarise(values, m) for m, values in found.items() if values}


class GuidanceSchemes:
    """Trains the image generator with each guidance scheme and has independent segmentors look for the lesions.

    Args:
        output_dir: ``judges/``, ``<scheme>_<seed>/``, ``table1.json`` and ``table1.csv`` go there; the same command
            goes on where it stopped.
        split_file: three disjoint groups of patients; made from ``fractions`` when it is not there.
        cgan_root: folder of the ``cgan`` bundle.
        segmentor_root: folder of the ``segmentor`` bundle.
        phantom_dir: where phantom cases go.
        dataset_dir: real cases; ``None`` takes the phantom, and says so.
        schemes: of :class:`monai_ext.networks.LesionGuidance`.
        repeats: trainings of each scheme, with seeds ``seed``, ``seed + 1`` ...
        fractions: of patients for generators, judges and slices to judge.
        seed: of split and trainings; judges have ``seed + 1000``.
        training: keys of the cgan's ``train.json``: the budget, the same for every scheme.
        judge_training: keys of the segmentor's ``train.json``.
        slice_range: slices judged.
        roi_size: centre crop.
        device: device to run on.
        resample: see :class:`monai_ext.data.Case`; for the trainings too.

    Raises:
        ValueError: for an unknown scheme or no repeat.
    """

    def __init__(
        self,
        output_dir: str | Path,
        split_file: str | Path,
        cgan_root: str | Path,
        segmentor_root: str | Path,
        phantom_dir: str | Path,
        dataset_dir: str | Path | None = None,
        schemes: str | Sequence[str] = SCHEMES,
        repeats: int = 1,
        fractions: Sequence[float] = (0.5, 0.3, 0.2),
        seed: int = 0,
        training: Mapping[str, Any] | None = None,
        judge_training: Mapping[str, Any] | None = None,
        slice_range: Sequence[int] = (55, 105),
        roi_size: Sequence[int] = (160, 192),
        device: str | torch.device = "cpu",
        resample: bool = False,
    ) -> None:
        self.schemes = tuple(listed(schemes))
        unknown = sorted(set(self.schemes) - set(SCHEMES))
        if unknown or not self.schemes or repeats < 1:
            raise ValueError(
                f"schemes are of {', '.join(SCHEMES)} and repeats at least 1, got {list(self.schemes)} and {repeats}"
            )
        self.output_dir, self.cgan_root, self.segmentor_root = Path(output_dir), Path(cgan_root), Path(segmentor_root)
        self.repeats, self.seed, self.device = repeats, seed, torch.device(device)
        self.dataset_dir = dataset_or_phantom(dataset_dir, phantom_dir, seed)
        self.resample = resample
        self.sides = open_dataset(
            self.dataset_dir, split_file, phantom_dir, fractions=fractions, seed=seed, resample=resample
        )
        self.groups = read_split(split_file)
        self.split_file = Path(split_file)
        self.area = {"slice_range": list(slice_range), "roi_size": list(roi_size)}
        self.training, self.judge_training = dict(training or {}), dict(judge_training or {})

    def _train(self, root: Path, folder: str, split_file: Path, **keys: Any) -> Path:
        return train_bundle(
            root, self.output_dir / folder, dataset_dir=self.dataset_dir, split_file=split_file, device=self.device,
            resample=self.resample, **self.area, **keys,
        )  # fmt: skip

    def judges(self) -> dict[str, nn.Module]:
        """A segmentor of each modality, trained on the patients that no generator trains on and no slice is of."""
        sides = self.groups
        split_file = self.output_dir / "judges" / "split.json"
        # a segmentor's curves need a side of their own; nothing is chosen by them
        write_json(split_file, {"train": sides["validation"], "validation": sides["test"], "test": sides["train"]})
        found = {}
        for name in MODALITIES:
            keys = {**self.judge_training, "modalities": name, "seed": self.seed + 1000}
            weights = self._train(self.segmentor_root, f"judges/{name}", split_file, **keys)
            network = from_config(self.segmentor_root, "train.json", "network_def", **keys)
            found[name] = load_weights(network, weights)
        return found

    def run(self) -> dict[str, Any]:
        """Train, judge and write.

        Returns:
            What ``table1.json`` holds: ``real`` and each scheme with the scores by modality and their mean, the paper's
            figures beside, the patients of each group and the settings.
        """
        judges = self.judges()
        labelled = [c for c in self.sides["test"] if c.segmentation is not None]
        images, label = stacked(SliceDataset(labelled, **self.area))
        running = {"modalities": MODALITIES, "device": self.device}
        real = lesion_scores(judges, images, label, **running)
        report: dict[str, Any] = {
            "real": {"modalities": real, "mean": mean_over_modalities(real), "paper": PAPER["real"]}, "schemes": {},
        }  # fmt: skip
        runs: dict[str, list[Scores]] = {s: [] for s in self.schemes}
        for repeat in range(self.repeats):
            for scheme in self.schemes:
                seed = self.seed + repeat
                weights = self._train(
                    self.cgan_root, f"{scheme}_{seed}", self.split_file, scheme=scheme, seed=seed, **self.training
                )
                network = load_weights(
                    from_config(self.cgan_root, "train.json", "network_def", **self.training), weights
                )
                painted = repaint(network, images, label, seed=seed, device=self.device)
                runs[scheme].append(lesion_scores(judges, painted, label, **running))
                logger.info("%s, seed %d: %s", scheme, seed, mean_over_modalities(runs[scheme][-1]))
        for scheme, found in runs.items():
            report["schemes"][scheme] = {
                "mean": over_seeds([mean_over_modalities(s) for s in found]),
                "modalities": {m: over_seeds([s[m] for s in found]) for m in MODALITIES}, "paper": PAPER[scheme],
            }  # fmt: skip
        report |= {
            "patients": {
                "generators": self.groups["train"], "judges": self.groups["validation"], "judged": self.groups["test"]
            },
            "slices": len(images), "repeats": self.repeats, "seed": self.seed, "training": self.training,
            "judge_training": self.judge_training, "version": __version__,
        }  # fmt: skip
        write_json(self.output_dir / "table1.json", report)
        self._write_csv(report)
        logger.info("table written to %s", self.output_dir / "table1.json")
        return report

    def _write_csv(self, report: Mapping[str, Any]) -> None:
        """The paper's layout: one line for real slices and one a scheme."""
        lines = [{"images": "real", **report["real"]["mean"], **_paper(report["real"])}]
        for scheme, row in report["schemes"].items():
            lines.append({"images": scheme, **{m: v["mean"] for m, v in row["mean"].items()}, **_paper(row)})
        write_csv(self.output_dir / "table1.csv", lines, ["images", *METRICS, "paper_mse", "paper_dice_index"])


def _paper(row: Mapping[str, Any]) -> dict[str, float]:
    return {f"paper_{k}": v for k, v in row["paper"].items()}
