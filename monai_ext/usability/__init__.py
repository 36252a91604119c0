"""What synthetic slices are worth in the training of a segmentor: the experiments of Qu et al., Table 2."""

from monai_ext.usability.cells import Cell, CellTrainer, Settings
from monai_ext.usability.classical import ClassicalAugmentation, ClassicalSet
from monai_ext.usability.experiments import UsabilityExperiments
from monai_ext.usability.grid import Grid
from monai_ext.usability.leaks import guard_copies, guard_synthetic, guard_training
from monai_ext.usability.mixture import Counts, Pool, counts_of, subset, training_order
from monai_ext.usability.rows import TABLE2, Row, parse_models, parse_rows
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
