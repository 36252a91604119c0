"""What synthetic data is worth, against held-out real patients."""

from monai_ext.validation.fidelity import lesion_fidelity, open_segmentors
from monai_ext.validation.held_out import held_out_cases
from monai_ext.validation.images import evaluate_images
from monai_ext.validation.maps import closed_share, evaluate_maps
from monai_ext.validation.segmentation import evaluate_cases, predict
from monai_ext.validation.segmentors import evaluate_segmentors
from monai_ext.validation.validate import Validation

__all__ = [
    "Validation",
    "closed_share",
    "evaluate_cases",
    "evaluate_images",
    "evaluate_maps",
    "evaluate_segmentors",
    "held_out_cases",
    "lesion_fidelity",
    "open_segmentors",
    "predict",
]
