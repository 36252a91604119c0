"""Missing modalities of real volumes: one modality in, others out; EC and DC of the ``cgan`` bundle."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from monai_ext.data import Case, CaseError, seed_of, write_json, write_nifti
from monai_ext.labels import MODALITIES, canonical_modality, parse_modalities
from monai_ext.networks import CGAN
from monai_ext.synthesis.volumes import BrainVolume, case_file, read_brain

logger = logging.getLogger(__name__)

STYLES = ("mean", "random")
MULTIPLE = 16  # of the encoders


def inference_style(network: CGAN, style: str = "mean", *seed: int) -> torch.Tensor:
    """Contrast (style_size,) of images whose real counterpart does not exist.

    Args:
        network: the trained generator; its style is N(0, 1) over the training set.
        style: ``mean`` is the mean contrast of the training set, ``random`` draws one.
        seed: of the draw.

    Raises:
        ValueError: for another style.
    """
    if style not in STYLES:
        raise ValueError(f"style is one of {', '.join(STYLES)}, got {style!r}")
    if style == "mean":
        return torch.zeros(network.style_size)
    return torch.randn(network.style_size, generator=torch.Generator().manual_seed(seed_of(*seed)))


def other_modalities(source: str, targets: str | Sequence[str], channels: Sequence[str] = MODALITIES) -> list[str]:
    """Modalities to make from another one, in canonical order; ``all`` is every other one of the network.

    Raises:
        ValueError: for a name that is unknown, or that the network was not trained with, or for the source as a target.
    """
    source = canonical_modality(source)
    chosen = parse_modalities(targets)
    if chosen == MODALITIES:
        chosen = tuple(m for m in channels if m != source)
    unknown = [m for m in (source, *chosen) if m not in channels]
    if unknown:
        raise ValueError(f"the network does not know {', '.join(unknown)}, only {', '.join(channels)}")
    if source in chosen:
        raise ValueError(f"{source} is the source, it cannot be a target too")
    return list(chosen)


def translate(
    network: CGAN,
    images: torch.Tensor,
    targets: Sequence[int],
    style: torch.Tensor,
    batch_size: int = 8,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Slices of one modality as other modalities of the same anatomy.

    Args:
        network: the trained generator.
        images: (N, 1, H, W) in [0, 1], background 0; sides are multiples of 16.
        targets: channels of the network to make, K of them.
        style: (style_size,).
        batch_size: slices at a time.
        device: device to run on.

    Returns:
        (N, K, H, W) float32 in [0, 1] on the CPU, 0 where the images are.
    """
    network = network.to(device).eval()
    wanted = torch.eye(network.num_modalities)[list(targets)].to(device)
    if not len(images):
        return images.new_zeros(0, len(wanted), *images.shape[2:])
    parts = []
    for x in images.split(batch_size):
        with torch.no_grad():
            code = network.image_encoder(x.to(device))
            made = network.decoder(code, wanted.expand(len(x), -1, -1), style.to(device).expand(len(x), -1))
        parts.append(made.float().cpu() * (x > 0))
    return torch.cat(parts)


class CaseTranslator:
    """Writes, for each case, the modalities it lacks as volumes with the affine and shape of the one it has.

    A restart goes on with the cases that are not finished; a folder of other settings is refused.

    Args:
        network: the trained generator.
        cases: cases with the source modality; those to be resampled are translated at 1 mm and taken back.
        output_dir: gets ``CASE/CASE-{t1n,t1c,t2w,t2f}.nii.gz`` (float32 in [0, 1]) and ``translation.json``.
        source_modality: what there is, in any spelling of :data:`monai_ext.labels.MODALITY_ALIASES`.
        target_modalities: what to make, see :func:`other_modalities`.
        modalities: channels of the network.
        style: see :func:`inference_style`; one draw a case.
        roi_size: see :func:`monai_ext.synthesis.volumes.read_brain`; multiples of 16.
        seed: of a random style; a case's draw depends on the seed and its name.
        overwrite: make finished cases anew.
        on_bad_case: ``raise`` at a volume that cannot be read, or ``skip`` it with a warning.
        weights: digests of the weights, for the report.
        batch_size: slices at a time.
        device: device to run on.

    Raises:
        ValueError: for settings that do not fit, or that are not those of the folder.
    """

    def __init__(
        self,
        network: CGAN,
        cases: Sequence[Case],
        output_dir: str | Path,
        source_modality: str,
        target_modalities: str | Sequence[str] = "all",
        modalities: Sequence[str] = MODALITIES,
        style: str = "mean",
        roi_size: Sequence[int] = (160, 192),
        seed: int = 0,
        overwrite: bool = False,
        on_bad_case: str = "raise",
        weights: dict[str, str] | None = None,
        batch_size: int = 8,
        device: str | torch.device = "cpu",
    ) -> None:
        if len(roi_size) != 2 or any(s < MULTIPLE or s % MULTIPLE for s in roi_size):
            raise ValueError(f"roi_size is two multiples of {MULTIPLE}, got {list(roi_size)}")
        self.network, self.cases, self.output_dir = network, list(cases), Path(output_dir)
        self.channels = list(modalities)
        self.source = canonical_modality(source_modality)
        self.targets = other_modalities(self.source, target_modalities, self.channels)
        self.style, self.roi_size, self.seed = style, (int(roi_size[0]), int(roi_size[1])), seed
        inference_style(network, style, seed)  # a wrong name is told before anything is read
        self.overwrite, self.on_bad_case = overwrite, on_bad_case
        self.batch_size, self.device = batch_size, device
        self.settings = {
            "source_modality": self.source, "style": style, "roi_size": list(self.roi_size),
            "modalities": self.channels, "seed": seed if style == "random" else None, "weights": weights or {},
        }  # fmt: skip
        self.record = self.output_dir / "translation.json"
        self.done: dict[str, Any] = self._earlier()

    def _earlier(self) -> dict[str, Any]:
        if self.overwrite or not self.record.is_file():
            return {}
        earlier = json.loads(self.record.read_text(encoding="utf-8"))
        if earlier["settings"] != self.settings:
            raise ValueError(
                f"{self.output_dir} holds translations of other settings ({earlier['settings']}, asked for "
                f"{self.settings}): name another folder, or give '--overwrite true' to replace them"
            )
        return earlier["cases"]

    def _finished(self, case: Case) -> bool:
        files = (case_file(self.output_dir, case.case_id, m) for m in self.targets)
        return case.case_id in self.done and all(f.is_file() for f in files)

    def run(self) -> dict[str, Any]:
        """Translate every case that is not finished.

        Returns:
            What ``translation.json`` holds: the settings, the share of each case's brain that the window cut, its
            spacing where that was not 1 mm, and the cases that were skipped.

        Raises:
            CaseError: for a volume that cannot be read, under ``raise``.
        """
        waiting = [c for c in self.cases if not self._finished(c)]
        if len(waiting) < len(self.cases):
            logger.info("%d of %d cases are finished already", len(self.cases) - len(waiting), len(self.cases))
        skipped = []
        report = {"settings": self.settings, "cases": self.done, "skipped": skipped}
        for case in tqdm(waiting, desc="translating", unit="case", disable=None):
            try:
                volume = read_brain(case, self.source, self.roi_size)
            except CaseError as error:
                if self.on_bad_case == "raise":
                    raise
                logger.warning("skipped %s", error)
                skipped.append(case.case_id)
                continue
            self._write(case, volume)
            self.done[case.case_id] = {"cut_voxels": volume.cut, "cut": round(volume.cut / volume.brain, 5)}
            if volume.resampled is not None:
                spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
                self.done[case.case_id]["resampled_from"] = np.round(spacing, 3).tolist()
            write_json(self.record, report)
        cut = {n: c["cut"] for n, c in self.done.items() if c["cut_voxels"]}
        if cut:
            logger.warning(
                "the brain of %d of %d cases is larger than roi_size and is cut off, most of all %s (%.1f %%): give a "
                "larger --roi_size", len(cut), len(self.done), max(cut, key=cut.get), 100 * max(cut.values()),
            )  # fmt: skip
        write_json(self.record, report)
        return report

    def _write(self, case: Case, volume: BrainVolume) -> None:
        """Translate the slices that show brain; the others stay 0."""
        if volume.cut:
            logger.warning(
                "case %s: roi_size %s cuts %d voxels (%.2f %%) of the brain off; they are 0 in the translation",
                case.case_id, self.roi_size, volume.cut, 100 * volume.cut / volume.brain,
            )  # fmt: skip
        shown = volume.slices.flatten(1).any(1)
        style = inference_style(self.network, self.style, self.seed, zlib.crc32(case.case_id.encode()))
        channels = [self.channels.index(m) for m in self.targets]
        made = torch.zeros(len(volume.slices), len(channels), *self.roi_size)
        made[shown] = translate(self.network, volume.slices[shown], channels, style, self.batch_size, self.device)
        for m, modality in enumerate(self.targets):
            path = case_file(self.output_dir, case.case_id, modality)
            write_nifti(path, volume.restore(made[:, m]), volume.affine)
