"""From noise to a labelled data set."""

from monai_ext.synthesis.exported import StudyNetwork
from monai_ext.synthesis.filters import DiceFilter, MapFilter
from monai_ext.synthesis.generate import DatasetGenerator
from monai_ext.synthesis.inference import LabelDataset, NoiseDataset, SaveStudies, prepare_study
from monai_ext.synthesis.lesions import LesionSource, Placed, ProceduralLesions, RealLesions, open_lesions
from monai_ext.synthesis.manifest import Manifest, ManifestError
from monai_ext.synthesis.map_pool import draw_map_pool, open_map_pool
from monai_ext.synthesis.maps import MapGenerator
from monai_ext.synthesis.repaint import CaseRepainter, repaint
from monai_ext.synthesis.stream import Candidate, StudyStream, SynthesisError
from monai_ext.synthesis.translate import CaseTranslator, inference_style, other_modalities, translate

__all__ = [
    "Candidate",
    "CaseRepainter",
    "CaseTranslator",
    "DatasetGenerator",
    "DiceFilter",
    "LabelDataset",
    "LesionSource",
    "Manifest",
    "ManifestError",
    "MapFilter",
    "MapGenerator",
    "NoiseDataset",
    "Placed",
    "ProceduralLesions",
    "RealLesions",
    "SaveStudies",
    "StudyNetwork",
    "StudyStream",
    "SynthesisError",
    "draw_map_pool",
    "inference_style",
    "open_lesions",
    "open_map_pool",
    "other_modalities",
    "prepare_study",
    "repaint",
    "translate",
]
