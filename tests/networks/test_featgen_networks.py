"""Networks of the structure-map stage."""

from __future__ import annotations

import pytest
import torch

from monai_ext.networks import FeatGen, MapCodeDiscriminator, MapDecoder, MapDiscriminator, MapEncoder

SIZE = (64, 96)
KINDS = [(8, "flow"), (16, "flow"), (8, "normal"), (16, "normal")]


def assert_reached(network: torch.nn.Module) -> None:
    without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    zero = [n for n, p in network.named_parameters() if p.ndim > 1 and p.grad is not None and not p.grad.any()]
    assert not without and not zero


@pytest.fixture(scope="module", params=KINDS, ids=[f"{p}-{s}" for s, p in KINDS])
def network(request) -> FeatGen:
    """Untrained, with a flow that moves: as it is made its velocity is 0."""
    torch.manual_seed(0)
    stride, prior = request.param
    network = FeatGen(SIZE, 3, stride, prior, prior_steps=2)
    with torch.no_grad():
        for p in network.prior.parameters():
            p.add_(0.03 * torch.randn_like(p))
    return network


@pytest.fixture
def tilt(network):
    """Move MASK's logits, for one test."""
    bias = list(network.mask.parameters())[-1]
    before = bias.detach().clone()
    yield lambda value: torch.nn.init.constant_(bias, value)
    bias.data.copy_(before)


def test_sizes(network):
    stride = 8 if network.latent_size == 3 * 8 * 12 else 16
    shape = (3, SIZE[0] // stride, SIZE[1] // stride)
    structure = torch.rand(2, 1, *SIZE)
    mean, logvar = network.encoder(structure)
    assert mean.shape == logvar.shape == (2, *shape) and network.latent_size == mean[0].numel()
    assert network.decoder(mean).shape == network.mask(structure).shape == structure.shape
    assert network.prior(torch.randn(2, network.latent_size)).shape == mean.shape
    assert network.image_size == SIZE


def test_noise_to_map_and_mask(network):
    noise = torch.randn(3, network.latent_size)
    maps = network(noise)
    assert [m.shape for m in maps] == [(3, 1, *SIZE)] * 2
    for m in maps:
        assert m.dtype == torch.float32 and set(m.unique().tolist()) <= {0.0, 1.0}
    again = network.eval()(noise)
    assert torch.equal(again[0], maps[0]) and torch.equal(again[1], maps[1])
    assert not torch.equal(again[0][0], again[0][1])


def test_map_is_empty_outside_the_brain(network, tilt):
    noise = torch.randn(2, network.latent_size)
    drawn = (network.decoder(network.prior(noise)) > 0).float()
    assert 0 < drawn.mean() < 1
    tilt(-float(network.mask(drawn).detach().median()))  # about half of the image is brain
    structure, mask = network(noise)
    assert torch.equal(structure, drawn * (mask == 0)) and 0 < structure.sum() < drawn.sum()
    tilt(1e4)
    structure, mask = network(noise)
    assert mask.all() and not structure.any()
    tilt(-1e4)
    structure, mask = network(noise)
    assert not mask.any() and torch.equal(structure, drawn)


def test_gradient_reaches_every_parameter(network):
    network.train().zero_grad()
    structure = (torch.rand(2, 1, *SIZE) > 0.8).float()
    mean, logvar = network.encoder(structure)
    code = mean + torch.exp(0.5 * logvar)
    logits = network.decoder(code)
    loss = network.mask(logits.sigmoid()).sigmoid().square().mean() + (logits - structure).square().mean()
    if network.prior.kind == "flow":
        loss = loss + network.prior.move(code.detach(), torch.tensor([0.3, 0.6])).square().mean()
    (loss + logvar.square().sum()).backward()
    assert_reached(network)


def test_gradient_reaches_the_noise(network):
    noise = torch.randn(1, network.latent_size, requires_grad=True)
    network.decoder(network.prior(noise)).square().mean().backward()
    assert noise.grad.all()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_torchscript(network):
    """A trace takes any number of maps."""
    network.eval()
    traced = torch.jit.trace(network, torch.randn(2, network.latent_size), check_trace=False)
    for count in (1, 3):
        noise = torch.randn(count, network.latent_size)
        for one, two in zip(traced(noise), network(noise)):
            assert torch.equal(one, two)


def test_logvar_is_bounded():
    encoder = MapEncoder(2, channels=(4, 4, 4))
    with torch.no_grad():
        for bias, bound in ((100.0, 4), (-100.0, -8)):
            encoder.code.bias[2:] = bias
            mean, logvar = encoder(torch.zeros(1, 1, *SIZE))
            assert (logvar == bound).all() and mean.abs().max() < 50


def test_dropout_of_the_input_in_training():
    torch.manual_seed(0)
    encoder, structure = MapEncoder(2, channels=(4, 4, 4), dropout=0.5), torch.ones(1, 1, *SIZE)
    assert not torch.equal(encoder(structure)[0], encoder(structure)[0])
    encoder.eval()
    assert torch.equal(encoder(structure)[0], encoder(structure)[0])
    assert FeatGen((64, 64), dropout=0.3).encoder.dropout.p == 0.3


def test_one_pixel_of_the_code_draws_one_place():
    """The code is an image: what changes in a corner of it changes the map there most."""
    torch.manual_seed(0)
    decoder, code = MapDecoder(2), torch.randn(1, 2, 8, 12)
    other = code.clone()
    other[..., 0, 0] += 3
    change = (decoder(other) - decoder(code)).abs()[0, 0]
    assert change[:16, :16].mean() > 4 * change[32:, 48:].mean()


def test_refuses():
    with pytest.raises(ValueError, match=r"multiples of 32, got \(64, 80\)"):
        FeatGen((64, 80))
    with pytest.raises(ValueError, match="stride is 8 or 16, got 4"):
        FeatGen(SIZE, stride=4)
    with pytest.raises(ValueError, match="prior is flow or normal, got 'gaussian'"):
        FeatGen(SIZE, prior="gaussian")
    with pytest.raises(ValueError, match="multiples of 32, got 64 x 80"):
        FeatGen((64, 64), prior="normal").mask(torch.zeros(1, 1, 64, 80))


@pytest.mark.parametrize("init", ["mean_filter", "normal"])
def test_init_reaches_every_part_but_the_flow(init):
    torch.manual_seed(0)
    network = FeatGen((64, 64), 2, init=init)

    def offset(conv: torch.nn.Module) -> float:
        fan = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
        return float((conv.weight.detach() - (1 / fan if init == "mean_filter" else 0.0)).abs().max())

    spread = 1e-6 if init == "mean_filter" else 0.02
    for part in (network.encoder, network.decoder, network.mask):
        convolutions = [m for m in part.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
        assert convolutions and all(c.bias is None or not c.bias.any() for c in convolutions)
        assert max(offset(c) for c in convolutions) < 6 * spread
    first = next(m for m in network.prior.modules() if isinstance(m, torch.nn.Conv2d))
    assert first.bias.any() and (init == "normal" or offset(first) > 0.01)


def test_discriminators():
    structure = torch.rand(2, 1, 64, 64, requires_grad=True)
    judge = MapDiscriminator(channels=4, num_layers=2)
    fine, coarse = judge(structure)
    assert fine.shape[:2] == coarse.shape[:2] == (2, 1) and fine.shape[2] > coarse.shape[2]
    (fine.square().sum() + coarse.square().sum()).backward()
    assert_reached(judge)
    assert structure.grad.any()
    code = MapCodeDiscriminator(6, 5)
    logits = code(torch.randn(3, 6))
    assert logits.shape == (3, 1)
    logits.square().sum().backward()
    assert_reached(code)


def test_the_smallest_map_of_the_judges():
    fine, coarse = MapDiscriminator().train()(torch.rand(1, 1, 96, 96))
    assert fine.shape == (1, 1, 10, 10) and coarse.shape == (1, 1, 1, 1)
