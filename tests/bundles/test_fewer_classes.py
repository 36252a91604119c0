"""Two modalities and one class, the whole tumour, from training to generated studies: keys of the shipped configs."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext.bundles import bundle_root, from_config, load_weights
from monai_ext.data import find_cases, read_case

KEYS = {"modalities": "t1n,t2f", "num_classes": 1}
ROI = [96, 96]  # the coarse map discriminator needs as much
CHANNELS = ("t1n", "t2f")


@pytest.fixture(scope="module")
def two_dir(tmp_path_factory, write_case, volumes):
    """Four cases that have T1 and FLAIR alone."""
    root = tmp_path_factory.mktemp("two")
    for seed in range(4):
        name = f"BraTS-TST-{seed:05d}-000"
        write_case(root, "brats2023", name, volumes(seed, (64, 64, 8)), modalities=CHANNELS)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory, run_bundle, two_dir):
    """Weights of each bundle after an epoch, and the split."""
    out = tmp_path_factory.mktemp("trained")
    for bundle in ("segmentor", "featgen", "cgan"):
        keys = KEYS if bundle != "featgen" else {"modalities": KEYS["modalities"]}
        run_bundle(
            bundle, "train", dataset_dir=two_dir, output_dir=out / bundle, split_file=out / "split.json", max_epochs=1,
            batch_size=4, slice_range=[2, 6], roi_size=ROI, val_interval=1, **keys,
        )  # fmt: skip
        for path in (out / bundle).glob("checkpoint*.pt"):  # large
            path.unlink()
    yield {n: out / n / "model.pt" for n in ("segmentor", "featgen", "cgan")} | {"split": out / "split.json"}
    shutil.rmtree(out)


def test_networks(trained):
    """Two channels in; background and the whole tumour out."""
    for bundle in ("segmentor", "cgan"):
        network = from_config(bundle_root(bundle), "train.json", "network_def", **KEYS)
        state = load_weights(network, trained[bundle]).state_dict()
        assert all(torch.isfinite(v).all() for v in state.values())
        if bundle == "segmentor":
            assert network(torch.zeros(1, 2, 32, 32)).shape == (1, 2, 32, 32)
        else:
            assert (network.num_modalities, network.num_classes) == (2, 1)


def test_evaluation(trained, run_bundle, two_dir, tmp_path):
    run_bundle(
        "segmentor", "evaluate", dataset_dir=two_dir, output_dir=tmp_path, split_file=trained["split"],
        ckpt_path=trained["segmentor"], segmentor_names="all", slice_range=[2, 6], roi_size=ROI, **KEYS,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert len(metrics["patients"]) == 1
    assert set(metrics["segmentors"]["all"]["mean"]) == {"dice_index", "mse", "WT", "hd95_WT"}


def test_segmentor_of_a_modality_left_out(trained, run_bundle, two_dir, tmp_path, message_of):
    with pytest.raises(RuntimeError) as error:
        run_bundle("segmentor", "evaluate", dataset_dir=two_dir, output_dir=tmp_path, segmentor_names="t1c", **KEYS)
    assert "segmentor 't1c' reads what --modalities leaves out, which is t1n, t2f" in message_of(error.value)


@pytest.mark.parametrize("convention", ["brats2017", "decathlon"])
def test_inference(trained, run_bundle, two_dir, tmp_path, convention):
    """A whole tumour is 1 in every convention."""
    run_bundle(
        "segmentor", "inference", dataset_dir=two_dir, output_dir=tmp_path, ckpt_path=trained["segmentor"],
        roi_size=[64, 64], label_convention=convention, **KEYS,
    )  # fmt: skip
    found = [np.asarray(nib.load(path).dataobj) for path in sorted(tmp_path.iterdir())]
    assert len(found) == 4 and all(set(np.unique(f)) <= {0, 1} for f in found)


def test_repainting(trained, run_bundle, two_dir, tmp_path):
    run_bundle(
        "cgan", "inference", dataset_dir=two_dir, output_dir=tmp_path, ckpt_path=trained["cgan"], slice_range=[2, 4],
        roi_size=ROI, **KEYS,
    )  # fmt: skip
    cases = find_cases(tmp_path, CHANNELS, num_classes=1)
    assert len(cases) == 4 and set(cases[0].images) == set(CHANNELS)
    assert read_case(cases[0])[1].max() == 1


@pytest.fixture
def generate(trained, run_bundle, tmp_path):
    """Generation with the trained networks, filters off; an epoch leaves MASK without a brain, so it is told of one."""
    network = load_weights(from_config(bundle_root("featgen"), "train.json", "network_def", roi_size=ROI),
                           trained["featgen"])  # fmt: skip
    torch.nn.init.constant_(list(network.mask.parameters())[-1], -5.0)
    torch.save(network.state_dict(), tmp_path / "featgen.pt")

    def run(folder, **overrides):
        run_bundle(
            "synthesis", "generate", output_dir=tmp_path / folder, featgen_weights=tmp_path / "featgen.pt",
            cgan_weights=trained["cgan"], segmentor_weights=trained["segmentor"], roi_size=ROI, slice_range=[2, 6],
            num_samples=2, batch_size=2, mae_threshold=1, dice_threshold=0, **{**KEYS, **overrides},
        )  # fmt: skip
        return tmp_path / folder

    return run


@pytest.mark.parametrize("layout", ["brats", "nnunet", "decathlon"])
def test_generation(generate, trained, two_dir, layout):
    own = {"label_dir": two_dir, "label_split": trained["split"]} if layout == "brats" else {}
    root = generate("studies", layout=layout, **own)
    record = json.loads((root / "manifest.jsonl").read_text().splitlines()[0])
    assert list(record["lesion_pixels"]) == ["1"]
    datalist = json.loads((root / "dataset.json").read_text())
    channels = ["FLAIR", "T1"] if layout == "decathlon" else ["T1", "FLAIR"]
    assert list(datalist["modality"].values()) == channels
    names = {"background": 0, "WT": 1} if layout == "nnunet" else {"0": "background", "1": "WT"}
    assert datalist["labels"] == names
    label = np.asarray(nib.load(root / record["label"]).dataobj)
    assert set(np.unique(label)) == {0, 1}
    if layout == "brats":
        (first, _) = find_cases(root, CHANNELS, num_classes=1)
        image, read = read_case(first, CHANNELS)
        assert image.shape == (2, 240, 240, 1) and (read[0].numpy() == label).all()


def test_networks_of_other_classes_are_named(generate, message_of):
    with pytest.raises(RuntimeError) as error:
        generate("other", num_classes=2)
    assert "does not fit this network" in message_of(error.value) and "num_classes" in message_of(error.value)


def test_wrong_number_of_classes(run_bundle, message_of, two_dir, tmp_path):
    with pytest.raises(RuntimeError) as error:
        run_bundle("segmentor", "train", dataset_dir=two_dir, output_dir=tmp_path, modalities="t1n,t2f", num_classes=7)
    assert "num_classes is 1 (whole tumour), 2 (core, oedema) or 3 (NCR, ED, ET), got 7" in message_of(error.value)
