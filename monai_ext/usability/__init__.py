"""Usability experiments of Qu et al.: what synthetic slices are worth (Table 2), and guidance schemes (Table 1)."""

from monai_ext.usability.cells import Cell, CellTrainer, Settings
from monai_ext.usability.classical import ClassicalAugmentation, ClassicalSet
from monai_ext.usability.experiments import UsabilityExperiments
from monai_ext.usability.grid import Grid
from monai_ext.usability.leaks import guard_copies, guard_synthetic, guard_training
from monai_ext.usability.mixture import Counts, Pool, counts_of, subset, training_order
from monai_ext.usability.rows import TABLE2, Row, parse_models, parse_rows
from monai_ext.usability.schemes import GuidanceSchemes
from monai_ext.usability.sources import Sources, choose_patients, open_sources
from monai_ext.usability.statistics import paired_bootstrap
from monai_ext.usability.training import train_segmentor

__all__ = [
    "TABLE2",
    "Cell",
    "CellTrainer",
    "ClassicalAugmentation",
    "ClassicalSet",
    "Counts",
    "Grid",
    "GuidanceSchemes",
    "Pool",
    "Row",
    "Settings",
    "Sources",
    "UsabilityExperiments",
    "choose_patients",
    "counts_of",
    "guard_copies",
    "guard_synthetic",
    "guard_training",
    "open_sources",
    "paired_bootstrap",
    "parse_models",
    "parse_rows",
    "subset",
    "train_segmentor",
    "training_order",
]
