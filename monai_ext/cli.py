"""Comfort on the command line: a wrong key is refused by name, a mistake of the user takes two lines."""

from __future__ import annotations

import difflib
import dis
import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle import run as run_bundle

__all__ = ["UnknownKeyError", "brief_errors", "given_keys", "refuse_unknown_keys", "start", "user_error"]

TRACEBACK = "MONAI_EXT_TRACEBACK"
"""Environment variable; 1 leaves every traceback as it is."""

FILE_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
# what `run` and the workflow take for themselves, and what `--tracking` reads
OWN_KEYS = {
    *inspect.signature(run_bundle).parameters,
    *inspect.signature(ConfigWorkflow.__init__).parameters,
    *("_meta_", "workflow_name", "tracking_uri", "experiment_name", "run_name", "save_execute_config"),
} - {"self", "override"}


class UnknownKeyError(ValueError):
    """A key on the command line that the config does not have."""


def start() -> None:
    """First expression in the ``run`` of every config: see :func:`brief_errors` and :func:`refuse_unknown_keys`.

    Does nothing in a process that was not started by ``python -m monai.bundle``: a program that runs a config itself
    keeps its own hooks and gets whole exceptions.

    Configs have this, and the seed, in ``run`` and nothing in ``initialize``: MONAI puts the folder of a bundle on the
    search path between the two, and in an unpacked zip this package is found there.

    Raises:
        UnknownKeyError: see :func:`refuse_unknown_keys`.
    """
    if Path(sys.argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py"):
        brief_errors()
        refuse_unknown_keys(sys.argv[1:])


def brief_errors() -> None:
    """Say a mistake of the user in two lines, instead of a traceback through MONAI; all else keeps its traceback.

    The environment variable ``MONAI_EXT_TRACEBACK=1`` turns it off.
    """
    if os.environ.get(TRACEBACK) == "1":
        return
    others, records = sys.excepthook, logging.getLogRecordFactory()

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        cause = user_error(error)
        if cause is None:
            others(kind, error, traceback)
        else:
            print(f"error: {_line(cause)}\n({TRACEBACK}=1 shows where it was raised)", file=sys.stderr)

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = records(*args, **kwargs)
        if made.exc_info and user_error(made.exc_info[1]) is not None:
            made.exc_info = None
        return made

    sys.excepthook = hook
    logging.setLogRecordFactory(record)  # MONAI's StatsHandler logs the traceback as well, before anyone catches it


def user_error(error: BaseException | None) -> BaseException | None:
    """The first error of a chain, from the outside in, whose message was written for the user.

    These are the errors that a ``raise`` of this package made, and files that are not there or cannot be opened.

    Returns:
        The error, or ``None`` when the chain has none: a fault of the program, whose traceback is needed.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if _is_ours(error) or _of_worker(error) or (isinstance(error, FILE_ERRORS) and error.filename is not None):
            return error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _is_ours(error: BaseException) -> bool:
    package = __name__.split(".")[0]
    if type(error).__module__.split(".")[0] == package:
        return True
    last = error.__traceback__
    if last is None:
        return False
    while last.tb_next is not None:
        last = last.tb_next
    frame = last.tb_frame
    # a `raise` of ours and not, say, a matrix product that failed in a line of ours
    raised = frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raised and frame.f_globals.get("__name__", "").split(".")[0] == package


def _line(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return _of_worker(error) or lines[0].rstrip(":")


def _of_worker(error: BaseException) -> str | None:
    """Message of an error of ours in a loader process, whose chain arrives as text in another error."""
    found = re.search(r"^monai_ext\.[\w.]+: (.+)$", str(error), flags=re.MULTILINE)
    return found[1] if found and str(error).startswith("Caught ") else None


def given_keys(arguments: Sequence[str]) -> dict[str, str]:
    """Keys and values of a command line, as Fire takes it apart.

    Args:
        arguments: for instance ``["run", "--config_file", "train.json", "--max_epochs=3"]``.
    """
    keys: dict[str, str] = {}
    key = None
    for argument in arguments:
        if argument == "--":  # what follows is for Fire itself
            break
        match = re.match(r"--?([A-Za-z_][^=]*)(?:=(.*))?$", argument, flags=re.DOTALL)
        if match:
            key = match[1].replace("-", "_")
            keys[key] = match[2] if match[2] is not None else "True"
            key = None if match[2] is not None else key
        elif key is not None:
            keys[key], key = argument, None
    return keys


def refuse_unknown_keys(arguments: Sequence[str]) -> None:
    """Refuse a key that the config does not have: MONAI would add it to the config, where nothing reads it.

    A new key that an override refers to (``--rate 0.1 --optimizer#lr @rate``) is let through.

    Args:
        arguments: see :func:`given_keys`.

    Raises:
        UnknownKeyError: naming the key and those that look like it.
    """
    given = given_keys(arguments)
    defaults: Mapping[str, Any] = ConfigParser.load_config_file(given["args_file"]) if "args_file" in given else {}
    files = DefaultParseValue(given["config_file"]) if "config_file" in given else defaults.get("config_file")
    if not files:
        return
    config = ConfigParser.load_config_files(files)
    text = json.dumps([config, given], default=str)
    for name in (*given, *defaults):
        key = re.split("#|::", name)[0]
        if key in config or key in OWN_KEYS or re.search(rf"@{re.escape(key)}\b", text):
            continue
        settings = [k for k, v in config.items() if not isinstance(v, dict) and k not in ("imports", "run")]
        similar = difflib.get_close_matches(key, settings, n=3)
        hint = f"did you mean {' or '.join(f'--{k}' for k in similar)}?" if similar else f"it has {', '.join(settings)}"
        raise UnknownKeyError(f"no key --{key} in {_names(files)}: {hint}")


def _names(files: Any) -> str:
    return ", ".join(Path(f).name for f in ([files] if isinstance(files, str) else files))
