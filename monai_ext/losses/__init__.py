"""Losses, each beside its formula."""

from monai_ext.losses.adversarial import AdversarialLoss, feature_matching_loss, modality_loss
from monai_ext.losses.cgan import (
    LesionLoss,
    code_consistency_loss,
    cycle_consistency_loss,
    cycle_loss,
    generated_code_loss,
    image_reconstruction_loss,
    outside_mask_loss,
    registration_loss,
    structure_loss,
)
from monai_ext.losses.featgen import (
    binarise,
    flow_loss,
    kl_loss,
    leak_loss,
    map_picture,
    mask_loss,
    normal_code_loss,
    outside_loss,
    picture_loss,
    reconstruction_loss,
)
from monai_ext.losses.translation import TranslationLoss

__all__ = [
    "AdversarialLoss",
    "LesionLoss",
    "TranslationLoss",
    "binarise",
    "code_consistency_loss",
    "cycle_consistency_loss",
    "cycle_loss",
    "feature_matching_loss",
    "flow_loss",
    "generated_code_loss",
    "image_reconstruction_loss",
    "kl_loss",
    "leak_loss",
    "map_picture",
    "mask_loss",
    "modality_loss",
    "normal_code_loss",
    "outside_loss",
    "outside_mask_loss",
    "picture_loss",
    "reconstruction_loss",
    "registration_loss",
    "structure_loss",
]
