from __future__ import annotations

import pytest

from monai_ext import transforms

NAMES = [
    "BackgroundMask",
    "BrainSpacing",
    "ContourMask",
    "EraseLesion",
    "FuseLesion",
    "RandLesionLabel",
    "ScaleBrainIntensity",
    "StructuralFeatureMap",
]


@pytest.mark.parametrize("name", NAMES)
def test_dictionary_aliases_and_backend(name):
    dictionary = getattr(transforms, f"{name}d")
    assert getattr(transforms, f"{name}D") is dictionary
    assert getattr(transforms, f"{name}Dict") is dictionary
    assert dictionary.backend == getattr(transforms, name).backend
    assert {name, f"{name}d", f"{name}D", f"{name}Dict"} <= set(transforms.__all__)


def test_every_public_name_exists():
    assert all(hasattr(transforms, name) for name in transforms.__all__)
