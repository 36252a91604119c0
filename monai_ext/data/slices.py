"""From volumes to a cached set of axial slices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation, Randomizable, ResizeWithPadOrCrop
from torch.utils.data import Dataset, DistributedSampler
from tqdm import tqdm

from monai_ext.data.cases import Case, CaseError
from monai_ext.data.reading import read_case
from monai_ext.labels import MODALITIES
from monai_ext.transforms import ScaleBrainIntensity

logger = logging.getLogger(__name__)

ORIENTATION = "LPS"
"""Voxel axes of BraTS: first towards the left, second towards the back, third upwards."""

_ORIENT = Orientation(axcodes=ORIENTATION, labels=(("L", "R"), ("P", "A"), ("I", "S")))

MAX_CUT = 0.01  # share of a case's brain voxels that the crop may cut without a warning


def read_slices(
    case: Case,
    modalities: Sequence[str] = MODALITIES,
    slice_range: tuple[int, int] = (55, 105),
    roi_size: Sequence[int] = (160, 192),
) -> dict[str, Any]:
    """Read a case once and cut it into axial slices.

    Args:
        case: the case.
        modalities: channels, in this order.
        slice_range: first slice and the one after the last, along the foot-head axis.
        roi_size: centre crop (or pad), left-right x front-back, in pixels.

    Returns:
        ``image`` (Z, C, H, W) float16 in [0, 1], background exactly 0; ``label`` (Z, 1, H, W) uint8 (zeros for an
        unlabelled case); ``cut``, the share of the brain's voxels in these slices that the crop cuts away.

    Raises:
        CaseError: see :func:`monai_ext.data.reading.read_case`, and for a volume with fewer slices.
    """
    image, label = read_case(case, modalities)
    image = _ORIENT(image)
    first, end = slice_range
    if not 0 <= first < end <= image.shape[-1]:
        raise CaseError(f"case {case.case_id}: slices {first} to {end} asked for, but it has {image.shape[-1]}")
    scaled = ScaleBrainIntensity()(image)[..., first:end]
    crop = ResizeWithPadOrCrop(spatial_size=(*roi_size, end - first))
    inside = crop(scaled)
    brain = int((scaled > 0).any(0).sum())
    cut = 1 - int((inside > 0).any(0).sum()) / max(brain, 1)
    if cut > MAX_CUT:
        logger.warning("case %s: the crop to %s cuts %.1f %% of the brain", case.case_id, tuple(roi_size), 100 * cut)
    if label is None:
        classes = np.zeros((1, *inside.shape[1:]), dtype=np.uint8)
    else:
        classes = crop(_ORIENT(label)[..., first:end]).numpy().astype(np.uint8)
    # a value below half precision's smallest step would turn brain into background: the scaling's floor is far above
    return {
        "image": np.ascontiguousarray(inside.numpy().transpose(3, 0, 1, 2).astype(np.float16)),
        "label": np.ascontiguousarray(classes.transpose(3, 0, 1, 2)),
        "cut": cut,
    }


def read_label_slices(
    case: Case, slice_range: Sequence[int] = (55, 105), roi_size: Sequence[int] = (160, 192)
) -> list[np.ndarray]:
    """The slices of a case's segmentation that hold a lesion, (H, W) uint8 of canonical classes.

    Args:
        case: a case with a segmentation; its images are not read.
        slice_range: first slice and the one after the last; a volume with fewer slices gives those it has.
        roi_size: centre crop, in pixels.
    """
    _, label = read_case(case, ())
    classes = _ORIENT(label)
    first = slice_range[0] if classes.shape[-1] > slice_range[0] else 0
    part = classes[..., first : slice_range[1]]
    array = ResizeWithPadOrCrop(spatial_size=(*roi_size, part.shape[-1]))(part).numpy()[0]
    return [np.ascontiguousarray(array[..., z]).astype(np.uint8) for z in range(array.shape[-1]) if array[..., z].any()]


class SliceDataset(Dataset):
    """Axial slices of many cases, every volume read once and kept in RAM (half precision; the size is logged).

    An item is a dictionary: ``image`` (C, H, W) float32 in [0, 1], ``label`` (1, H, W) float32 of canonical classes,
    ``case_id``, ``patient_id``, ``slice`` and ``has_label``.

    A random transform is seeded by (seed, draw, index), so an item does not depend on the worker, the rank or the
    order it is drawn in; :class:`SliceSampler` gives every epoch draws of its own.

    Args:
        cases: cases to cut.
        modalities: channels, in this order.
        slice_range: see :func:`read_slices`.
        roi_size: see :func:`read_slices`.
        transform: applied to the item's dictionary.
        seed: of the random transforms.
        lesion_only: keep only slices with a lesion.
        on_bad_case: ``raise`` at a bad case, or ``skip`` it with a warning.
        num_threads: files read side by side.
        progress: show a progress bar.

    Raises:
        CaseError: for a bad case under ``raise``, or when no slice is left.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        modalities: Sequence[str] = MODALITIES,
        slice_range: Sequence[int] = (55, 105),
        roi_size: Sequence[int] = (160, 192),
        transform: Callable | None = None,
        seed: int = 0,
        lesion_only: bool = False,
        on_bad_case: str = "raise",
        num_threads: int = 2,
        progress: bool = True,
    ) -> None:
        self.modalities, self.transform, self.seed = tuple(modalities), transform, seed
        self.skipped: list[str] = []

        def read(case: Case) -> dict[str, Any] | None:
            try:
                return read_slices(case, self.modalities, tuple(slice_range), roi_size)
            except CaseError as error:
                if on_bad_case == "raise":
                    raise
                logger.warning("skipped %s", error)
                self.skipped.append(case.case_id)
                return None

        with ThreadPoolExecutor(max(num_threads, 1)) as pool:
            bar = tqdm(
                pool.map(read, cases), total=len(cases), desc="reading cases", disable=None if progress else True
            )
            read_cases = [(c, r) for c, r in zip(cases, bar) if r is not None]
        self.cases = [c for c, _ in read_cases]
        self.cut = {c.case_id: r["cut"] for c, r in read_cases}
        self._images = [r["image"] for _, r in read_cases]
        self._labels = [r["label"] for _, r in read_cases]
        self._first = int(slice_range[0])
        self.index = [
            (i, z)
            for i, labels in enumerate(self._labels)
            for z in range(len(labels))
            if (labels[z].any() or not lesion_only) and self._images[i][z].any()
        ]
        if not self.index:
            raise CaseError(f"no slice left of {len(cases)} case(s) in the range {tuple(slice_range)}")
        logger.info("%d slices of %d cases cached: %.0f MB of RAM", len(self), len(self.cases), self.nbytes / 1e6)

    @property
    def nbytes(self) -> int:
        """Bytes of RAM that the cached slices take."""
        return sum(a.nbytes for a in (*self._images, *self._labels))

    @property
    def patients(self) -> list[str]:
        """Whose slices these are, sorted."""
        return sorted({c.patient_id for c in self.cases})

    def __len__(self) -> int:
        return len(self.index)

    def raw(self, index: int) -> dict[str, Any]:
        """Item before any transform."""
        i, z = self.index[index]
        return {
            "image": torch.from_numpy(self._images[i][z].astype(np.float32)),
            "label": torch.from_numpy(self._labels[i][z].astype(np.float32)),
            "case_id": self.cases[i].case_id,
            "patient_id": self.cases[i].patient_id,
            "slice": self._first + z,
            "has_label": self.cases[i].segmentation is not None,
        }

    def lesion_labels(self) -> list[np.ndarray]:
        """Label slices (H, W) uint8 that hold a lesion, without a copy."""
        return [self._labels[i][z, 0] for i, z in self.index if self._labels[i][z].any()]

    def item(self, index: int, draw: int) -> dict[str, Any]:
        """Item ``index`` as it comes out in draw ``draw`` (see :meth:`assemble`)."""
        data = apply_seeded(self.transform, self.raw(index), (self.seed, draw, index))
        return {k: v.as_tensor() if isinstance(v, MetaTensor) else v for k, v in data.items()}

    def __getitem__(self, token: int) -> dict[str, Any]:
        draw, index = divmod(int(token), len(self))
        return self.item(index, draw)


def seed_of(*numbers: int) -> int:
    """One 32-bit seed from several non-negative numbers, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def apply_seeded(transform: Callable | None, data: Any, seed: Sequence[int]) -> Any:
    """Apply a transform whose randomness depends on ``seed`` alone."""
    if transform is None:
        return data
    if isinstance(transform, Randomizable):
        transform.set_random_state(seed=seed_of(*seed))
    return transform(data)


class SliceSampler(DistributedSampler):
    """Shuffled slices, another draw of each in every epoch.

    Yields ``epoch * len(dataset) + index``, which :class:`SliceDataset` takes apart: workers need not be told the
    epoch. MONAI's trainers call ``set_epoch`` for any ``DistributedSampler``; with one rank it needs no process group.

    Args:
        dataset: what is sampled.
        shuffle: another order every epoch.
        seed: of the shuffle.
        samples_per_epoch: draw this many an epoch instead of the whole set (whole passes, then a part).
        num_replicas: ranks; 1 unless ``torch.distributed`` runs.
        rank: of this process.
    """

    def __init__(
        self,
        dataset: Dataset,
        shuffle: bool = True,
        seed: int = 0,
        samples_per_epoch: int | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        running = torch.distributed.is_available() and torch.distributed.is_initialized()
        replicas = num_replicas if num_replicas is not None else (torch.distributed.get_world_size() if running else 1)
        rank = rank if rank is not None else (torch.distributed.get_rank() if running else 0)
        super().__init__(dataset, num_replicas=replicas, rank=rank, shuffle=shuffle, seed=seed)
        self.samples = samples_per_epoch or len(dataset)
        self.num_samples = -(-self.samples // replicas)
        self.total_size = self.num_samples * replicas

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        start = self.epoch * self.total_size
        tokens = []
        for position in range(start, start + self.total_size):
            draw, offset = divmod(position, size)
            tokens.append((draw, offset))
        orders = {d: self._order(d, size) for d in {t[0] for t in tokens}}
        mine = tokens[self.rank :: self.num_replicas]
        return iter([draw * size + int(orders[draw][offset]) for draw, offset in mine])

    def _order(self, draw: int, size: int) -> np.ndarray:
        return np.random.default_rng((self.seed, draw)).permutation(size) if self.shuffle else np.arange(size)
