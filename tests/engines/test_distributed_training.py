"""Two processes with half a batch each take the steps of one process with the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn as nn

from monai_ext.engines import AdversarialTrainer, CGANObjective, Objective
from monai_ext.engines.ranks import average_gradients, broadcast_state, rank, world_size
from monai_ext.losses import LesionLoss
from monai_ext.networks import CGAN, CodeDiscriminator, ImageDiscriminator, LesionGuidance

pytestmark = pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="torch has no Gloo")
RANKS = 2
STEPS = 4


class Toy(Objective):
    """A generator with a part that only some items use and a part that none uses; noise follows from the item."""

    TERMS = ("fit", "fool", "d_real", "d_fake")

    def __init__(self) -> None:
        super().__init__({"fit": 3.0, "fool": 0.5, "d_real": 1.0, "d_fake": 2.0})
        self.generator = nn.ModuleDict({n: nn.Linear(3, 3) for n in ("main", "some", "none")})
        self.discriminator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.register_buffer("seen", torch.zeros(3))
        self.register_buffer("flag", torch.tensor(True))

    def produce(self, batch: Mapping[str, Any], rng: torch.Generator) -> dict[str, Any]:
        x, special = batch["x"], batch["special"]
        self.seen += x.mean(0)
        fake = self.generator["main"](x + 0.1 * torch.sin(100 * x))
        if special.any():
            fake = fake + special[:, None] * self.generator["some"](x)
        return {"fake": fake, "y": batch["y"]}

    def discriminator_terms(self, step: dict[str, Any]) -> dict[str, torch.Tensor]:
        judge = self.discriminator
        real, fake = (judge(step["y"]) - 1) ** 2, judge(step["fake"].detach()) ** 2
        return {"real": real.mean(), "fake": fake.mean()}

    def generator_terms(self, step: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        fool = (self.discriminator(step["fake"]) - 1) ** 2
        return {"fit": ((step["fake"] - step["y"]) ** 2).mean(), "fool": fool.mean()}


def toy_batches() -> list[dict[str, Any]]:
    """Only items of the first half are special, and in one batch none is."""
    rng = torch.Generator().manual_seed(0)
    batches = []
    for step in range(STEPS):
        x, y = torch.randn(2, 4, 3, generator=rng)
        batches.append({"x": x, "y": y, "special": torch.tensor([1.0, 0.0, 0.0, 0.0]) * (step != 2)})
    return batches


def noise_free() -> CGANObjective:
    """Every loss of the image stage; each pair of modalities in every step, so that no draw decides anything."""
    return CGANObjective(
        CGAN(4, 3, noise_channels=0, channels=(4, 4, 6, 6)),
        ImageDiscriminator(4, 4, channels=4, num_layers=2),
        CodeDiscriminator(6, 4),
        LesionGuidance("nseg", channels=(4, 6, 8)),
        dict.fromkeys(CGANObjective.TERMS, 1.0),
        num_sources=4, num_targets=3, translate_probability=1.0, map_channels=[0], canvas_size=(60, 60),
        lesion_loss=LesionLoss("squared"),  # Dice over a batch is no mean over its items
    )  # fmt: skip


def brain_batches() -> list[dict[str, Any]]:
    """Two items a batch, each with its own lesion."""
    rng = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(STEPS):
        image, label = torch.zeros(2, 4, 48, 48), torch.zeros(2, 4, 48, 48)
        image[:, :, 8:40, 10:38] = 0.3 + 0.5 * torch.rand(2, 4, 32, 28, generator=rng)
        label[0, :, 14:20, 14:22], label[1, :, 24:30, 20:26] = 2, 3
        batches.append({"image": image, "label": label})
    return batches


SETTINGS: dict[str, tuple[Callable, Callable, dict[str, Any]]] = {
    "toy": (Toy, toy_batches, {}),
    "toy_accumulated": (Toy, toy_batches, {"accumulation_steps": 3}),
    "toy_clipped": (Toy, toy_batches, {"clip_norm": 0.5}),
    "cgan": (noise_free, brain_batches, {}),
}


def share(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """This rank's part of a batch."""
    return {k: v.chunk(world_size())[rank()] for k, v in batch.items()}


def train(name: str) -> dict[str, torch.Tensor]:
    """Train from weights that differ from rank to rank; returns the state."""
    build, batches, settings = SETTINGS[name]
    torch.manual_seed(rank())
    objective = build()
    sides = (objective.generator, objective.discriminator)
    if name == "cgan":  # Adam makes a full step of the rounding of a gradient that is 0, as before a normalisation
        optimizers = [torch.optim.SGD(m.parameters(), 0.02, momentum=0.9) for m in sides]
    else:
        optimizers = [torch.optim.Adam(m.parameters(), 0.01, weight_decay=0.1) for m in sides]
    AdversarialTrainer("cpu", 1, [share(b) for b in batches()], objective, *optimizers, **settings).run()
    return objective.state_dict()


def work(number: int, folder: Path) -> None:
    """What one process does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'store'}", timedelta(seconds=120), world_size=RANKS, rank=number)
    states = {name: train(name) for name in SETTINGS}
    for name, dtype in (("mixed", torch.float64), ("bools", torch.bool)):  # what the networks do not have
        module = nn.Linear(2, 2)
        module.register_buffer("extra", torch.full((3,), number + 1).to(dtype))
        broadcast_state(module)
        states[name] = module.state_dict()
    turned = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    turned.weight.grad = (torch.arange(108.0).view(4, 3, 3, 3) * (number + 1)).to(memory_format=torch.channels_last)
    average_gradients(turned.parameters())
    assert turned.bias.grad is None
    states["channels_last"] = {"grad": turned.weight.grad}
    torch.save(states, folder / f"rank{number}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """States of every rank after every training."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (folder,), nprocs=RANKS)
    return [torch.load(folder / f"rank{i}.pt", weights_only=True) for i in range(RANKS)]


@pytest.mark.parametrize("name", SETTINGS)
def test_ranks_end_alike(ranks, name):
    for key, value in ranks[0][name].items():
        assert torch.equal(value, ranks[1][name][key]), key


@pytest.mark.parametrize("name", SETTINGS)
def test_as_one_process_with_the_whole_batch(ranks, name):
    expected = train(name)
    torch.manual_seed(0)
    start = dict(SETTINGS[name][0]().named_parameters())
    moved = set()
    for key in start:  # running statistics are those of rank 0
        value = ranks[0][name][key]
        assert torch.allclose(value.float(), expected[key].float(), rtol=0, atol=1e-4), key
        if not torch.equal(value, start[key]):
            moved.add(".".join(key.split(".")[:2]))
    if name == "cgan":
        assert moved == {"generator.network", "generator.guidance", "discriminator.image", "discriminator.code"}
    else:  # the part that no rank used was left alone, by the weight decay too
        assert moved == {"generator.main", "generator.some", "discriminator.0", "discriminator.2"}


def test_running_statistics_follow_rank_0(ranks):
    expected = sum(share_of(b["x"], 0).mean(0) for b in toy_batches())
    assert torch.allclose(ranks[1]["toy"]["seen"], expected, atol=1e-6)


def share_of(tensor: torch.Tensor, number: int) -> torch.Tensor:
    """Part of rank ``number``."""
    return tensor.chunk(RANKS)[number]


def test_any_dtype_and_memory_format(ranks):
    for name, dtype in (("mixed", torch.float64), ("bools", torch.bool)):
        assert ranks[1][name]["extra"].tolist() == [1] * 3 and ranks[1][name]["extra"].dtype == dtype
    for states in ranks:
        assert torch.equal(states["channels_last"]["grad"], 1.5 * torch.arange(108.0).view(4, 3, 3, 3))


def test_without_a_group():
    """One process: nothing is sent, gradients stay as they are."""
    layer = nn.Linear(2, 2)
    layer.weight.grad = torch.ones(2, 2)
    average_gradients(layer.parameters())
    broadcast_state(layer)
    assert (rank(), world_size()) == (0, 1) and layer.weight.grad.eq(1).all() and layer.bias.grad is None
