"""Make zips of the bundles that run alone: a bundle, this package beside its configs, and the bundles it is made of."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from monai_ext.bundles import BundleError
from monai_ext.data.atomic import atomic_path, write_json

PACKAGE = Path(__file__).resolve().parent
BUNDLES = ("featgen", "cgan", "segmentor", "synthesis")
PARTS = {"synthesis": ("featgen", "cgan", "segmentor"), "cgan": ("featgen", "segmentor")}
"""Bundles that a bundle reads; they go into its zip. ``cgan`` may take maps of ``featgen``; segmentors evaluate it."""

CONTENT = ("LICENSE", "configs", "docs", "large_files.yml", "models")
MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
REPOSITORY = "From the root of the repository, in its environment (`source .venv/bin/activate`)."
UNPACKED = "From this bundle's folder, after `pip install -r requirements.txt`."


def bundle_files(root: str | Path) -> Iterator[tuple[str, Path]]:
    """Name inside the bundle and path of each file that belongs to it: no outputs, caches or hidden files.

    Args:
        root: folder of the bundle.

    Raises:
        BundleError: naming a file that a bundle must have and this one has not.
    """
    root = Path(root)
    weights = ["models/model.pt"] if (root / "configs" / "train.json").is_file() else []  # else made of other bundles
    for needed in ("LICENSE", "configs/metadata.json", "docs/README.md", *weights):
        if not (root / needed).is_file():
            raise BundleError(f"{root / needed} does not exist: is the bundle complete, and trained?")
    for top in CONTENT:
        yield from _files(root / top, root)


def _files(start: Path, root: Path) -> Iterator[tuple[str, Path]]:
    for path in [start] if start.is_file() else sorted(start.rglob("*")):
        name = path.relative_to(root)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if path.is_file() and not hidden and path.suffix not in (".pyc", ".tmp"):
            yield name.as_posix(), path


def requirements(root: str | Path) -> str:
    """``requirements.txt`` of a bundle, from its metadata."""
    metadata = json.loads((Path(root) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    versions = {name: metadata[key] for name, key in
                (("monai", "monai_version"), ("torch", "pytorch_version"), ("numpy", "numpy_version"))}  # fmt: skip
    lines = [f"{name}=={version}" for name, version in {**versions, **metadata["required_packages_version"]}.items()]
    return "\n".join([*lines, "nilearn  # for runs without data of your own: the template behind the phantom", ""])


def _content(bundles_dir: Path, name: str) -> dict[str, Path | str]:
    """Name in the zip -> file or text."""
    content: dict[str, Path | str] = {}
    for bundle, prefix in ((name, name), *((part, f"{name}/{part}") for part in PARTS.get(name, ()))):
        content |= {f"{prefix}/{file}": path for file, path in bundle_files(bundles_dir / bundle)}
    content |= {f"{name}/monai_ext/{file}": path for file, path in _files(PACKAGE, PACKAGE)}
    readme = (bundles_dir / name / "docs" / "README.md").read_text(encoding="utf-8")
    content[f"{name}/docs/README.md"] = readme.replace(f"bundles/{name}/", "").replace("bundles/", "").replace(
        REPOSITORY, UNPACKED)  # fmt: skip
    content[f"{name}/requirements.txt"] = requirements(bundles_dir / name)
    return content


def package_bundle(bundles_dir: str | Path, name: str, out: str | Path) -> Path:
    """Write ``<name>_v<version>.zip``, atomically; the same files give the same bytes.

    It holds the folder ``<name>`` with the bundle, the whole of this package beside its configs (where MONAI looks
    for a bundle's code), ``requirements.txt``, and inside it the bundles that it reads weights of. Nothing is
    compressed: weights hardly shrink, and the bytes would depend on the version of zlib.

    Args:
        bundles_dir: folder of the bundles.
        name: of the bundle.
        out: folder of the zip.

    Raises:
        BundleError: see :func:`bundle_files`.
    """
    content = _content(Path(bundles_dir), name)
    metadata = json.loads((Path(bundles_dir) / name / "configs" / "metadata.json").read_text(encoding="utf-8"))
    path = Path(out) / f"{name}_v{metadata['version']}.zip"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for entry in sorted(content):
            info = zipfile.ZipInfo(entry, MOMENT)
            info.create_system, info.external_attr = 3, 0o100644 << 16  # Unix, whatever this machine is
            source = content[entry]
            archive.writestr(info, source.encode() if isinstance(source, str) else source.read_bytes())
    return path


def package_bundles(
    bundles_dir: str | Path, out: str | Path = "dist", bundles: Sequence[str] = BUNDLES, url: str = ""
) -> list[Path]:
    """Zip bundles, and write ``SHA256SUMS`` and ``model_info.json`` (as in MONAI's model zoo) for them.

    Args:
        bundles_dir: folder of the bundles.
        out: where the files go.
        bundles: which; the two lists name these and no others.
        url: where the zips will be served from, put before their names in ``model_info.json``; the bare names without.

    Returns:
        The zips.

    Raises:
        ValueError: for an unknown bundle.
        BundleError: see :func:`bundle_files`.
    """
    unknown = sorted(set(bundles) - set(BUNDLES))
    if unknown or not bundles:
        raise ValueError(f"unknown bundle(s) {', '.join(unknown)}: choose from {', '.join(BUNDLES)}")
    zips = [package_bundle(bundles_dir, name, out) for name in bundles]
    base = f"{url.rstrip('/')}/" if url else ""
    info = {z.stem: {"checksum": _digest(z, "sha1"), "source": f"{base}{z.name}"} for z in zips}
    write_json(Path(out) / "model_info.json", info)
    with atomic_path(Path(out) / "SHA256SUMS") as temporary:
        temporary.write_text("".join(f"{_digest(z, 'sha256')}  {z.name}\n" for z in zips), encoding="utf-8")
    return zips


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
