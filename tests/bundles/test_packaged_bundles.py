"""Unpacked zips run without this checkout: what is imported is the package inside them."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from monai_ext.data import find_cases
from monai_ext.packaging import package_bundles, requirements

BUNDLES = Path(__file__).parents[2] / "bundles"

# forgets where an editable install finds the checkout, and says at the end which package was used
START = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in str(getattr(f, "__module__", ""))]
"""
COMMAND = (
    START
    + """
import runpy
try:
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
finally:
    print("package:", sys.modules["monai_ext"].__file__)
"""
)
# leaves nothing to import but the packages of a requirements.txt and what they need themselves
ONLY = """
import importlib.metadata, json, re
from packaging.requirements import Requirement
def norm(name):
    return re.sub("[-_.]+", "-", name).lower()
def needed(lines):
    todo, found = [Requirement(line) for line in lines], {"packaging", "setuptools"}
    while todo:
        wanted = todo.pop()
        name = norm(wanted.name)
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        try:
            todo += map(Requirement, importlib.metadata.requires(name) or [])
        except importlib.metadata.PackageNotFoundError:
            pass
    return found
class Block:
    def __init__(self, lines):
        found, packages = needed(lines), importlib.metadata.packages_distributions()
        self.hidden = {top for top, names in packages.items() if not found & {norm(n) for n in names}} - {"monai_ext"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
name, url, folder, keys, lines = sys.argv[1:]
block = Block(json.loads(lines))
assert {"pytest", "onnx", "nilearn"} & block.hidden and not {"torch", "monai", "numpy"} & block.hidden
sys.meta_path.insert(0, block)
"""
DOWNLOAD = (
    START
    + ONLY
    + """
from pathlib import Path
import monai.bundle, torch
monai.bundle.download(name=name, url=url, bundle_dir=folder, progress=False)
root = Path(folder, name)
workflow = monai.bundle.create_workflow(
    config_file=str(root / "configs" / "inference.json"), workflow_type="infer", **json.loads(keys)
)
workflow.run()
if (root / "models" / "model.pt").is_file():  # synthesis has no weights of its own
    network = monai.bundle.load(name, bundle_dir=folder, device="cpu")
    weights = torch.load(root / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
print("package:", sys.modules["monai_ext"].__file__)
"""
)


def python(code: str, *arguments: object, cwd: Path, isolated: bool = True, fails: bool = False) -> str:
    """Run code in a process of its own; returns its output, or its errors where it must fail. Isolated: the working
    folder is not searched.
    """
    cwd.mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.lower().endswith("_proxy")}
    command = [sys.executable, *(["-P"] if isolated else []), "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )  # fmt: skip
    assert (done.returncode != 0) is fails, done.stderr[-2000:]
    return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def zips(tmp_path_factory, random_weights, segmentor_copy):
    """Zips of the bundles' own configs with random weights."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("featgen", "cgan", "segmentor", "synthesis"):
        for part in ("configs", "docs"):
            shutil.copytree(BUNDLES / name / part, root / "bundles" / name / part)
        shutil.copyfile(BUNDLES / name / "LICENSE", root / "bundles" / name / "LICENSE")
    for name, weights in random_weights.items():
        (root / "bundles" / name / "models").mkdir()
        shutil.copyfile(weights, root / "bundles" / name / "models" / "model.pt")
    shutil.copytree(segmentor_copy / "models", root / "bundles" / "segmentor" / "models")
    return {z.name.split("_v")[0]: z for z in package_bundles(root / "bundles", root / "dist")}


@pytest.fixture
def unpack(zips, tmp_path):
    def extract(name: str) -> Path:
        with zipfile.ZipFile(zips[name]) as archive:
            archive.extractall(tmp_path / "unpacked")
        return tmp_path / "unpacked" / name

    return extract


@pytest.mark.parametrize("inside", [True, False], ids=["from the folder", "from elsewhere"])
def test_segmentor(unpack, small_dir, tmp_path, inside):
    root = unpack("segmentor")
    (case,) = find_cases(small_dir)[:1]
    config = "configs/inference.json" if inside else root / "configs" / "inference.json"
    printed = python(
        COMMAND, "run", "--config_file", config, "--dataset_dir", small_dir / case.case_id, "--output_dir",
        tmp_path / "out", "--roi_size", "[64,64]", cwd=root if inside else tmp_path / "elsewhere", isolated=not inside,
    )  # fmt: skip
    assert f"package: {root / 'monai_ext' / '__init__.py'}" in printed
    assert [p.name for p in (tmp_path / "out").iterdir()] == [f"{case.case_id}.nii.gz"]


def test_synthesis_brings_its_parts(unpack, tmp_path):
    root = unpack("synthesis")
    printed = python(
        COMMAND, "run", "--config_file", root / "configs" / "generate.json", "--num_samples", "1", "--mae_threshold",
        "1", "--dice_threshold", "0", "--output_dir", tmp_path / "studies", cwd=tmp_path / "elsewhere",
    )  # fmt: skip
    assert f"package: {root / 'monai_ext' / '__init__.py'}" in printed
    assert len(find_cases(tmp_path / "studies", require_segmentation=True)) == 1


CASE = "BraTS-TST-00000-000"
SLICES = {"slice_range": [3, 5]}
INFERENCES = {
    "featgen": ({"num_samples": 1, "mae_threshold": 1}, ["map-00000.nii.gz", "mask-00000.nii.gz"]),
    "cgan": (SLICES, [f"{CASE}/{CASE}-t1n.nii.gz", f"{CASE}/{CASE}-t2f.nii.gz"]),
    "segmentor": ({"roi_size": [64, 64]}, [f"{CASE}.nii.gz"]),
    "synthesis": (SLICES, ["BraTS-SYN-00000-000/BraTS-SYN-00000-000-t1c.nii.gz", "manifest.jsonl"]),
}
"""Keys of an inference on one small case, and some of the files that it writes."""


@pytest.mark.parametrize("name", INFERENCES)
def test_download_load_and_run(zips, small_dir, tmp_path, name):
    """MONAI's own way from a server to a result, over loopback, with the packages of the metadata and no others."""
    keys, files = INFERENCES[name]
    keys = {"output_dir": str(tmp_path / "out"), **keys}
    if name != "featgen":
        keys["dataset_dir"] = str(small_dir / CASE)
    handler = functools.partial(QuietHandler, directory=zips[name].parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{zips[name].name}"
        folder = tmp_path / "downloaded"
        wanted = [line for line in requirements(BUNDLES / name).splitlines() if "==" in line]
        arguments = (name, url, folder, json.dumps(keys), json.dumps(wanted))
        printed = python(DOWNLOAD, *arguments, cwd=tmp_path / "elsewhere")
        server.shutdown()
    assert f"package: {folder / name / 'monai_ext' / '__init__.py'}" in printed
    assert all((tmp_path / "out" / file).is_file() for file in files)


def test_a_part_that_is_missing(unpack, tmp_path):
    """What the zip held and somebody deleted is named in one line, and not looked for in another place."""
    root = unpack("synthesis")
    (root / "featgen" / "models" / "model.pt").unlink()
    printed = python(
        COMMAND, "run", "--config_file", root / "configs" / "generate.json", "--output_dir", tmp_path / "studies",
        cwd=tmp_path / "elsewhere", fails=True,
    )  # fmt: skip
    assert "Traceback" not in printed
    assert f"error: {root / 'featgen' / 'models' / 'model.pt'} does not exist: train the bundle first" in printed


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""
