"""The shipped configs are what MONAI's own checks and exports expect."""

from __future__ import annotations

import json
import os
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.bundle.properties import InferProperties, TrainProperties
from monai.data import load_net_with_metadata
from monai.engines import Evaluator, Trainer
from monai.inferers import Inferer
from torch.utils.data import Dataset

from monai_ext.bundles import from_config, load_weights

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
    "bundle_root": str, "device": torch.device, "dataset_dir": str, "dataset": Dataset, "dataset_data": list,
    "evaluator": Evaluator, "network_def": torch.nn.Module, "inferer": Inferer, "handlers": list,
}  # fmt: skip

# What MONAI requires of an inference and these have not: they generate or judge, and no ignite engine loops over cases.
NOT_AN_EVALUATOR = {
    "featgen-inference": {"dataset_dir", "dataset", "evaluator", "inferer"},
    "featgen-evaluate": {"evaluator", "inferer"},
    "cgan-inference": {"dataset", "evaluator", "inferer"},
    "cgan-evaluate": {"evaluator", "inferer"},
    "cgan-translate": {"dataset", "evaluator", "inferer"},
    "segmentor-inference": set(),
    "segmentor-evaluate": {"evaluator", "inferer", "network_def"},
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


def test_inference_properties(tmp_path, small_dir, segmentor_copy):
    path = BUNDLES / "segmentor" / "configs" / "inference.json"
    weights = str(segmentor_copy / "models" / "model.pt")
    infer = workflow(path, "infer", dataset_dir=str(small_dir), output_dir=str(tmp_path), ckpt_path=weights)
    assert infer.check_properties() == []
    for name, kind in INFER_TYPES.items():
        assert isinstance(getattr(infer, name), kind), name
    assert infer.preprocessing is not None and infer.postprocessing is not None
    assert infer.spatial_shape == [160, 192] and len(infer.channel_def) == 4


@pytest.mark.parametrize("name", NOT_AN_EVALUATOR)
def test_properties_that_a_config_cannot_have(name):
    """Named here one by one, so that a config that gains or loses one is noticed."""
    bundle, config = name.split("-")
    parser = workflow(BUNDLES / bundle / "configs" / f"{config}.json", "infer").parser
    required = {n: p["id"] for n, p in InferProperties.items() if p["required"]}
    assert {n for n, prop_id in required.items() if prop_id not in parser} == NOT_AN_EVALUATOR[name]


@pytest.mark.parametrize("bundle", ["featgen", "cgan", "segmentor", "synthesis"])
def test_verify_metadata(bundle):
    """MONAI's own verb, with MONAI's own schema, which is no part of this repository."""
    schema = os.environ.get("MONAI_META_SCHEMA")
    if not schema:
        pytest.skip("MONAI_META_SCHEMA does not point to a copy of meta_schema_20240725.json")
    monai.bundle.verify_metadata(str(BUNDLES / bundle / "configs" / "metadata.json"), filepath=schema)


def test_verify_net_in_out_of_cgan():
    """MONAI feeds one tensor called ``image``: the fused map takes that name, the other inputs are given beside it."""
    configs = BUNDLES / "cgan" / "configs"
    inputs = json.loads((configs / "metadata.json").read_text(encoding="utf-8"))["network_data_format"]["inputs"]
    assert list(inputs) == ["fused", "style", "noise"]
    others = {n: torch.randn(1, inputs[n]["num_channels"], *inputs[n]["spatial_shape"]) for n in ("style", "noise")}
    monai.bundle.verify_net_in_out(
        "network_def", str(configs / "metadata.json"), str(configs / "train.json"), device="cpu",
        extra_forward_args=others, **{"_meta_#network_data_format#inputs#image": inputs["fused"]},
    )  # fmt: skip


@pytest.fixture
def export(segmentor_copy, tmp_path):
    """Arguments of an export of a segmentor with random weights, and the network in PyTorch."""
    weights = segmentor_copy / "models" / "model.pt"
    network = load_weights(from_config(segmentor_copy, "train.json", "network_def"), weights).eval()
    configs = segmentor_copy / "configs"
    return network, {
        "ckpt_file": str(weights),
        "meta_file": str(configs / "metadata.json"),
        "config_file": str(configs / "inference.json"),
    }


def largest_difference(network, other, shape) -> float:
    torch.manual_seed(0)
    image = torch.rand(shape)
    with torch.no_grad():
        return float((network(image) - torch.as_tensor(other(image))).abs().max())


def test_torchscript(tmp_path, export):
    network, arguments = export
    monai.bundle.ckpt_export("network_def", filepath=str(tmp_path / "model.ts"), **arguments)
    script, metadata, extra = load_net_with_metadata(str(tmp_path / "model.ts"), more_extra_files=("inference.json",))
    assert metadata["name"] == "segmentor" and json.loads(extra["inference.json"])["seed"] == 0
    for shape in ((1, 4, 160, 192), (3, 4, 64, 80)):
        assert largest_difference(network, script.eval(), shape) < 1e-4


def test_onnx(tmp_path, export):
    pytest.importorskip("onnxscript", reason='ONNX needs pip install "monai-ext[export]"')
    runtime = pytest.importorskip("onnxruntime", reason='ONNX needs pip install "monai-ext[export]"')
    network, arguments = export
    monai.bundle.onnx_export("network_def", filepath=str(tmp_path / "model.onnx"), **arguments)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    assert largest_difference(network, lambda x: session.run(None, {name: x.numpy()})[0], (1, 4, 160, 192)) < 1e-4
