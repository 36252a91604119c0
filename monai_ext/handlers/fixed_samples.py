"""TensorBoard pictures from latents that stay the same all through a training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from ignite.engine import Engine, Events
from monai.utils import optional_import
from torch.utils.data import Dataset

from monai_ext.engines.fusion import fuse_batch

SummaryWriter, _ = optional_import("torch.utils.tensorboard", name="SummaryWriter")


def tile(images: torch.Tensor, columns: int) -> np.ndarray:
    """Images (N, H, W), first axis towards the left, as rows of ``columns`` pictures the way viewers show them."""
    rows = [
        np.hstack([i.T for i in images[r : r + columns].cpu().float().numpy()]) for r in range(0, len(images), columns)
    ]
    return np.vstack(rows)


class FixedPictures(ABC):
    """Base of the picture handlers: draws at the first and at every ``interval``-th epoch.

    Args:
        network: what draws; the moving average, usually.
        log_dir: TensorBoard folder.
        interval: epochs between pictures.
        seed: of the fixed latents.
        name: tag of the pictures.
    """

    def __init__(self, network: nn.Module, log_dir: str | Path, interval: int, seed: int, name: str) -> None:
        self.network, self.log_dir, self.interval, self.name = network, Path(log_dir), interval, name
        self.rng = torch.Generator().manual_seed(seed)
        self._writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(
            Events.EPOCH_COMPLETED(event_filter=lambda _, n: n == 1 or n % self.interval == 0), self
        )
        engine.add_event_handler(Events.COMPLETED, lambda: self._writer and self._writer.close())

    @abstractmethod
    def picture(self, device: torch.device) -> np.ndarray:
        """The picture (H, W) in [0, 1]."""

    def __call__(self, engine: Engine) -> None:
        """Draw and write one picture."""
        if self._writer is None:
            self._writer = SummaryWriter(log_dir=str(self.log_dir))
        training = self.network.training
        self.network.eval()
        with torch.no_grad():
            picture = self.picture(engine.state.device)
        self.network.train(training)
        self._writer.add_image(self.name, picture, engine.state.epoch, dataformats="HW")
        self._writer.flush()


class FixedMaps(FixedPictures):
    """Structure maps and masks from fixed noise.

    Args:
        network: :class:`monai_ext.networks.FeatGen`.
        log_dir: TensorBoard folder.
        interval: epochs between pictures.
        seed: of the noise.
        count: maps.
    """

    def __init__(
        self, network: nn.Module, log_dir: str | Path, interval: int = 5, seed: int = 0, count: int = 8
    ) -> None:
        super().__init__(network, log_dir, interval, seed, "fixed_maps")
        self.code = torch.randn(count, network.latent_size, generator=self.rng)

    def picture(self, device: torch.device) -> np.ndarray:
        """Maps above masks."""
        return tile(torch.cat(self.network(self.code.to(device)))[:, 0], len(self.code))


class FixedStudies(FixedPictures):
    """Studies from fixed maps and labels of a data set, and fixed noise: label, then the modalities, a row a study.

    Args:
        network: :class:`monai_ext.networks.CGAN`.
        log_dir: TensorBoard folder.
        dataset: slices whose maps and labels are used.
        interval: epochs between pictures.
        seed: of the noise and the style.
        count: studies.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
    """

    def __init__(
        self,
        network: nn.Module,
        log_dir: str | Path,
        dataset: Dataset,
        interval: int = 5,
        seed: int = 0,
        count: int = 4,
        canvas_size: Sequence[int] | None = (240, 240),
    ) -> None:
        super().__init__(network, log_dir, interval, seed, "fixed_studies")
        items = [dataset[i] for i in np.linspace(0, len(dataset) - 1, count).round().astype(int)]
        image, label = (torch.stack([torch.as_tensor(i[k]) for i in items]) for k in ("image", "label"))
        self.made = fuse_batch(
            image[:, :1], label, label, network.num_classes, canvas_size=canvas_size, shown=network.shown_classes
        )
        self.style = torch.randn(count, network.style_size, generator=self.rng)
        self.noise = torch.randn(count, network.noise_channels, *image.shape[2:], generator=self.rng)

    def picture(self, device: torch.device) -> np.ndarray:
        """A row a study."""
        images = self.network(self.made.fused.to(device), self.style.to(device), self.noise.to(device)).cpu()
        rows = torch.cat([self.made.target / self.network.num_classes, images * (1 - self.made.mask)], 1)
        return tile(rows.flatten(0, 1), rows.shape[1])
