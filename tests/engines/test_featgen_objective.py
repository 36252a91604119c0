"""One step of the map stage: what is drawn, and where its gradients go."""

from __future__ import annotations

import pytest
import torch

from monai_ext.engines import AdversarialTrainer, featgen, maps_and_masks
from monai_ext.transforms import background_mask, structural_feature_map


@pytest.fixture(scope="module")
def batch():
    rng = torch.Generator().manual_seed(0)
    image = torch.zeros(2, 4, 64, 64)
    image[:, :, 10:54, 14:50] = 0.3 + 0.5 * torch.rand(2, 4, 44, 36, generator=rng)
    label = torch.zeros(2, 1, 64, 64)
    label[0, :, 20:30, 20:30] = 2
    return {"image": image, "label": label, "case_id": ["P0", "P1"]}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grads(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and p.grad.any() for p in module.parameters())


def test_maps_and_masks(batch):
    image, label = batch["image"][:, :1], batch["label"]
    structure, mask = maps_and_masks(image, label, canvas_size=(80, 80))
    drawn = structural_feature_map(image, 0.07, (80, 80))
    assert drawn[0, 0, 20:30, 20:30].any() and not structure[0, 0, 20:30, 20:30].any()
    assert torch.equal(structure, drawn * (label == 0))
    assert torch.equal(mask, background_mask(image, 5)) and mask[0, 0, 0, 0] == 1 and mask[0, 0, 32, 32] == 0


def test_every_term_is_finite(featgen_objective, batch):
    objective = featgen_objective()
    step = objective.produce(batch, rng())
    terms = objective.generator_terms(step)
    judged = objective.discriminator_terms(step)
    assert {*terms, *(f"d_{n}" for n in judged)} == set(objective.weights)
    for term in (*terms.values(), *judged.values()):
        assert term.shape == () and torch.isfinite(term) and term.requires_grad


@pytest.mark.parametrize("channels, allowed", [(None, {0, 1, 2, 3}), ((0, 3), {0, 3})])
def test_maps_come_from_one_modality_of_each_item(featgen_objective, batch, channels, allowed):
    objective, seen = featgen_objective(map_channels=channels), set()
    for seed in range(12):
        step = objective.produce(batch, rng(seed))
        for i in range(2):
            matching = [m for m in range(4) if torch.equal(step["image"][i, 0], batch["image"][i, m])]
            seen.add(*matching)
            assert torch.equal(
                step["structure"][i],
                maps_and_masks(step["image"], batch["label"], canvas_size=(80, 80))[0][i],
            )
    assert seen == allowed


def test_unwanted_terms_are_not_computed(featgen_objective, batch):
    off = dict.fromkeys(["kl", "image", "adversarial_map", "adversarial_code", "mask", "d_map"], 0.0)
    objective = featgen_objective(weights=off)
    step = objective.produce(batch, rng())
    assert set(objective.generator_terms(step)) == {"normal", "reconstruction", "outside"}
    assert set(objective.discriminator_terms(step)) == {"code"}


def test_discriminator_terms_train_the_discriminators_alone(featgen_objective, batch):
    objective = featgen_objective()
    step = objective.produce(batch, rng())
    sum(objective.discriminator_terms(step).values()).backward()
    assert not grads(objective.generator)
    assert grads(objective.discriminator["map"]) and grads(objective.discriminator["code"])


@pytest.mark.parametrize(
    "term, reached",
    [
        ("adversarial_map", {"decoder"}),
        ("adversarial_code", {"encoder"}),
        ("normal", {"encoder"}),
        ("kl", {"encoder"}),
        ("reconstruction", {"encoder", "decoder"}),
        ("image", {"encoder", "decoder"}),
        ("outside", {"encoder", "decoder"}),
        ("mask", {"encoder", "decoder", "mask"}),
    ],
)
def test_what_each_term_trains(featgen_objective, batch, term, reached):
    objective = featgen_objective()
    objective.discriminator.requires_grad_(False)
    objective.generator_terms(objective.produce(batch, rng()))[term].backward()
    parts = {n for n in ("encoder", "decoder", "mask") if grads(getattr(objective.generator, n))}
    assert parts == reached and not grads(objective.discriminator)


@pytest.mark.parametrize("mode", ["straight_through", "probabilities"])
def test_adversarial_gradient_reaches_the_decoder(featgen_objective, batch, mode, monkeypatch):
    objective = featgen_objective(map_to_discriminator=mode)
    objective.discriminator.requires_grad_(False)
    objective.generator_terms(objective.produce(batch, rng()))["adversarial_map"].backward()
    assert grads(objective.generator.decoder)
    # with a plain threshold in its place nothing would arrive
    monkeypatch.setattr(featgen, "binarise", lambda probability, mode: (probability > 0.5).float())
    assert not objective.generator_terms(objective.produce(batch, rng()))["adversarial_map"].requires_grad


def test_discriminator_sees_maps_of_0_and_1(featgen_objective, batch, monkeypatch):
    objective, seen = featgen_objective(), []
    monkeypatch.setattr(objective.discriminator["map"], "forward", lambda m: seen.append(m.unique().tolist()) or [m])
    objective.discriminator_terms(objective.produce(batch, rng()))
    assert len(seen) == 2 and all(set(values) <= {0.0, 1.0} for values in seen)


def test_training_changes_both_sides(featgen_objective, batch):
    objective = featgen_objective()
    before = {n: p.detach().clone() for n, p in objective.named_parameters()}
    optimizers = [torch.optim.Adam(m.parameters(), 1e-3) for m in (objective.generator, objective.discriminator)]
    trainer = AdversarialTrainer("cpu", 1, [batch, batch], objective, *optimizers)
    trainer.run()
    still = [n for n, p in objective.named_parameters() if torch.equal(p, before[n])]
    assert not [n for n in still if n.endswith("weight")]
    assert set(trainer.state.output["losses"]) == set(objective.weights)
