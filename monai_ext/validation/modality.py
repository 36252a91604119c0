"""A classifier of modalities, trained on real training patients only, as a judge of generated images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import OneCycleLR

from monai_ext.data import SliceDataset, seed_of
from monai_ext.metrics import frechet_distance, maximum_mean_discrepancy
from monai_ext.networks import ModalityClassifier

logger = logging.getLogger(__name__)

LEARNING_RATE = 3e-3  # at the peak
GAMMA = 1.0  # largest logarithm of the augmentation's exponent


def vary_intensity(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Each image to a power drawn anew: how bright the brain is no longer tells the modality, but its order does.

    Args:
        images: (B, 1, H, W) in [0, 1].
        rng: of the draw.

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    return images ** torch.exp(GAMMA * (2 * torch.rand(len(images), 1, 1, 1, generator=rng) - 1))


def train_classifier(
    dataset: SliceDataset, steps: int = 300, studies: int = 8, seed: int = 0, device: str | torch.device = "cpu"
) -> ModalityClassifier:
    """Train a classifier from nothing, in seconds on a CPU.

    Args:
        dataset: slices of the training patients; every modality of a slice is an image.
        steps: of Adam, the learning rate rising and falling once.
        studies: slices a step.
        seed: of the weights, the slices and their augmentation (intensity, left-right flip).
        device: device to run on; trained in bfloat16.

    Returns:
        The classifier, in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed_of(seed, 3))
        network = ModalityClassifier(len(dataset.modalities)).to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    rng, order = torch.Generator().manual_seed(seed_of(seed, 4)), np.random.default_rng((seed, 5))
    classes = torch.arange(len(dataset.modalities)).repeat(studies)
    for _ in range(steps):
        chosen = order.integers(len(dataset), size=studies)
        images = torch.cat([dataset.raw(int(i))["image"][:, None] for i in chosen])
        shown = _shown(images)
        images = vary_intensity(images[shown], rng)
        flip = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
        images = torch.where(flip, images.flip(2), images).to(device)  # axis 2 is left-right
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            _, logits = network(images)
        loss = F.cross_entropy(logits.float(), classes[shown].to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    logger.info("classifier of modalities: loss %.3f after %d steps", loss.item(), steps)
    return network.eval()


@dataclass(frozen=True)
class Classified:
    """What a classifier makes of a set of studies.

    Args:
        features: of each modality's images, (n, F).
        confusion: (M, M) counts; a row is what the images are, a column what they are taken for.
    """

    features: tuple[torch.Tensor, ...]
    confusion: torch.Tensor

    def accuracy(self, modalities: Sequence[str]) -> dict[str, Any]:
        """``accuracy`` (mean over modalities), ``by_modality``, ``confusion`` and ``n``, the number of images."""
        share = self.confusion.diagonal() / self.confusion.sum(1)
        mean = share.nanmean()
        return {
            "accuracy": None if mean.isnan() else float(mean),
            "by_modality": {m: None if s.isnan() else float(s) for m, s in zip(modalities, share)},
            "confusion": self.confusion.tolist(),
            "n": int(self.confusion.sum()),
        }


@torch.no_grad()
def classify(
    network: ModalityClassifier, images: torch.Tensor, batch_size: int = 16, device: str | torch.device = "cpu"
) -> Classified:
    """Features and classes of studies; an image without brain does not count.

    Args:
        network: trained.
        images: (N, M, H, W) in [0, 1], background 0.
        batch_size: images at a time.
        device: device to run on.
    """
    count, network = images.shape[1], network.to(device).eval()
    features, confusion = [], torch.zeros(count, count, dtype=torch.long)
    for m in range(count):
        own = images[:, m : m + 1]
        parts = [network(part.to(device)) for part in own[_shown(own)].split(batch_size)]
        features.append(torch.cat([f.float().cpu() for f, _ in parts]))
        confusion[m] = torch.bincount(torch.cat([x.argmax(1).cpu() for _, x in parts]), minlength=count)
    return Classified(tuple(features), confusion)


def distances(
    painted: Classified, real: Classified, training: Classified, modalities: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """FID and MMD of each modality to the training patients: of painted images, and of real held-out ones (the floor).

    Args:
        painted: generated images.
        real: of held-out patients; about as many, since the FID falls with the number.
        training: of the training patients.
        modalities: names.

    Returns:
        Modality -> ``fid`` and ``mmd``, each ``painted`` and ``real``, and ``n``, the images of the three sets; without
        the distances where a set has fewer than two images (said in the log).
    """
    out: dict[str, dict[str, Any]] = {}
    for name, a, b, reference in zip(modalities, painted.features, real.features, training.features):
        out[name] = {"n": {"painted": len(a), "real": len(b), "training": len(reference)}}
        try:
            for key, distance in (("fid", frechet_distance), ("mmd", maximum_mean_discrepancy)):
                out[name][key] = {"painted": distance(a, reference), "real": distance(b, reference)}
        except ValueError as error:
            logger.warning("the distances of %s are left out: %s", name, error)
    return out


def _shown(images: torch.Tensor) -> torch.Tensor:
    return (images > 0).flatten(1).any(1)
