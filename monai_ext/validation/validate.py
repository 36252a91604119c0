"""Judge a synthetic data set against real patients, held out and trained on: the job of ``validate.json``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from monai_ext import __version__
from monai_ext.data import Case, LeakError, SliceDataset, dataset_or_phantom, find_cases, on_canvas, write_json
from monai_ext.labels import MODALITIES, MODALITY_TITLES
from monai_ext.synthesis.pictures import as_data_uri, as_seen, colour_label, panel
from monai_ext.synthesis.report import render
from monai_ext.synthesis.stream import candidate_rng, latent_code
from monai_ext.transforms import background_mask, structural_feature_map
from monai_ext.validation.fidelity import lesion_fidelity, open_segmentors
from monai_ext.validation.held_out import held_out_cases, training_cases
from monai_ext.validation.memorisation import memorisation

logger = logging.getLogger(__name__)


class Validation:
    """Lesion fidelity, memorisation and pictures of a synthetic data set beside real patients.

    Args:
        synthetic_dir: what ``generate.json`` wrote (layouts ``brats`` and ``decathlon``).
        dataset_dir: real cases; ``None`` judges by the phantom, and says so.
        output_dir: where ``metrics.json`` and ``report.html`` go.
        segmentor_root: folder of the ``segmentor`` bundle, whose weights judge.
        phantom_dir: where phantom cases go.
        split_file: the split those weights were trained with.
        roi_size: centre crop.
        slice_range: slices of the real cases.
        batch_size: slices at a time.
        device: device to run on.
        pictures: rows of each kind in the report.
        latent_size: length of the noise behind a map, for the picture.
        segmentor_names: which segmentors judge.
        segmentor_weights: folder with ``<name>/model.pt`` of each; those of the bundle when ``None``.
        generator_split_file: the split the image generator was trained with. Memorisation is measured when patients of
            its training side are in the folder, and some that it never met.
        resample: of the real cases, see :class:`monai_ext.data.Case`.
    """

    def __init__(
        self,
        synthetic_dir: str | Path,
        dataset_dir: str | Path | None,
        output_dir: str | Path,
        segmentor_root: str | Path,
        phantom_dir: str | Path,
        split_file: str | Path | None = None,
        roi_size: tuple[int, int] = (160, 192),
        slice_range: tuple[int, int] = (55, 105),
        batch_size: int = 16,
        device: str | torch.device = "cpu",
        pictures: int = 6,
        latent_size: int = 1920,
        segmentor_names: str | Sequence[str] = ("all", *MODALITIES),
        segmentor_weights: str | Path | None = None,
        generator_split_file: str | Path | None = None,
        resample: bool = False,
    ) -> None:
        self.synthetic_dir, self.output_dir = Path(synthetic_dir), Path(output_dir)
        self.phantom = not dataset_dir
        cases = held_out_cases(dataset_or_phantom(dataset_dir, phantom_dir), split_file, resample=resample)
        self.segmentors = open_segmentors(segmentor_root, segmentor_names, ckpt_path=segmentor_weights)
        self.synthetic = SliceDataset(
            find_cases(synthetic_dir, require_segmentation=True), MODALITIES, (0, 1), roi_size
        )
        self.real = SliceDataset(cases, MODALITIES, slice_range, roi_size)
        self.area = {"slice_range": slice_range, "roi_size": roi_size}
        self.training, self.unmet = self._met_and_unmet(dataset_dir, generator_split_file, resample)
        self.batch_size, self.device, self.pictures, self.latent_size = batch_size, device, pictures, latent_size

    def _met_and_unmet(
        self, dataset_dir: str | Path | None, split_file: str | Path | None, resample: bool
    ) -> tuple[list[Case], SliceDataset | None]:
        """Labelled cases that the generator was trained on, and slices of patients that it never met."""
        known = [c for c in training_cases(dataset_dir, split_file, resample=resample) if c.segmentation is not None]
        if not known:
            return [], None
        try:
            unmet = held_out_cases(dataset_dir, split_file, resample=resample)
        except LeakError as error:
            logger.warning("memorisation is left out: %s", error)
            return [], None
        same = [c.case_id for c in unmet] == [c.case_id for c in self.real.cases]
        return known, self.real if same else SliceDataset(unmet, MODALITIES, **self.area)

    def run(self) -> dict[str, Any]:
        """Judge.

        Returns:
            What ``metrics.json`` holds.
        """
        fidelity = lesion_fidelity(self.segmentors, self.synthetic, self.real, self.batch_size, self.device)
        metrics = {
            "lesion_fidelity": fidelity,
            "synthetic": {"dir": self.synthetic_dir.name, "samples": len(self.synthetic)},
            "real": {
                "phantom": self.phantom, "slices": len(self.real),
                "patients": self.real.patients,
            },
            "version": __version__,
        }  # fmt: skip
        if self.training:
            metrics["memorisation"] = memorisation(self.synthetic, self.training, self.unmet, **self.area)
        write_json(self.output_dir / "metrics.json", metrics)
        titles = ["map", "brain", "label", *MODALITY_TITLES.values()]
        render(
            "validation.html", self.output_dir / "report.html", metrics=metrics,
            titles={"all": "all four", **MODALITY_TITLES},
            synthetic=as_data_uri(panel(self._synthetic_rows(), ["noise", *titles])),
            real=as_data_uri(panel(self._real_rows(), titles)),
            closest=as_data_uri(panel(*self._closest(metrics["memorisation"]))) if self.training else None,
        )  # fmt: skip
        logger.info("validation written to %s", self.output_dir)
        return metrics

    def _records(self) -> dict[str, dict[str, Any]]:
        lines = (self.synthetic_dir / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        return {r["name"]: r for r in map(json.loads, lines)}

    def _synthetic_rows(self) -> list[list[np.ndarray]]:
        records, rows = self._records(), []
        for index in range(min(self.pictures, len(self.synthetic))):
            item = self.synthetic.raw(index)
            record = records[item["case_id"]]
            structure, mask = (
                self._crop(np.asarray(nib.load(self.synthetic_dir / record[kind]).dataobj)[..., 0])
                for kind in ("map", "mask")
            )
            code = latent_code(candidate_rng(record["seed"], record["candidate"]), self.latent_size)
            rows.append(
                [_noise_picture(code, structure.shape), as_seen(structure), as_seen(1 - mask), *_study_pictures(item)]
            )
        return rows

    def _real_rows(self) -> list[list[np.ndarray]]:
        lesion = [i for i in range(len(self.real)) if self.real.raw(i)["label"].any()] or list(range(len(self.real)))
        rows = []
        for index in np.linspace(0, len(lesion) - 1, min(self.pictures, len(lesion))).round().astype(int):
            item = self.real.raw(lesion[index])
            first = item["image"][:1]
            structure = structural_feature_map(first, canvas_size=(240, 240))
            rows.append([as_seen(structure[0]), as_seen(1 - background_mask(first)[0]), *_study_pictures(item)])
        return rows

    def _closest(self, found: dict[str, Any]) -> tuple[list[list[np.ndarray]], list[str]]:
        """The studies nearest to a training slice, each beside it."""
        place = {self.synthetic.cases[i].case_id: k for k, (i, _) in enumerate(self.synthetic.index)}
        cases, rows = {c.case_id: c for c in self.training}, []
        for pair in found["closest"]:
            area = {**self.area, "slice_range": (pair["slice"], pair["slice"] + 1)}
            patient = SliceDataset([cases[pair["case_id"]]], MODALITIES, progress=False, **area)
            items = self.synthetic.raw(place[pair["name"]]), patient.raw(0)
            rows.append([picture for item in items for picture in _study_pictures(item)[1:]])
        titles = list(MODALITY_TITLES.values())
        return rows, [*(f"{t}, synthetic" for t in titles), *(f"{t}, patient" for t in titles)]

    def _crop(self, canvas: np.ndarray) -> np.ndarray:
        size = self.synthetic.raw(0)["image"].shape[1:]
        top, left = ((c - s) // 2 for c, s in zip(canvas.shape, size))
        return canvas[top : top + size[0], left : left + size[1]]


def _study_pictures(item: dict[str, Any]) -> list[np.ndarray]:
    return [colour_label(item["label"][0]), *[as_seen(i) for i in item["image"]]]


def _noise_picture(code: torch.Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """The code as grey squares on a picture of this shape."""
    side = int(np.ceil(code.numel() ** 0.5))
    squares = np.zeros(side * side, dtype=np.float32)
    squares[: code.numel()] = np.clip(code.numpy()[0] / 5 + 0.5, 0, 1)
    scale = max(min(shape) // side, 1)
    big = np.kron(squares.reshape(side, side), np.ones((scale, scale), dtype=np.float32))
    return as_seen(on_canvas(big[: shape[0], : shape[1]], shape))
