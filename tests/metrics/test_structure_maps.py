"""Structure maps against each other, on maps whose pixels can be counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from monai_ext.metrics import (
    density_coverage,
    dilate_maps,
    edge_profile,
    map_features,
    nearest_similarity,
    pair_similarity,
    pairwise_dice,
    profile_distance,
    quantiles,
)


def dots(*places, size=(16, 16)):
    """One map for each list of (row, column)."""
    maps = torch.zeros(len(places), 1, *size)
    for n, points in enumerate(places):
        for row, column in points:
            maps[n, 0, row, column] = 1
    return maps


def line(*values):
    """Features (N, 1) on a line."""
    return torch.tensor(values, dtype=torch.float32)[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool])
def test_dilation(dtype):
    maps = dots([(5, 5)], [(0, 0)], []).to(dtype)
    assert dilate_maps(maps).sum((1, 2, 3)).tolist() == [9, 4, 0], "a square of 3 x 3, cut at the corner"
    assert dilate_maps(maps)[0, 0, 4:7, 4:7].all() and dilate_maps(maps).dtype == torch.float32
    assert dilate_maps(maps, 2).sum((1, 2, 3)).tolist() == [25, 9, 0]
    assert dilate_maps(maps, 0).equal(maps.float())


def test_pairwise_dice():
    first = dots([(0, 0), (0, 1)], [(3, 3)], [])
    second = dots([(0, 1), (0, 2), (0, 3)], [])
    # 2 * 1 / (2 + 3); nothing shared; nothing in one; nothing in both
    assert torch.allclose(pairwise_dice(first, second), torch.tensor([[0.4, 0], [0, 0], [0, 1]]))
    assert pairwise_dice(first, first).diagonal().tolist() == [1, 1, 1]
    assert pairwise_dice(first.to(torch.uint8), second.to(torch.uint8)).equal(pairwise_dice(first, second))


def test_similarity_of_pairs_in_one_set():
    # neighbouring pixels: squares of 9 that share 6
    assert pair_similarity(dots([(5, 5)], [(5, 6)]), pairs=20) == pytest.approx({"mean": 12 / 18, "std": 0}, abs=1e-6)
    # the third map shares nothing: every pair is 2/3 or 0
    mixed = pair_similarity(dots([(5, 5)], [(5, 6)], [(12, 12)]), pairs=3000, seed=1)
    share = mixed["mean"] / (12 / 18)
    assert share == pytest.approx(1 / 3, abs=0.04), "one of three pairs"
    assert mixed["std"] == pytest.approx(12 / 18 * math.sqrt(share * (1 - share)), rel=1e-3)
    assert mixed == pair_similarity(dots([(5, 5)], [(5, 6)], [(12, 12)]), pairs=3000, seed=1)
    assert pair_similarity(dots([(5, 5)], [(5, 6)]), pairs=1)["std"] == 0


def test_similarity_of_pairs_of_other_patients():
    maps = dots([(5, 5)], [(5, 5)], [(5, 6)], [(5, 6)])
    # pairs of one patient, which are equal, are not drawn
    assert pair_similarity(maps, groups=["a", "a", "b", "b"], pairs=50) == pytest.approx(
        {"mean": 12 / 18, "std": 0}, abs=1e-6
    )
    assert pair_similarity(maps, groups=["a", "b", "b", "a"], pairs=400)["std"] > 0.1, "some are equal here"


def test_similarity_of_pairs_of_two_sets():
    first, second = dots([(5, 5)], [(5, 5)]), dots([(5, 7)])
    assert pair_similarity(first, second, pairs=10) == pytest.approx({"mean": 2 * 3 / 18, "std": 0}, abs=1e-6)
    assert pair_similarity(dots([], []), pairs=10) == {"mean": 1, "std": 0}, "empty maps are equal"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"first": dots()}, "no pair of different maps among 0"),
        ({"first": dots([(1, 1)])}, "no pair of different maps among 1"),
        ({"first": dots([(1, 1)], [(2, 2)]), "groups": ["a", "a"]}, "no pair of different groups among 2"),
        ({"first": dots([(1, 1)]), "second": dots()}, "empty set"),
        ({"first": dots(), "second": dots([(1, 1)])}, "empty set"),
    ],
)
def test_no_pair_to_draw(arguments, message):
    with pytest.raises(ValueError, match=message):
        pair_similarity(**arguments)


def test_nearest():
    reference = dots([(5, 5)], [(12, 12)])
    # 1 pixel off the first; 2 pixels off the second; far from both
    maps = dots([(5, 6)], [(12, 10)], [(1, 12)])
    assert nearest_similarity(maps, reference, mirror=False).tolist() == pytest.approx([12 / 18, 6 / 18, 0])


def test_nearest_in_the_mirror():
    """Left-right is axis 2 of (N, 1, H, W): row 5 of 16 becomes row 10."""
    reference = dots([(5, 3)])
    maps = dots([(10, 3)], [(5, 12)], [(5, 3)])
    assert nearest_similarity(maps, reference).tolist() == [1, 0, 1]
    assert nearest_similarity(maps, reference, mirror=False).tolist() == [0, 0, 1]


def test_quantiles():
    values = torch.arange(101.0).flip(0) / 100
    assert quantiles(values) == pytest.approx({"p05": 0.05, "p50": 0.5, "p95": 0.95})
    assert quantiles(torch.tensor([0.0, 1.0]), (0, 0.25, 1)) == {"p00": 0, "p25": 0.25, "p100": 1}


def test_features_say_where_edges_are():
    # a square of 9 within the second tile; one that lies on four tiles
    features = map_features(dots([(3, 11)], [(8, 8)], []))
    assert (64 * features).tolist() == [[0, 9, 0, 0], [1, 2, 2, 4], [0, 0, 0, 0]]


def test_density_and_coverage_on_a_line():
    # radii to the second neighbour: 2, 1, 2, 9
    real = line(0, 1, 2, 10)
    # 0.5 lies in the balls of 0, 1, 2; 11 in that of 10; 30 in none
    result = density_coverage(real, line(0.5, 11, 30), k=2)
    assert result == pytest.approx({"density": (3 + 1 + 0) / 3 / 2, "coverage": 1})
    assert density_coverage(real, line(11), k=2) == pytest.approx({"density": 1 / 2, "coverage": 1 / 4})
    # 2 lies in the balls of 2 and 10, and on the surfaces of those of 0 and 1, which are no part of them
    assert density_coverage(real, line(2.0), k=2) == pytest.approx({"density": 2 / 2, "coverage": 2 / 4})
    assert density_coverage(real, line(30, 40), k=2) == {"density": 0, "coverage": 0}


def test_density_and_coverage_of_slices_of_patients():
    real, patients = line(0, 1, 10, 12), ["a", "a", "b", "b"]
    # radii to the first neighbour: 1, 1, 2, 2; of another patient: 10, 9, 9, 11
    other = line(2.5)
    assert density_coverage(real, other, k=1) == {"density": 0, "coverage": 0}
    assert density_coverage(real, other, patients, k=1) == pytest.approx({"density": 4, "coverage": 1})
    assert density_coverage(real, line(-8.5), patients, k=1) == pytest.approx({"density": 1, "coverage": 0.25})


def test_a_distribution_covers_itself():
    rng = torch.Generator().manual_seed(0)
    real, same = (torch.randn(600, 3, generator=rng) for _ in range(2))
    result = density_coverage(real, same)
    # 1 - 2^-5 of balls to the fifth of as many neighbours (Naeem et al., section 3.3)
    assert result["density"] == pytest.approx(1, abs=0.1) and result["coverage"] == pytest.approx(0.97, abs=0.03)


def test_too_few_neighbours():
    with pytest.raises(ValueError, match="needs 5 neighbours"):
        density_coverage(line(1, 2, 3, 4, 5), line(1))
    assert density_coverage(line(1, 2, 3, 4, 5, 6), line(1))["coverage"] > 0
    with pytest.raises(ValueError, match="needs 2 neighbours of other patients"):
        density_coverage(line(1, 2, 3, 4), line(1), ["a", "a", "a", "b"], k=2)
    with pytest.raises(ValueError, match="needs 5 neighbours"):
        density_coverage(line(), line(1))


def disc(size=65, radius=16):
    """Masks, 1 outside a disc, and each pixel's distance and offsets from its centre."""
    rows, columns = np.indices((size, size)) - size // 2
    distance = np.hypot(rows, columns)
    return torch.tensor(distance > radius, dtype=torch.float32)[None, None], distance, rows, columns


def test_profile_of_a_ring():
    mask, distance, _, _ = disc()
    # 0.7 to 0.72 of the radius: within the sixth bin of 0.125, whatever the disc's pixels round to
    ring = torch.tensor((distance > 10.4) & (distance < 11.6), dtype=torch.float32)[None, None]
    radial, angular = edge_profile(ring, mask).split([12, 16], dim=1)
    assert radial[0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert angular.sum().item() == pytest.approx(1) and angular.min() > 0.03, "edges all around"


def test_profile_of_a_bar():
    mask, _, rows, columns = disc()
    # along axis 3, from the centre outwards: the quarter turn from axis 2; radii 1 to 32 in units of 16
    bar = torch.tensor((rows == 0) & (columns > 0), dtype=torch.float32)[None, None]
    radial, angular = edge_profile(bar, mask)[0].split([12, 16])
    unit = math.sqrt(int((mask == 0).sum()) / math.pi)
    bins = np.bincount(np.minimum((np.arange(1, 33) / unit / 0.125).astype(int), 11), minlength=12) / 32
    assert radial.tolist() == pytest.approx(bins.tolist()) and radial[-1] > 0.3, "the last bin takes all beyond"
    assert angular.tolist() == pytest.approx([0] * 4 + [1] + [0] * 11)


def test_profile_moves_with_the_brain():
    mask, distance, _, _ = disc()
    ring = torch.tensor((distance > 10.4) & (distance < 11.6), dtype=torch.float32)[None, None]
    moved = edge_profile(ring.roll((5, -7), (2, 3)), mask.roll((5, -7), (2, 3)))
    # float rounding may carry a pixel over the border of a sector
    assert (moved - edge_profile(ring, mask)).abs().sum() < 0.1


def test_profile_of_nothing():
    mask, distance, _, _ = disc()
    ring = torch.tensor(distance > 20, dtype=torch.float32)[None, None]
    maps, masks = torch.cat([torch.zeros_like(ring), ring]), torch.cat([mask, torch.ones_like(mask)])
    assert not edge_profile(maps, masks).any(), "no edge; no brain"
    assert edge_profile(maps.to(torch.uint8), masks.to(torch.uint8), 3, 4).shape == (2, 7)


def test_profile_distance():
    first = torch.tensor([[1.0, 0, 0, 0.5, 0.5], [0, 1, 0, 0.5, 0.5]])
    second = torch.tensor([[0.5, 0, 0.5, 1, 0]])
    # means (0.5, 0.5, 0 | 0.5, 0.5) and (0.5, 0, 0.5 | 1, 0)
    assert profile_distance(first, second, radial=3) == {"radial": 0.5, "angular": 0.5}
    assert profile_distance(first, first, radial=3) == {"radial": 0, "angular": 0}
    apart = torch.tensor([[1.0, 0, 0, 1, 0]]), torch.tensor([[0, 0.5, 0.5, 0, 1.0]])
    assert profile_distance(*apart, radial=3) == {"radial": 1, "angular": 1}
