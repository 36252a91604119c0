"""``python -m monai_ext``: what there is to run, and the commands that are no bundle's."""

from __future__ import annotations

import sys

import fire

from monai_ext.commands import check_dataset, overview, package


def main() -> None:
    """Run a command, or say which there are."""
    if not sys.argv[1:] or sys.argv[1] in ("-h", "--help", "help"):
        print(overview())
    else:
        fire.Fire({"check_dataset": check_dataset, "package": package}, name="monai_ext")


if __name__ == "__main__":
    main()
