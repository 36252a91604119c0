"""Real slices painted anew from their structure map and lesion label: the inference of the ``cgan`` bundle."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from monai_ext.data import BRATS_AFFINE, Case, on_canvas, read_slices, seed_of, write_json, write_nifti
from monai_ext.engines import fuse_batch
from monai_ext.labels import MODALITIES
from monai_ext.networks import CGAN, brain_quantiles
from monai_ext.synthesis.volumes import case_file

logger = logging.getLogger(__name__)


def repaint(
    network: CGAN,
    images: torch.Tensor,
    label: torch.Tensor,
    map_channel: int = 0,
    seed: int = 0,
    beta: float = 0.07,
    pad: int = 5,
    canvas_size: Sequence[int] | None = (240, 240),
    batch_size: int = 8,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Real slices painted anew from their structure map, lesion label and contrast.

    Args:
        network: the trained generator.
        images: (N, M, H, W) in [0, 1].
        label: (N, 1, H, W).
        map_channel: modality that the map is drawn from.
        seed: of the texture noise.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        batch_size: slices at a time.
        device: device to run on.

    Returns:
        (N, M, H, W) in [0, 1], background 0, on the CPU.
    """
    network = network.to(device).eval()
    rng = torch.Generator().manual_seed(seed_of(seed))
    parts = []
    for x, y in zip(images.split(batch_size), label.split(batch_size)):
        made = fuse_batch(
            x[:, map_channel : map_channel + 1], y, y, network.num_classes, beta, pad, canvas_size,
            shown=network.shown_classes,
        )  # fmt: skip
        noise = torch.randn(len(x), network.noise_channels, *x.shape[2:], generator=rng)
        with torch.no_grad():
            style = network.style(brain_quantiles(x, y).to(device))
            painted = network(made.fused.to(device), style, noise.to(device)).cpu()
        parts.append(painted * (1 - made.mask))
    return torch.cat(parts)


class CaseRepainter:
    """Writes, for each labelled case, four modalities painted from its structure maps and its lesion label.

    The volumes lie on the BraTS grid (240 x 240 x slices, 1 mm, LPS); slices outside the range are empty.

    Args:
        network: the trained generator.
        cases: labelled cases.
        output_dir: gets ``CASE/CASE-{t1n,t1c,t2w,t2f,seg}.nii.gz`` and ``report.json``.
        modalities: channels.
        slice_range: slices to paint.
        roi_size: centre crop.
        num_slices: of the written volumes.
        seed: of the texture noise.
        batch_size: slices at a time.
        device: device to run on.
    """

    def __init__(
        self,
        network: CGAN,
        cases: Sequence[Case],
        output_dir: str | Path,
        modalities: Sequence[str] = MODALITIES,
        slice_range: Sequence[int] = (55, 105),
        roi_size: Sequence[int] = (160, 192),
        num_slices: int = 155,
        seed: int = 0,
        batch_size: int = 8,
        device: str | torch.device = "cpu",
    ) -> None:
        self.network, self.cases, self.output_dir = network, list(cases), Path(output_dir)
        self.modalities, self.range, self.roi_size = tuple(modalities), tuple(slice_range), tuple(roi_size)
        self.num_slices, self.seed, self.batch_size, self.device = num_slices, seed, batch_size, device

    def run(self) -> dict[str, Any]:
        """Paint every case.

        Returns:
            What ``report.json`` holds.
        """
        for case in tqdm(self.cases, desc="painting", unit="case", disable=None):
            read = read_slices(case, self.modalities, self.range, self.roi_size)
            images = torch.from_numpy(read["image"].astype(np.float32))
            label = torch.from_numpy(read["label"].astype(np.float32))
            painted = repaint(
                self.network, images, label, seed=self.seed, batch_size=self.batch_size, device=self.device
            ).numpy()
            for m, modality in enumerate(self.modalities):
                self._write(case, modality, painted[:, m])
            self._write(case, "seg", read["label"][:, 0])
        report = {"cases": [c.case_id for c in self.cases], "slice_range": list(self.range), "seed": self.seed}
        write_json(self.output_dir / "report.json", report)
        return report

    def _write(self, case: Case, kind: str, slices: np.ndarray) -> None:
        canvas = on_canvas(slices)
        volume = np.zeros((*canvas.shape[1:], self.num_slices), dtype=canvas.dtype)
        volume[..., self.range[0] : self.range[1]] = canvas.transpose(1, 2, 0)
        write_nifti(case_file(self.output_dir, case.case_id, kind), volume, BRATS_AFFINE)
