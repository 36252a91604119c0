"""Stands in for torchvision, which MONAI Label imports for previews of 2-D trainings and this app never uses."""

__version__ = "0.0.0"
