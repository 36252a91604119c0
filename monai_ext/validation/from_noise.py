"""Studies whose maps come from noise, to be judged beside repainted ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from monai_ext.bundles import from_config, load_weights, model_file
from monai_ext.networks import CGAN
from monai_ext.synthesis import DiceFilter, MapFilter, StudyStream, SynthesisError, open_lesions
from monai_ext.validation.fidelity import open_segmentors

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Studies:
    """Generated studies.

    Args:
        images: (N, M, H, W) in [0, 1], background 0.
        label: (N, 1, H, W) of canonical classes.
        candidates: how many were drawn for them.
    """

    images: torch.Tensor
    label: torch.Tensor
    candidates: int


def collect_studies(stream: StudyStream, count: int, batch_size: int = 8, max_attempts: int = 50) -> Studies:
    """The first studies of a stream that pass its filters.

    Args:
        stream: candidates.
        count: studies wanted.
        batch_size: candidates at a time.
        max_attempts: candidates a study, on average, before giving up.

    Raises:
        SynthesisError: when the attempts ran out.
    """
    kept, tried = [], 0
    while len(kept) < count and tried < max_attempts * count:
        kept += [c for c in stream.run(range(tried, tried + batch_size)) if c.rejected_by is None]
        tried += batch_size
    if len(kept) < count:
        raise SynthesisError(f"only {len(kept)} of {count} studies passed the filters in {tried} candidates")
    kept = kept[:count]
    images, label = (torch.stack([getattr(c, name) for c in kept]) for name in ("images", "label"))
    return Studies(images, label, kept[-1].number + 1)


def studies_from_noise(
    network: CGAN,
    count: int,
    featgen_root: str | Path,
    segmentor_root: str | Path,
    label_dir: str | Path | None = None,
    split_file: str | Path | None = None,
    roi_size: Sequence[int] = (160, 192),
    slice_range: Sequence[int] = (55, 105),
    mae_threshold: float = 0.05,
    batch_size: int = 8,
    seed: int = 0,
    device: str | torch.device = "cpu",
    resample: bool = False,
) -> Studies:
    """Studies as the ``synthesis`` bundle makes them, but for its last filter, which would choose what is judged.

    Args:
        network: the trained image generator.
        count: studies.
        featgen_root: folder of the ``featgen`` bundle, whose weights draw the maps.
        segmentor_root: folder of the ``segmentor`` bundle.
        label_dir: see :func:`monai_ext.synthesis.open_lesions`.
        split_file: likewise.
        roi_size: size of a map.
        slice_range: slices that labels are taken from.
        mae_threshold: of Algorithm 3.
        batch_size: candidates at a time.
        seed: of the stream.
        device: device to run on.
        resample: of the labels, see :class:`monai_ext.data.Case`.

    Raises:
        BundleError: when weights are missing.
        SynthesisError: see :func:`collect_studies`.
    """
    maps = from_config(featgen_root, "train.json", "network_def", roi_size=list(roi_size))
    stream = StudyStream(
        load_weights(maps, model_file(featgen_root)),
        network,
        open_lesions(label_dir, split_file, roi_size, slice_range, resample=resample),
        MapFilter(mae_threshold),
        DiceFilter(open_segmentors(segmentor_root, "all")["all"], threshold=0.0),
        seed,
        device=device,
    )
    return collect_studies(stream, count, batch_size)
