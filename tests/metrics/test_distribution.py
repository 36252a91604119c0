"""Distances of sets of features: by hand, and beside MONAI's."""

from __future__ import annotations

import pytest
import torch
from monai.metrics import FIDMetric, MMDMetric

from monai_ext.metrics import frechet_distance, maximum_mean_discrepancy


def line(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None]


def noise(count, size, seed):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def test_frechet_by_hand():
    # means 1 and 3, variances 2 and 8: 2^2 + 2 + 8 - 2 * sqrt(16)
    assert frechet_distance(line(0, 2), line(1, 5)) == pytest.approx(6)
    # axes apart: no covariance; means (0, 0), variances (2, 8) and (18, 2)
    first = torch.tensor([[-1.0, -2], [1, -2], [-1, 2], [1, 2]])
    second = torch.tensor([[-3.0, -1], [3, -1], [-3, 1], [3, 1]])
    expected = 4 / 3 * ((1 - 3) ** 2 + (2 - 1) ** 2)
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_frechet_is_that_of_monai():
    first, second = noise(300, 6, 0) @ noise(6, 6, 1), noise(200, 6, 2) + 0.5
    expected = float(FIDMetric()(first, second))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_equal_sets():
    few = noise(5, 16, 3)
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-5), "fewer samples than features"
    assert frechet_distance(few, few + 2) == pytest.approx(16 * 4, rel=1e-5)
    assert frechet_distance(torch.ones(3, 4), torch.zeros(2, 4)) == pytest.approx(4)


def test_discrepancy_by_hand():
    # within either set k = 1; between them 1, 1, 1 and (1 * 2 + 1)^3 = 27
    assert maximum_mean_discrepancy(line(0, 1), line(0, 2)) == pytest.approx(1 + 1 - 2 * 30 / 4)
    # sizes 3 and 2: pairs of the first 1, 1 and (1 * -1 + 1)^3 = 0
    first, second = line(0, 1, -1), line(0, 0)
    assert maximum_mean_discrepancy(first, second) == pytest.approx(2 / 3 + 1 - 2)
    # two features: the product is halved
    twice = torch.tensor([[1.0, 1], [1, 1]])
    assert maximum_mean_discrepancy(twice, 0 * twice) == pytest.approx(8 + 1 - 2)


def test_discrepancy_is_that_of_monai():
    """With the kernel written out as features."""

    def written_out(x):
        return torch.cat([torch.ones_like(x), 3**0.5 * x, 3**0.5 * x**2, x**3], 1)

    first, second = noise(40, 1, 4).double(), 1.5 * noise(40, 1, 5).double() + 1
    expected = float(MMDMetric(written_out)(first, second))
    assert maximum_mean_discrepancy(first, second) == pytest.approx(expected)


def test_small_sets_of_one_distribution():
    """The discrepancy is 0 on average; the Frechet distance is not, which is why a floor stands beside it."""
    pairs = [(noise(20, 8, s), noise(20, 8, 100 + s)) for s in range(30)]
    values = torch.tensor([maximum_mean_discrepancy(a, b) for a, b in pairs])
    assert abs(float(values.mean())) < 3 * float(values.std()) / 30**0.5
    assert min(frechet_distance(a, b) for a, b in pairs) > 0.5


@pytest.mark.parametrize("distance", [frechet_distance, maximum_mean_discrepancy])
def test_sets_that_cannot_be_compared(distance):
    with pytest.raises(ValueError, match="at least two samples, got 1 and 2"):
        distance(line(0), line(0, 1))
    with pytest.raises(ValueError, match=r"features are \(N, D\) and \(K, D\)"):
        distance(noise(3, 2, 0), noise(3, 4, 0))
    with pytest.raises(ValueError, match=r"features are"):
        distance(torch.zeros(3), torch.zeros(3))
