"""Compiled networks: the same names, the same steps."""

from __future__ import annotations

import pytest
import torch

from monai_ext.bundles import bundle_root, flag, from_config
from monai_ext.engines import AdversarialTrainer, compile_networks
from monai_ext.handlers import moving_average

PARTS = ["generator.network.fusion_encoder", "generator.network.decoder", "generator.guidance", "discriminator.image"]


def is_compiled(module: torch.nn.Module) -> bool:
    return module._compiled_call_impl is not None


def brain() -> dict[str, torch.Tensor]:
    image, label = torch.zeros(1, 4, 48, 48), torch.zeros(1, 4, 48, 48)
    image[:, :, 8:40, 10:38] = 0.3 + 0.5 * torch.rand(1, 4, 32, 28, generator=torch.Generator().manual_seed(0))
    label[:, :, 14:20, 14:22] = 2
    return {"image": image, "label": label}


def test_compiled_training_is_the_same(cgan_objective):
    """One part, and none of the losses that need others: tracing takes long."""
    states = []
    for enabled in (False, True):
        objective = cgan_objective(translate_probability=0.0)
        names = list(objective.state_dict())
        assert compile_networks(objective, PARTS[1:2], enabled, backend="eager") is objective
        assert is_compiled(objective.network.decoder) == enabled
        average = moving_average(objective.network)
        assert not is_compiled(average.module.decoder), "validation and pictures use the average"
        optimizers = [torch.optim.SGD(m.parameters(), 0.01) for m in (objective.generator, objective.discriminator)]
        AdversarialTrainer("cpu", 1, [brain()], objective, *optimizers).run()
        assert list(objective.state_dict()) == names
        states.append(objective.state_dict())
    for key, value in states[0].items():
        assert torch.allclose(value, states[1][key], atol=1e-5), key


def test_unknown_part(cgan_objective):
    with pytest.raises(AttributeError, match="has no attribute `painter`"):
        compile_networks(cgan_objective(), ["generator.network.painter"], enabled=False)


@pytest.mark.parametrize("value", ["true", "false", False])
def test_key_of_the_config(value):
    objective = from_config(bundle_root("cgan"), "train.json", "objective", compile=value)
    hot = [n for n, m in objective.named_modules() if is_compiled(m)]
    expected = {*PARTS, "generator.network.image_encoder"} if flag(value) else set()
    assert set(hot) == expected
    assert list(objective.network.state_dict()) == list(
        from_config(bundle_root("cgan"), "train.json", "network_def").state_dict()
    )
