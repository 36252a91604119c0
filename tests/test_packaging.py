"""What goes into a bundle's zip, and that the same files give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from pathlib import Path

import pytest

from monai_ext import bundles as bundles_module
from monai_ext.bundles import BundleError, bundle_root
from monai_ext.packaging import BUNDLES, PACKAGE, PARTS, UNPACKED, package_bundles, requirements

ROOT = Path(__file__).parents[1]
VERSION = "9.8.7"


@pytest.fixture
def bundles(tmp_path):
    """Bundles with a few bytes for weights, and what must not be packed."""
    for name in ("featgen", "cgan", "segmentor", "synthesis"):
        root = tmp_path / "bundles" / name
        for folder in ("configs", "docs", "models", "output", "eval", "configs/__pycache__"):
            (root / folder).mkdir(parents=True)
        metadata = {
            "name": name, "version": VERSION, "monai_version": "1", "pytorch_version": "2", "numpy_version": "3",
            "required_packages_version": {"fire": "4"},
        }  # fmt: skip
        (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
        (root / "docs" / "README.md").write_text(f"run bundles/{name}/configs/a.json and bundles/cgan/configs/b.json\n")
        for file in ("LICENSE", "output/x.nii.gz", "eval/y.json", "configs/.hidden", "configs/__pycache__/z.pyc"):
            (root / file).write_text(file)
        (root / "models" / ".17.model.pt.tmp").write_bytes(b"half")
        if name != "synthesis":
            (root / "configs" / "train.json").write_text("{}")
            (root / "models" / "model.pt").write_bytes(name.encode())
    return tmp_path / "bundles"


def names(path: Path, but: str = "/monai_ext/") -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if but not in name}


def test_content(bundles, tmp_path):
    zips = package_bundles(bundles, tmp_path / "dist")
    assert [z.name for z in zips] == [f"{n}_v{VERSION}.zip" for n in ("featgen", "cgan", "segmentor", "synthesis")]
    own = ("LICENSE", "configs/metadata.json", "configs/train.json", "docs/README.md", "models/model.pt")
    assert names(zips[0]) == {f"featgen/{n}" for n in (*own, "requirements.txt")}
    inner = {f"cgan/{part}/{n}" for part in ("featgen", "segmentor") for n in own}
    assert names(zips[1]) == {f"cgan/{n}" for n in (*own, "requirements.txt")} | inner
    parts = {f"synthesis/{part}/{n}" for part in ("featgen", "cgan", "segmentor") for n in own}
    mine = {f"synthesis/{n}" for n in own if "model.pt" not in n and "train.json" not in n}
    assert names(zips[3]) == parts | mine | {"synthesis/requirements.txt"}
    with zipfile.ZipFile(zips[3]) as archive:
        assert archive.read("synthesis/cgan/models/model.pt") == b"cgan"
        text = archive.read("synthesis/docs/README.md").decode()
        assert text == "run configs/a.json and cgan/configs/b.json\n"


def test_whole_package(bundles, tmp_path):
    (path,) = package_bundles(bundles, tmp_path, ["featgen"])
    with zipfile.ZipFile(path) as archive:
        packed = {n for n in archive.namelist() if "/monai_ext/" in n}
        sources = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        assert packed == {f"featgen/monai_ext/{p.relative_to(PACKAGE).as_posix()}" for p in sources}
        assert archive.read("featgen/monai_ext/cli.py") == (PACKAGE / "cli.py").read_bytes()
        assert any(name.endswith(".html") for name in packed)


def test_same_bytes(bundles, tmp_path):
    first = package_bundles(bundles, tmp_path / "one")
    for path in bundles.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    second = package_bundles(bundles, tmp_path / "two")
    assert [z.read_bytes() for z in first] == [z.read_bytes() for z in second]
    with zipfile.ZipFile(first[0]) as archive:
        entries = archive.infolist()
        assert {(e.date_time, e.external_attr >> 16, e.create_system) for e in entries} == {
            ((1980, 1, 1, 0, 0, 0), 0o100644, 3)
        }
        assert [e.filename for e in entries] == sorted(e.filename for e in entries)
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == sorted(
        [*(z.name for z in first), "SHA256SUMS", "model_info.json"]
    )


@pytest.mark.parametrize("url, base", [("", ""), ("https://example.org/zoo/", "https://example.org/zoo/")])
def test_lists(bundles, tmp_path, url, base):
    zips = package_bundles(bundles, tmp_path / "dist", ["cgan", "featgen"], url)
    info = json.loads((tmp_path / "dist" / "model_info.json").read_text())
    assert list(info) == [f"cgan_v{VERSION}", f"featgen_v{VERSION}"]
    sums = (tmp_path / "dist" / "SHA256SUMS").read_text().splitlines()
    for path, line in zip(zips, sums, strict=True):
        assert line == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
        assert info[path.stem] == {
            "checksum": hashlib.sha1(path.read_bytes()).hexdigest(), "source": f"{base}{path.name}"
        }  # fmt: skip


def test_refuses(bundles, tmp_path):
    with pytest.raises(ValueError, match="unknown bundle.s. segmentr: choose from featgen, cgan"):
        package_bundles(bundles, tmp_path / "dist", ["segmentr"])
    (bundles / "cgan" / "models" / "model.pt").unlink()
    with pytest.raises(BundleError, match="cgan/models/model.pt does not exist: is the bundle complete, and trained"):
        package_bundles(bundles, tmp_path / "dist", ["synthesis"])
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("name", BUNDLES)
def test_a_zip_holds_every_bundle_that_it_reads(name):
    """Whatever a config of the bundle, or of one inside it, looks up by name."""
    there = {name, *PARTS.get(name, ())}
    for bundle in there:
        for config in (ROOT / "bundles" / bundle / "configs").glob("*.json"):
            asked = set(re.findall(r"bundle_root\('(\w+)'\)", config.read_text(encoding="utf-8")))
            assert asked <= there, f"{config.name} of {bundle} reads {asked - there}"


@pytest.mark.parametrize("name", ["featgen", "cgan", "segmentor", "synthesis"])
def test_readme_and_requirements_of_the_bundles(name, tmp_path):
    """The README of a zip speaks of the unpacked folder; its packages are those of the metadata."""
    text = requirements(ROOT / "bundles" / name)
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in text.splitlines() if "==" in line} <= set(pinned)
    assert {"monai", "torch", "numpy"} <= {line.split("==")[0] for line in text.splitlines()}
    try:
        (path,) = package_bundles(ROOT / "bundles", tmp_path, [name])
    except BundleError as error:
        pytest.skip(str(error))
    with zipfile.ZipFile(path) as archive:
        readme = archive.read(f"{name}/docs/README.md").decode()
        assert UNPACKED in readme and "bundles/" not in readme
        named = re.findall(r"[\w/]*configs/\w+\.json", readme)
        assert named and {f"{name}/{config}" for config in named} <= set(archive.namelist())


def test_unpacked_bundle_comes_before_the_working_folder(tmp_path, monkeypatch):
    """A program that loads a downloaded bundle gets that one, wherever it runs, and the parts inside it."""
    for folder, name in (("a/mine", "mine"), ("a/mine/part", "part"), ("b/mine", "mine"), ("b/part", "part")):
        (tmp_path / folder / "configs").mkdir(parents=True)
        (tmp_path / folder / "configs" / "metadata.json").write_text(json.dumps({"name": name}))
    monkeypatch.setattr(bundles_module, "__file__", str(tmp_path / "a" / "mine" / "monai_ext" / "bundles.py"))
    monkeypatch.chdir(tmp_path / "b" / "mine")
    assert bundle_root("mine") == str(tmp_path / "a" / "mine")
    assert bundle_root("part") == str(tmp_path / "a" / "mine" / "part")
