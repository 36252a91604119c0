"""What is measured of a set of generated studies, beside the same of held-out patients."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn

from monai_ext.data import SliceDataset
from monai_ext.metrics import registration
from monai_ext.validation.modality import classify, distances, train_classifier
from monai_ext.validation.painted_lesions import blurred, compare_scores, lesion_scores, with_difference

logger = logging.getLogger(__name__)


def stacked(dataset: SliceDataset, every: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, M, H, W) and labels (N, 1, H, W) of every n-th slice."""
    items = [dataset.raw(i) for i in range(0, len(dataset), every)]
    return torch.stack([i["image"] for i in items]), torch.stack([i["label"] for i in items])


class ImageJudge:
    """Measures real slices once, and any number of generated sets beside them.

    Args:
        images: of held-out patients, (N, M, H, W) in [0, 1].
        label: (N, 1, H, W) of canonical classes.
        modalities: names of the M channels.
        segmentors: ``all`` or a modality -> a segmentor trained on real patients; may be empty.
        reference: slices of the training patients. Figures that need them are left out without.
        every: every n-th of those is compared with; the classifier trains on all.
        classifier_steps: see :func:`monai_ext.validation.modality.train_classifier`.
        seed: of the classifier.
        beta: of Algorithm 1.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        batch_size: slices at a time.
        device: device to run on.
    """

    def __init__(
        self,
        images: torch.Tensor,
        label: torch.Tensor,
        modalities: Sequence[str],
        segmentors: Mapping[str, nn.Module],
        reference: SliceDataset | None = None,
        every: int = 1,
        classifier_steps: int = 300,
        seed: int = 0,
        beta: float = 0.07,
        canvas_size: Sequence[int] | None = (240, 240),
        batch_size: int = 8,
        device: str | torch.device = "cpu",
    ) -> None:
        self.modalities, self.segmentors = tuple(modalities), segmentors
        self.running = {"batch_size": batch_size, "device": device}
        self.maps = {"beta": beta, "canvas_size": canvas_size}
        self.sharp, self.soft = (self._lesions(x, label) for x in (images, blurred(images)))
        self.registration = {
            "real": registration(images, modalities, **self.maps),
            # half a set away lies another slice, of another patient where there are two
            "unregistered": registration(images, modalities, images.roll(len(images) // 2, 0), **self.maps),
        }
        self.classifier = None
        if reference is None:
            logger.warning("no training patients at hand: the figures of modality and distribution are left out")
            return
        self.classifier = train_classifier(reference, classifier_steps, seed=seed, device=device)
        self.extractor = {
            "network": "ModalityClassifier, before its last layer",
            "features": self.classifier.num_features,
            "steps": classifier_steps,
            "slices": len(reference),
            "patients": len(reference.patients),
        }
        self.real = classify(self.classifier, images, **self.running)
        self.training = classify(self.classifier, stacked(reference, every)[0], **self.running)

    def __call__(self, painted: torch.Tensor, label: torch.Tensor) -> dict[str, Any]:
        """Measure a generated set.

        Args:
            painted: (K, M, H, W) in [0, 1], background 0.
            label: what was asked for, (K, 1, H, W).

        Returns:
            ``lesion_fidelity`` and ``lesion_fidelity_blurred``: each segmentor's scores on painted and on real slices
            with a lesion, and their ratio; blurred, also the difference that the blur makes to the ratio.
            ``registration``: see :func:`monai_ext.metrics.registration`. ``modality``: what the classifier takes
            painted and real images for. ``distribution``: see :func:`monai_ext.validation.modality.distances`. The
            last two need a reference.
        """
        sharp = compare_scores(self._lesions(painted, label), self.sharp)
        soft = compare_scores(self._lesions(blurred(painted), label), self.soft)
        report: dict[str, Any] = {
            "lesion_fidelity": sharp,
            "lesion_fidelity_blurred": with_difference(soft, sharp),
            "registration": {"painted": registration(painted, self.modalities, **self.maps), **self.registration},
        }
        if self.classifier is None:
            return report
        made = classify(self.classifier, painted, **self.running)
        report["modality"] = {
            "painted": made.accuracy(self.modalities),
            "real": self.real.accuracy(self.modalities),
        }
        report["distribution"] = {
            "by_modality": distances(made, self.real, self.training, self.modalities),
            "extractor": self.extractor,
        }
        return report

    def _lesions(self, images: torch.Tensor, label: torch.Tensor) -> dict[str, Any]:
        return lesion_scores(self.segmentors, images, label, self.modalities, **self.running)
