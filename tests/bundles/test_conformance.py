"""The shipped configs are what MONAI's own checks and exports expect."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

import monai.bundle
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.bundle.properties import InferProperties, TrainProperties
from monai.data import load_net_with_metadata
from monai.engines import Evaluator, Trainer
from monai.inferers import Inferer
from torch.utils.data import Dataset

from monai_ext.bundles import BundleError, from_config, load_weights
from monai_ext.data import find_cases, read_case
from monai_ext.exporting import bundle_network, data_format, example_inputs, export_bundle
from monai_ext.synthesis.stream import candidate_rng, latent_code

BUNDLES = Path(__file__).parents[2] / "bundles"
CONFIGS = [p for p in sorted(BUNDLES.glob("*/configs/*.json")) if "imports" in json.loads(p.read_text("utf-8"))]
IDS = [f"{p.parts[-3]}-{p.stem}" for p in CONFIGS]

TRAIN_TYPES = {
    "bundle_root": str, "device": torch.device, "dataset_dir": str, "trainer": Trainer, "network_def": torch.nn.Module,
    "max_epochs": int, "train_dataset": Dataset, "train_inferer": Inferer, "train_handlers": list,
    "evaluator": Evaluator, "val_interval": int, "val_handlers": list, "val_dataset": Dataset, "val_inferer": Inferer,
    "val_key_metric": dict,
}  # fmt: skip
INFER_TYPES = {
    "bundle_root": str, "device": torch.device, "dataset_dir": str, "dataset": Dataset, "evaluator": Evaluator,
    "network_def": torch.nn.Module, "inferer": Inferer,
}  # fmt: skip
NAMES = ("featgen", "cgan", "segmentor", "synthesis")

# What MONAI requires of an inference and these have not: they filter or judge, and no ignite engine loops over cases.
NOT_AN_EVALUATOR = {
    "featgen-evaluate": {"evaluator", "inferer"},
    "cgan-evaluate": {"evaluator", "inferer"},
    "cgan-translate": {"dataset", "evaluator", "inferer"},
    "segmentor-evaluate": {"evaluator", "network_def"},
    "synthesis-generate": {"dataset_dir", "dataset", "evaluator", "inferer", "network_def"},
    "synthesis-validate": {"dataset", "evaluator", "inferer", "network_def"},
}


def workflow(path: Path, kind: str, **overrides) -> ConfigWorkflow:
    made = ConfigWorkflow(str(path), workflow_type=kind, logging_file=False, **overrides)
    made.initialize()
    return made


@pytest.mark.parametrize("path", CONFIGS, ids=IDS)
def test_starts_in_the_same_way(path):
    """``initialize`` would import the package before MONAI has put an unpacked bundle on the search path."""
    config = json.loads(path.read_text(encoding="utf-8"))
    assert "$import monai_ext.cli" in config["imports"]
    assert config["run"][:2] == ["$monai_ext.cli.start()", "$monai.utils.set_determinism(seed=@seed)"]
    assert "initialize" not in config and "finalize" not in config


@pytest.mark.parametrize("bundle", ["featgen", "cgan", "segmentor"])
def test_training_properties(tmp_path, bundle, small_dir):
    roi = {"featgen": [96, 96]}.get(bundle, [64, 64])
    train = workflow(
        BUNDLES / bundle / "configs" / "train.json", "train", dataset_dir=str(small_dir), output_dir=str(tmp_path),
        slice_range=[2, 6], roi_size=roi,
    )  # fmt: skip
    assert train.check_properties() == []
    for name, kind in TRAIN_TYPES.items():
        assert isinstance(getattr(train, name), kind), name
    assert set(TRAIN_TYPES) >= {n for n, p in TrainProperties.items() if p["required"]}
    assert train.trainer.state.max_epochs == train.max_epochs and train.version


@pytest.fixture
def weights(random_weights, segmentor_copy):
    """Keys of ``inference.json`` that name random weights."""
    featgen, cgan = (str(random_weights[n]) for n in ("featgen", "cgan"))
    return {
        "featgen": {"ckpt_path": featgen},
        "cgan": {"ckpt_path": cgan},
        "segmentor": {"ckpt_path": str(segmentor_copy / "models" / "model.pt")},
        "synthesis": {"featgen_weights": featgen, "cgan_weights": cgan},
    }


@pytest.fixture
def inference(weights, small_dir, tmp_path):
    """Inference workflow of a bundle on four small cases; ``featgen`` reads none."""

    def make(bundle: str) -> ConfigWorkflow:
        settings = {"output_dir": str(tmp_path / "out"), **weights[bundle]}
        if bundle == "featgen":
            settings |= {"num_samples": 1, "max_attempts": 2}
        else:
            settings |= {"dataset_dir": str(small_dir)}
        if bundle in ("cgan", "synthesis"):
            settings |= {"slice_range": [3, 5]}
        return workflow(BUNDLES / bundle / "configs" / "inference.json", "infer", **settings)

    return make


@pytest.mark.parametrize("bundle", NAMES)
def test_inference_properties(inference, bundle):
    infer = inference(bundle)
    assert infer.check_properties() == []
    for name, kind in INFER_TYPES.items():
        if (bundle, name) == ("featgen", "dataset_dir"):
            assert infer.dataset_dir is None  # it starts from noise
        else:
            assert isinstance(getattr(infer, name), kind), name
    assert set(INFER_TYPES) == {n for n, p in InferProperties.items() if p["required"]}
    assert len(infer.dataset) > 0 and infer.version


def test_what_only_a_segmentor_has(inference):
    infer = inference("segmentor")
    assert infer.preprocessing is not None and infer.postprocessing is not None
    assert isinstance(infer.dataset_data, list) and isinstance(infer.handlers, list)
    assert infer.spatial_shape == [160, 192] and len(infer.channel_def) == 4


def test_evaluator_of_featgen_gives_the_candidates_of_its_generator(inference):
    infer = inference("featgen")
    infer.evaluator.run()
    last, network = len(infer.dataset) - 1, infer.network_def
    with torch.no_grad():
        expected = network(latent_code(candidate_rng(0, last), network.latent_size))
    structure, mask = infer.evaluator.state.output["pred"]
    assert torch.equal(structure, expected[0]) and torch.equal(mask, expected[1])


def test_evaluator_of_cgan_paints_slices(inference):
    infer = inference("cgan")
    infer.evaluator.run()
    (*_, last) = infer.evaluator.state.output
    assert last["pred"].shape == last["image"].shape == (4, 160, 192)
    assert infer.evaluator.state.iteration == -(-len(infer.dataset) // 8)


def test_inference_of_synthesis_writes_a_study_for_each_label(inference, tmp_path):
    infer = inference("synthesis")
    infer.run()
    cases = find_cases(tmp_path / "out", require_segmentation=True)
    assert len(cases) == len(infer.dataset) == 8
    image, label = read_case(cases[0])
    assert image.shape == (4, 240, 240, 1) and set(np.unique(label)) <= {0, 1, 2, 3}
    lines = [json.loads(x) for x in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert {x["label_source"] for x in lines} == {f"BraTS-TST-{i:05d}-000" for i in range(4)}
    assert all(x["lesion_pixels"] + x["label_cut"] > 0 for x in lines)


@pytest.mark.parametrize("name", NOT_AN_EVALUATOR)
def test_properties_that_a_config_cannot_have(name):
    """Named here one by one, so that a config that gains or loses one is noticed."""
    bundle, config = name.split("-")
    parser = workflow(BUNDLES / bundle / "configs" / f"{config}.json", "infer").parser
    required = {n: p["id"] for n, p in InferProperties.items() if p["required"]}
    assert {n for n, prop_id in required.items() if prop_id not in parser} == NOT_AN_EVALUATOR[name]


@pytest.fixture(scope="session")
def schema(tmp_path_factory):
    """MONAI's schema, which is no part of this repository: the file that ``MONAI_META_SCHEMA`` names, or a download."""
    named = os.environ.get("MONAI_META_SCHEMA")
    if named:
        return named
    url = json.loads((BUNDLES / "segmentor" / "configs" / "metadata.json").read_text(encoding="utf-8"))["schema"]
    path = tmp_path_factory.mktemp("schema") / "meta_schema.json"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            path.write_bytes(answer.read())
    except OSError as error:
        pytest.skip(f"no network ({error}) and MONAI_META_SCHEMA does not name a copy of {url}")
    return str(path)


@pytest.mark.parametrize("bundle", NAMES)
def test_verify_metadata(bundle, schema):
    """MONAI's own verb, with MONAI's own schema."""
    monai.bundle.verify_metadata(str(BUNDLES / bundle / "configs" / "metadata.json"), filepath=schema)


@pytest.mark.parametrize("bundle", ["cgan", "segmentor", "synthesis"])
def test_verify_net_in_out(bundle, weights):
    """MONAI feeds one tensor called ``image``: the first input takes that name, the others are given beside it.

    It expects one tensor back: the two of ``featgen`` are checked against the metadata in ``test_metadata``.
    """
    configs = BUNDLES / bundle / "configs"
    described = data_format(configs.parent)["inputs"]
    first, *others = described
    inputs = example_inputs(described)
    monai.bundle.verify_net_in_out(
        "network_def", str(configs / "metadata.json"), str(configs / "inference.json"), device="cpu",
        extra_forward_args={n: inputs[n] for n in others},
        **{"_meta_#network_data_format#inputs#image": described[first], **weights[bundle]},
    )  # fmt: skip


def test_script_of_a_segmentor(tmp_path, segmentor_copy):
    """As typed, without this package's ``export``: scripted, not traced, so that any size goes through."""
    file, configs = segmentor_copy / "models" / "model.pt", segmentor_copy / "configs"
    network = load_weights(from_config(segmentor_copy, "train.json", "network_def"), file).eval()
    monai.bundle.ckpt_export(
        "network_def", filepath=str(tmp_path / "model.ts"), ckpt_file=str(file),
        meta_file=str(configs / "metadata.json"), config_file=str(configs / "inference.json"),
    )  # fmt: skip
    script, metadata, extra = load_net_with_metadata(str(tmp_path / "model.ts"), more_extra_files=("inference.json",))
    assert metadata["name"] == "segmentor" and json.loads(extra["inference.json"])["seed"] == 0
    for shape in ((1, 4, 160, 192), (3, 4, 64, 80)):
        image = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(script.eval()(image), network(image), atol=1e-4, rtol=0)


def tensors(outputs) -> list[torch.Tensor]:
    return [torch.as_tensor(o) for o in (outputs if isinstance(outputs, (tuple, list)) else [outputs])]


def assert_agree(one, other, least: float = 1.0) -> None:
    """All values within 1e-4, or this share of them."""
    for a, b in zip(tensors(one), tensors(other), strict=True):
        assert a.shape == b.shape and float(((a - b).abs() <= 1e-4).float().mean()) >= least


@pytest.mark.parametrize("bundle", NAMES)
def test_torchscript(bundle, weights, tmp_path):
    """One trace serves any batch size, and gives what PyTorch gives."""
    (file,) = export_bundle(bundle, tmp_path, ["torchscript"], **weights[bundle])
    script, metadata, _ = load_net_with_metadata(str(file))
    assert file.name == f"{bundle}.ts" and metadata["name"] == bundle
    network, described = bundle_network(bundle, **weights[bundle]), data_format(BUNDLES / bundle)["inputs"]
    for batch in (1, 3):
        inputs = example_inputs(described, batch, seed=batch)
        with torch.no_grad():
            assert_agree(script.eval()(*inputs.values()), network(*inputs.values()))


@pytest.mark.parametrize("bundle", NAMES)
def test_onnx(bundle, weights, tmp_path):
    """Maps are thresholds: rounding may tip a pixel of a map whose logit is 0, and what is painted from it."""
    pytest.importorskip("onnxscript", reason='ONNX needs pip install "monai-ext[export]"')
    runtime = pytest.importorskip("onnxruntime", reason='ONNX needs pip install "monai-ext[export]"')
    (file,) = export_bundle(bundle, tmp_path, ["onnx"], **weights[bundle])
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    network, described = bundle_network(bundle, **weights[bundle]), data_format(BUNDLES / bundle)["inputs"]
    assert [i.name for i in session.get_inputs()] == list(described)
    for batch in (1, 3):
        inputs = example_inputs(described, batch, seed=batch)
        with torch.no_grad():
            expected = network(*inputs.values())
        outputs = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        assert_agree(expected, outputs, least=0.999 if bundle in ("featgen", "synthesis") else 1.0)


def test_export_refuses(tmp_path):
    with pytest.raises(ValueError, match="unknown format.s. tensorrt: choose from torchscript, onnx"):
        export_bundle("cgan", tmp_path, ["tensorrt"])
    with pytest.raises(BundleError, match="bundle 'cgn' not found"):
        export_bundle("cgn", tmp_path)
