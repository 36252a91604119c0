"""Structure maps and masks from noise: the inference of the ``featgen`` bundle."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from monai_ext.data import atomic_path, mask_on_canvas, on_canvas, write_json, write_nifti
from monai_ext.networks import FeatGen
from monai_ext.synthesis.filters import MapFilter
from monai_ext.synthesis.stream import SynthesisError, accepted_maps

logger = logging.getLogger(__name__)


class MapGenerator:
    """Writes maps that pass the map filter, with their masks, as NIfTI and PNG; map k of a seed depends on (seed, k)
    alone.

    Args:
        network: the trained generator.
        map_filter: Algorithm 3.
        output_dir: where ``map-00000.nii.gz``, ``mask-00000.nii.gz``, ``map-00000.png``, ``manifest.jsonl`` and
            ``report.json`` go.
        num_samples: maps to accept.
        seed: of the noise.
        max_attempts: candidates a map, on average, before giving up.
        device: device to run on.
    """

    def __init__(
        self,
        network: FeatGen,
        map_filter: MapFilter,
        output_dir: str | Path,
        num_samples: int = 16,
        seed: int = 0,
        max_attempts: int = 50,
        device: str | torch.device = "cpu",
    ) -> None:
        if min(num_samples, max_attempts) < 1:
            raise ValueError(f"num_samples and max_attempts must be at least 1, got {num_samples} and {max_attempts}")
        self.device = torch.device(device)
        self.network, self.map_filter = network.to(self.device).eval(), map_filter
        self.output_dir, self.num_samples, self.seed = Path(output_dir), num_samples, seed
        self.limit = max_attempts * num_samples

    def run(self) -> dict[str, Any]:
        """Generate.

        Returns:
            What ``report.json`` holds.

        Raises:
            SynthesisError: when the attempts ran out.
        """
        records: list[dict[str, Any]] = []
        candidates = self.limit
        with tqdm(total=self.num_samples, desc="accepted", unit="map", disable=None) as bar:
            maps = accepted_maps(self.network, self.map_filter, self.seed, self.limit, self.device)
            for candidate, structure, mask, error in maps:
                files = self._write(len(records), structure[0].numpy(), mask[0].numpy())
                records.append({**files, "seed": self.seed, "candidate": candidate, "mae": round(error, 5)})
                bar.update()
                if len(records) == self.num_samples:
                    candidates = candidate + 1
                    break
        with atomic_path(self.output_dir / "manifest.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        report = {
            "accepted": len(records), "candidates": candidates, "rejected": candidates - len(records),
            "seed": self.seed, "mae_threshold": self.map_filter.threshold,
        }  # fmt: skip
        write_json(self.output_dir / "report.json", report)
        logger.info("%d maps of %d candidates accepted", len(records), candidates)
        if len(records) < self.num_samples:
            raise SynthesisError(
                f"only {len(records)} of {self.num_samples} maps passed the filter in {candidates} candidates: "
                "raise --mae_threshold or --max_attempts"
            )
        return report

    def _write(self, index: int, structure: np.ndarray, mask: np.ndarray) -> dict[str, str]:
        files = {
            "map": f"map-{index:05d}.nii.gz",
            "mask": f"mask-{index:05d}.nii.gz",
            "picture": f"map-{index:05d}.png",
        }
        write_nifti(self.output_dir / files["map"], on_canvas(structure).astype(np.uint8)[..., None])
        write_nifti(self.output_dir / files["mask"], mask_on_canvas(mask).astype(np.uint8)[..., None])
        with atomic_path(self.output_dir / files["picture"]) as temporary:
            Image.fromarray((np.hstack([structure.T, 1 - mask.T]) * 255).astype(np.uint8)).save(temporary, format="PNG")
        return files
