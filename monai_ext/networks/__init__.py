"""Networks of the bundles."""

from monai_ext.networks.blocks import ConditionalBlock, PyramidEncoder, ResidualBlock, UnshuffleUNet
from monai_ext.networks.cgan import CGAN, CodeDiscriminator, ImageDecoder, ImageDiscriminator
from monai_ext.networks.code_prior import CodePrior
from monai_ext.networks.featgen import FeatGen, MapDecoder, MapEncoder
from monai_ext.networks.guidance import LesionGuidance
from monai_ext.networks.init import init_weights
from monai_ext.networks.map_discriminators import MapCodeDiscriminator, MapDiscriminator
from monai_ext.networks.modality_classifier import ModalityClassifier
from monai_ext.networks.style import IntensityStyle, brain_quantiles

__all__ = [
    "CGAN",
    "CodeDiscriminator",
    "CodePrior",
    "ConditionalBlock",
    "FeatGen",
    "ImageDecoder",
    "ImageDiscriminator",
    "IntensityStyle",
    "LesionGuidance",
    "MapCodeDiscriminator",
    "MapDecoder",
    "MapDiscriminator",
    "MapEncoder",
    "ModalityClassifier",
    "PyramidEncoder",
    "ResidualBlock",
    "UnshuffleUNet",
    "brain_quantiles",
    "init_weights",
]
