"""A candidate is a function of (seed, number) alone."""

from __future__ import annotations

import pytest
import torch

from monai_ext.data import PlacementError
from monai_ext.synthesis import Placed, ProceduralLesions
from monai_ext.synthesis.stream import candidate_rng, latent_code

NUMBERS = range(12)


@pytest.fixture(scope="module")
def candidates(stream):
    return stream().run(NUMBERS)


def test_every_stage_is_reached(candidates):
    assert [c.number for c in candidates] == list(NUMBERS)
    assert {c.rejected_by for c in candidates} == {None, "map", "placement"}
    assert sum(c.rejected_by is None for c in candidates) >= 4


def test_same_seed_and_number_same_bytes(stream, candidates):
    for again in stream().run(NUMBERS), stream(lesions=ProceduralLesions()).run(NUMBERS):
        for a, b in zip(candidates, again):
            assert a.rejected_by == b.rejected_by and a.scores == b.scores
            for name in ("structure", "mask", "label", "images", "style", "noise"):
                one, two = getattr(a, name), getattr(b, name)
                assert (one is None) == (two is None)
                assert one is None or one.numpy().tobytes() == two.numpy().tobytes(), name


def test_neither_batch_size_nor_order_matters(stream, candidates):
    middle = sorted(c.scores["dice_index"] for c in candidates if c.rejected_by is None)
    threshold = (middle[len(middle) // 2 - 1] + middle[len(middle) // 2]) / 2
    judged = stream(dice_threshold=threshold)
    runs = [
        [c for first in range(0, 12, size) for c in judged.run(range(first, min(first + size, 12)))]
        for size in (1, 3, 8)
    ]
    runs.append(sorted(judged.run(list(reversed(NUMBERS))), key=lambda c: c.number))
    assert {"dice", None} < {c.rejected_by for c in runs[0]}
    for other in runs[1:]:
        for a, b in zip(runs[0], other):
            assert (a.number, a.rejected_by, a.label_source) == (b.number, b.rejected_by, b.label_source)
            assert a.structure.equal(b.structure) and a.mask.equal(b.mask)
            if a.label is not None:
                assert a.label.equal(b.label)
                assert (a.images - b.images).abs().max() <= 1e-3


def test_other_seeds_give_other_candidates(stream, candidates):
    other = stream(seed=1).run(NUMBERS)
    assert [c.rejected_by for c in other] != [c.rejected_by for c in candidates]
    assert not latent_code(candidate_rng(0, 1), 8).equal(latent_code(candidate_rng(1, 0), 8))
    assert latent_code(candidate_rng(0, 1), 8)[:, :4].equal(latent_code(candidate_rng(0, 1), 4))


def test_images(candidates):
    for c in candidates:
        if c.rejected_by in ("map", "placement"):
            assert c.images is None and (c.label is None)
            continue
        assert c.images.shape == (4, 160, 192) and c.images.dtype == torch.float32
        assert c.images.min() == 0 and 0 < c.images.max() <= 1
        assert not c.images[:, c.mask[0] == 1].any(), "background is exactly 0"
        assert not ((c.images > 0) & (c.images < 0.01)).any()


def test_lesions_lie_inside_the_brain(candidates):
    for c in candidates:
        if c.label is not None:
            assert c.label.any() and set(c.label.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
            assert float((c.label * c.mask).sum()) == 0
            assert c.label_source == "procedural" and c.scores["placement_tries"] >= 1


class Recorder:
    """A lesion source that keeps the masks it is asked about."""

    def __init__(self) -> None:
        self.masks: list[torch.Tensor] = []

    def place(self, mask, rng):
        self.masks.append(mask)
        if len(self.masks) > 1:
            raise PlacementError("no room")
        return Placed((mask == 0).float(), "me", 7)


def test_placement_failure_is_counted(stream):
    recorder = Recorder()
    found = stream(mae_threshold=1.0, lesions=recorder).run(range(4))
    assert [c.rejected_by for c in found] == [None, "placement", "placement", "placement"]
    assert found[0].label_source == "me" and found[0].scores["placement_tries"] == 7
    assert found[1].label is None and "dice_index" not in found[1].scores


def test_a_lesion_must_lie_within_both_masks(stream):
    recorder = Recorder()
    found = stream(mae_threshold=1.0, lesions=recorder).run(NUMBERS)
    for c, mask in zip(found, recorder.masks):
        assert (mask >= c.mask).all()
        # the filled outline is smaller than the network's mask; that of a broken outline says nothing
        assert mask.equal(c.mask) == (c.scores["mae"] > 0.2)
    assert {c.scores["mae"] > 0.2 for c in found} == {True, False}


def test_nothing_stands(stream):
    found = stream(mae_threshold=-1.0).run(range(3))
    assert [c.rejected_by for c in found] == ["map"] * 3 and all(c.images is None for c in found)
    assert stream().run([]) == []


def test_style_scale(stream, candidates):
    plain, wide = stream(style_scale=0.0).run(NUMBERS), stream(style_scale=2.0).run(NUMBERS)
    for a, b, c in zip(candidates, plain, wide):
        assert a.rejected_by == b.rejected_by == c.rejected_by
        if a.images is not None:
            assert not b.style.any() and c.style.equal(2 * a.style)
            assert a.label.equal(b.label) and a.noise.equal(b.noise)
            assert not a.images.equal(b.images)


def test_describe(stream):
    assert stream(0.1, 0.7, seed=3, style_scale=0.5).describe() == {
        "seed": 3, "style_scale": 0.5, "mae_threshold": 0.1, "dice_threshold": 0.7, "labels": "ProceduralLesions",
        "labels_digest": None,
    }  # fmt: skip
