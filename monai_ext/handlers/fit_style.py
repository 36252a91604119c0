"""Fit a generator's style statistics to its training set before the first step."""

from __future__ import annotations

import logging

import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_ext.data.slices import SliceDataset
from monai_ext.networks import IntensityStyle, brain_quantiles

logger = logging.getLogger(__name__)


class FitStyle:
    """Measures the intensity quantiles of training slices and fits the style to them, so that N(0, 1) draws a scanner.

    A resumed training keeps what its checkpoint holds.

    Args:
        style: of the generator.
        dataset: training slices.
        samples: slices measured, spread over the set.
    """

    def __init__(self, style: IntensityStyle, dataset: SliceDataset, samples: int = 500) -> None:
        self.style, self.dataset, self.samples = style, dataset, samples

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Fit, when the training starts from the beginning."""
        if engine.state.iteration > 0:
            return
        chosen = np.unique(np.linspace(0, len(self.dataset) - 1, self.samples).round().astype(int))
        items = [self.dataset.raw(int(i)) for i in chosen]
        self.style.fit(torch.cat([brain_quantiles(i["image"][None], i["label"][None]) for i in items]))
        logger.info("style fitted to %d slices", len(items))
