"""What the models of this app have in common."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.datastore import CaseDatastore


def result_file() -> str:
    """An empty file for a result; the server removes it once it is sent."""
    handle, name = tempfile.mkstemp(suffix=".nii.gz")
    os.close(handle)
    return name


class BundleTask(InferTask):
    """A model that runs a config of a bundle."""

    def is_valid(self) -> bool:
        """Always: what is missing is said when it is asked for."""
        return True


class StoringTask(BundleTask):
    """A model that makes images and stores them, instead of labelling the one it is asked about.

    Args:
        datastore: gives the datastore.
        description: for clients.
        config: its options.
    """

    def __init__(self, datastore: Callable[[], CaseDatastore], description: str, config: dict[str, Any]) -> None:
        super().__init__(InferType.OTHERS, labels={}, dimension=3, description=description, config=config)
        self.datastore = datastore
