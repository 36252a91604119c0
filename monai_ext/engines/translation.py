"""Training EC for translation alone, in MONAI's supervised engines: what a batch becomes, and how EC and DC are run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines.utils import PrepareBatch

from monai_ext.engines.precision import AutocastInferer
from monai_ext.networks import CGAN, IntensityStyle, brain_quantiles


class PrepareTranslation(PrepareBatch):
    """Makes (inputs, targets, style) of slices: images of one modality, and every modality of the same slice.

    Drawn from PyTorch's global generator, which :class:`monai_ext.handlers.SeedIterations` seeds.

    Args:
        style: of the generator.
        mean_style_share: share of the items that are asked for in the mean contrast of the training set. Who translates
            does not know the contrast of an image that does not exist, so EC has to guess it from the source.
        every_source: give every modality of a slice as a source, M items a slice; one drawn modality when off.
    """

    def __init__(self, style: IntensityStyle, mean_style_share: float = 0.5, every_source: bool = False) -> None:
        if not 0 <= mean_style_share <= 1:
            raise ValueError(f"mean_style_share is from 0 to 1, got {mean_style_share}")
        self.style, self.mean_style_share, self.every_source = style, mean_style_share, every_source

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor], dict[str, Any]]:
        """Prepare a batch.

        Args:
            batchdata: ``image`` (B, M, H, W) in [0, 1], background 0, and ``label`` (B, 1, H, W).
            device: where to.
            non_blocking: as in ``Tensor.to``.
            **kwargs: likewise.

        Returns:
            Sources (B, 1, H, W), targets (B, M, H, W), the style (B, style_size) and no more arguments; B * M of each
            with ``every_source``, the sources of a slice side by side.
        """
        images, label = (batchdata[k].to(device, non_blocking=non_blocking, **kwargs) for k in ("image", "label"))
        count, modalities = images.shape[:2]
        style = self.style(brain_quantiles(images, label)).to(images)
        if self.every_source:
            sources = images.flatten(0, 1)[:, None]
            images, style = images.repeat_interleave(modalities, 0), style.repeat_interleave(modalities, 0)
        else:
            chosen = torch.randint(modalities, (count,)).to(images.device)
            sources = images[torch.arange(count, device=images.device), chosen][:, None]
        known = (torch.rand(len(sources), 1) >= self.mean_style_share).to(style)
        return sources, images, (style * known,), {}


class TranslationInferer(AutocastInferer):
    """EC and DC on images of one modality: every modality of each, cut to the brain of the source."""

    def __call__(
        self, inputs: torch.Tensor, network: CGAN, style: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Translate (B, 1, H, W) in the contrast of ``style`` (B, style_size).

        Returns:
            (B, M, H, W) float32 in [0, 1], 0 where the source is 0.
        """
        return super().__call__(inputs, network.translate, style) * (inputs > 0)
