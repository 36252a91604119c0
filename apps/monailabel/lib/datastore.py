"""Datastore of the working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag

from lib.cases import EXTENSIONS
from lib.scratch import IMAGES
from lib.training_set import StoredLabel


class CaseDatastore(LocalDatastore):
    """Images in a folder of their own, and an answer that says which id is not known.

    It does not watch its folder: nobody else writes there, and a reload in the middle of storing a study may lose what
    is known of it.

    Args:
        folder: see :mod:`lib.scratch`.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder, images_dir=IMAGES, extensions=[f"*{e}" for e in EXTENSIONS], auto_reload=False)

    def require(self, image_id: Any) -> None:
        """Refuse an id that is not known.

        Raises:
            HTTPException: 404.
        """
        if image_id not in self.list_images():
            raise HTTPException(
                404,
                f"there is no image {image_id!r} in the datastore: ask for the id of one, not for a path or an "
                "uploaded file; GET /datastore/?output=all lists them",
            )

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """See ``LocalDatastore``.

        Raises:
            HTTPException: 404 for an image that is not known.
        """
        self.require(image_id)
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def finished_labels(self) -> list[StoredLabel]:
        """Labels with the tag ``final``."""
        tag = DefaultLabelTag.FINAL
        return [
            StoredLabel(Path(self.get_image_uri(i)), Path(self.get_label_uri(i, tag)), self.get_label_info(i, tag))
            for i in self.get_labeled_images()
        ]
