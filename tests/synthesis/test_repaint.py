"""Real slices painted anew, on disk."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.data import BRATS_AFFINE, find_cases, read_case
from monai_ext.labels import MODALITIES
from monai_ext.networks import CGAN
from monai_ext.synthesis import CaseRepainter, repaint

SHAPE = (48, 40, 8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CGAN(channels=(8, 8, 8, 8))


def test_repaint(network, make_dataset):
    dataset = make_dataset(2, roi_size=(32, 32))
    items = [dataset.raw(i) for i in range(len(dataset))]
    images, label = (torch.stack([i[k] for i in items]) for k in ("image", "label"))
    painted = repaint(network, images, label, seed=3)
    assert painted.shape == images.shape and 0 <= painted.min() < painted.max() <= 1
    assert painted.equal(repaint(network, images, label, seed=3))
    assert not painted.equal(repaint(network, images, label, seed=4))
    assert (painted - repaint(network, images, label, seed=3, batch_size=5)).abs().max() < 1e-3
    assert not painted[:, :, 0].any() and not network.training
    assert painted[images > 0].all(), "brain stays brain"


def test_cases_on_disk(tmp_path, network, write_case, volumes):
    for seed in range(2):
        write_case(tmp_path / "in", "brats2017", f"Brats17_TST_{seed}_1", volumes(seed, SHAPE))
    cases = find_cases(tmp_path / "in")
    report = CaseRepainter(network, cases, tmp_path / "out", slice_range=(2, 6), roi_size=(32, 32), seed=1).run()
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert report["cases"] == [c.case_id for c in cases]
    written = find_cases(tmp_path / "out", require_segmentation=True)
    assert [c.case_id for c in written] == [c.case_id for c in cases]
    for made, real in zip(written, cases):
        image, label = read_case(made)
        assert image.shape == (len(MODALITIES), 240, 240, 155) and np.allclose(image.affine, BRATS_AFFINE)
        assert image[..., 2:6].any() and not image[..., :2].any() and not image[..., 6:].any()
        # the middle of the canvas is the middle of the case
        assert label[0, 104:136, 104:136, 2:6].as_tensor().equal(read_case(real)[1][0, 8:40, 4:36, 2:6].as_tensor())
        for source in made.images.values():
            assert nib.load(source.path).get_data_dtype() == np.float32
        assert nib.load(made.segmentation.path).get_data_dtype() == np.uint8
