"""The page that goes with a generated data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from monai_ext.data import atomic_path
from monai_ext.labels import MODALITIES, MODALITY_TITLES
from monai_ext.synthesis.pictures import as_data_uri, as_seen, colour_label, panel
from monai_ext.synthesis.stream import Candidate


def render(template: str, path: str | Path, **values: Any) -> None:
    """Fill one of the package's page templates and write it, atomically."""
    pages = Environment(loader=PackageLoader("monai_ext.synthesis"), autoescape=select_autoescape(), trim_blocks=True)
    with atomic_path(path) as temporary:
        temporary.write_text(pages.get_template(template).render(**values), encoding="utf-8")


def study_row(candidate: Candidate) -> list:
    """Pictures of one candidate: map, mask, label, the modalities, and the label over the last."""
    return [
        as_seen(candidate.structure[0]), as_seen(1 - candidate.mask[0]), colour_label(candidate.label[0]),
        *[as_seen(i) for i in candidate.images], colour_label(candidate.label[0], candidate.images[-1]),
    ]  # fmt: skip


def study_titles(modalities: Sequence[str] = MODALITIES) -> list[str]:
    """Column titles of :func:`study_row`."""
    return ["map", "brain", "label", *[MODALITY_TITLES[m] for m in modalities], "overlay"]


def write_generation_report(
    path: str | Path,
    report: Mapping[str, Any],
    examples: Sequence[Candidate],
    modalities: Sequence[str] = MODALITIES,
) -> None:
    """Write ``report.html`` of a generation run.

    Args:
        path: the file.
        report: what ``report.json`` holds.
        examples: accepted candidates to show.
        modalities: of their images.
    """
    picture = as_data_uri(panel([study_row(c) for c in examples], study_titles(modalities))) if examples else None
    render("generation.html", path, report=report, picture=picture)
