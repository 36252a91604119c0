"""The two names that MONAI Label imports."""

from __future__ import annotations

from typing import Any, NoReturn


def make_grid(*args: Any, **kwargs: Any) -> NoReturn:
    """Not here.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("this is a stand-in: install torchvision for pictures of a training")


save_image = make_grid
