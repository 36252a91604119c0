from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.transforms import EraseLesion, EraseLesiond, FuseLesion, FuseLesiond, erase_lesion, fuse_lesion

MAP = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
LABEL = torch.tensor([[[0, 0], [2, 3]]])
ERASED = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
FUSED = torch.tensor(
    [[[0.2, 1.0], [0.8, 0.0]], [[0.0, 0.8], [0.8, 0.0]], [[0.0, 0.8], [1.0, 0.0]], [[0.0, 0.8], [0.8, 0.2]]]
)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32])
def test_erased_map_computed_by_hand(dtype):
    result = erase_lesion(MAP, LABEL.to(dtype))
    assert result.dtype == torch.float32
    assert torch.equal(result, ERASED)


def test_shown_classes_keep_the_map():
    label = torch.tensor([[[1, 2], [2, 3]]])
    ones = torch.ones(1, 2, 2)
    expected = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    assert torch.equal(erase_lesion(ones, label, shown=[2]), expected)
    assert torch.equal(EraseLesion(shown=[2])(ones, label), expected)
    assert torch.equal(EraseLesiond("map", shown=[2])({"map": ones, "label": label})["map"], expected)
    assert torch.equal(erase_lesion(ones, label, shown=[1, 2, 3]), ones)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32])
def test_fused_map_computed_by_hand(dtype):
    result = fuse_lesion(MAP, LABEL.to(dtype))
    assert result.dtype == torch.float32
    assert result.shape == (4, 2, 2)
    torch.testing.assert_close(result, FUSED, atol=1e-7, rtol=0)


def test_weights_and_classes():
    result = fuse_lesion(MAP, LABEL, num_classes=4, structure_weight=0.5, label_weight=0.25)
    assert result.shape == (5, 2, 2)
    assert torch.equal(result[0], torch.tensor([[0.25, 0.75], [0.5, 0.0]]))
    assert torch.equal(result[4], 0.5 * MAP[0])


def test_batches_equal_single_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 3, 1, 16, 18, generator=generator)
    labels = torch.randint(0, 4, maps.shape, generator=generator)
    fused, erased = fuse_lesion(maps, labels), erase_lesion(maps, labels)
    assert fused.shape == (2, 3, 4, 16, 18)
    for i in range(2):
        for j in range(3):
            assert torch.equal(fused[i, j], fuse_lesion(maps[i, j], labels[i, j]))
            assert torch.equal(erased[i, j], erase_lesion(maps[i, j], labels[i, j]))


def test_gradient_flows_to_the_map():
    feature_map = MAP.clone().requires_grad_()
    fuse_lesion(feature_map, LABEL).sum().backward()
    torch.testing.assert_close(feature_map.grad, torch.full_like(MAP, 4 * 0.8))


def test_one_label_erases_every_channel():
    assert torch.equal(erase_lesion(torch.cat([MAP, MAP]), LABEL), torch.cat([ERASED, ERASED]))


def test_array_transforms_keep_metadata():
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    feature_map = MetaTensor(MAP, affine=affine)
    for result, expected in (
        (EraseLesion()(feature_map, LABEL), ERASED),
        (FuseLesion()(feature_map, MetaTensor(LABEL)), FUSED),
    ):
        assert isinstance(result, MetaTensor)
        assert torch.equal(result.affine, affine)
        torch.testing.assert_close(result.as_tensor(), expected, atol=1e-7, rtol=0)


def test_dictionaries_equal_arrays():
    data = {"map": MAP, "seg": LABEL.numpy().astype(np.uint8)}
    erased = EraseLesiond("map", label_key="seg")(data)
    assert torch.equal(erased["map"], EraseLesion()(MAP, LABEL))
    fused = FuseLesiond("map", label_key="seg", num_classes=4, new_key_prefix="fused_")(data)
    assert torch.equal(fused["fused_map"], FuseLesion(num_classes=4)(MAP, LABEL))
    assert fused["map"] is MAP
    assert torch.equal(EraseLesiond("map", "seg", new_key_prefix="clean_")(data)["clean_map"], ERASED)


@pytest.mark.parametrize("value", [4, -1, 1.5])
def test_label_outside_the_range(value):
    label = LABEL.float()
    label[0, 1, 1] = value
    with pytest.raises(ValueError, match=rf"0\.\.3.*{value}"):
        fuse_lesion(MAP, label)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: erase_lesion(MAP, LABEL[..., :1]), "does not fit"),
        (lambda: erase_lesion(MAP, LABEL[0]), "does not fit"),
        (lambda: erase_lesion(MAP, torch.cat([LABEL, LABEL])), "does not fit"),
        (lambda: fuse_lesion(MAP, LABEL[..., :1]), "same shape"),
        (lambda: fuse_lesion(MAP[0], LABEL[0]), "same shape"),
        (lambda: fuse_lesion(torch.cat([MAP, MAP]), torch.cat([LABEL, LABEL])), "same shape"),
        (lambda: FuseLesion(num_classes=0), "num_classes"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
