"""The MONAI Label app from end to end: its server over loopback, MONAI Label's own client, and the bundles beside it.

The cases are real ones where BRATS_DATA_DIR says where they are, else the phantom. The tests run in their order: one
server serves all, and later ones find what earlier ones stored.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from lib.cases import image_id
from lib.scratch import flat_name

from monai_ext.bundles import bundle_root, digests, from_config
from monai_ext.data import Case, find_cases, write_phantom_cases
from monai_ext.labels import MODALITIES

ROOT = Path(__file__).parents[2]
INCOMPLETE = "BraTS-TST-00009-000"
PATIENCE = 1800
"""Seconds before a server or a training that does not answer is given up; nothing is asserted about time."""

pytestmark = pytest.mark.slow


def digest(*folders: Path) -> dict[str, str]:
    """Every file under some folders, by its content."""
    return {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest()
        for folder in folders
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "__pycache__" not in p.parts
    }


def voxels(path: str | Path) -> np.ndarray:
    """Array of a NIfTI file."""
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def label_python() -> str:
    """A Python that has the app's requirements."""
    python = os.environ.get("MONAI_LABEL_PYTHON")
    if python is None and (ROOT / ".venv-label" / ".installed").is_file():
        python = str(ROOT / ".venv-label" / "bin" / "python")
    if python is None:
        pytest.skip("no MONAI Label: scripts/label_server.sh makes .venv-label, or let MONAI_LABEL_PYTHON name one")
    return python


@pytest.fixture(scope="module")
def client_module(label_python) -> Any:
    """MONAI Label's client, which needs ``requests`` alone and nothing else of the other environment."""
    pytest.importorskip("requests")
    command = [label_python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    path = Path(packages) / "monailabel" / "client" / "client.py"
    spec = importlib.util.spec_from_file_location("monailabel_client", path)
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:  # it uses a module that Python 3.13 has no more
        pytest.skip(f"the client of MONAI Label does not run here: {error}")
    return module


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """The user's folder: two labelled cases of two patients, and one that lacks T1c."""
    folder, real = tmp_path_factory.mktemp("studies"), os.environ.get("BRATS_DATA_DIR")
    if real:
        patients = {c.patient_id: c for c in find_cases(real, require_segmentation=True, on_bad_case="skip")}
        for case in list(patients.values())[:2]:
            for source in (*case.images.values(), case.segmentation):
                target = folder / source.path.relative_to(real)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.path, target)
    else:
        write_phantom_cases(folder, num_cases=2)
    first = find_cases(folder)[0]
    (folder / INCOMPLETE).mkdir()
    for modality in ("t1n", "t2w", "t2f"):
        path = first.images[modality].path
        ending = ".mha" if path.suffix == ".mha" else ".nii.gz"
        shutil.copyfile(path, folder / INCOMPLETE / f"{INCOMPLETE}-{modality}{ending}")
    return folder


@pytest.fixture(scope="module")
def untouched(studies) -> Iterator[None]:
    """Neither the user's folder nor this repository are written to."""
    weights = (ROOT / "bundles" / name / "models" for name in ("featgen", "cgan", "segmentor"))
    folders = (studies, ROOT / "apps")
    before, shipped = digest(*folders), digest(*weights)
    yield
    assert digest(*folders) == before
    assert {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in shipped} == shipped


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Working folder of the server."""
    return tmp_path_factory.mktemp("server") / "work"


@pytest.fixture(scope="module")
def client(label_python, client_module, studies, work, untouched) -> Iterator[Any]:
    """A client of a server that runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = work.parent / "server.log"
    environment = {**os.environ, "MONAI_LABEL_PYTHON": label_python}
    command = ["bash", str(ROOT / "scripts" / "label_server.sh"), str(studies), str(port), str(work)]
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment, cwd="/")
    found = client_module.MONAILabelClient(f"http://127.0.0.1:{port}", str(work.parent / "downloads"))
    try:
        for _ in range(PATIENCE):
            try:
                found.info()
                break
            except ConnectionError:
                assert server.poll() is None, log.read_text()[-3000:]
                time.sleep(1)
        yield found
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def answer_to(client, client_module) -> Any:
    """Status and body of a request that is refused."""

    def ask(model: str, image: str, **params: Any) -> str:
        with pytest.raises(client_module.MONAILabelClientException) as error:
            client.infer(model, image, params)
        return error.value.msg

    return ask


def first_case(studies: Path) -> Case:
    """The first complete case."""
    return find_cases(studies, on_bad_case="skip")[0]


def image_ids(studies: Path) -> list[str]:
    """Ids of the first case's images, in the order of the modalities."""
    return [image_id(flat_name(first_case(studies), m)) for m in MODALITIES]


@pytest.fixture(scope="module")
def run_bundle(label_python, tmp_path_factory) -> Any:
    """``run_bundle("segmentor", "inference", dataset_dir=...)`` -> its output folder, in the server's environment."""

    def run(bundle: str, config: str, **overrides: Any) -> Path:
        out = tmp_path_factory.mktemp(bundle)
        command = [label_python, "-m", "monai.bundle", "run", "--config_file",
                   str(ROOT / "bundles" / bundle / "configs" / f"{config}.json"), "--output_dir", str(out)]  # fmt: skip
        for key, value in overrides.items():
            command += [f"--{key}", str(value)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(command, check=True, env=environment, capture_output=True)
        return out

    return run


@pytest.fixture(scope="module")
def reference(run_bundle, studies) -> Path:
    """Label map of the first case by the bundle's command."""
    case = first_case(studies)
    folder = case.images["t1n"].path.parent
    return run_bundle("segmentor", "inference", dataset_dir=folder) / f"{case.case_id}.nii.gz"


def test_info(client):
    info = client.info()
    assert (info["name"], info["labels"]) == ("monai-ext", ["NCR", "ED", "ET"])
    assert list(info["models"]) == ["segmentor", "translate", "synthesise"] and list(info["trainers"]) == ["segmentor"]
    assert info["models"]["segmentor"]["labels"] == {"NCR": 1, "ED": 2, "ET": 3}
    assert info["datastore"]["total"] == 11 and info["datastore"]["completed"] == 2


def test_segmentation_is_that_of_the_bundle(client, work, studies, reference):
    expected = voxels(reference)
    for name in image_ids(studies)[::3]:
        file, params = client.infer("segmentor", name, {})
        label = nib.load(file)
        assert np.array_equal(np.asarray(label.dataobj), expected) and label.get_data_dtype() == np.uint8
        (image,) = (work / "studies" / "images").glob(f"{name}.*")
        if image.suffix == ".gz":
            assert np.array_equal(label.affine, nib.load(image).affine)
        assert params["label_names"] == {"NCR": 1, "ED": 2, "ET": 3} and not params["trained_here"]
    assert expected.any() or not os.environ.get("BRATS_DATA_DIR")


def test_one_modality_is_enough_for_its_segmentor(client):
    file, _ = client.infer("segmentor", f"{INCOMPLETE}-t2w", {"modalities": "t2f"})
    assert set(np.unique(voxels(file))) <= {0, 1, 2, 3}


def test_refusals_say_why(answer_to, studies):
    name = image_ids(studies)[0]
    unknown = answer_to("segmentor", "nobody")
    assert unknown.startswith(
        'Status: 404; Response: {"detail":"there is no image \'nobody\' in the datastore: ask for'
    )
    assert "Status: 404" in answer_to("segmentor", "/etc/hostname")
    missing = answer_to("segmentor", f"{INCOMPLETE}-t1n")
    assert "Status: 422" in missing and f"case {INCOMPLETE} has no image for t1c (T1c); it has" in missing
    assert "there is no model 'diagnosis', only segmentor, translate, synthesise" in answer_to("diagnosis", name)
    assert "unknown modality 'pet'" in answer_to("segmentor", name, modalities="pet")
    assert "is the source, it cannot be a target too" in answer_to("translate", name, target_modalities="t1n")
    assert "num_samples is a whole number from 1 to 64, got 65" in answer_to("synthesise", "new", num_samples=65)


def test_labels_of_unknown_images_are_refused(client, client_module, reference):
    with pytest.raises(client_module.MONAILabelClientException) as error:
        client.save_label("nobody", str(reference))
    assert "Status: 404" in error.value.msg and "there is no image 'nobody'" in error.value.msg


def test_next_case_is_the_one_without_a_label(client, client_module):
    assert client.next_sample("next_case", {})["id"] == f"{INCOMPLETE}-t2f"
    assert client.next_sample("generated", {}) == {}
    with pytest.raises(client_module.MONAILabelClientException) as error:
        client.next_sample("lucky", {})
    assert "there is no strategy 'lucky', only next_case, generated" in error.value.msg


def test_translation_makes_what_is_missing(client, work, run_bundle, studies):
    file, params = client.infer("translate", f"{INCOMPLETE}-t2f", {})
    assert params["images"] == {"t1c": f"{INCOMPLETE}-t1c"}
    images = work / "studies" / "images"
    made = nib.load(images / f"{INCOMPLETE}-t1c.nii.gz")
    out = run_bundle("cgan", "translate", dataset_dir=studies / INCOMPLETE, source_modality="t2f",
                     target_modalities="t1c")  # fmt: skip
    assert np.array_equal(np.asarray(made.dataobj), voxels(out / INCOMPLETE / f"{INCOMPLETE}-t1c.nii.gz"))
    assert np.array_equal(voxels(file), np.asarray(made.dataobj))
    info = client.datastore()["objects"][f"{INCOMPLETE}-t1c"]["image"]["info"]
    assert (info["generated"], info["source"]) == ("translate", f"{INCOMPLETE}-t2f")
    assert client.next_sample("generated", {})["id"] == f"{INCOMPLETE}-t1c"
    file, _ = client.infer("segmentor", f"{INCOMPLETE}-t1c", {})
    assert voxels(file).shape == made.shape


def test_translation_hides_no_acquired_image(client, work, studies):
    case = first_case(studies)
    before = digest(work / "studies" / "images")
    _, params = client.infer("translate", image_ids(studies)[0], {"target_modalities": "flair"})
    name = f"{case.case_id}-from-t1n-t2f"
    assert params["images"] == {"t2f": name}
    after = digest(work / "studies" / "images")
    assert set(after) - set(before) == {str(work / "studies" / "images" / f"{name}.nii.gz")}
    assert {k: after[k] for k in before} == before


def test_synthesised_study_is_that_of_the_bundle_and_can_be_segmented(client, work, run_bundle):
    file, params = client.infer("synthesise", "new", {"seed": 3})
    name = "BraTS-SYN-00000-000"
    images = params["studies"][name]["images"]
    assert images == {m: f"{name}-{m}" for m in MODALITIES} and params["seed"] == 3
    out = run_bundle("synthesis", "generate", num_samples=1, seed=3) / name
    for kind in MODALITIES:
        stored = work / "studies" / "images" / f"{name}-{kind}.nii.gz"
        assert np.array_equal(voxels(stored), voxels(out / stored.name))
    label = voxels(file)
    assert np.array_equal(label, voxels(out / f"{name}-seg.nii.gz")) and label.shape == (240, 240, 1)
    for tag in ("final", "original"):
        assert np.array_equal(voxels(client.download_label(f"{name}-t2f", tag)), label)
    found, _ = client.infer("segmentor", f"{name}-t1c", {})
    lesion, segmented = label > 0, voxels(found) > 0
    assert 2 * (lesion & segmented).sum() > 0.5 * (lesion.sum() + segmented.sum())
    _, params = client.infer("synthesise", "new", {})
    assert list(params["studies"]) == ["BraTS-SYN-00001-000"] and params["seed"] == 1
    shown = [client.next_sample("generated", {})["id"] for _ in range(3)]
    assert shown[:2] == [f"{name}-t2f", "BraTS-SYN-00001-000-t2f"]  # those with a label first, none twice
    assert shown[2] not in (*shown[:2], f"{INCOMPLETE}-t1c")


def wait_for_training(client: Any) -> dict[str, Any]:
    """Status of the training once it ended."""
    for _ in range(PATIENCE):
        status = client.train_status()
        if status["status"] not in ("SUBMITTED", "RUNNING"):
            return status
        time.sleep(1)
    raise TimeoutError("the training does not end")


@pytest.mark.parametrize(
    "model, params, message",
    [
        ("segmentor", {"slice_range": "1,2,3"}, "error: slice_range is two whole numbers, such as 10,145, got '1,2,3'"),
        ("segmentor", {"slice_range": "0,999"}, "error: a training needs labels of two patients at least"),
        ("diagnosis", {}, "error: there is no trainer 'diagnosis', only segmentor"),
    ],
)
def test_trainings_that_cannot_be_say_why(client, model, params, message):
    client.train_start(model, params)
    status = wait_for_training(client)
    assert status["status"] == "ERROR" and status["details"][-1].startswith(message)


def test_training_on_labels(client, work, studies, reference):
    """Two epochs from the shipped weights; what comes out is used unless it is worse."""
    name = image_ids(studies)[1]
    segments = [{"name": label, "idx": value} for value, label in enumerate(("NCR", "ED", "ET"), 1)]
    saved = client.save_label(name, str(reference), params={"label_info": segments})
    assert saved["label"] == name and np.array_equal(voxels(client.download_label(name, "final")), voxels(reference))
    client.train_start("segmentor", {"max_epochs": 2, "samples_per_epoch": 16, "val_fraction": 0.5})
    status = wait_for_training(client)
    assert status["status"] == "DONE", status["details"]
    stats = client.info()["train_stats"]["segmentor"]
    assert (stats["epoch"], stats["total_epochs"]) == (2, 2)
    assert stats["in_use"] == (stats["after"] >= stats["before"]) and len(stats["patients"]["train"]) == 1
    training = work / "app" / "model" / "training"
    case = first_case(studies).case_id
    assert np.array_equal(voxels(training / "cases" / case / f"{case}-seg.nii.gz"), voxels(reference))
    weights = torch.load(training / "output" / "model.pt", map_location="cpu", weights_only=True)
    shipped = torch.load(ROOT / "bundles" / "segmentor" / "models" / "model.pt", map_location="cpu", weights_only=True)
    assert any(not torch.equal(weights[k], shipped.get("model", shipped)[k]) for k in weights)
    assert (work / "app" / "model" / "segmentor.pt").is_file() == stats["in_use"]
    file, params = client.infer("segmentor", name, {})
    assert params["trained_here"] == stats["in_use"]
    file, params = client.infer("segmentor", name, {"weights": "shipped"})
    assert not params["trained_here"] and np.array_equal(voxels(file), voxels(reference))


def test_better_weights_are_used_from_then_on(client, work, studies):
    """A training from weights that find nothing, whose Dice is 0, cannot make them worse."""
    trained = work / "app" / "model" / "segmentor.pt"
    network = from_config(bundle_root("segmentor"), "train.json", "network_def")
    torch.save({name: torch.zeros_like(value) for name, value in network.state_dict().items()}, trained)
    client.train_start("segmentor", {"max_epochs": 1, "samples_per_epoch": 16, "val_fraction": 0.5})
    status = wait_for_training(client)
    assert status["status"] == "DONE", status["details"]
    stats = client.info()["train_stats"]["segmentor"]
    assert stats["before"] == 0 and stats["in_use"]
    assert trained.read_bytes() == (trained.parent / "training" / "output" / "model.pt").read_bytes()
    _, params = client.infer("segmentor", image_ids(studies)[0], {})
    assert params["trained_here"] and params["weights"] == digests(segmentor=trained)["segmentor"]


def test_weights_that_do_not_fit_are_refused(client, answer_to, work, studies):
    trained = work / "app" / "model" / "segmentor.pt"
    torch.save(
        from_config(bundle_root("segmentor"), "train.json", "network_def", modalities="t2f").state_dict(), trained
    )
    message = answer_to("segmentor", image_ids(studies)[0])
    assert "segmentor.pt does not fit this network" in message and "Traceback" not in message
    trained.unlink()
