"""Compile the networks of a training."""

from __future__ import annotations

from collections.abc import Sequence

from monai_ext.engines.adversarial import Objective


def compile_networks(
    objective: Objective, parts: Sequence[str], enabled: bool = True, backend: str = "inductor"
) -> Objective:
    """Compile parts of an objective in place, so that names in its state dictionary stay as they are.

    An objective calls its networks part by part, so the parts are compiled and not the whole. The first steps are slow,
    once for every shape.

    Args:
        objective: what is trained.
        parts: names of submodules whose forward a step calls, for instance ``generator.network.decoder``.
        enabled: ``False`` leaves everything as it is.
        backend: of ``torch.compile``.

    Returns:
        The objective.

    Raises:
        AttributeError: for a part that is not there.
    """
    for name in parts:
        part = objective.get_submodule(name)
        if enabled:
            part.compile(backend=backend)
    return objective
