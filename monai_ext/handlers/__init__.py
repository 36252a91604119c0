"""Handlers."""

from monai_ext.handlers.checkpoints import TrainingCheckpoint, latest_checkpoint
from monai_ext.handlers.ema import EMAHandler, moving_average
from monai_ext.handlers.fit_style import FitStyle
from monai_ext.handlers.fixed_samples import FixedMaps, FixedStudies
from monai_ext.handlers.guards import DiscriminatorGuard, LossGuard
from monai_ext.handlers.phases import TermPhases
from monai_ext.handlers.progress import TrainingProgress, loss_terms
from monai_ext.handlers.seeding import SeedIterations

__all__ = [
    "DiscriminatorGuard",
    "EMAHandler",
    "FitStyle",
    "FixedMaps",
    "FixedStudies",
    "LossGuard",
    "SeedIterations",
    "TermPhases",
    "TrainingCheckpoint",
    "TrainingProgress",
    "latest_checkpoint",
    "loss_terms",
    "moving_average",
]
