"""Validation of the two adversarial bundles during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.utils import ForwardMode

from monai_ext.data.slices import seed_of
from monai_ext.engines.featgen import maps_and_masks
from monai_ext.engines.fusion import fuse_batch
from monai_ext.networks import CGAN, brain_quantiles
from monai_ext.transforms import ContourMask


class MapEvaluator(Evaluator):
    """Judges a structure-map generator on held-out slices.

    Its output is a list with a dictionary an item: ``pred`` and ``label``, the brain by MASK and by Algorithm 2;
    ``map`` and
    ``map_label``, the reconstructed and the real map; ``closed``, 1 when a map generated from noise passes Algorithm 3.

    Args:
        device: device to run on.
        val_data_loader: batches with ``image`` (B, M, H, W) and ``label``.
        network: :class:`monai_ext.networks.FeatGen`.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        mae_threshold: of Algorithm 3.
        seed: of the noise, the same at every validation.
        key_val_metric: as in ``Evaluator``.
        additional_metrics: likewise.
        val_handlers: likewise.
    """

    def __init__(
        self,
        device: str | torch.device,
        val_data_loader: Any,
        network: nn.Module,
        beta: float = 0.07,
        pad: int = 5,
        canvas_size: Sequence[int] | None = (240, 240),
        mae_threshold: float = 0.05,
        seed: int = 0,
        key_val_metric: dict | None = None,
        additional_metrics: dict | None = None,
        val_handlers: Sequence | None = None,
    ) -> None:
        super().__init__(
            device=torch.device(device), val_data_loader=val_data_loader, key_val_metric=key_val_metric,
            additional_metrics=additional_metrics, val_handlers=val_handlers, mode=ForwardMode.EVAL, decollate=False,
        )  # fmt: skip
        self.network, self.beta, self.pad, self.canvas_size = network, beta, pad, canvas_size
        self.mae_threshold, self.seed = mae_threshold, seed
        self.contour = ContourMask()

    def _iteration(self, engine: MapEvaluator, batchdata: Mapping[str, Any]) -> list[dict[str, torch.Tensor]]:
        network = engine.network.eval()
        images, label = (batchdata[k].to(engine.state.device) for k in ("image", "label"))
        rng = torch.Generator().manual_seed(seed_of(engine.seed, engine.state.iteration))
        with torch.no_grad():
            structure, mask = maps_and_masks(images[:, :1], label, engine.beta, engine.pad, engine.canvas_size)
            found = (network.mask(structure) > 0).float()
            rebuilt = (network.decoder(network.encoder(structure)[0]) > 0).float()
            generated, generated_mask = network(
                torch.randn(len(images), network.latent_size, generator=rng).to(images.device)
            )
        errors = [float((engine.contour(g.cpu()) - m.cpu()).abs().mean()) for g, m in zip(generated, generated_mask)]
        engine.state.output = [
            {"pred": 1 - found[i], "label": 1 - mask[i], "map": rebuilt[i], "map_label": structure[i],
             "closed": torch.tensor(float(errors[i] <= engine.mae_threshold))}
            for i in range(len(images))
        ]  # fmt: skip
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output


class ImageEvaluator(Evaluator):
    """Judges an image generator on held-out slices: their own map, label and style in, their own images to compare.

    Its output is a list with a dictionary an item: ``pred`` and ``image``, generated and real (M, H, W) in [0, 1].

    Args:
        device: device to run on.
        val_data_loader: batches with ``image`` (B, M, H, W) and ``label`` (B, 1, H, W).
        network: :class:`monai_ext.networks.CGAN`.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        map_channel: modality that the map is drawn from.
        seed: of the texture noise.
        key_val_metric: as in ``Evaluator``.
        additional_metrics: likewise.
        val_handlers: likewise.
    """

    def __init__(
        self,
        device: str | torch.device,
        val_data_loader: Any,
        network: CGAN | nn.Module,
        beta: float = 0.07,
        pad: int = 5,
        canvas_size: Sequence[int] | None = (240, 240),
        map_channel: int = 0,
        seed: int = 0,
        key_val_metric: dict | None = None,
        additional_metrics: dict | None = None,
        val_handlers: Sequence | None = None,
    ) -> None:
        super().__init__(
            device=torch.device(device), val_data_loader=val_data_loader, key_val_metric=key_val_metric,
            additional_metrics=additional_metrics, val_handlers=val_handlers, mode=ForwardMode.EVAL, decollate=False,
        )  # fmt: skip
        self.network, self.beta, self.pad, self.canvas_size = network, beta, pad, canvas_size
        self.map_channel, self.seed = map_channel, seed

    def _iteration(self, engine: ImageEvaluator, batchdata: Mapping[str, Any]) -> list[dict[str, torch.Tensor]]:
        network = engine.network.eval()
        images, label = (batchdata[k].to(engine.state.device) for k in ("image", "label"))
        rng = torch.Generator().manual_seed(seed_of(engine.seed, engine.state.iteration))
        source = images[:, engine.map_channel : engine.map_channel + 1]
        made = fuse_batch(
            source, label, label, network.num_classes, engine.beta, engine.pad, engine.canvas_size,
            shown=network.shown_classes,
        )  # fmt: skip
        noise = torch.randn(len(images), network.noise_channels, *images.shape[2:], generator=rng).to(images.device)
        with torch.no_grad():
            style = network.style(brain_quantiles(images, label))
            generated = network(made.fused, style, noise) * (1 - made.mask)
        engine.state.output = [{"pred": g, "image": i} for g, i in zip(generated, images)]
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output
