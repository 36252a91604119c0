"""Array and dictionary transforms for the synthesis of labelled, registered brain MRI."""

from __future__ import annotations

from monai_ext.transforms.blur_noise import RandBlurNoise
from monai_ext.transforms.contour import ContourMask, ContourMaskD, ContourMaskd, ContourMaskDict
from monai_ext.transforms.convention import LabelConvention, LabelConventionD, LabelConventiond, LabelConventionDict
from monai_ext.transforms.intensity import (
    ScaleBrainIntensity,
    ScaleBrainIntensityD,
    ScaleBrainIntensityd,
    ScaleBrainIntensityDict,
)
from monai_ext.transforms.largest_lesion import (
    KeepLargestLesion,
    KeepLargestLesionD,
    KeepLargestLesiond,
    KeepLargestLesionDict,
)
from monai_ext.transforms.lesion import (
    EraseLesion,
    EraseLesionD,
    EraseLesiond,
    EraseLesionDict,
    FuseLesion,
    FuseLesionD,
    FuseLesiond,
    FuseLesionDict,
    erase_lesion,
    fuse_lesion,
)
from monai_ext.transforms.mask import (
    BackgroundMask,
    BackgroundMaskD,
    BackgroundMaskd,
    BackgroundMaskDict,
    background_mask,
)
from monai_ext.transforms.random_label import RandLesionLabel, RandLesionLabelD, RandLesionLabeld, RandLesionLabelDict
from monai_ext.transforms.regions import LesionRegions, LesionRegionsD, LesionRegionsd, LesionRegionsDict
from monai_ext.transforms.shift_cutout import RandShiftCutout
from monai_ext.transforms.spacing import BrainSpacing, BrainSpacingD, BrainSpacingd, BrainSpacingDict
from monai_ext.transforms.structure import (
    StructuralFeatureMap,
    StructuralFeatureMapD,
    StructuralFeatureMapd,
    StructuralFeatureMapDict,
    soft_structural_feature_map,
    structural_feature_map,
)

__all__ = [
    "BackgroundMask",
    "BackgroundMaskD",
    "BackgroundMaskDict",
    "BackgroundMaskd",
    "BrainSpacing",
    "BrainSpacingD",
    "BrainSpacingDict",
    "BrainSpacingd",
    "ContourMask",
    "ContourMaskD",
    "ContourMaskDict",
    "ContourMaskd",
    "EraseLesion",
    "EraseLesionD",
    "EraseLesionDict",
    "EraseLesiond",
    "FuseLesion",
    "FuseLesionD",
    "FuseLesionDict",
    "FuseLesiond",
    "KeepLargestLesion",
    "KeepLargestLesionD",
    "KeepLargestLesionDict",
    "KeepLargestLesiond",
    "LabelConvention",
    "LabelConventionD",
    "LabelConventionDict",
    "LabelConventiond",
    "LesionRegions",
    "LesionRegionsD",
    "LesionRegionsDict",
    "LesionRegionsd",
    "RandBlurNoise",
    "RandLesionLabel",
    "RandLesionLabelD",
    "RandLesionLabelDict",
    "RandLesionLabeld",
    "RandShiftCutout",
    "ScaleBrainIntensity",
    "ScaleBrainIntensityD",
    "ScaleBrainIntensityDict",
    "ScaleBrainIntensityd",
    "StructuralFeatureMap",
    "StructuralFeatureMapD",
    "StructuralFeatureMapDict",
    "StructuralFeatureMapd",
    "background_mask",
    "erase_lesion",
    "fuse_lesion",
    "soft_structural_feature_map",
    "structural_feature_map",
]
