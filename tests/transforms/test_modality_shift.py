"""Contrast and dropout of each modality by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_ext.transforms import (
    RandModalityContrast,
    RandModalityContrastd,
    RandModalityDropout,
    RandModalityDropoutd,
)


@pytest.fixture
def image():
    return torch.tensor([0.0, 0.25, 0.5, 1.0]).repeat(3, 2, 1)


def test_gamma_and_gain_of_each_channel_by_hand(image):
    transform = RandModalityContrast(1.0, gamma=(0.5, 2.0), gain=(0.8, 1.2)).set_random_state(seed=3)
    out = transform(image)
    state = np.random.RandomState(3)
    state.rand()
    gamma, gain = np.exp(state.uniform(np.log(0.5), np.log(2.0), 3)), state.uniform(0.8, 1.2, 3)
    for channel in range(3):
        expected = np.minimum(gain[channel] * image[channel].numpy() ** gamma[channel], 1)
        np.testing.assert_allclose(out[channel], expected, rtol=1e-6)
    assert out.dtype == torch.float32 and (out[..., 0] == 0).all() and len({float(c) for c in out[:, 0, 2]}) == 3


@pytest.mark.parametrize("transform", [RandModalityContrast(0.0), RandModalityDropout(0.0)])
def test_never_is_never(transform, image):
    assert torch.equal(transform(image), image)


def test_dropout_keeps_the_other_channels_and_never_drops_all(image):
    transform = RandModalityDropout(1.0, max_dropped=5).set_random_state(seed=0)
    counts = set()
    for _ in range(50):
        out = transform(image)
        kept = out.flatten(1).any(1)
        counts.add(int(kept.sum()))
        assert torch.equal(out[kept], image[kept])
    assert counts == {1, 2}
    assert torch.equal(transform(image[:1]), image[:1])


def test_share_of_images_with_a_dropped_channel(image):
    transform = RandModalityDropout(0.3).set_random_state(seed=0)
    dropped = [not bool(transform(image).flatten(1).any(1).all()) for _ in range(1000)]
    assert abs(np.mean(dropped) - 0.3) < 0.05


@pytest.mark.parametrize("twin", [RandModalityContrastd, RandModalityDropoutd])
def test_twin_has_one_draw_for_every_key(twin, image):
    transform = twin(["a", "b"], prob=1.0).set_random_state(seed=1)
    out = transform({"a": image, "b": image.clone(), "c": image})
    assert torch.equal(out["a"], out["b"]) and not torch.equal(out["a"], image) and out["c"] is image
    again = twin(["a", "b"], prob=1.0).set_random_state(seed=1)({"a": image, "b": image})
    assert torch.equal(again["a"], out["a"])


def test_bad_input():
    with pytest.raises(ValueError, match="gamma must be 0 < low <= high, got 2 and 1"):
        RandModalityContrast(gamma=(2, 1))
    with pytest.raises(ValueError, match="gain must be"):
        RandModalityContrast(gain=(0, 1))
    with pytest.raises(ValueError, match="max_dropped must be at least 1, got 0"):
        RandModalityDropout(max_dropped=0)
    with pytest.raises(ValueError, match="channel-first"):
        RandModalityDropout()(torch.zeros(4))
