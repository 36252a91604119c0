"""Working folder of the server, so that neither the user's studies nor this repository are ever written to.

Studies are copied, not linked: MONAI Label follows links when it stores or removes an image, into the user's folder.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lib.cases import EXTENSIONS, LABELLED, image_id
from monai_ext.data import Case, CaseError, atomic_path, find_cases, list_cases, read_case, write_nifti

APP = Path(__file__).parents[1]
IMAGES = "images"
"""Folder of the images in the datastore; of their own, since labels are named like images and would pass for such."""


@dataclass
class Copied:
    """What a working folder holds after copying.

    Args:
        cases: number of cases.
        images: number of images.
        labels: number of cases that came with a label.
        problems: what is wrong with those that did not get in.
    """

    cases: int = 0
    images: int = 0
    labels: int = 0
    problems: list[str] = field(default_factory=list)


def flat_name(case: Case, modality: str) -> str:
    """File name of an image in the datastore, which has one folder for all; it keeps its own where that tells its case.

    BRATS 2015 names say nothing of the case, and a Decathlon file holds four images.
    """
    source = case.images[modality]
    if case.convention in ("brats2017", "brats2023"):
        return source.path.name
    ending = ".nii.gz" if source.channel is not None else next(e for e in EXTENSIONS if source.path.name.endswith(e))
    return f"{case.case_id}-{modality}{ending}"


def _copy_image(case: Case, modality: str, target: Path) -> None:
    source = case.images[modality]
    if source.channel is None:
        with atomic_path(target) as temporary:
            shutil.copyfile(source.path, temporary)  # without the permissions: the originals may be read-only
    else:
        image, _ = read_case(case, (modality,), label=False)
        write_nifti(target, image[0].numpy(), image.affine.numpy())


def _copy_label(case: Case, target: Path) -> None:
    """The reference segmentation, as canonical classes: a datastore has one convention, releases of BraTS have four."""
    _, label = read_case(case, ())
    write_nifti(target, label[0].numpy(), label.affine.numpy())


def copy_studies(source: str | Path, target: str | Path) -> Copied:
    """Copy the cases under a folder into the layout of a datastore; what is there already is left alone.

    Args:
        source: folder of cases in any layout of :func:`monai_ext.data.find_cases`, complete or not.
        target: folder of the datastore; gets ``images`` and ``labels/final``.

    Raises:
        CaseError: when there is no such folder, two cases have one name, or the target lies in the source.
    """
    source, target = Path(source).expanduser().resolve(), Path(target).resolve()
    if target.is_relative_to(source):
        raise CaseError(f"{target} lies in {source}, which must not be written to: name another working folder")
    found, bad = list_cases(source, ())
    copied = Copied(problems=[f"case {name}: {reason}" for name, reason in bad])
    images, labels = target / IMAGES, target / "labels" / "final"
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for case in find_cases(source, (), on_bad_case="skip") if found else []:
        files = {m: images / flat_name(case, m) for m in case.images}
        try:
            for modality, file in files.items():
                if not file.exists():
                    _copy_image(case, modality, file)
            if case.segmentation is not None and files:
                label = labels / f"{image_id(files.get(LABELLED) or next(iter(files.values())))}.nii.gz"
                if not label.exists():
                    _copy_label(case, label)
                copied.labels += 1
        except CaseError as error:
            copied.problems.append(str(error))
        copied.images += sum(file.exists() for file in files.values())
        copied.cases += 1
    return copied


def copy_app(target: str | Path) -> None:
    """Copy the app anew; weights trained earlier, in ``model``, stay."""
    target = Path(target)
    shutil.rmtree(target / "lib", ignore_errors=True)
    shutil.copytree(APP / "lib", target / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(APP / "main.py", target / "main.py")
    (target / "model").mkdir(exist_ok=True)


def main(arguments: Sequence[str]) -> None:
    """``STUDIES WORK``: fill the working folder and say what is in it."""
    studies, work = arguments
    try:
        copied = copy_studies(studies, Path(work) / "studies")
    except CaseError as error:
        sys.exit(f"error: {error}")
    copy_app(Path(work) / "app")
    for problem in copied.problems:
        print(f"left out: {problem}")
    print(f"{copied.cases} cases, {copied.images} images, {copied.labels} with a label, copied to {work}")
    if not copied.cases:
        print(f"no case found under {studies}: 'synthesise' makes some; see the README for the layouts understood")


if __name__ == "__main__":
    main(sys.argv[1:])
