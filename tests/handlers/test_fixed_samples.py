"""Pictures of fixed latents arrive in TensorBoard, and drawing them leaves the network as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_ext.handlers import FixedMaps, FixedStudies
from monai_ext.handlers.fixed_samples import tile

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def pictures(folder, tag):
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    assert events.Tags()["images"] == [tag]
    return events.Images(tag)


def test_tile_turns_slices_the_radiological_way():
    """First axis towards the left, second to the back: columns of the picture are the first axis."""
    images = torch.arange(12.0).view(2, 2, 3)
    assert tile(images, 2).tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert tile(images, 1).tolist() == [[0, 3], [1, 4], [2, 5], [6, 9], [7, 10], [8, 11]]


def test_fixed_maps(tmp_path, play, featgen_objective):
    network = featgen_objective().generator.train()
    handler = FixedMaps(network, tmp_path, interval=2, count=3)
    play([None] * 5, [handler])
    images = pictures(tmp_path, "fixed_maps")
    assert [i.step for i in images] == [1, 2, 4]
    assert (images[0].width, images[0].height) == (3 * 64, 2 * 64)  # maps above masks
    assert len({i.encoded_image_string for i in images}) == 1 and network.training
    maps, masks = (torch.hstack([p.T for p in part[:, 0]]) for part in network(handler.code))
    np.testing.assert_array_equal(handler.picture(torch.device("cpu")), torch.vstack([maps, masks]))


def test_fixed_latents_are_of_the_seed(tmp_path, featgen_objective):
    network = featgen_objective().generator
    codes = [FixedMaps(network, tmp_path, seed=seed, count=2).code for seed in (0, 0, 1)]
    assert torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])


def test_fixed_studies(tmp_path, play, make_dataset, cgan_objective):
    network = cgan_objective().network.eval()
    dataset = make_dataset(2, roi_size=(48, 48))
    handler = FixedStudies(network, tmp_path, dataset, interval=3, count=2, canvas_size=(60, 60))
    play([None] * 3, [handler])
    images = pictures(tmp_path, "fixed_studies")
    assert [i.step for i in images] == [1, 3]
    assert (images[0].width, images[0].height) == (5 * 48, 2 * 48)  # a row a study: the label, four modalities
    assert len({i.encoded_image_string for i in images}) == 1 and not network.training
    with torch.no_grad():
        picture = handler.picture(torch.device("cpu"))
    for row, index in enumerate((0, len(dataset) - 1)):
        label = dataset[index]["label"][0].numpy()
        np.testing.assert_allclose(picture[48 * row : 48 * (row + 1), :48], label.T / 3, atol=1e-6)
    assert 0 <= picture.min() <= picture.max() <= 1 and picture[:, 48:].any()
