"""From noise to a labelled data set."""

from monai_ext.synthesis.filters import DiceFilter, MapFilter
from monai_ext.synthesis.generate import DatasetGenerator, SynthesisError, load_weights
from monai_ext.synthesis.lesions import LesionSource, Placed, ProceduralLesions, RealLesions, open_lesions
from monai_ext.synthesis.manifest import Manifest, ManifestError
from monai_ext.synthesis.stream import Candidate, StudyStream

__all__ = [
    "Candidate", "DatasetGenerator", "DiceFilter", "LesionSource", "Manifest", "ManifestError", "MapFilter", "Placed",
    "ProceduralLesions", "RealLesions", "StudyStream", "SynthesisError", "load_weights", "open_lesions",
]  # fmt: skip
