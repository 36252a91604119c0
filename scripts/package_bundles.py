"""Zip the bundles, each to run alone: package_bundles.py [--out dist] [--bundles featgen,cgan] [--url BASE]."""

from __future__ import annotations

import fire

from monai_ext.commands import package

if __name__ == "__main__":
    fire.Fire(package)
