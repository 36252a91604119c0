"""The weights that come with the bundles, where they are there."""

from __future__ import annotations

import pytest
import torch

from monai_ext.bundles import bundle_root, from_config, load_weights, model_file, segmentor_weights
from monai_ext.data import read_split
from monai_ext.labels import MODALITIES
from monai_ext.synthesis.stream import candidate_rng, latent_code
from monai_ext.validation import closed_share


def shipped(bundle: str, name: str = "model.pt") -> str:
    """A file under a bundle's ``models``; skips without it."""
    try:
        return model_file(bundle_root(bundle), name)
    except FileNotFoundError:
        pytest.skip(f"the weights {bundle}/models/{name} are not there")


@pytest.mark.parametrize("bundle", ["featgen", "cgan"])
def test_weights_fit_their_network(bundle):
    network = from_config(bundle_root(bundle), "train.json", "network_def")
    load_weights(network, shipped(bundle))
    assert all(torch.isfinite(v).all() for v in network.state_dict().values())


@pytest.mark.parametrize("name", ["all", *MODALITIES])
def test_segmentors_fit(name):
    network = from_config(bundle_root("segmentor"), "train.json", "network_def", modalities=name)
    load_weights(network, shipped("segmentor", segmentor_weights(name)))


def test_one_split_behind_all_weights():
    """A patient that one stage was trained on and another is judged by would flatter the figures."""
    splits = [read_split(shipped(b, "split.json")) for b in ("featgen", "cgan", "segmentor")]
    assert splits[0] == splits[1] == splits[2]
    assert all(splits[0].values())


def test_maps_from_noise_are_brains():
    """Maps with a closed outline are common enough to generate from (a quarter of 200 when the weights were made)."""
    network = load_weights(from_config(bundle_root("featgen"), "train.json", "network_def"), shipped("featgen")).eval()
    with torch.no_grad():
        pairs = [network(latent_code(candidate_rng(0, k), network.latent_size)) for k in range(16)]
    structure, mask = (torch.cat(p) for p in zip(*pairs))
    assert closed_share(structure, mask) >= 0.2
    assert 0.2 < float(1 - mask.mean()) < 0.9
