"""What a training step of the image generator sees: paired or unpaired modalities, and the lesion asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from monai_ext.data.map_pool import MapPool
from monai_ext.data.slices import SliceDataset, apply_seeded, seed_of
from monai_ext.transforms import RandLesionLabel, background_mask


class PlacementError(RuntimeError):
    """No label found room inside the brain in the allowed number of draws."""


class LesionBank:
    """Lesion labels to draw from: each draw is one of them under a random scale, rotation, shift and flip.

    Args:
        labels: slices (H, W) of canonical classes, each with a lesion.
        transform: the random change; :class:`~monai_ext.transforms.RandLesionLabel` unless given.
        max_tries: draws before :meth:`place` gives up.

    Raises:
        ValueError: when there is no label.
    """

    def __init__(
        self, labels: Sequence[np.ndarray], transform: RandLesionLabel | None = None, max_tries: int = 50
    ) -> None:
        if len(labels) == 0:
            raise ValueError(
                "no lesion label to draw from: the cases have no segmentation with a lesion in the slice range"
            )
        self.labels = list(labels)
        self.transform = transform or RandLesionLabel()
        self.max_tries = max_tries

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, int]:
        """One random label (1, H, W) float32, and the index of the label it was made from."""
        source = int(rng.integers(len(self.labels)))
        self.transform.set_random_state(seed=int(rng.integers(2**32)))
        label = self.transform(torch.from_numpy(self.labels[source][None].astype(np.float32)))
        return torch.as_tensor(np.asarray(label), dtype=torch.float32), source

    def place(self, mask: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, int, int]:
        """Draw until a label lies wholly inside the brain: ``sum(label * mask) == 0`` (Qu et al., section 2.5).

        Args:
            mask: (1, H, W), 1 outside the brain.
            rng: source of the draws.

        Returns:
            Label (1, H, W) float32, index of its source, draws it took.

        Raises:
            PlacementError: after ``max_tries`` draws.
        """
        for tries in range(1, self.max_tries + 1):
            label, source = self.draw(rng)
            if float((label * mask).sum()) == 0:
                return label, source, tries
        raise PlacementError(f"no lesion label lies inside this brain in {self.max_tries} draws")


class GenerationDataset(Dataset):
    """Items for training on real slices and on fused maps in one step.

    Wraps a :class:`~monai_ext.data.slices.SliceDataset`. An item holds

    - ``image`` (C, H, W): one slice per modality. Paired: of one position of one patient. Unpaired: each modality's
      list is shuffled on its own, so that no two belong together (Qu et al. train without any pairing).
    - ``label`` (C, H, W): the lesion label of each of those images.
    - ``target`` (C, H, W): the lesion to generate: the image's own, or (with probability ``other_label``) one from
      the bank placed inside its brain. Paired items share one target. Where no label finds room the own one stays.
    - ``own`` (C,): 1 where the target is the own label.
    - with ``maps``: ``map`` and ``map_mask`` (1, H, W), and ``from_noise``, 1 where the lesion is to be generated in
      this map from the pool and not in the one of the image (with probability ``map_share``; then every target is one
      from the bank placed inside the map's brain). Maps from noise are not quite those of real slices, and a generator
      that never saw one paints them worse.

    Args:
        dataset: the slices; its transform is applied to every slice drawn.
        bank: where other labels come from.
        paired: see above.
        other_label: probability of a label from the bank.
        seed: of every draw here.
        maps: maps from noise, if any.
        map_share: probability of one of them.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        bank: LesionBank,
        paired: bool = True,
        other_label: float = 0.4,
        seed: int = 0,
        maps: MapPool | None = None,
        map_share: float = 0.25,
    ) -> None:
        self.dataset, self.bank, self.paired, self.other_label, self.seed = dataset, bank, paired, other_label, seed
        self.maps, self.map_share = maps, map_share

    def __len__(self) -> int:
        return len(self.dataset)

    def positions(self, index: int, draw: int) -> list[int]:
        """Slice that each modality's image comes from in this draw."""
        channels, size = len(self.dataset.modalities), len(self)
        if self.paired:
            return [index] * channels
        return [int(np.random.default_rng((self.seed, draw, m)).permutation(size)[index]) for m in range(channels)]

    def __getitem__(self, token: int) -> dict[str, Any]:
        draw, index = divmod(int(token), len(self))
        rng = np.random.default_rng((self.seed, draw, index, 1))
        items = {p: self.dataset.item(p, draw) for p in dict.fromkeys(self.positions(index, draw))}
        targets = {p: self._target(item, rng) for p, item in items.items()}
        order = self.positions(index, draw)
        drawn = {} if self.maps is None else self._from_noise(targets, rng)
        return {
            **drawn,
            "image": torch.stack([torch.as_tensor(items[p]["image"][m]) for m, p in enumerate(order)]),
            "label": torch.stack([torch.as_tensor(items[p]["label"][0]) for p in order]),
            "target": torch.stack([targets[p][0][0] for p in order]),
            "own": torch.tensor([targets[p][1] for p in order]),
            "case_id": [items[p]["case_id"] for p in order],
        }

    def _from_noise(self, targets: dict[int, tuple[torch.Tensor, float]], rng: np.random.Generator) -> dict[str, Any]:
        """A map of the pool; ``targets`` become labels inside its brain where it is to be used."""
        structure, mask = self.maps.draw(rng)
        use = rng.random() < self.map_share
        if use:
            try:
                targets.update({p: (self.bank.place(mask, rng)[0], 0.0) for p in targets})
            except PlacementError:
                use = False
        return {"map": structure, "map_mask": mask, "from_noise": torch.tensor(float(use))}

    def _target(self, item: dict[str, Any], rng: np.random.Generator) -> tuple[torch.Tensor, float]:
        own = torch.as_tensor(item["label"])
        if rng.random() < self.other_label:
            mask = background_mask(torch.as_tensor(item["image"][:1]), pad=0)
            try:
                return self.bank.place(mask, rng)[0], 0.0
            except PlacementError:
                pass  # a small brain near the top of the head: its own label is the one that fits
        return own, 1.0


__all__ = ["GenerationDataset", "LesionBank", "PlacementError", "apply_seeded", "seed_of"]
