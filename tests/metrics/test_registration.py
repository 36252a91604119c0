"""Images on one another, with edges and histograms that can be counted."""

from __future__ import annotations

import math

import pytest
import torch

from monai_ext.metrics import edge_agreement, normalised_mutual_information, registration


def step(column, size=16):
    """A slice that brightens at a column: its map is two columns wide, four after the dilation."""
    image = torch.full((1, 1, size, size), 0.2)
    image[..., column:] = 0.8
    return image


@pytest.mark.parametrize("shift, expected", [(0, 1.0), (1, 0.75), (2, 0.5), (4, 0.0), (-3, 0.25)])
def test_edges_of_a_step(shift, expected):
    assert edge_agreement(step(6), step(6 + shift)).tolist() == pytest.approx([expected])


def test_edges_do_not_see_contrast():
    assert edge_agreement(step(6), 0.9 - step(6)).tolist() == [1]
    assert edge_agreement(step(6), 0.5 * step(6)).tolist() == [1]


def test_no_edges():
    flat = torch.zeros(1, 1, 16, 16)
    assert edge_agreement(flat, flat).isnan().all()
    assert edge_agreement(flat, step(6)).tolist() == [0]
    many = torch.cat([flat, step(6)] * 10)
    assert edge_agreement(many, many).nan_to_num(-1).tolist() == [-1, 1] * 10, "more than a chunk of slices"


def levels(rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


FOUR = levels([[0.1, 0.3], [0.6, 0.9]])
"""H(A) = log 4."""


@pytest.mark.parametrize(
    "other, expected",
    [
        (FOUR, 2.0),
        (1 - FOUR, 2.0),
        (levels([[0.1, 0.1], [0.9, 0.9]]), 1.5),  # (log 4 + log 2) / log 4
        (levels([[0.5, 0.5], [0.5, 0.5]]), 1.0),  # (log 4 + 0) / log 4
    ],
)
def test_information(other, expected):
    assert normalised_mutual_information(FOUR, other).tolist() == pytest.approx([expected])
    assert normalised_mutual_information(other, FOUR).tolist() == pytest.approx([expected])


def test_independent():
    rows, columns = levels([[0.1, 0.1], [0.9, 0.9]]), levels([[0.1, 0.9], [0.1, 0.9]])
    assert normalised_mutual_information(rows, columns).tolist() == pytest.approx([1])


def test_unequal_shares():
    """Three pixels of one kind and one of another, joint as either."""
    one = levels([[0.1, 0.1], [0.1, 0.9]])
    other = levels([[0.9, 0.9], [0.1, 0.1]])
    single = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    joint = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    expected = (single + math.log(2)) / joint
    assert normalised_mutual_information(one, other).tolist() == pytest.approx([expected])


def test_bins():
    one, other = levels([[0.01, 0.02], [0.91, 0.92]]), levels([[0.1, 0.4], [0.6, 0.9]])
    # (log 2 + log 2) / log 2 of two bins, (log 2 + log 4) / log 4 of 32, where the first has two levels still
    assert normalised_mutual_information(one, other, bins=2).tolist() == pytest.approx([2])
    assert normalised_mutual_information(one, other).tolist() == pytest.approx([1.5])
    assert normalised_mutual_information(levels([[1.0, 0.5]]), levels([[0.5, 1.0]])).tolist() == pytest.approx([2])
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        normalised_mutual_information(one, other, bins=1)


def test_outside_the_brain():
    """What one of the two does not show counts for neither."""
    padded = torch.nn.functional.pad(FOUR, (1, 2, 0, 3))
    other = torch.nn.functional.pad(1 - FOUR, (1, 2, 0, 3))
    other[..., 4:] = 0.7
    assert normalised_mutual_information(padded, other).tolist() == pytest.approx([2])
    nothing = torch.zeros_like(padded)
    batch = normalised_mutual_information(torch.cat([padded, nothing, padded]), torch.cat([other, other, other]))
    assert batch[[0, 2]].tolist() == pytest.approx([2, 2]) and batch[1].isnan()
    constant = levels([[0.5, 0.5]])
    assert normalised_mutual_information(constant, constant).isnan().all()


def test_pairs_of_a_study():
    study = torch.cat([step(6), step(6), step(8)], 1)
    report = registration(study.expand(20, -1, -1, -1), ("a", "b", "c"))
    agreement = report["edge_agreement"]
    assert agreement["by_pair"] == pytest.approx({"a-b": 1, "a-c": 0.5, "b-c": 0.5})
    assert agreement["mean"] == pytest.approx(2 / 3)
    nmi = report["nmi"]["by_pair"]
    assert list(nmi) == ["a-b", "a-c", "b-c"] and nmi["a-b"] == pytest.approx(2) and 1 < nmi["a-c"] < 2
    assert nmi["a-c"] == pytest.approx(float(normalised_mutual_information(step(6), step(8))))


def test_a_slice_that_lacks_a_modality():
    study = torch.cat([step(6), step(8)], 1)
    blank = study.clone()
    blank[:, 1] = 0
    report = registration(torch.cat([study, blank]), ("a", "b"))
    assert report["edge_agreement"]["by_pair"] == pytest.approx({"a-b": 0.5})
    assert registration(blank, ("a", "b"))["nmi"] == {"mean": None, "by_pair": {"a-b": None}}
    assert registration(blank, ("a", "b"))["edge_agreement"]["mean"] is None


def test_partners_of_another_study():
    study, other = torch.cat([step(6), step(6)], 1), torch.cat([step(11), step(10)], 1)
    assert registration(study, ("a", "b"), other)["edge_agreement"]["mean"] == 0
    assert registration(study, ("a", "b"), study.clone()) == registration(study, ("a", "b"))


def test_on_the_canvas():
    crop = step(6)
    whole = registration(torch.cat([crop, crop], 1), ("a", "b"), canvas_size=(40, 40))
    assert whole["edge_agreement"]["mean"] == 1
    assert edge_agreement(crop, step(8), canvas_size=(40, 40)).item() != edge_agreement(crop, step(8)).item()
