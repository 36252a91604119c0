"""Label maps on disk."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.data import SaveLabelMapd

AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239.0], [0, 0, 1.0, 5.0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("slices", [1, 4])
def test_one_file_a_case_in_its_geometry(tmp_path, slices):
    label = torch.randint(4, (1, 6, 5, slices), generator=torch.Generator().manual_seed(0)).float()
    pred = MetaTensor(label, affine=torch.from_numpy(AFFINE), meta={"filename_or_obj": "BraTS-X-1"})
    assert SaveLabelMapd("pred", tmp_path)({"pred": pred})["pred"] is pred
    saved = nib.load(tmp_path / "BraTS-X-1.nii.gz")
    assert saved.shape == (6, 5, slices) and saved.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(saved.dataobj), label[0].numpy()) and np.array_equal(saved.affine, AFFINE)
    assert [p.name for p in tmp_path.iterdir()] == ["BraTS-X-1.nii.gz"]


def test_channels_are_refused(tmp_path):
    pred = MetaTensor(torch.zeros(4, 6, 5, 2), meta={"filename_or_obj": "C"})
    with pytest.raises(ValueError, match="one channel"):
        SaveLabelMapd("pred", tmp_path)({"pred": pred})
