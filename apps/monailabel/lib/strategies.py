"""Which image a client opens next."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.tasks.strategy import Strategy

from lib.cases import LABELLED, images_by_case
from lib.datastore import CaseDatastore


class NextCase(Strategy):
    """The first case that has no finished label on any of its images; of the case, FLAIR where there is one."""

    def __init__(self) -> None:
        super().__init__("First case without a label")

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> dict[str, str]:
        """``id`` of an image, nothing when every case is labelled."""
        labelled = set(datastore.get_labeled_images())
        for images in images_by_case(datastore.list_images()).values():
            if labelled.isdisjoint(images.values()):
                return {"id": images.get(LABELLED) or next(iter(images.values()))}
        return {}


class Generated(Strategy):
    """Images that this app made, in turn: 3D Slicer opens what a strategy names and has no list to choose from."""

    def __init__(self) -> None:
        super().__init__("Synthesised and translated images, in turn")

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> dict[str, str]:
        """``id`` of the image shown longest ago, or never, those with a label first; nothing when there are none."""
        infos = {name: datastore.get_image_info(name) for name in datastore.list_images()}
        made = {name: info.get("shown", 0) for name, info in infos.items() if info.get("generated")}
        if not made:
            return {}
        labelled = set(datastore.get_labeled_images())
        name = min(made, key=lambda n: (made[n], n not in labelled, n))
        datastore.update_image_info(name, {"shown": max(made.values()) + 1})
        return {"id": name}
