"""``train.json`` as shipped: one epoch, refused again, gone on with, and what it leaves."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_ext.bundles import bundle_root, from_config, load_weights
from monai_ext.data import read_split

SETTINGS = {"slice_range": [2, 6], "batch_size": 4, "val_interval": 1}
ROI = {"featgen": [96, 96], "cgan": [64, 64], "segmentor": [64, 64]}  # the coarse map discriminator needs 96


@pytest.fixture
def train(run_bundle, small_dir, tmp_path):
    """Train a bundle for so many epochs into ``tmp_path/out``, which goes away afterwards (checkpoints are large)."""

    def run(bundle, max_epochs=1, config="train", **overrides):
        settings = {"dataset_dir": small_dir, "output_dir": tmp_path / "out", "roi_size": ROI[bundle], **SETTINGS}
        run_bundle(bundle, config, max_epochs=max_epochs, **{**settings, **overrides})
        return tmp_path / "out"

    yield run
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


def train_config(bundle, *over, **overrides):
    paths = [f"{bundle_root(bundle)}/configs/{name}.json" for name in ("train", *over)]
    return ConfigWorkflow(paths, workflow_type="train", logging_file=False, **overrides)


def checkpoints(out):
    return [p.name for p in out.glob("checkpoint*.pt")]


@pytest.mark.parametrize("bundle", ["featgen", "cgan", "segmentor"])
def test_train_and_resume(train, message_of, bundle):
    out = train(bundle)
    assert checkpoints(out) == ["checkpoint_epoch=1.pt"] and list((out / "tensorboard").iterdir())
    split = read_split(out / "split.json")
    assert [len(split[s]) for s in ("train", "validation", "test")] == [2, 1, 1]
    first = torch.load(out / "model.pt", weights_only=True)

    with pytest.raises(RuntimeError) as error:
        train(bundle, 2)
    message = "is from an earlier run: give '--resume true' to go on with it, or another --output_dir"
    assert message in message_of(error.value)
    assert checkpoints(out) == ["checkpoint_epoch=1.pt"]

    train(bundle, 2, resume="true")
    assert "checkpoint_epoch=2.pt" in checkpoints(out)
    state = torch.load(out / "checkpoint_epoch=2.pt", weights_only=True)["trainer"]
    assert state["iteration"] == 2 * state["epoch_length"] and state["max_epochs"] == 2
    assert read_split(out / "split.json") == split

    network = from_config(bundle_root(bundle), "train.json", "network_def", roi_size=ROI[bundle])
    load_weights(network, out / "model.pt")
    second = network.state_dict()
    assert first.keys() == second.keys() and all(torch.isfinite(v).all() for v in second.values())
    if bundle != "segmentor":
        assert any(not v.equal(second[k]) for k, v in first.items())


@pytest.mark.parametrize("epochs", [1, 2, 3, 90])
def test_phases_of_the_map_stage(epochs):
    """Every term with a weight is trained in some phase, and the last phase is left an epoch."""
    parser = train_config("featgen", max_epochs=epochs).parser
    phases = parser.get_parsed_content("phases")
    *first, last = [p["epochs"] for p in phases]
    assert last is None and all(isinstance(n, int) for n in first) and sum(first) < epochs
    assert all(first) or epochs < 5, "a phase of no epochs"
    weights = parser.get_parsed_content("objective_def::weights")
    assert {t for p in phases for t in p["terms"]} == {t for t, w in weights.items() if w}


def test_the_paper_s_map_stage(train, small_dir, tmp_path):
    """``paper.json`` over ``train.json``: batches of one slice, every term of the paper from the first step on."""
    settings = {"dataset_dir": small_dir, "roi_size": ROI["featgen"], "slice_range": [2, 6]}
    parser = train_config("featgen", "paper", output_dir=str(tmp_path / "unused"), **settings).parser
    assert parser["batch_size"] == 1 and parser.get_parsed_content("train::trainer").clip_norm is None
    objective = parser.get_parsed_content("objective")
    absent = {"flow", "kl", "leak", "picture"}
    assert objective.weights == {t: float(t not in absent) for t in objective.TERMS}
    assert objective.criterion == "squared" and objective.edge_weight == 1 and objective.mode == "straight_through"
    for side in ("optimizer", "discriminator_optimizer"):
        group = parser.get_parsed_content(side).param_groups[0]
        assert group["lr"] == 1e-4 and tuple(group["betas"]) == (0.5, 0.999)
    assert parser.get_parsed_content("lr_scheduler").lr_lambdas[0](10**6) == 1
    first = objective.generator.encoder.stem[1].conv.weight
    torch.testing.assert_close(first, torch.full_like(first, 1 / (16 * 3 * 3)), atol=1e-5, rtol=0)
    assert objective.generator.encoder.dropout.p == 0.1 and objective.generator.prior.kind == "normal"

    del parser, objective
    out = train("featgen", config="train,paper", batch_size=1, slice_range=[3, 5])
    state = torch.load(out / "checkpoint_epoch=1.pt", weights_only=True)["trainer"]
    assert state["epoch_length"] == 2 * 2  # two slices each of two patients
    network = from_config(bundle_root("featgen"), "train.json", "network_def", roi_size=ROI["featgen"], prior="normal")
    load_weights(network, out / "model.pt")
    assert all(torch.isfinite(v).all() for v in network.state_dict().values())


def test_the_paper_s_segmentor(train, small_dir, tmp_path):
    """``paper.json`` over ``train.json``: squared error, Adam at one learning rate, slices one by one as they are."""
    parser = train_config("segmentor", "paper", output_dir=str(tmp_path), dataset_dir=str(small_dir)).parser
    assert (parser["batch_size"], parser["max_epochs"], parser["slice_range"]) == (1, 100, [55, 105])
    optimizer = parser.get_parsed_content("optimizer")
    group = optimizer.param_groups[0]
    assert type(optimizer) is torch.optim.Adam and (group["lr"], group["weight_decay"]) == (1e-4, 0)
    assert tuple(group["betas"]) == (0.5, 0.999)
    assert parser.get_parsed_content("lr_scheduler").lr_lambdas[0](10**6) == 1
    assert parser.get_parsed_content("train::preprocessing").transforms == ()
    # two pixels, softmax 1/4 each: (3/4)^2 where the class is, (1/4)^2 in the three other channels
    loss = parser.get_parsed_content("loss")
    assert float(loss(torch.zeros(1, 4, 1, 2), torch.tensor([[[[0.0, 3.0]]]]))) == pytest.approx((9 + 3) / 16 / 4)

    out = train("segmentor", config="train,paper", batch_size=1, slice_range=[3, 5], samples_per_epoch=2)
    state = torch.load(out / "checkpoint_epoch=1.pt", weights_only=True)
    assert state["trainer"]["iteration"] == 2
    network = load_weights(from_config(bundle_root("segmentor"), "train.json", "network_def"), out / "model.pt")
    assert all(torch.isfinite(v).all() for v in network.state_dict().values())


def test_the_paper_s_loss_with_fewer_classes():
    loss = train_config("segmentor", "paper", num_classes=1).parser.get_parsed_content("loss")
    found = float(loss(torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, 1)))
    assert found == pytest.approx((1 + 1) / 4 / 2)


def test_a_finished_training_does_nothing_more(train):
    out = train("segmentor")
    before = (out / "model.pt").read_bytes()
    train("segmentor", 1, resume="true")
    assert (out / "model.pt").read_bytes() == before and checkpoints(out) == ["checkpoint_epoch=1.pt"]


@pytest.mark.parametrize("scheme", ["1seg", "1enc_ndec"])
def test_guidance_schemes(train, scheme):
    out = train("cgan", scheme=scheme)
    state = torch.load(out / "checkpoint_epoch=1.pt", weights_only=True)["objective"]
    parts = {k.split(".")[3] for k in state if k.startswith("generator.guidance.parts")}
    assert len(parts) == {"1seg": 1, "1enc_ndec": 4}[scheme]


@pytest.mark.parametrize("pairs, sources, targets", [("random", 1, 1), ("all", 4, 3)])
def test_pairs(small_dir, tmp_path, pairs, sources, targets):
    settings = {"dataset_dir": small_dir, "output_dir": str(tmp_path), "roi_size": ROI["cgan"], "slice_range": [2, 6]}
    objective = train_config("cgan", pairs=pairs, **settings).parser.get_parsed_content("objective")
    assert (objective.num_sources, objective.num_targets) == (sources, targets)


def test_the_paper_s_image_stage(train, small_dir, tmp_path):
    """``paper.json`` over ``train.json``: unpaired, one slice of each modality a step, its weights and losses."""
    settings = {"dataset_dir": small_dir, "roi_size": ROI["cgan"], "slice_range": [2, 6]}
    parser = train_config("cgan", "paper", output_dir=str(tmp_path / "unused"), **settings).parser
    objective = parser.get_parsed_content("objective")
    assert not objective.paired and (objective.num_sources, objective.num_targets) == (4, 3)
    assert objective.lesion_loss.criterion == "squared" and objective.augment is None
    assert objective.weights["structure"] == 15 and objective.weights["cycle_consistency"] == 2
    assert objective.discriminator["image"].condition_channels == 0 and objective.map_channels == [0, 1, 2, 3]
    default = train_config("cgan", output_dir=str(tmp_path / "unused"), **settings).parser
    assert default.get_parsed_content("objective_def::weights").keys() == objective.weights.keys()
    for side in ("optimizer", "discriminator_optimizer"):
        group = parser.get_parsed_content(side).param_groups[0]
        assert group["lr"] == 1e-4 and tuple(group["betas"]) == (0.5, 0.999)

    del parser, objective, default
    out = train("cgan", config="train,paper", batch_size=1, slice_range=[3, 5])
    network = from_config(bundle_root("cgan"), "train.json", "network_def")
    load_weights(network, out / "model.pt")
    assert all(torch.isfinite(v).all() for v in network.state_dict().values())


def test_translation_trains_the_image_encoder_alone(train, small_dir, message_of, tmp_path):
    """``train_translation.json`` over ``train.json``: what generates stays as it is, and a training goes on."""
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    network = from_config(bundle_root("cgan"), "train.json", "network_def")
    torch.save(network.state_dict(), start)
    settings = {"config": "train,train_translation", "initial_weights": start, "split_file": tmp_path / "split.json"}
    out = train("cgan", **settings)
    before, after = (torch.load(p, weights_only=True) for p in (start, out / "model.pt"))
    moved = {k.split(".")[0] for k, v in after.items() if not v.equal(before[k])}
    assert moved == {"image_encoder"} and all(torch.isfinite(v).all() for v in after.values())
    with pytest.raises(RuntimeError) as error:
        train("cgan", 2, **settings)
    assert "give '--resume true'" in message_of(error.value)
    train("cgan", 2, resume="true", **settings)
    state = torch.load(out / "checkpoint_epoch=2.pt", weights_only=True)
    assert state["trainer"]["iteration"] == 2 * state["trainer"]["epoch_length"]
    later = torch.load(out / "model.pt", weights_only=True)
    assert {k.split(".")[0] for k, v in later.items() if not v.equal(after[k])} == {"image_encoder"}


def test_what_a_training_for_translation_leaves_out():
    """Handlers are switched off by their place: what fits the style, watches D and paints studies, and no other."""
    configs = [train_config("cgan", *over).parser for over in ((), ("train_translation",))]
    handlers, over = (c["train"]["handlers"] for c in configs)
    off = [h["_target_"].split(".")[-1] for h in over if h.get("_disabled_") is True]
    assert off == ["FitStyle", "DiscriminatorGuard", "FixedStudies"] and len(over) == len(handlers)


def test_unpaired(train):
    out = train("cgan", paired="false")
    assert (out / "model.pt").is_file()


@pytest.mark.parametrize(
    "bundle, key, ids",
    [
        ("cgan", "paired", ["objective_def::paired", "train::dataset::paired"]),
        ("cgan", "resume", ["train::handlers::0::resume"]),
        ("cgan", "amp", ["train::trainer::amp"]),
        ("featgen", "resume", ["train::handlers::1::resume"]),
        ("featgen", "amp", ["train::trainer::amp"]),
        ("segmentor", "resume", ["train::handlers::1::resume"]),
        ("segmentor", "amp", ["train::inferer::amp"]),
    ],
)
def test_true_and_false_on_the_command_line(bundle, key, ids):
    """The command line hands over the text ``false``, which must not count as true."""
    for text, expected in (("false", False), ("true", True), (False, False), (True, True), ("False", False)):
        workflow = train_config(bundle, **{key: text})
        for name in ids:
            assert workflow.parser.get_parsed_content(name) is expected, (text, name)
    with pytest.raises(RuntimeError) as error:
        train_config(bundle, **{key: "maybe"}).parser.get_parsed_content(ids[0])
    assert "expected true or false, got 'maybe'" in str(error.value.__cause__)


def test_unconditional_discriminator():
    for text, channels in (("false", 0), ("true", 4)):
        workflow = train_config("cgan", conditional_discriminator=text)
        assert workflow.parser.get_parsed_content("objective_def::image_discriminator").condition_channels == channels


def test_segmentor_of_one_modality(train):
    out = train("segmentor", modalities="t2f")
    load_weights(from_config(bundle_root("segmentor"), "train.json", "network_def", modalities="t2f"), out / "model.pt")


@pytest.mark.parametrize(
    "modalities, folder", [("all", "all"), ("t2f", "t2f"), ("t1n,t2f", "t1n_t2f"), (("t1n", "t2f"), "t1n_t2f")]
)
def test_output_folder_of_a_segmentor(modalities, folder):
    """``t1n,t2f`` arrives as a tuple from the command line."""
    output = f"{bundle_root('segmentor')}/output"
    workflow = train_config("segmentor", modalities=modalities)
    assert workflow.parser.get_parsed_content("output_dir") == f"{output}/train_phantom_{folder}"
    workflow = train_config("segmentor", modalities=modalities, dataset_dir="cases")
    assert workflow.parser.get_parsed_content("output_dir") == f"{output}/train_{folder}"


def test_guidance_of_fewer_modalities(train):
    """Trains on three modalities; those that maps come from shrink with them."""
    out = train("cgan", modalities="t1n,t2w,t2f")
    state = torch.load(out / "model.pt", weights_only=True)
    assert state["style.mean"].shape == (9,)


def test_split_file_is_shared(train, tmp_path):
    """A split that is there is used, and not made again."""
    patients = [f"BraTS-TST-{i:05d}" for i in range(4)]
    split = {"train": patients[2:], "validation": patients[1:2], "test": patients[:1]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    out = train("segmentor", split_file=tmp_path / "split.json")
    assert not (out / "split.json").exists() and json.loads((tmp_path / "split.json").read_text()) == split
