"""Metrics."""

from monai_ext.metrics.dice_index import DiceIndexMetric, dice_index, index_mse
from monai_ext.metrics.distribution import frechet_distance, maximum_mean_discrepancy
from monai_ext.metrics.memorisation import nearest_study, study_descriptors
from monai_ext.metrics.registration import edge_agreement, normalised_mutual_information, registration
from monai_ext.metrics.segmentation import mean_scores, segmentation_scores, slice_scores
from monai_ext.metrics.structure_maps import (
    density_coverage,
    dilate_maps,
    edge_profile,
    map_features,
    nearest_similarity,
    pair_similarity,
    pairwise_dice,
    profile_distance,
    quantiles,
)
from monai_ext.metrics.surface_distance import hausdorff95

__all__ = [
    "DiceIndexMetric",
    "density_coverage",
    "dice_index",
    "dilate_maps",
    "edge_agreement",
    "edge_profile",
    "frechet_distance",
    "hausdorff95",
    "index_mse",
    "map_features",
    "maximum_mean_discrepancy",
    "mean_scores",
    "nearest_similarity",
    "nearest_study",
    "normalised_mutual_information",
    "pair_similarity",
    "pairwise_dice",
    "profile_distance",
    "quantiles",
    "registration",
    "segmentation_scores",
    "slice_scores",
    "study_descriptors",
]
