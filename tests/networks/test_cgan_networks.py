"""Networks of the image stage."""

from __future__ import annotations

import pytest
import torch

from monai_ext.networks import CGAN, CodeDiscriminator, ImageDecoder, ImageDiscriminator

CHANNELS = (4, 6, 8, 10)


@pytest.fixture(scope="module")
def network() -> CGAN:
    torch.manual_seed(0)
    return CGAN(num_modalities=3, num_classes=2, noise_channels=1, channels=CHANNELS)


def inputs(batch: int = 2, height: int = 32, width: int = 48) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(batch)
    return tuple(
        torch.randn(shape, generator=rng)
        for shape in ((batch, 3, height, width), (batch, 9), (batch, 1, height, width))
    )


def assert_reached(network: torch.nn.Module) -> None:
    without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    zero = [n for n, p in network.named_parameters() if p.ndim > 1 and p.grad is not None and not p.grad.any()]
    assert not without and not zero


def test_generate(network):
    assert network.style_size == 9
    out = network(*inputs())
    assert out.shape == (2, 3, 32, 48) and 0 < out.min() <= out.max() < 1


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_map_style_and_noise_all_matter(network, changed):
    given = list(inputs())
    before = network(*given)
    given[changed] = given[changed] + 1
    assert not torch.allclose(network(*given), before, atol=1e-5)


def test_modalities_are_told_apart(network):
    out = network(*inputs())
    assert not torch.allclose(out[:, 0], out[:, 1], atol=1e-4)


def test_items_are_independent(network):
    """A batch decodes what each item gives alone, and a modality alone what it gives among others."""
    network.eval()
    fused, style, noise = inputs()
    together = network(fused, style, noise)
    for i in range(2):
        alone = network(fused[i : i + 1], style[i : i + 1], noise[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], atol=1e-4, rtol=1e-4)
    code = network.encode_fused(fused, noise)
    for m in range(3):
        wanted = torch.zeros(2, 1, 3)
        wanted[:, :, m] = 1
        torch.testing.assert_close(network.decoder(code, wanted, style)[:, 0], together[:, m], atol=1e-4, rtol=1e-4)


def test_targets_of_a_decoder_keep_their_order():
    decoder = ImageDecoder(3, 9, CHANNELS).eval()
    features = [torch.randn(2, c, 32 // 2**i, 32 // 2**i) for i, c in enumerate(CHANNELS, start=1)]
    style, eye = torch.randn(2, 9), torch.eye(3)
    one = decoder(features, eye.expand(2, -1, -1), style)
    turned = decoder(features, torch.stack([eye[[2, 0, 1]], eye[[1, 1, 0]]]), style)
    torch.testing.assert_close(turned[0], one[0, [2, 0, 1]], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(turned[1], one[1, [1, 1, 0]], atol=1e-5, rtol=1e-4)


def test_translate(network):
    out = network.translate(torch.rand(2, 1, 32, 32), torch.randn(2, 9))
    assert out.shape == (2, 3, 32, 32) and 0 < out.min() <= out.max() < 1


def test_gradient_reaches_every_parameter(network):
    network.zero_grad()
    out = network(*inputs()), network.translate(torch.rand(2, 1, 32, 48), inputs()[1])
    sum((o - torch.rand(o.shape)).square().sum() for o in out).backward()
    assert_reached(network)


def test_torchscript(network):
    network.eval()
    traced = torch.jit.trace(network, inputs())
    for other in (inputs(), inputs(3)):
        torch.testing.assert_close(traced(*other), network(*other), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("init, spread", [("mean_filter", 1e-6), ("normal", 0.02)])
def test_init(init, spread):
    network = CGAN(2, 1, channels=CHANNELS, init=init)
    for conv in (m for m in network.modules() if isinstance(m, torch.nn.Conv2d)):
        level = 1 / (conv.in_channels * conv.kernel_size[0] ** 2) if init == "mean_filter" else 0.0
        assert (conv.weight - level).abs().max() < 6 * spread and not conv.bias.any()


@pytest.mark.parametrize("condition_channels", [0, 3])
def test_image_discriminator(condition_channels):
    judge = ImageDiscriminator(4, condition_channels, channels=4, num_layers=2)
    image = torch.rand(3, 1, 32, 48)
    condition = torch.rand(3, condition_channels, 32, 48) if condition_channels else None
    logits, modality, features = judge(image, condition)
    assert logits.shape[:2] == (3, 1) and logits.shape[2] > 1 and modality.shape == (3, 4)
    assert features and all(f.shape[0] == 3 for f in features)
    (logits.square().sum() + modality.square().sum()).backward()
    assert_reached(judge)
    if condition_channels:
        assert not torch.allclose(judge(image, condition + 1)[0], logits)
        with pytest.raises(ValueError, match="needs a condition"):
            judge(image)


def test_code_discriminator():
    judge = CodeDiscriminator(10, 4)
    logits = judge(torch.randn(2, 10, 4, 6))
    assert logits.shape == (2, 1, 2, 3)
    logits.square().sum().backward()
    assert_reached(judge)
