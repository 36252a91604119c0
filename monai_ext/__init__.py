"""Labelled synthetic brain MRI on MONAI."""

__version__ = "0.1.0"
