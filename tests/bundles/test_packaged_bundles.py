"""Unpacked zips run without this checkout: what is imported is the package inside them."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from monai_ext.data import find_cases, write_phantom_cases
from monai_ext.packaging import package_bundles

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
DOWNLOAD = (
    START
    + """
from pathlib import Path
import monai.bundle, torch
url, folder, cases, out = sys.argv[1:]
monai.bundle.download(name="segmentor", url=url, bundle_dir=folder, progress=False)
root = Path(folder, "segmentor")
workflow = monai.bundle.create_workflow(
    config_file=str(root / "configs" / "inference.json"), workflow_type="infer", dataset_dir=cases, output_dir=out,
    roi_size=[96, 96],
)
workflow.run()
network = monai.bundle.load("segmentor", bundle_dir=folder, device="cpu")
weights = torch.load(root / "models" / "model.pt", weights_only=True)
assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
print("package:", sys.modules["monai_ext"].__file__)
"""
)


def python(code: str, *arguments: object, cwd: Path, isolated: bool = True) -> str:
    """Run code in a process of its own; returns its output. Isolated: the working folder is not searched."""
    cwd.mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.lower().endswith("_proxy")}
    command = [sys.executable, *(["-P"] if isolated else []), "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


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


def test_download_load_and_run(zips, tmp_path):
    """MONAI's own way from a server to a segmented case, over the loopback interface."""
    write_phantom_cases(tmp_path / "cases", num_cases=1, axial_range=(45, 69))
    handler = functools.partial(QuietHandler, directory=zips["segmentor"].parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{zips['segmentor'].name}"
        folder = tmp_path / "downloaded"
        printed = python(DOWNLOAD, url, folder, tmp_path / "cases", tmp_path / "out", cwd=tmp_path / "elsewhere")
        server.shutdown()
    assert f"package: {folder / 'segmentor' / 'monai_ext' / '__init__.py'}" in printed
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["BraTS-PHA-00000-000.nii.gz"]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""
