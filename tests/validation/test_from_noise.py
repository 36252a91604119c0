"""Studies from noise, to be judged."""

from __future__ import annotations

import pytest
import torch

from monai_ext.synthesis import Candidate, SynthesisError
from monai_ext.validation.from_noise import collect_studies


class Stream:
    """Every third candidate passes; its images and its label say its number."""

    def run(self, numbers):
        return [
            Candidate(n, "map")
            if n % 3
            else Candidate(n, images=torch.full((4, 8, 8), float(n)), label=torch.full((1, 8, 8), float(n)))
            for n in numbers
        ]


def test_the_first_that_pass():
    studies = collect_studies(Stream(), 4, batch_size=5)
    assert studies.images.shape == (4, 4, 8, 8) and studies.label.shape == (4, 1, 8, 8)
    assert studies.images[:, 0, 0, 0].tolist() == studies.label[:, 0, 0, 0].tolist() == [0, 3, 6, 9]
    assert studies.candidates == 10
    assert collect_studies(Stream(), 4, batch_size=1).candidates == 10, "the batch size changes nothing"


def test_attempts_run_out():
    with pytest.raises(SynthesisError, match="only 2 of 3 studies passed the filters in 6 candidates"):
        collect_studies(Stream(), 3, batch_size=2, max_attempts=2)
