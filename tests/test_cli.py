"""Mistakes of the user take two lines and a code that is not 0; faults of the program keep their traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monai_ext import cli
from monai_ext.bundles import flag
from monai_ext.cli import UnknownKeyError, given_keys, refuse_unknown_keys, user_error
from monai_ext.data import CaseError, find_cases
from monai_ext.overview import overview

ROOT = Path(__file__).parents[1]
SEGMENTOR = ROOT / "bundles" / "segmentor" / "configs" / "inference.json"


def caught(function, *arguments) -> BaseException:
    """What a call raises, wrapped twice as MONAI does."""
    try:
        try:
            try:
                function(*arguments)
            except Exception as inner:
                raise RuntimeError("Failed to instantiate") from inner
        except RuntimeError as middle:
            raise RuntimeError("Failed to evaluate") from middle
    except RuntimeError as outer:
        return outer
    raise AssertionError("nothing was raised")


def test_user_errors(tmp_path):
    found = user_error(caught(find_cases, tmp_path / "absent"))
    assert isinstance(found, CaseError) and cli._line(found).endswith("is not a folder")
    assert str(user_error(caught(flag, "maybe"))) == "expected true or false, got 'maybe'"
    missing = user_error(caught(open, tmp_path / "absent"))
    assert isinstance(missing, FileNotFoundError) and "absent" in cli._line(missing)


def test_faults_keep_their_traceback():
    """A library's error in a line of ours, and errors from elsewhere, are not the user's."""
    layer = torch.nn.Linear(2, 3)
    for function, argument in ((layer, torch.zeros(1, 5)), (int, "x"), (find_cases, 7), ([].index, 1), (None, 1)):
        assert user_error(caught(function, argument)) is None, function
    assert user_error(None) is None


def test_error_of_a_loader_process():
    text = "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback ...\n  File x\n"
    error = RuntimeError(
        text + "monai_ext.data.cases.CaseError: case A: b cannot be read\n\nThe above ...\nRuntimeError"
    )
    assert user_error(error) is error and cli._line(error) == "case A: b cannot be read"
    assert user_error(RuntimeError(text + "ValueError: bad")) is None


def test_long_messages_are_one_line():
    error = RuntimeError("model.pt does not fit this network: Error(s) in loading state_dict for CGAN:\n\tMissing key")
    assert cli._line(error) == "model.pt does not fit this network: Error(s) in loading state_dict for CGAN"
    assert cli._line(KeyError("a key")) == "a key" and cli._line(ValueError()) == "ValueError"


def test_given_keys():
    line = "run --a 1 --b=2 --c -d -1 --e-f x y --g# --h#0#i @a -- --trace"
    assert given_keys(line.split()) == {
        "a": "1", "b": "2", "c": "True", "d": "-1", "e_f": "x", "g#": "True", "h#0#i": "@a"
    }  # fmt: skip


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"imports": [], "max_epochs": 3, "optimizer": {"lr": "@rate"}, "seed": 0, "run": []}))
    return path


@pytest.mark.parametrize(
    "words",
    [
        "--max_epochs 2 --seed 1", "--max-epochs=2", "--optimizer#lr 3", "--optimizer::amsgrad true", "--run_id other",
        "--meta_file m.json --logging_file l.conf --tracking mlflow --experiment_name x", "--rate 3",
        "--step 3 --optimizer#lr @step", "--_meta_#version 2", "--workflow_type infer", "other --init_id a --final_id b"
    ],
)  # fmt: skip
def test_known_keys(config, words):
    refuse_unknown_keys(["run", "--config_file", str(config), *words.split()])


@pytest.mark.parametrize(
    "words, message",
    [
        ("--max_epoch 2", "no key --max_epoch in train.json: did you mean --max_epochs?"),
        ("--zzz=2", "no key --zzz in train.json: it has max_epochs, seed"),
        ("--optimiser#lr 2", "no key --optimiser in train.json: it has max_epochs, seed"),
        ("--sed", "no key --sed in train.json: did you mean --seed?"),
    ],
)
def test_unknown_keys(config, words, message):
    with pytest.raises(UnknownKeyError) as error:
        refuse_unknown_keys(["run", "--config_file", str(config), *words.split()])
    assert str(error.value) == message


def test_unknown_keys_in_other_places(config, tmp_path):
    """Several configs are one, and an arguments file counts as the command line."""
    (tmp_path / "delta.json").write_text(json.dumps({"extra": 1}))
    both = f"['{config}','{tmp_path / 'delta.json'}']"
    refuse_unknown_keys(["run", "--config_file", both, "--extra", "2"])
    with pytest.raises(UnknownKeyError, match="no key --extr in train.json, delta.json: did you mean --extra"):
        refuse_unknown_keys(["run", "--config_file", both, "--extr", "2"])
    (tmp_path / "arguments.json").write_text(json.dumps({"config_file": str(config), "seeds": 1}))
    with pytest.raises(UnknownKeyError, match="no key --seeds in train.json: did you mean --seed"):
        refuse_unknown_keys(["run", "--args_file", str(tmp_path / "arguments.json")])
    refuse_unknown_keys(["run"])


def test_programs_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebook.py", "--config_file", "absent.json", "--wrong", "1"])
    hook = sys.excepthook
    cli.start()
    assert sys.excepthook is hook


def run(*arguments: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def problem_lines(done: subprocess.CompletedProcess) -> list[str]:
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-3000:]
    return done.stderr.strip().splitlines()[-2:]


def test_commands_that_fail(tmp_path, cases_dir):
    """As typed: a wrong key, and a case that cannot be read while the engine runs (MONAI logs that traceback too)."""
    case = tmp_path / "P0"
    case.mkdir()
    for path in (cases_dir / "P0").iterdir():
        (case / path.name).write_bytes(path.read_bytes()[: 100 if "t1c" in path.name else None])
    settings = ["--config_file", SEGMENTOR, "--dataset_dir", tmp_path, "--output_dir", tmp_path / "out"]
    lines = problem_lines(run("monai.bundle", "run", *settings, "--label_conventio", "brats2017"))
    assert lines == [
        "error: no key --label_conventio in inference.json: did you mean --label_convention?",
        "(MONAI_EXT_TRACEBACK=1 shows where it was raised)",
    ]
    torch.save({}, tmp_path / "model.pt")
    weights = ["--ckpt_path", tmp_path / "model.pt", "--handlers", "[]"]
    (line, _) = problem_lines(run("monai.bundle", "run", *settings, *weights))
    assert line.startswith("error: case P0: ") and "P0-t1c.nii.gz cannot be read" in line
    done = run("monai.bundle", "run", *settings, "--bundle_root", tmp_path, MONAI_EXT_TRACEBACK="1")
    assert done.returncode == 1 and "Traceback" in done.stderr and "BundleError" in done.stderr


def test_run_by_name(tmp_path):
    """From any folder: a wrong key is refused like MONAI's own command line does, missing weights are named."""
    lines = problem_lines(run("monai_ext", "run", "segmentor/inference", "--dataset_di", tmp_path, cwd=tmp_path))
    assert lines[0] == "error: no key --dataset_di in inference.json: did you mean --dataset_dir?"
    absent = tmp_path / "absent.pt"
    lines = problem_lines(run("monai_ext", "run", "synthesis/generate", "--featgen_weights", absent, cwd=tmp_path))
    assert lines[0].startswith("error: ") and str(absent) in lines[0]
    lines = problem_lines(run("monai_ext", "export", "synthesis", "--cgan_weights", absent, "--out", tmp_path / "out"))
    assert lines[0].startswith("error: ") and str(absent) in lines[0]


def test_overview(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = overview()
    for path in ROOT.glob("bundles/*/configs/*.json"):
        name = f"{path.parts[-3]}/{path.stem} "
        assert path.name == "metadata.json" or (name in text and str(path.relative_to(ROOT)) in text)
    for name in ("run ", "check_dataset ", "export ", "package "):
        assert f"\n  {name}" in text
    for path in (ROOT / "scripts").iterdir():
        if path.name != "stargan.py":  # a reference for benchmark.py
            assert path.is_dir() or f"  scripts/{path.name}: " in text
    done = run("monai_ext", "--help")
    assert done.returncode == 0 and done.stdout.strip() == text
