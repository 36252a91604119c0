"""A data set from noise: what is written, what is counted, and what an interruption leaves."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_ext.data import LAYOUTS, StudyWriter, find_cases, read_case, study_name
from monai_ext.synthesis import DatasetGenerator, Manifest, ManifestError, SynthesisError

TIMED = ("progress.json", "report.json", "report.html")  # they hold seconds


@pytest.fixture
def generator(stream):
    def make(folder, num_samples=5, layout="brats", batch_size=3, mae_threshold=0.05, dice_threshold=0.0, **kwargs):
        made = stream(mae_threshold, dice_threshold, seed=kwargs.pop("seed", 0))
        return DatasetGenerator(made, StudyWriter(folder, layout), num_samples, batch_size, **kwargs)

    return make


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but those that hold seconds."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: data for name, data in files.items() if name not in TIMED}


def without_seconds(path: Path) -> dict:
    return {k: v for k, v in json.loads(path.read_text()).items() if not k.startswith("seconds")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, stream):
    """A finished run of five samples, three candidates at a time."""
    root = tmp_path_factory.mktemp("finished")
    run = DatasetGenerator(stream(), StudyWriter(root), 5, 3)
    return root, run.run()


def test_folder(finished):
    root, _ = finished
    lines = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    assert [r["name"] for r in lines] == [study_name(i) for i in range(5)]
    assert [r["candidate"] for r in lines] == sorted({r["candidate"] for r in lines})
    for record in lines:
        assert record["seed"] == 0 and record["label_source"] == "procedural"
        assert set(record["scores"]) == {"mae", "placement_tries", "dice_index"}
        for path in [*record["image"], record["label"], record["map"], record["mask"]]:
            assert (root / path).is_file()
        label = np.asarray(nib.load(root / record["label"]).dataobj)
        assert {k: int((label == int(k)).sum()) for k in "123"} == record["lesion_pixels"]
        mask = np.asarray(nib.load(root / record["mask"]).dataobj)
        assert not label[mask == 1].any()
        for path in record["image"]:
            image = np.asarray(nib.load(root / path).dataobj)
            assert image.dtype == np.float32 and not image[mask == 1].any() and 0 <= image.min() < image.max() <= 1
    datalist = json.loads((root / "dataset.json").read_text())
    assert datalist["numTraining"] == 5 and [e["label"] for e in datalist["training"]] == [r["label"] for r in lines]


def test_counts_add_up(finished, generator, tmp_path):
    root, report = finished
    assert json.loads((root / "report.json").read_text()) == report
    strict = generator(tmp_path, dice_threshold=0.03, num_samples=3).run()
    for made in report, strict:
        stages, share = made["stages"], made["acceptance"]
        passed = ("passed_map_filter", "passed_placement", "passed_dice_filter")
        order = [stages[s] for s in ("candidates", *passed, "accepted")]
        assert order == sorted(order, reverse=True) and order[-1] == order[-2] == made["samples"]
        assert share["all"] == pytest.approx(order[-1] / order[0], abs=1e-4)
        assert share["map"] == pytest.approx(order[1] / order[0], abs=1e-4)
        assert share["placement"] == pytest.approx(order[2] / order[1], abs=1e-4)
        assert share["dice"] == pytest.approx(order[3] / order[2], abs=1e-4)
        assert made["seconds"] >= 0 and made["version"]
    assert report["settings"] == {
        "seed": 0, "style_scale": 1.0, "mae_threshold": 0.05, "dice_threshold": 0.0, "labels": "ProceduralLesions",
        "labels_digest": None, "layout": "brats",
    }  # fmt: skip
    counts = json.loads((root / "progress.json").read_text())["counts"]
    assert counts["candidates"] == sum(counts[s] for s in ("map", "placement", "dice", "accepted"))
    assert counts["map"] > 0 and counts["placement"] > 0


class Page(HTMLParser):
    """Open tags must be closed in order; keeps the pictures and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    assert page.open == []
    return page


def test_report_page(finished):
    root, report = finished
    page = read_page(root / "report.html")
    assert len(page.pictures) == 1
    kind, data = page.pictures[0].split(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.width > 500 and np.asarray(picture).std() > 5
    text = " ".join(page.words)
    assert "5 synthetic studies" in text and str(report["stages"]["candidates"]) in text


def test_interrupted_run_ends_the_same(tmp_path, finished, generator, monkeypatch):
    """Killed in the first or a later batch: names, bytes and counts are those of one run."""
    for after in (1, 3, 4):
        folder = tmp_path / str(after)
        broken = generator(folder)
        write, written = broken.writer.write, []

        def fail(*args, write=write, written=written, after=after):
            if len(written) == after:
                raise KeyboardInterrupt
            written.append(args[0])
            write(*args)

        monkeypatch.setattr(broken.writer, "write", fail)
        with pytest.raises(KeyboardInterrupt):
            broken.run()
        report = generator(folder).run()
        assert contents(folder) == contents(finished[0])
        for name in ("report.json", "progress.json"):
            assert without_seconds(folder / name) == without_seconds(finished[0] / name)
        assert report["stages"] == finished[1]["stages"]
        assert len(read_page(folder / "report.html").pictures) == 1


def test_finished_run_does_nothing_more(tmp_path, generator, monkeypatch):
    generator(tmp_path, num_samples=2).run()
    before = contents(tmp_path)
    again = generator(tmp_path, num_samples=2)
    monkeypatch.setattr(again.writer, "write", None)
    again.run()
    assert contents(tmp_path) == before
    assert len(read_page(tmp_path / "report.html").pictures) == 1, "the page keeps its picture"


def test_more_samples_of_a_finished_run(tmp_path, finished, generator):
    generator(tmp_path, num_samples=2).run()
    first = {n: d for n, d in contents(tmp_path).items() if n != "dataset.json" and n != "manifest.jsonl"}
    report = generator(tmp_path).run()
    assert report["stages"] == finished[1]["stages"]
    assert first.items() <= contents(tmp_path).items()
    assert set(contents(tmp_path)) == set(contents(finished[0]))


def test_line_beyond_the_counts_is_dropped(tmp_path):
    manifest = Manifest(tmp_path, {"seed": 0})
    manifest.add({"name": "a"})
    manifest.counts.update(candidates=3, map=2, accepted=1)
    manifest.save()
    manifest.add({"name": "b"})  # killed before save
    again = Manifest(tmp_path, {"seed": 0})
    assert again.records == [{"name": "a"}] and again.counts["candidates"] == 3
    assert (tmp_path / "manifest.jsonl").read_text() == '{"name": "a"}\n'
    again.add({"name": "c"})
    assert [json.loads(x)["name"] for x in (tmp_path / "manifest.jsonl").read_text().splitlines()] == ["a", "c"]


def test_half_a_line_is_dropped(tmp_path):
    manifest = Manifest(tmp_path, {"seed": 0})
    manifest.add({"name": "a"})
    manifest.counts.update(candidates=1, accepted=1)
    manifest.save()
    with manifest.lines.open("a") as stream:
        stream.write('{"name": "b')
    again = Manifest(tmp_path, {"seed": 0})
    assert again.records == [{"name": "a"}] and manifest.lines.read_text() == '{"name": "a"}\n'


def test_line_before_the_first_count_is_dropped(tmp_path):
    Manifest(tmp_path, {"seed": 0}).add({"name": "a"})  # killed before the first save
    again = Manifest(tmp_path, {"seed": 0})
    assert again.records == [] and again.counts["accepted"] == 0
    again.add({"name": "b"})
    assert [json.loads(x)["name"] for x in (tmp_path / "manifest.jsonl").read_text().splitlines()] == ["b"]


def test_other_settings_are_refused(tmp_path, generator):
    generator(tmp_path, num_samples=1, settings={"weights": {"cgan": "aa"}}).run()
    with pytest.raises(ManifestError, match=r"holds a run with other settings \(seed\): give another --output_dir"):
        generator(tmp_path, num_samples=1, seed=1, settings={"weights": {"cgan": "aa"}})
    with pytest.raises(ManifestError, match=r"\(layout, mae_threshold, weights\)"):
        generator(tmp_path, layout="nnunet", mae_threshold=0.1, settings={"weights": {"cgan": "bb"}})


def test_attempts_run_out(tmp_path, generator):
    with pytest.raises(
        SynthesisError,
        match=r"only 0 of 3 samples accepted in 6 candidates; most were turned down at stage 'map' \(6\): loosen its "
        r"threshold or raise --max_attempts",
    ):
        generator(tmp_path, 3, max_attempts=2, mae_threshold=-1.0).run()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["samples"] == 0 and report["stages"]["candidates"] == 6 and report["acceptance"]["placement"] is None
    assert read_page(tmp_path / "report.html").pictures == []
    assert json.loads((tmp_path / "dataset.json").read_text())["training"] == []


def test_attempts_run_out_at_the_last_filter_then_raised(tmp_path, generator):
    with pytest.raises(SynthesisError, match=r"in 4 candidates; most were turned down at stage 'dice'"):
        generator(tmp_path, 2, max_attempts=2, mae_threshold=1.0, dice_threshold=1.1).run()
    with pytest.raises(SynthesisError, match=r"only 0 of 2 samples accepted in 6 candidates"):
        generator(tmp_path, 2, max_attempts=3, mae_threshold=1.0, dice_threshold=1.1).run()


@pytest.mark.parametrize("wrong", [{"num_samples": 0}, {"batch_size": 0}, {"max_attempts": 0}])
def test_counts_below_one_are_refused(tmp_path, generator, wrong):
    with pytest.raises(ValueError, match="num_samples, batch_size and max_attempts must be at least 1, got .*0"):
        generator(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, finished, generator, layout):
    generator(tmp_path, num_samples=2, layout=layout).run()
    for record in map(json.loads, (tmp_path / "manifest.jsonl").read_text().splitlines()):
        images = [record["image"]] if isinstance(record["image"], str) else record["image"]
        assert all((tmp_path / p).is_file() for p in [*images, record["label"], record["map"], record["mask"]])
    assert len(json.loads((tmp_path / "dataset.json").read_text())["training"]) == 2
    if layout != "nnunet":  # the same voxels whatever the layout
        for mine, theirs in zip(find_cases(tmp_path), find_cases(finished[0])):
            assert mine.case_id == theirs.case_id
            for a, b in zip(read_case(mine), read_case(theirs)):
                assert a.as_tensor().equal(b.as_tensor())
    else:
        assert sorted(p.name for p in (tmp_path / "imagesTr").iterdir())[:2] == [
            f"{study_name(0)}_0000.nii.gz", f"{study_name(0)}_0001.nii.gz",
        ]  # fmt: skip


def test_unknown_layout(tmp_path):
    with pytest.raises(ValueError, match="layout is one of brats, decathlon, nnunet, got 'bids'"):
        StudyWriter(tmp_path, "bids")
