"""Training engines."""

from monai_ext.engines.adversarial import AdversarialTrainer, Objective
from monai_ext.engines.cgan import CGANObjective
from monai_ext.engines.compiling import compile_networks
from monai_ext.engines.evaluators import ImageEvaluator, MapEvaluator
from monai_ext.engines.featgen import FeatGenObjective, maps_and_masks
from monai_ext.engines.flips import FlipInferer
from monai_ext.engines.fusion import FusedBatch, fuse_batch
from monai_ext.engines.precision import AutocastInferer
from monai_ext.engines.ranks import open_dataset_in_turn, rank_device, start_ranks, stop_ranks
from monai_ext.engines.translation import PrepareTranslation, TranslationInferer

__all__ = [
    "AdversarialTrainer",
    "AutocastInferer",
    "CGANObjective",
    "FeatGenObjective",
    "FlipInferer",
    "FusedBatch",
    "ImageEvaluator",
    "MapEvaluator",
    "Objective",
    "PrepareTranslation",
    "TranslationInferer",
    "compile_networks",
    "fuse_batch",
    "maps_and_masks",
    "open_dataset_in_turn",
    "rank_device",
    "start_ranks",
    "stop_ranks",
]
