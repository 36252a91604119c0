"""Networks of the structure-map stage."""

from __future__ import annotations

import pytest
import torch

from monai_ext.networks import CodePrior, FeatGen, MapCodeDiscriminator, MapDecoder, MapDiscriminator, MapEncoder
from monai_ext.networks.featgen import EdgeHead
from monai_ext.transforms import soft_structural_feature_map, structural_feature_map

SIZE, LATENT = (64, 96), 6


def assert_reached(network: torch.nn.Module) -> None:
    without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    zero = [n for n, p in network.named_parameters() if p.ndim > 1 and p.grad is not None and not p.grad.any()]
    assert not without and not zero


@pytest.fixture(scope="module", params=["edges", "map"])
def network(request) -> FeatGen:
    torch.manual_seed(0)
    return FeatGen(SIZE, LATENT, head=request.param, canvas_size=(80, 120))


def test_noise_to_map_and_mask(network):
    maps = network(torch.randn(3, LATENT))
    assert [m.shape for m in maps] == [(3, 1, *SIZE)] * 2
    for m in maps:
        assert m.dtype == torch.float32 and set(m.unique().tolist()) <= {0.0, 1.0}
    again = network.eval()(torch.zeros(1, LATENT))
    assert torch.equal(again[0], network(torch.zeros(1, LATENT))[0])


def test_gradient_reaches_every_parameter(network):
    network.zero_grad()
    structure = (torch.rand(2, 1, *SIZE) > 0.8).float()
    mean, logvar = network.encoder(structure)
    assert mean.shape == logvar.shape == (2, LATENT)
    logits, image = network.decoder(mean + torch.exp(0.5 * logvar))
    assert logits.shape == image.shape == (2, 1, *SIZE) and 0 < image.min() <= image.max() < 1
    mask = network.mask(logits.sigmoid())
    (mask.sigmoid().square().mean() + (logits - structure).square().mean() + logvar.square().sum()).backward()
    assert_reached(network)


def test_torchscript(network):
    network.eval()
    code = torch.randn(2, LATENT)
    traced = torch.jit.trace(network, code)
    other = torch.randn(3, LATENT)
    for one, two in zip(traced(other), network(other)):
        assert torch.equal(one, two)


def test_logvar_is_bounded():
    encoder = MapEncoder(SIZE, LATENT, (4, 4, 4, 4))
    with torch.no_grad():
        encoder.code.bias[LATENT:] = 100.0
        assert (encoder(torch.zeros(1, 1, *SIZE))[1] == 8).all()
        encoder.code.bias[LATENT:] = -100.0
        assert (encoder(torch.zeros(1, 1, *SIZE))[1] == -8).all()


def test_refuses():
    with pytest.raises(ValueError, match=r"multiples of 32, got \(64, 80\)"):
        FeatGen((64, 80), LATENT)
    with pytest.raises(ValueError, match="edges or map, got 'mask'"):
        MapDecoder(SIZE, LATENT, head="mask")


@pytest.mark.parametrize("init", ["mean_filter", "normal"])
def test_init_reaches_every_part(init):
    torch.manual_seed(0)
    network = FeatGen((64, 64), 2, init=init)
    for part in (network.encoder, network.decoder, network.mask):
        convolutions = [m for m in part.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
        for conv in convolutions:
            assert conv.bias is None or not conv.bias.any()
            fan = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
            spread, level = (1e-6, 1 / fan) if init == "mean_filter" else (0.02, 0.0)
            assert (conv.weight - level).abs().max() < 6 * spread
        assert convolutions


def slices(height: int = 40, width: int = 32) -> torch.Tensor:
    image = torch.zeros(3, 1, height, width)
    image[:, :, 6:34, 5:27] = 0.7
    image[:, :, 15:22, 12:18] = 0.2
    return image + 0.1 * torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) * (image > 0)


@pytest.mark.parametrize("canvas", [(40, 32), (60, 48), (240, 240)])
@pytest.mark.parametrize("beta, temperature", [(0.07, 0.02), (0.12, 0.05)])
def test_edge_head_is_algorithm_1(canvas, beta, temperature):
    image = slices()
    margins = tuple((c - s) // 2 for c, s in zip(canvas, image.shape[2:]))
    logits = EdgeHead(beta, temperature, margins)(image)
    assert logits.shape == image.shape
    torch.testing.assert_close(
        logits.sigmoid(), soft_structural_feature_map(image, beta, temperature, canvas), atol=1e-4, rtol=0
    )
    drawn = structural_feature_map(image, beta, canvas)
    clear = logits.abs() > 0.01  # a rounding error may turn what lies on the threshold
    assert torch.equal((logits > 0).float()[clear], drawn[clear]) and clear.float().mean() > 0.9
    assert drawn.any()


def test_edge_head_of_a_flat_image():
    flat = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
    logits = EdgeHead(0.07, 0.02, (0, 0))(flat)
    torch.testing.assert_close(logits, torch.full_like(logits, -3.5))
    logits.sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_edges_start_dark():
    torch.manual_seed(0)
    image = MapDecoder(SIZE, LATENT)(torch.randn(4, LATENT))[1]
    assert image.mean() < 0.2


def test_discriminators():
    structure = torch.rand(2, 1, 64, 64, requires_grad=True)
    judge = MapDiscriminator(channels=4, num_layers=2)
    fine, coarse = judge(structure)
    assert fine.shape[:2] == coarse.shape[:2] == (2, 1) and fine.shape[2] > coarse.shape[2]
    (fine.square().sum() + coarse.square().sum()).backward()
    assert_reached(judge)
    assert structure.grad.any()
    code = MapCodeDiscriminator(LATENT, 5)
    logits = code(torch.randn(3, LATENT))
    assert logits.shape == (3, 1)
    logits.square().sum().backward()
    assert_reached(code)


def test_prior_is_n01_before_it_is_fitted():
    noise = torch.randn(5, LATENT)
    prior = CodePrior(LATENT)
    assert torch.equal(prior(noise), noise) and torch.equal(prior.standardise(noise), noise)


def test_prior_by_hand():
    """Momentum 0.5, codes (4, 0) and (0, 0): mean (1, 0), then deviations (3, 0) and (-1, 0), variance 5."""
    prior = CodePrior(2, momentum=0.5)
    prior.update(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(prior.mean, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(prior.covariance, torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(prior(torch.tensor([[1.0, 2.0]])), torch.tensor([[1 + 3.0001**0.5, 2 * 0.5001**0.5]]))


def test_prior_follows_the_codes():
    rng = torch.Generator().manual_seed(0)
    mixing, prior = torch.randn(3, 3, generator=rng), CodePrior(3)
    for _ in range(400):
        prior.update(torch.randn(64, 3, generator=rng) @ mixing + 2)
    codes = prior(torch.randn(20000, 3, generator=rng))
    torch.testing.assert_close(codes.mean(0), torch.full((3,), 2.0), atol=0.15, rtol=0)
    torch.testing.assert_close(torch.cov(codes.T), mixing.T @ mixing, atol=0.3, rtol=0.1)
    noise = torch.randn(9, 3, generator=rng)
    torch.testing.assert_close(prior.standardise(prior(noise)), noise, atol=1e-3, rtol=0)
    again = CodePrior(3)
    again.load_state_dict(prior.state_dict())
    assert torch.equal(again(noise), prior(noise))


def test_prior_that_is_off_hands_noise_through():
    prior = CodePrior(2, enabled=False)
    prior.update(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
    noise = torch.randn(3, 2)
    assert torch.equal(prior(noise), noise)
