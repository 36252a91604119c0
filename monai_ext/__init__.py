"""Labelled synthetic brain MRI on MONAI."""

__version__ = "0.2.0"
