"""Build a labelled data set from noise: the main job of the ``synthesis`` bundle."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch
from tqdm import tqdm

from monai_ext import __version__
from monai_ext.data import StudyWriter, study_name, write_json
from monai_ext.synthesis.manifest import Manifest
from monai_ext.synthesis.report import write_generation_report
from monai_ext.synthesis.stream import Candidate, StudyStream, SynthesisError

logger = logging.getLogger(__name__)


class DatasetGenerator:
    """Runs a stream until enough samples are accepted, or the attempts run out; a restart goes on where it stopped.

    Writes ``manifest.jsonl``, ``dataset.json``, ``report.json`` and ``report.html`` beside the studies.

    Args:
        stream: candidates of a seed.
        writer: where and in which layout studies go.
        num_samples: samples to accept.
        batch_size: candidates at a time.
        max_attempts: candidates a sample, on average, before giving up.
        settings: further settings for the report.
        keep_examples: candidates kept in memory for the pictures of the report.

    Raises:
        ValueError: for counts below 1.
        ManifestError: when the folder holds a run with other settings.
    """

    def __init__(
        self,
        stream: StudyStream,
        writer: StudyWriter,
        num_samples: int,
        batch_size: int = 8,
        max_attempts: int = 50,
        settings: Mapping[str, Any] | None = None,
        keep_examples: int = 8,
    ) -> None:
        if min(num_samples, batch_size, max_attempts) < 1:
            raise ValueError(
                f"num_samples, batch_size and max_attempts must be at least 1, got {num_samples}, {batch_size} "
                f"and {max_attempts}"
            )
        self.stream, self.writer = stream, writer
        self.num_samples, self.batch_size = num_samples, batch_size
        self.limit = max_attempts * num_samples
        self.settings = {**stream.describe(), "layout": writer.layout, **(settings or {})}
        self.manifest = Manifest(writer.root, self.settings)
        self.keep_examples = keep_examples
        self.examples: list[Candidate] = []

    def run(self) -> dict[str, Any]:
        """Generate.

        Returns:
            What ``report.json`` holds.

        Raises:
            SynthesisError: when the attempts ran out; the samples accepted so far and the report are there.
        """
        manifest, counts = self.manifest, self.manifest.counts
        if counts["accepted"]:
            logger.info("going on after %d accepted samples of %d candidates", counts["accepted"], counts["candidates"])
            # a candidate can be made again from its number: the report shows the first ones after a restart too
            self.examples = self.stream.run([r["candidate"] for r in manifest.records[: self.keep_examples]])
        with tqdm(total=self.num_samples, initial=counts["accepted"], desc="accepted", unit="study") as bar:
            while counts["accepted"] < self.num_samples and counts["candidates"] < self.limit:
                start = time.perf_counter()
                first = counts["candidates"]
                for candidate in self.stream.run(range(first, min(first + self.batch_size, self.limit))):
                    self._settle(candidate)
                    if counts["accepted"] == self.num_samples:
                        break
                bar.n = counts["accepted"]
                bar.set_postfix(candidates=counts["candidates"])
                manifest.seconds += time.perf_counter() - start
                manifest.save()
        self.writer.write_datalist(manifest.records)
        report = self.report()
        write_json(self.writer.root / "report.json", report)
        write_generation_report(self.writer.root / "report.html", report, self.examples, self.writer.modalities)
        if counts["accepted"] < self.num_samples:
            worst = max(("map", "placement", "dice"), key=lambda s: counts[s])
            raise SynthesisError(
                f"only {counts['accepted']} of {self.num_samples} samples accepted in {counts['candidates']} "
                f"candidates; most were turned down at stage '{worst}' ({counts[worst]}): loosen its threshold or "
                "raise --max_attempts"
            )
        return report

    def _settle(self, candidate: Candidate) -> None:
        """Count a candidate and write it when it stands."""
        counts = self.manifest.counts
        counts["candidates"] += 1
        if candidate.rejected_by is not None:
            counts[candidate.rejected_by] += 1
            return
        name = study_name(counts["accepted"])
        self.writer.write(name, candidate.images.numpy(), candidate.label[0].numpy())
        self.writer.write_structure(name, candidate.structure[0].numpy(), candidate.mask[0].numpy())
        classes = torch.bincount(candidate.label.flatten().long(), minlength=self.stream.cgan.num_classes + 1)
        self.manifest.add(
            {
                "name": name, "seed": self.stream.seed, "candidate": candidate.number, **self.writer.files(name),
                **self.writer.structure_files(name),
                "label_source": candidate.label_source, "scores": candidate.scores,
                "lesion_pixels": {str(k): int(classes[k]) for k in range(1, len(classes))},
            }
        )  # fmt: skip
        counts["accepted"] += 1
        if len(self.examples) < self.keep_examples:
            self.examples.append(candidate)

    def report(self) -> dict[str, Any]:
        """Counts per stage, seconds and settings."""
        counts, seconds = self.manifest.counts, self.manifest.seconds
        passed = counts["candidates"] - counts["map"]
        placed = passed - counts["placement"]
        return {
            "samples": counts["accepted"],
            "stages": {
                "candidates": counts["candidates"], "passed_map_filter": passed, "passed_placement": placed,
                "passed_dice_filter": placed - counts["dice"], "accepted": counts["accepted"],
            },
            "acceptance": {
                "map": _share(passed, counts["candidates"]), "placement": _share(placed, passed),
                "dice": _share(placed - counts["dice"], placed),
                "all": _share(counts["accepted"], counts["candidates"]),
            },
            "seconds": round(seconds, 2),
            "seconds_per_sample": round(seconds / max(counts["accepted"], 1), 3),
            "settings": self.settings,
            "version": __version__,
        }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
