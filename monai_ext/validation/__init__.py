"""What synthetic data is worth, against held-out real patients."""

from monai_ext.validation.fidelity import lesion_fidelity, open_segmentors
from monai_ext.validation.from_noise import Studies, studies_from_noise
from monai_ext.validation.held_out import held_out_cases, training_cases
from monai_ext.validation.images import evaluate_images
from monai_ext.validation.map_scores import closed_share
from monai_ext.validation.maps import evaluate_maps
from monai_ext.validation.memorisation import memorisation
from monai_ext.validation.segmentation import evaluate_cases, predict
from monai_ext.validation.segmentors import evaluate_segmentors
from monai_ext.validation.translation import evaluate_translation
from monai_ext.validation.validate import Validation

__all__ = [
    "Studies",
    "Validation",
    "closed_share",
    "evaluate_cases",
    "evaluate_images",
    "evaluate_maps",
    "evaluate_segmentors",
    "evaluate_translation",
    "held_out_cases",
    "lesion_fidelity",
    "memorisation",
    "open_segmentors",
    "predict",
    "studies_from_noise",
    "training_cases",
]
