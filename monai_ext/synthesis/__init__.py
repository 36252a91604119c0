"""From noise to a labelled data set."""

from monai_ext.synthesis.filters import DiceFilter, MapFilter
from monai_ext.synthesis.generate import DatasetGenerator
from monai_ext.synthesis.lesions import LesionSource, Placed, ProceduralLesions, RealLesions, open_lesions
from monai_ext.synthesis.manifest import Manifest, ManifestError
from monai_ext.synthesis.maps import MapGenerator
from monai_ext.synthesis.repaint import CaseRepainter, repaint
from monai_ext.synthesis.stream import Candidate, StudyStream, SynthesisError

__all__ = [
    "Candidate",
    "CaseRepainter",
    "DatasetGenerator",
    "DiceFilter",
    "LesionSource",
    "Manifest",
    "ManifestError",
    "MapFilter",
    "MapGenerator",
    "Placed",
    "ProceduralLesions",
    "RealLesions",
    "StudyStream",
    "SynthesisError",
    "open_lesions",
    "repaint",
]
