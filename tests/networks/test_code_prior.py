"""The way from noise to codes and back, with velocities known beforehand."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from monai_ext.networks import CodePrior


class Field(nn.Module):
    """In place of the UNet: what a function makes of the patches (the place behind them) and the times."""

    def __init__(self, function):
        super().__init__()
        self.function, self.times, self.places = function, [], []

    def forward(self, patches, times):
        self.times.append(times.tolist())
        self.places.append(patches[:, -2:])
        return self.function(patches[:, :-2], times)


def flow(function, shape=(2, 4, 6), **kwargs) -> CodePrior:
    prior = CodePrior(shape, channels=(32, 32), **kwargs)
    prior.velocity = Field(function)
    prior.mean += torch.tensor([5.0, -1.0])[: shape[0], None, None]
    prior.deviation *= torch.tensor([2.0, 0.5])[: shape[0], None, None]
    return prior


def moved(prior: CodePrior, noise: torch.Tensor, point: torch.Tensor) -> None:
    """The codes of this noise are these points, with the moments put back in."""
    codes = prior(noise)
    assert codes.dtype == torch.float32
    torch.testing.assert_close(codes, point.view(-1, *prior.code_shape) * prior.deviation + prior.mean)


def test_normal_hands_noise_through():
    prior = CodePrior((2, 3, 4), "normal")
    prior.update(torch.randn(5, 2, 3, 4) + 3)
    noise = torch.randn(5, 24)
    codes = prior(noise)
    assert torch.equal(codes, noise.view(5, 2, 3, 4)) and torch.equal(prior.to_noise(codes), noise)
    assert not list(prior.parameters())


def test_moments_by_hand():
    """Momentum 0.5; first channel 4, 4, 0, 0: running mean 1, then deviations 3, 3, -1, -1 from it."""
    prior = CodePrior((2, 1, 2), momentum=0.5)
    codes = torch.tensor([[[[4.0, 4.0]], [[1.0, -1.0]]], [[[0.0, 0.0]], [[1.0, -1.0]]]])
    prior.update(codes)
    deviation = (1 + 5**0.5) / 2
    torch.testing.assert_close(prior.mean.flatten(), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(prior.deviation.flatten(), torch.tensor([deviation, 1.0]))
    expected = torch.tensor([[[[3.0, 3.0]], [[1.0, -1.0]]], [[[-1.0, -1.0]], [[1.0, -1.0]]]])
    expected[:, 0] /= deviation
    torch.testing.assert_close(prior.standardise(codes), expected)
    # another step of the same codes: 1 -> 1.5, then 2.5, 2.5, -1.5, -1.5 from it
    prior.update(codes)
    torch.testing.assert_close(prior.mean.flatten(), torch.tensor([1.5, 0.0]))
    torch.testing.assert_close(prior.deviation.flatten(), torch.tensor([(deviation + 4.25**0.5) / 2, 1.0]))


def test_moments_follow_the_codes():
    rng = torch.Generator().manual_seed(0)
    prior = CodePrior((2, 4, 4), channels=(32, 32))
    level, spread = torch.tensor([3.0, -2.0])[:, None, None], torch.tensor([0.2, 4.0])[:, None, None]
    for _ in range(800):
        prior.update(torch.randn(16, 2, 4, 4, generator=rng) * spread + level)
    torch.testing.assert_close(prior.mean, level, atol=0.1, rtol=0)
    torch.testing.assert_close(prior.deviation, spread, atol=0.01, rtol=0.05)


def test_standardise_trains_the_codes_and_nothing_else():
    prior = CodePrior((1, 2, 2), channels=(32, 32), momentum=1.0)
    code = torch.tensor([[[[1.0, 3.0], [3.0, 1.0]]]], requires_grad=True)
    prior.update(code)  # mean 2, deviation 1
    prior.standardise(code)[0, 0, 0, 0].backward()
    assert code.grad.flatten().tolist() == [1, 0, 0, 0]
    assert not prior.mean.requires_grad and not prior.deviation.requires_grad


def test_codes_that_never_vary_stay_finite():
    prior = CodePrior((1, 4, 4), channels=(32, 32), momentum=1.0)
    code = torch.full((2, 1, 4, 4), 7.0)
    prior.update(code)
    assert not prior.standardise(code).any() and torch.equal(prior(torch.randn(2, 16)), code)


def test_moments_are_kept_with_the_weights():
    prior = CodePrior((2, 4, 4), channels=(32, 32))
    prior.update(torch.randn(3, 2, 4, 4) + 1)
    state = prior.state_dict()
    again = CodePrior((2, 4, 4), channels=(32, 32))
    again.load_state_dict(state)
    noise = torch.randn(2, 32)
    assert torch.equal(again(noise), prior(noise)) and torch.equal(again.mean, prior.mean) and prior.mean.all()
    assert "place" not in state, "it follows from the shape"


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("steps", [1, 5])
def test_constant_velocity(patch, steps):
    """However many steps: noise + velocity, and exactly back."""
    values = torch.arange(2 * patch**2, dtype=torch.float32)[None, :, None, None] - 1
    prior = flow(lambda x, _: values.expand_as(x), steps=steps, patch=patch)
    noise = torch.randn(3, 48)
    # channel c, row i and column j of a patch have value c * patch^2 + i * patch + j - 1
    pattern = values.view(2, patch, patch).repeat(1, 4 // patch, 6 // patch)
    moved(prior, noise, noise.view(3, 2, 4, 6) + pattern)
    torch.testing.assert_close(prior.to_noise(prior(noise)), noise, atol=1e-5, rtol=0)
    assert len(prior.velocity.times) == 3 * steps


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_linear_velocity(steps):
    """A velocity that is the point itself: each step multiplies by 1 + 1 / steps, each step back by 1 - 1 / steps."""
    prior = flow(lambda x, _: x, steps=steps)
    noise = torch.randn(2, 48)
    moved(prior, noise, noise * (1 + 1 / steps) ** steps)
    torch.testing.assert_close(prior.to_noise(prior(noise)), noise * (1 - 1 / steps**2) ** steps)


def test_the_way_back_approaches_the_noise():
    prior, noise = flow(lambda x, _: torch.tanh(x)), torch.randn(2, 48)
    errors = []
    for prior.steps in (8, 32, 128):
        errors.append(float((prior.to_noise(prior(noise)) - noise).abs().max()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.02


def test_time():
    """A velocity of t: forward at the start of each of 4 steps, back at their ends; 1.5 and 2.5 quarters in all."""
    prior = flow(lambda x, t: t[:, None, None, None].expand_as(x) / 1000, steps=4)
    noise = torch.randn(2, 48)
    moved(prior, noise, noise + 0.375)
    assert prior.velocity.times == [[1000 * t] * 2 for t in (0, 0.25, 0.5, 0.75)]
    prior.velocity.times.clear()
    codes = torch.randn(2, 2, 4, 6)
    torch.testing.assert_close(prior.to_noise(codes), (prior.standardise(codes) - 0.625).flatten(1))
    assert prior.velocity.times == [[1000 * t] * 2 for t in (1, 0.75, 0.5, 0.25)]


@pytest.mark.parametrize("patch", [1, 2])
def test_place(patch):
    """Row and column, each from -1 to 1, of every pixel that the UNet sees."""
    prior = flow(lambda x, _: torch.zeros_like(x), steps=1, patch=patch)
    rows, columns = 4 // patch, 6 // patch
    assert prior.place.shape == (1, 2, rows, columns)
    for r in range(rows):
        for c in range(columns):
            expected = [2 * r / (rows - 1) - 1, 2 * c / (columns - 1) - 1]
            assert prior.place[0, :, r, c].tolist() == pytest.approx(expected, abs=1e-6)
    prior(torch.randn(3, 48))
    assert torch.equal(prior.velocity.places[0], prior.place.expand(3, -1, -1, -1))


@pytest.mark.parametrize("patch", [1, 2])
def test_the_unet_fits(patch):
    prior = CodePrior((2, 8, 4), patch=patch, steps=2)
    point = torch.randn(3, 2, 8, 4)
    velocity = prior.move(point, torch.tensor([0.0, 0.5, 1.0]))
    assert velocity.shape == point.shape and velocity.dtype == torch.float32
    with torch.no_grad():  # it starts at 0
        for p in prior.parameters():
            p.add_(0.05 * torch.randn_like(p))
    early, late = (prior.move(point, torch.full((3,), t)) for t in (0.1, 0.9))
    assert (early - late).abs().mean() > 0.05 * early.abs().mean(), "blind to the time"
    codes = prior(torch.randn(2, 64))
    assert codes.shape == (2, 2, 8, 4) and prior.to_noise(codes).shape == (2, 64)


def test_starts_as_noise_with_the_moments_of_the_codes():
    prior = CodePrior((2, 4, 4), channels=(32, 32), steps=2)
    prior.update(100 * torch.randn(8, 2, 4, 4))
    noise = torch.randn(3, 32)
    torch.testing.assert_close(prior(noise), noise.view(3, 2, 4, 4) * prior.deviation + prior.mean)


def test_refuses():
    with pytest.raises(ValueError, match="prior is flow or normal, got 'gaussian'"):
        CodePrior((2, 4, 4), "gaussian")
