"""``python -m monai_ext``: what there is to run, and how to run it."""

from __future__ import annotations

import sys

import fire

from monai_ext.cli import brief_errors
from monai_ext.commands import check_dataset, export, package
from monai_ext.overview import overview
from monai_ext.running import run


def main() -> None:
    """Run a command, or say which there are."""
    if not sys.argv[1:] or sys.argv[1] in ("-h", "--help", "help"):
        print(overview())
    elif sys.argv[1] == "run":  # its arguments are MONAI's
        run(sys.argv[2:])
    else:
        brief_errors()
        fire.Fire({"check_dataset": check_dataset, "export": export, "package": package}, name="monai_ext")


if __name__ == "__main__":
    main()
