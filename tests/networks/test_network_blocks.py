"""Blocks, segmentors, initialisations and the style."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from monai_ext.networks import (
    ConditionalBlock,
    IntensityStyle,
    LesionGuidance,
    PyramidEncoder,
    ResidualBlock,
    UnshuffleUNet,
    brain_quantiles,
    init_weights,
)
from monai_ext.networks.blocks import SelectiveConv


def backward(*outputs: torch.Tensor) -> None:
    """Gradients of a loss that no normalisation cancels."""
    rng = torch.Generator().manual_seed(0)
    sum(((o - torch.randn(o.shape, generator=rng)) ** 2).sum() for o in outputs).backward()


def assert_reached(network: nn.Module) -> None:
    """Every parameter has a gradient, and every weight one that is not 0 (a bias before a normalisation has none)."""
    without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    zero = [n for n, p in network.named_parameters() if p.ndim > 1 and p.grad is not None and not p.grad.any()]
    assert not without and not zero


@pytest.mark.parametrize("stride, channels", [(1, (3, 3)), (1, (3, 5)), (2, (3, 3)), (2, (3, 5))])
def test_residual_block(stride, channels):
    block = ResidualBlock(*channels, stride)
    out = block(torch.randn(2, channels[0], 8, 12))
    assert out.shape == (2, channels[1], 8 // stride, 12 // stride)
    assert isinstance(block.shortcut, nn.Identity) == (stride == 1 and channels == (3, 3))
    backward(out)
    assert_reached(block)


def test_pyramid_encoder():
    network = PyramidEncoder(3, (4, 5, 6, 7))
    features = network(torch.randn(2, 3, 48, 32))
    assert [tuple(f.shape) for f in features] == [(2, 4, 24, 16), (2, 5, 12, 8), (2, 6, 6, 4), (2, 7, 3, 2)]
    backward(*features)
    assert_reached(network)


def test_input_dropout_is_of_training_alone():
    network = PyramidEncoder(1, (4, 4), dropout=0.5)
    x = torch.randn(1, 1, 16, 16)
    assert not torch.equal(network(x)[0], network(x)[0])
    network.eval()
    assert torch.equal(network(x)[0], network(x)[0])


def test_conditional_block():
    block = ConditionalBlock(3, 5, 4)
    x, condition = torch.randn(2, 3, 8, 8), torch.randn(2, 4)
    out = block(x, condition)
    assert out.shape == (2, 5, 8, 8)
    assert not torch.allclose(block(x, condition + 1), out)
    # an item's output depends on its own condition alone
    mixed = block(x, torch.stack([condition[0], condition[1] + 1]))
    torch.testing.assert_close(mixed[0], out[0])
    backward(out)
    assert_reached(block)


def test_conditional_block_scales_and_shifts():
    """scale s and shift t of the condition: lrelu(norm(x) * (1 + s) + t)."""
    block = ConditionalBlock(1, 1, 1)
    x = torch.tensor([[[[-1.0, 1.0], [-1.0, 1.0]]]])  # already normalised
    film = torch.tensor([[1.0, 0.5]])
    expected = torch.tensor([[[[(-1 * 2 + 0.5) * 0.2, 1 * 2 + 0.5]] * 2]])
    torch.testing.assert_close(block._modulate(x, film), expected, atol=1e-4, rtol=0)


def test_selective_conv_by_hand():
    """y = W_k x + b_k with the weights of the choice k, item by item."""
    conv = SelectiveConv(2, 3)
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]]).view(2, 2, 1, 1).expand(-1, -1, 2, 3)
    choice = torch.eye(3)[[2, 0]]
    with torch.no_grad():
        conv.weight[2] = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
        conv.weight[0] = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
        conv.bias[2] = torch.tensor([0.5, 0.0])
    out = conv(x, choice)
    assert out.shape == (2, 2, 2, 3)
    assert out[0, :, 1, 2].tolist() == [1.5, 4.0] and out[1, :, 0, 0].tolist() == [-1.0, 2.0]
    out.sum().backward()
    assert conv.weight.grad[0].any() and conv.weight.grad[2].any() and not conv.weight.grad[1].any()


@pytest.mark.parametrize("factor, channels, size", [(2, (4, 6, 8), (16, 24)), (4, (4, 6), (16, 8))])
def test_unshuffle_unet(factor, channels, size):
    network = UnshuffleUNet(2, 3, channels, factor, num_res_units=2)
    out = network(torch.randn(2, 2, *size))
    assert out.shape == (2, 3, *size)
    backward(out)
    assert_reached(network)
    for bad in ((size[0] + 2, size[1]), (size[0], size[1] + 1)):
        with pytest.raises(ValueError, match=rf"multiples of {network.multiple}, got {bad[0]} x {bad[1]}"):
            network(torch.zeros(1, 2, *bad))


def test_unshuffle_unet_torchscript():
    network = UnshuffleUNet(2, 4, (4, 6, 8), dropout=0.1).eval()
    x = torch.randn(1, 2, 16, 24)
    traced = torch.jit.trace(network, x)
    torch.testing.assert_close(traced(x), network(x))
    other = torch.randn(3, 2, 16, 24)
    torch.testing.assert_close(traced(other), network(other))


@pytest.mark.parametrize("scheme, parts", [("1seg", 1), ("1enc_ndec", 3), ("nseg", 3)])
def test_guidance_schemes(scheme, parts):
    network = LesionGuidance(scheme, num_modalities=3, num_classes=2, channels=(4, 6, 8))
    images = torch.randn(2, 3, 16, 24)
    logits = network(images)
    assert logits.shape == (2, 3, 3, 16, 24) and len(network.parts) == parts
    assert (network.encoder is not None) == (scheme == "1enc_ndec")
    backward(logits)
    assert_reached(network)
    # the same picture in every channel: one shared segmentor cannot tell modalities apart, the others do
    same = network(images[:, :1].expand(-1, 3, -1, -1))
    assert torch.allclose(same[:, 0], same[:, 1], atol=1e-5) == (scheme == "1seg")


@pytest.mark.parametrize("scheme", ["1seg", "1enc_ndec", "nseg"])
def test_guidance_keeps_modalities_in_their_place(scheme):
    """Modality m of every item is read by itself: changing another channel or item changes nothing."""
    network = LesionGuidance(scheme, num_modalities=2, channels=(4, 6)).eval()
    images = torch.randn(2, 2, 8, 8)
    before = network(images)
    images[0, 1] += 1
    after = network(images)
    changed = (before - after).abs().flatten(2).amax(2) > 1e-4
    assert changed.tolist() == [[False, True], [False, False]]


def test_guidance_refuses():
    with pytest.raises(ValueError, match="1seg, 1enc_ndec, nseg, got 'none'"):
        LesionGuidance("none")
    with pytest.raises(ValueError, match="expected 2 modalities, got 3"):
        LesionGuidance(num_modalities=2, channels=(4, 6))(torch.zeros(1, 3, 8, 8))


def layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(5, 6, 3), nn.Conv2d(6, 4, 1, bias=False), nn.Conv2d(4, 4, 3, groups=2),
        nn.ConvTranspose2d(4, 3, 2), nn.Linear(3, 2),
    )  # fmt: skip


def test_init_mean_filter():
    """Every weight 1 / (k * k * C), told apart by noise of 1e-6; bias 0; other layers as they were."""
    network = layers()
    linear = network[4].weight.clone()
    assert init_weights(network, "mean_filter", seed=1) is network
    for layer, value in zip(network[:4], (1 / 45, 1 / 6, 1 / 18, 1 / 16)):
        assert (layer.weight - value).abs().max() < 1e-5
        assert (layer.weight - value).std().item() == pytest.approx(1e-6, rel=0.4)
        assert layer.bias is None or not layer.bias.any()
    assert torch.equal(network[4].weight, linear)
    again = init_weights(layers(), "mean_filter", seed=1)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(network[:4], again[:4]))


def test_mean_filter_is_a_mean():
    conv = init_weights(nn.Conv2d(2, 1, 3), "mean_filter")
    x = torch.rand(1, 2, 3, 3)
    assert float(conv(x).detach()) == pytest.approx(float(x.mean()), abs=1e-4)


def test_init_normal_and_default():
    torch.manual_seed(0)
    network = nn.Conv2d(64, 64, 3)
    before = network.weight.clone()
    assert torch.equal(init_weights(network).weight, before)
    init_weights(network, "normal", seed=0)
    assert network.weight.std().item() == pytest.approx(0.02, rel=0.02) and abs(network.weight.mean().item()) < 1e-3
    assert not network.bias.any()
    with pytest.raises(ValueError, match="default, mean_filter or normal, got 'zeros'"):
        init_weights(network, "zeros")


def test_brain_quantiles():
    image = torch.zeros(2, 2, 4, 4)
    image[0, 0].view(-1)[:11] = torch.arange(1.0, 12) / 20  # quantiles 10, 50, 90 %: 2nd, 6th and 10th of 11
    image[0, 1].view(-1)[2:7] = torch.tensor([0.5, 0.1, 0.4, 0.2, 0.3])
    label = torch.zeros(2, 1, 4, 4)
    expected = torch.tensor([[0.1, 0.3, 0.5, 0.14, 0.3, 0.46], [0.0] * 6])
    torch.testing.assert_close(brain_quantiles(image, label), expected)
    label[0, 0].view(-1)[10] = 3  # a lesion is no healthy brain: of 1 to 10, at 0.9, 4.5 and 8.1 from the first
    torch.testing.assert_close(brain_quantiles(image, label)[0, :3], torch.tensor([1.9, 5.5, 9.1]) / 20)
    each = label.repeat(1, 2, 1, 1)
    torch.testing.assert_close(brain_quantiles(image, each), brain_quantiles(image, label))


def test_style_is_the_identity_before_it_is_fitted():
    style = IntensityStyle(1)
    x = torch.tensor([[0.5, -1.0, 9.0]])
    assert style.size == 3 and style(x).tolist() == [[0.5, -1.0, 4.0]]


def test_style_whitens():
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=rng)
    quantiles = torch.randn(400, 6, generator=rng) @ mixing + torch.arange(6.0)
    style = IntensityStyle(2)
    style.fit(quantiles)
    out = style(quantiles)
    assert out.abs().max() < 4
    torch.testing.assert_close(out.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(out.T), torch.eye(6), atol=0.02, rtol=0)


def test_style_by_hand():
    """Two studies 2 apart in the first quantile: variance 2, mean 1; the others do not vary and stay finite."""
    style = IntensityStyle(1)
    style.fit(torch.tensor([[0.0, 0.5, 0.5], [2.0, 0.5, 0.5]]))
    out = style(torch.tensor([[2.0, 0.5, 0.5], [1.0, 0.5, 0.52]]))
    torch.testing.assert_close(out[0], torch.tensor([1 / 2.0001**0.5, 0, 0]))
    torch.testing.assert_close(out[1], torch.tensor([0, 0, 0.02 / 1e-2]))
    with pytest.raises(ValueError, match="at least two studies to fit, got 1"):
        style.fit(torch.zeros(1, 3))


def test_style_is_saved():
    one, two = IntensityStyle(1), IntensityStyle(1)
    one.fit(torch.rand(9, 3))
    two.load_state_dict(one.state_dict())
    x = torch.rand(2, 3)
    assert torch.equal(one(x), two(x)) and not list(one.parameters())
