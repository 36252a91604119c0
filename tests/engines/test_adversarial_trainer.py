"""One step by hand, accumulation, seeds, and a resumed training that equals an uninterrupted one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

from monai_ext.data import GenerationDataset, LesionBank, SliceSampler
from monai_ext.engines import AdversarialTrainer, Objective
from monai_ext.handlers import EMAHandler, TrainingCheckpoint, moving_average
from monai_ext.transforms import RandBlurNoise

WEIGHTS = {"fit": 3.0, "fool": 0.5, "d_real": 1.0, "d_fake": 2.0}


class Toy(Objective):
    """Generator w, discriminator d: fake = w x, judged by d fake."""

    TERMS = (*WEIGHTS, "noise")

    def __init__(self, w: float, d: float, **weights: float) -> None:
        super().__init__(weights)
        self.generator, self.discriminator = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.generator.weight, w)
        nn.init.constant_(self.discriminator.weight, d)

    @property
    def w(self) -> float:
        return self.generator.weight.item()

    @property
    def d(self) -> float:
        return self.discriminator.weight.item()

    def produce(self, batch: Mapping[str, Any], rng: torch.Generator) -> dict[str, Any]:
        noise = torch.randn(1, generator=rng)
        return {"fake": self.generator(batch["x"]), "y": batch["y"], "noise": noise}

    def discriminator_terms(self, step: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        if not self.wants("d_real", "d_fake"):
            return {}
        judge = self.discriminator
        real, fake = (judge(step["y"]) - 1) ** 2, judge(step["fake"].detach()) ** 2
        return {"real": real.mean(), "fake": fake.mean()}

    def generator_terms(self, step: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        terms = {"fit": ((step["fake"] - step["y"]) ** 2).mean()}
        if self.wants("fool"):
            terms["fool"] = ((self.discriminator(step["fake"]) - 1) ** 2).mean()
        if self.wants("noise"):
            terms["noise"] = step["noise"].mean() * step["fake"].mean()
        return terms


def batch(x: float, y: float) -> dict[str, Any]:
    return {"x": torch.tensor([[x]]), "y": torch.tensor([[y]]), "case_id": ["P1"]}


def toy_trainer(toy: Toy, batches: list, lr: float = 0.01, max_epochs: int = 1, **kwargs: Any) -> AdversarialTrainer:
    return AdversarialTrainer(
        "cpu", max_epochs, batches, toy, torch.optim.SGD(toy.generator.parameters(), lr),
        torch.optim.SGD(toy.discriminator.parameters(), lr), **kwargs,
    )  # fmt: skip


def test_one_step_by_hand():
    toy = Toy(1.0, 0.5, **WEIGHTS)
    trainer = toy_trainer(toy, [batch(2.0, 3.0)])
    trainer.run()
    # fake = 2. D: d/dd [(3d - 1)^2 + 2 (2d)^2] at 0.5 = 3 + 8 = 11
    assert toy.d == pytest.approx(0.5 - 0.11)
    # G is judged by the discriminator that has just learnt, d = 0.39:
    # d/dw [3 (2w - 3)^2 + 0.5 (0.39 * 2w - 1)^2] at 1 = -12 - 0.1716
    assert toy.w == pytest.approx(1 + 0.121716)
    (output,) = trainer.state.output
    assert output["losses"] == pytest.approx({"fit": 1.0, "fool": 0.0484, "d_real": 0.25, "d_fake": 1.0})
    assert output["loss"] == pytest.approx(3 + 0.5 * 0.0484) and output["d_loss"] == pytest.approx(2.25)
    assert output["case_id"] == ["P1"]
    assert all(p.requires_grad for p in toy.parameters()) and all(p.grad is None for p in toy.parameters())


def test_each_step_moves_its_own_side():
    for side, other in (("w", "d"), ("d", "w")):
        toy = Toy(1.0, 0.5, **WEIGHTS)
        trainer = toy_trainer(toy, [batch(2.0, 3.0)])
        frozen = trainer.discriminator_optimizer if side == "w" else trainer.generator_optimizer
        frozen.param_groups[0]["lr"] = 0.0
        trainer.run()
        assert getattr(toy, other) == {"w": 1.0, "d": 0.5}[other] and getattr(toy, side) != {"w": 1.0, "d": 0.5}[side]


def test_without_discriminator_terms():
    toy = Toy(1.0, 0.5, fit=1.0)
    toy_trainer(toy, [batch(2.0, 3.0)]).run()
    assert toy.d == 0.5 and toy.w == pytest.approx(1.04)


def test_accumulation():
    toy, steps = Toy(0.0, 0.5, fit=1.0), []
    trainer = toy_trainer(toy, [batch(1.0, 1.0), batch(2.0, 0.0), batch(1.0, 2.0)], lr=0.1, accumulation_steps=2)
    trainer.generator_optimizer.register_step_post_hook(lambda *_: steps.append((trainer.state.iteration, toy.w)))
    trainer.run()
    # (-2 + 0) / 2 moves w to 0.1; the third batch alone, 2 (0.1 - 2) / 2, moves it to 0.29 at the end of the epoch
    assert steps == [(2, pytest.approx(0.1)), (3, pytest.approx(0.29))]


def test_two_accumulated_batches_are_one_of_twice_the_size():
    x, y = torch.tensor([[1.0], [2.0], [-1.0], [0.5]]), torch.tensor([[1.0], [0.0], [2.0], [1.0]])
    weights = []
    for parts in (1, 2):
        toy = Toy(0.3, 0.5, **WEIGHTS)
        batches = [{"x": a, "y": b} for a, b in zip(x.chunk(parts), y.chunk(parts))]
        toy_trainer(toy, batches, accumulation_steps=parts).run()
        weights.append((toy.w, toy.d))
    # the discriminator steps in the last iteration: the generator's first half was judged before it
    assert weights[0][1] == pytest.approx(weights[1][1], rel=1e-6)
    assert weights[0][0] == pytest.approx(weights[1][0], rel=1e-2)


def test_accumulation_steps_refuses():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        toy_trainer(Toy(0.0, 0.0), [batch(1, 1)], accumulation_steps=0)


@pytest.mark.parametrize("clip_norm, moved", [(None, 0.121716), (1.0, 0.01), (100.0, 0.121716)])
def test_clip_norm(clip_norm, moved):
    toy = Toy(1.0, 0.5, **WEIGHTS)
    trainer = toy_trainer(toy, [batch(2.0, 3.0)], clip_norm=clip_norm)
    trainer.discriminator_optimizer.param_groups[0]["lr"] = 0.01 if clip_norm != 1.0 else 0.11
    trainer.run()
    assert toy.d == pytest.approx(0.39) and toy.w == pytest.approx(1 + moved, rel=1e-4)


@pytest.mark.parametrize("missing", ["fit", "d_fake"])
def test_term_without_a_weight(missing):
    weights = {n: w for n, w in WEIGHTS.items() if n != missing}
    with pytest.raises(KeyError, match=rf"no weight for loss term\(s\) {missing}"):
        toy_trainer(Toy(1.0, 0.5, **weights), [batch(2.0, 3.0)]).run()


def test_noise_is_of_seed_and_iteration():
    def noises(seed, max_epochs=2, batches=3):
        toy, seen = Toy(1.0, 0.5, fit=0.0, noise=1.0), []
        trainer = toy_trainer(toy, [batch(1.0, 1.0)] * batches, lr=0.0, max_epochs=max_epochs, seed=seed)
        trainer.add_event_handler("ITERATION_COMPLETED", lambda e: seen.append(e.state.output[0]["losses"]["noise"]))
        trainer.run()
        return seen

    drawn = noises(0)
    assert len(set(drawn)) == 6 and noises(0, max_epochs=3, batches=2) == drawn
    assert not set(drawn) & set(noises(1))


def cgan_trainer(make_dataset, cgan_objective, output_dir, max_epochs, resume=False, seed=0, paired=True, amp=False):
    """Everything that the bundle's config puts together, tiny."""
    slices = make_dataset(2, roi_size=(48, 48), seed=seed)
    data = GenerationDataset(slices, LesionBank(slices.lesion_labels()), paired, seed=seed)
    loader = DataLoader(data, 2, sampler=SliceSampler(data, seed=seed, samples_per_epoch=4))
    objective = cgan_objective(seed=seed, paired=paired, guidance_augment=RandBlurNoise())
    average = moving_average(objective.network, 0.9)
    optimizers = [
        torch.optim.Adam(m.parameters(), 1e-3, betas=(0.5, 0.99))
        for m in (objective.generator, objective.discriminator)
    ]
    state = {"objective": objective, "average": average, "g": optimizers[0], "d": optimizers[1]}
    handlers = [EMAHandler(average, objective.network)]
    if output_dir is not None:
        handlers.insert(0, TrainingCheckpoint(output_dir, state, interval=2, resume=resume))
    trainer = AdversarialTrainer(
        "cpu", max_epochs, loader, objective, *optimizers, seed=seed, amp=amp, train_handlers=handlers
    )
    return trainer, state


def assert_same(one: Any, two: Any) -> None:
    """Bit for bit, through nested state dictionaries."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, Mapping):
        assert list(one) == list(two)
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two)
        for a, b in zip(one, two):
            assert_same(a, b)
    else:
        assert one == two


@pytest.mark.parametrize("paired", [True, False])
def test_resumed_training_equals_an_uninterrupted_one(tmp_path, make_dataset, cgan_objective, paired):
    whole, expected = cgan_trainer(make_dataset, cgan_objective, tmp_path / "whole", 4, paired=paired)
    whole.run()
    first, _ = cgan_trainer(make_dataset, cgan_objective, tmp_path / "parts", 2, paired=paired)
    first.run()
    torch.manual_seed(123)  # another process has another global state
    second, state = cgan_trainer(make_dataset, cgan_objective, tmp_path / "parts", 4, resume=True, paired=paired)
    second.run()
    assert second.state.epoch == whole.state.epoch == 4 and second.state.iteration == whole.state.iteration == 8
    for name in ("objective", "average", "g", "d"):
        assert_same(state[name].state_dict(), expected[name].state_dict())
    assert second.state.output[0]["losses"] == whole.state.output[0]["losses"]


def test_two_runs_are_equal_and_other_seeds_differ(make_dataset, cgan_objective):
    states = []
    for seed in (0, 0, 1):
        trainer, state = cgan_trainer(make_dataset, cgan_objective, None, 1, seed=seed)
        trainer.run()
        states.append(state["objective"].state_dict())
    assert_same(states[0], states[1])
    assert any(not torch.equal(a, b) for a, b in zip(states[0].values(), states[2].values()))


def test_bfloat16_keeps_float32_weights(make_dataset, cgan_objective):
    trainer, state = cgan_trainer(make_dataset, cgan_objective, None, 1, amp=True)
    before = {n: v.clone() for n, v in state["objective"].state_dict().items()}
    trainer.run()
    for name, value in state["objective"].state_dict().items():
        assert value.dtype == before[name].dtype == torch.float32 and torch.isfinite(value).all()
    assert all(torch.isfinite(torch.tensor(v)) for v in trainer.state.output[0]["losses"].values())


def test_weight_of_an_unknown_term_is_refused():
    with pytest.raises(ValueError, match="no loss term is called adversarail"):
        Toy(1.0, 0.5, adversarail=1.0)
