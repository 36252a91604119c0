"""One step of the map stage: what is drawn, which networks run, and where the gradients go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.data import DataLoader

from monai_ext.data import SliceDataset, find_cases
from monai_ext.engines import AdversarialTrainer, FeatGenObjective, featgen, maps_and_masks
from monai_ext.handlers import TermPhases
from monai_ext.losses import leak_loss, map_picture, mask_loss, outside_loss
from monai_ext.transforms import background_mask, structural_feature_map

PARTS = ("encoder", "decoder", "prior", "mask")


@pytest.fixture(scope="module")
def batch():
    rng = torch.Generator().manual_seed(0)
    image = torch.zeros(2, 4, 64, 64)
    image[:, :, 10:54, 14:50] = 0.3 + 0.5 * torch.rand(2, 4, 44, 36, generator=rng)
    label = torch.zeros(2, 1, 64, 64)
    label[0, :, 20:30, 20:30] = 2
    return {"image": image, "label": label, "case_id": ["P0", "P1"]}


@pytest.fixture(scope="session")
def only(featgen_objective) -> Callable[..., FeatGenObjective]:
    """An objective of these terms, every other weight 0."""

    def make(*terms: str, **kwargs) -> FeatGenObjective:
        weights = {t: float(t in terms) for t in FeatGenObjective.TERMS}
        return featgen_objective(weights=weights, **kwargs)

    return make


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grads(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and p.grad.any() for p in module.parameters())


def reached(objective: FeatGenObjective, batch: dict, term: str) -> set[str]:
    """Sub-networks of the generator that one generator term sends a gradient to; the discriminators are frozen."""
    objective.discriminator.requires_grad_(False)
    if term == "leak":  # an untrained MASK finds no brain; this one is drawn
        drawn = torch.where(batch["image"][:, :1] > 0, -1.0, 1.0)
        objective.generator.mask.register_forward_hook(lambda _, __, out: drawn.repeat(len(out) // 2, 1, 1, 1))
    value = objective.generator_terms(objective.produce(batch, rng()))[term]
    if value.requires_grad:
        value.backward()
    assert not grads(objective.discriminator)
    return {n for n in PARTS if grads(getattr(objective.generator, n))}


def counting(objective: FeatGenObjective) -> dict[str, int]:
    """How often each sub-network has run since; of the prior, its UNet."""
    network, calls = objective.generator, {}
    for name in PARTS:
        calls[name] = 0
        part = network.prior.velocity if name == "prior" else getattr(network, name)
        part.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    return calls


def test_maps_and_masks(batch):
    image, label = batch["image"][:, :1], batch["label"]
    structure, mask = maps_and_masks(image, label, canvas_size=(80, 80))
    drawn = structural_feature_map(image, 0.07, (80, 80))
    assert drawn[0, 0, 20:30, 20:30].any() and not structure[0, 0, 20:30, 20:30].any()
    assert torch.equal(structure, drawn * (label == 0))
    assert torch.equal(mask, background_mask(image, 5)) and mask[0, 0, 0, 0] == 1 and mask[0, 0, 32, 32] == 0


def test_a_labelled_lesion_is_not_in_the_training_map(featgen_objective, batch):
    """Its edges are erased from what the encoder and the discriminator are shown, and nothing else is."""
    objective, seen = featgen_objective(), {}
    objective.generator.encoder.register_forward_pre_hook(lambda _, x: seen.setdefault("encoder", x[0]))
    objective.discriminator["map"].register_forward_pre_hook(lambda _, x: seen.setdefault("judge", x[0]))
    step = objective.produce(batch, rng())
    objective.discriminator_terms(step)
    without = objective.produce({**batch, "label": torch.zeros_like(batch["label"])}, rng())["structure"]
    lesion = batch["label"] > 0
    assert without[lesion].any() and set(seen) == {"encoder", "judge"}
    for structure in (step["structure"], seen["encoder"], seen["judge"]):
        assert not structure[lesion].any() and torch.equal(structure[~lesion], without[~lesion])


def test_unlabelled_slices_are_used(tmp_path, featgen_objective, write_case, volumes):
    """A case without a segmentation comes with an empty label: nothing is erased, and its map trains as any other."""
    write_case(tmp_path, "brats2023", "P0", volumes(), label=False)
    dataset = SliceDataset(find_cases(tmp_path), slice_range=(3, 5), roi_size=(64, 64), progress=False)
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert not batch["label"].any()
    objective = featgen_objective(map_channels=[0])
    step = objective.produce(batch, rng())
    drawn = structural_feature_map(batch["image"][:, :1], 0.07, (80, 80))
    assert drawn.flatten(1).any(1).all() and torch.equal(step["structure"], drawn)
    terms = objective.generator_terms(step)
    sum(terms.values()).backward()
    assert all(grads(getattr(objective.generator, n)) for n in PARTS)


def test_every_term_is_finite(featgen_objective, batch):
    objective = featgen_objective()
    step = objective.produce(batch, rng())
    terms = objective.generator_terms(step)
    judged = objective.discriminator_terms(step)
    assert {*terms, *(f"d_{n}" for n in judged)} == set(objective.weights) == set(objective.TERMS)
    for term in (*terms.values(), *judged.values()):
        assert term.shape == () and torch.isfinite(term) and term.requires_grad


@pytest.mark.parametrize("channels, allowed", [(None, {0, 1, 2, 3}), ((0, 3), {0, 3}), ([2], {2})])
def test_maps_come_from_one_modality_of_each_item(only, batch, channels, allowed):
    objective, seen = only("kl", map_channels=channels), set()
    pairs = [maps_and_masks(batch["image"][:, m : m + 1], batch["label"], canvas_size=(80, 80)) for m in range(4)]
    for seed in range(12):
        step = objective.produce(batch, rng(seed))
        for i in range(2):
            matching = [m for m in range(4) if torch.equal(step["structure"][i], pairs[m][0][i])]
            assert len(matching) == 1 and torch.equal(step["mask"][i], pairs[matching[0]][1][i])
            seen.add(*matching)
    assert seen == allowed


def test_unwanted_terms_are_not_computed(only, batch):
    objective = only("normal", "reconstruction", "outside", "d_code")
    step = objective.produce(batch, rng())
    assert set(objective.generator_terms(step)) == {"normal", "reconstruction", "outside"}
    assert set(objective.discriminator_terms(step)) == {"code"}


@pytest.mark.parametrize(
    "terms, expected",
    [
        (["kl", "normal", "picture", "adversarial_code", "d_code"], {"encoder": 1}),
        (["flow"], {"encoder": 1, "prior": 1}),
        (["reconstruction", "outside"], {"encoder": 1, "decoder": 1}),
        (["adversarial_map", "d_map"], {"encoder": 1, "decoder": 1, "prior": 2}),
        (["leak"], {"encoder": 1, "decoder": 1, "prior": 2, "mask": 1}),
        (["mask"], {"encoder": 1, "decoder": 1, "mask": 1}),
        (["mask", "leak"], {"encoder": 1, "decoder": 2, "prior": 2, "mask": 2}),
        (["reconstruction", "adversarial_map", "mask", "flow"], {"encoder": 1, "decoder": 2, "prior": 3, "mask": 1}),
    ],
)
def test_networks_that_no_term_needs_do_not_run(only, batch, terms, expected):
    objective = only(*terms)
    calls = counting(objective)
    step = objective.produce(batch, rng())
    objective.discriminator_terms(step)
    objective.generator_terms(step)
    assert calls == {n: expected.get(n, 0) for n in PARTS}  # a way from noise takes 2 steps here


@pytest.mark.parametrize(
    "term, others, expected",
    [
        ("kl", [], {"encoder"}),
        ("normal", [], {"encoder"}),
        ("picture", [], {"encoder"}),
        ("adversarial_code", [], {"encoder"}),
        ("reconstruction", [], {"decoder"}),
        ("reconstruction", ["kl"], {"encoder", "decoder"}),
        ("reconstruction", ["normal"], {"encoder", "decoder"}),
        ("reconstruction", ["picture"], {"encoder", "decoder"}),
        ("reconstruction", ["adversarial_code"], {"encoder", "decoder"}),
        ("reconstruction", ["outside", "mask", "flow", "adversarial_map"], {"decoder"}),
        ("outside", [], {"decoder"}),
        ("outside", ["kl"], {"encoder", "decoder"}),
        ("flow", [], {"prior"}),
        ("flow", ["kl", "picture", "reconstruction"], {"prior"}),
        ("adversarial_map", [], {"decoder"}),
        ("adversarial_map", ["kl", "flow"], {"decoder"}),
        ("leak", [], {"decoder"}),
        ("leak", ["kl", "mask"], {"decoder"}),
        ("mask", [], {"decoder", "mask"}),
        ("mask", ["kl"], {"encoder", "decoder", "mask"}),
    ],
)
def test_what_each_term_trains(only, batch, term, others, expected):
    """``others`` are terms that are on beside it."""
    assert reached(only(term, *others), batch, term) == expected


@pytest.mark.parametrize(
    "term", ["kl", "normal", "picture", "adversarial_code", "reconstruction", "adversarial_map", "leak", "mask"]
)
def test_what_each_term_trains_without_a_flow(only, batch, term):
    decoder = dict.fromkeys(("reconstruction", "adversarial_map", "leak"), {"decoder"})
    expected = {**decoder, "mask": {"decoder", "mask"}}
    assert reached(only(term, prior="normal"), batch, term) == expected.get(term, {"encoder"})


@pytest.mark.parametrize("mode", ["straight_through", "probabilities"])
def test_adversarial_gradient_reaches_the_decoder(only, batch, mode, monkeypatch):
    assert reached(only("adversarial_map", map_to_discriminator=mode), batch, "adversarial_map") == {"decoder"}
    # the same check finds out a plain threshold, through which nothing arrives
    monkeypatch.setattr(featgen, "binarise", lambda probability, mode: (probability > 0.5).float())
    assert reached(only("adversarial_map", map_to_discriminator=mode), batch, "adversarial_map") == set()


def test_straight_through_gradient_is_that_of_the_map_shown(only, batch):
    """The decoder's logits get D_f's gradient at the map of 0 and 1, times the slope of the sigmoid."""
    objective = only("adversarial_map")
    step = objective.produce(batch, rng())
    probability = step["generated"]
    probability.retain_grad()
    objective.generator_terms(step)["adversarial_map"].backward()
    shown = (probability > 0.5).float().requires_grad_()
    sum((s - 1).square().mean() for s in objective.discriminator["map"](shown)).backward()
    scale = float(probability.grad.flatten() @ shown.grad.flatten()) / float(shown.grad.square().sum())
    torch.testing.assert_close(probability.grad, scale * shown.grad)
    assert scale > 0


def test_discriminator_sees_maps_of_0_and_1(featgen_objective, batch, monkeypatch):
    objective, seen = featgen_objective(), []
    monkeypatch.setattr(objective.discriminator["map"], "forward", lambda m: seen.append(m.unique().tolist()) or [m])
    objective.discriminator_terms(objective.produce(batch, rng()))
    assert len(seen) == 2 and all(set(values) <= {0.0, 1.0} for values in seen)


@pytest.mark.parametrize("others", [[], ["leak"]])
def test_what_the_mask_term_sends_to_the_decoder(only, batch, others):
    """Maps are pushed out of the masks found for them; how MASK reads a map is no reason to change the map.

    Maps from noise take part where another term wants them drawn.
    """
    objective, found = only("mask", *others), []
    network = objective.generator
    step = objective.produce(batch, rng())
    network.mask.register_forward_hook(lambda _, seen, logits: found.append((seen[0], logits.sigmoid().detach())))
    objective.generator_terms(step)["mask"].backward(retain_graph=True)
    got = [p.grad.clone() for p in network.decoder.parameters()]
    seen, mask = found[-1]
    rebuilt, generated = step["logits"].sigmoid(), step.get("generated")
    assert not seen.requires_grad and set(seen.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(seen[:2], step["structure"]) and len(seen) == (4 if others else 2)
    expected = outside_loss(rebuilt, mask[:2])
    if others:
        assert torch.equal(seen[2:] > 0, generated > 0.5)
        expected = expected + outside_loss(generated, mask[2:])
    network.zero_grad()
    expected.backward()
    for one, two in zip(got, network.decoder.parameters()):
        torch.testing.assert_close(one, two.grad)
    made = (generated, mask[2:]) if others else (None, None)
    expected = mask_loss(step["mask"], mask[:2], step["structure"], rebuilt, *made)
    torch.testing.assert_close(objective.generator_terms(step)["mask"], expected)


@pytest.mark.parametrize("number, expected", [(None, 2), (1, 1), (8, 2)])
def test_number_of_maps_from_noise(only, batch, number, expected):
    """Fewer than real ones at most; every term takes them."""
    objective, seen = only("adversarial_map", "d_map", "leak", "mask", num_generated=number), []
    objective.discriminator["map"].register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    step = objective.produce(batch, rng())
    assert len(step["generated"]) == expected and len(step["structure"]) == 2
    terms = {**objective.discriminator_terms(step), **objective.generator_terms(step)}
    assert seen == [2, expected, expected] and all(torch.isfinite(t) for t in terms.values())


def test_leak_is_judged_by_the_mask_found(only, batch):
    """On the map of 0 and 1 that MASK is shown, which the background floods."""
    objective = only("leak")
    bias = list(objective.generator.mask.parameters())[-1]
    seen = []
    objective.generator.mask.register_forward_hook(lambda _, x, logits: seen.append((x[0], logits)))
    step = objective.produce(batch, rng())
    torch.nn.init.constant_(bias, -float(objective.generator.mask(step["generated"]).detach().median()))
    seen.clear()
    value = objective.generator_terms(step)["leak"]
    shown, logits = seen[0]
    assert torch.equal(shown > 0, step["generated"] > 0.5) and 0 < (logits > 0).float().mean() < 1
    torch.testing.assert_close(value, leak_loss(shown, (logits > 0).float()))


def test_flow_is_taught_the_straight_way(only, batch, monkeypatch):
    """Points between noise and the standardised codes; a velocity of 0 costs the mean square of code - noise."""
    objective, seen = only("flow", flow_draws=3), []
    prior = objective.generator.prior
    monkeypatch.setattr(prior, "move", lambda point, time: seen.append((point, time)) or torch.zeros_like(point))
    step = objective.produce(batch, rng())
    value = objective.generator_terms(step)["flow"]
    point, time = seen[0]
    assert point.shape == (6, 4, 8, 8) and len(time.unique()) == 6 and time.min() > 0 and time.max() < 1
    code, at = prior.standardise(step["code"]).repeat(3, 1, 1, 1), time[:, None, None, None]
    noise = (point - at * code) / (1 - at)
    torch.testing.assert_close(value, (code - noise).square().mean(), rtol=1e-3, atol=0)
    assert abs(float(noise.mean())) < 0.15 and 0.85 < float(noise.std()) < 1.15


def test_picture_is_of_the_map_encoded(only, batch):
    """Of the mean, before noise is added to it."""
    objective = only("picture")
    step = objective.produce(batch, rng())
    expected = (step["mean"].view(2, 4, 8, 8) - map_picture(step["structure"], 4, 8)).square().mean()
    torch.testing.assert_close(objective.generator_terms(step)["picture"], expected)


def test_moments_follow_the_codes_of_every_step(only, batch):
    for terms in (["kl"], ["flow"], ["adversarial_map"]):
        objective = only(*terms)
        step = objective.produce(batch, rng())
        torch.testing.assert_close(
            objective.generator.prior.mean.flatten(), objective.generator.prior.momentum * step["code"].mean((0, 2, 3))
        )


@pytest.mark.parametrize("prior", ["flow", "normal"])
def test_codes_that_the_code_judge_sees(only, batch, prior):
    objective, seen = only("d_code", "adversarial_code", prior=prior), []
    objective.discriminator["code"].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    objective.generator.prior.mean += 3
    step = objective.produce(batch, rng())
    objective.discriminator_terms(step)
    objective.generator_terms(step)
    code = objective.generator.prior.standardise(step["code"]) if prior == "flow" else step["code"]
    assert len(seen) == 3 and torch.equal(seen[0], step["noise"])
    assert torch.equal(seen[1], code.flatten(1)) and torch.equal(seen[2], seen[1])
    assert not seen[1].requires_grad and seen[2].requires_grad


@pytest.mark.parametrize("term, judge", [("d_map", "map"), ("d_code", "code")])
def test_what_each_discriminator_term_trains(only, batch, term, judge):
    objective = only(term)
    terms = objective.discriminator_terms(objective.produce(batch, rng()))
    assert set(terms) == {judge}
    terms[judge].backward()
    assert {n for n, d in objective.discriminator.items() if grads(d)} == {judge}
    assert all(p.grad is None for p in objective.generator.parameters())


def trainer(objective: FeatGenObjective, batch: dict, steps: int = 1, epochs: int = 1, **kwargs) -> AdversarialTrainer:
    optimizers = [torch.optim.Adam(m.parameters(), 1e-3) for m in (objective.generator, objective.discriminator)]
    return AdversarialTrainer("cpu", epochs, [batch] * steps, objective, *optimizers, **kwargs)


def parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in module.named_parameters()}


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """First parts of the names of the parameters that are no longer the same."""
    return {n.split(".")[0] for n, p in module.named_parameters() if not torch.equal(p, before[n])}


def test_step_of_the_discriminators_leaves_the_generator(only, batch):
    """A side trains on its own terms alone."""
    objective = only("d_map", "d_code", "flow")
    before = parameters(objective.generator), parameters(objective.discriminator)
    trainer(objective, batch).run()
    assert changed(objective.generator, before[0]) == {"prior"}
    assert changed(objective.discriminator, before[1]) == {"map", "code"}
    objective = only("adversarial_map", "adversarial_code")
    before = parameters(objective.generator), parameters(objective.discriminator)
    trainer(objective, batch).run()
    assert changed(objective.generator, before[0]) == {"encoder", "decoder"}
    assert not changed(objective.discriminator, before[1])


def test_a_resting_network_stays_as_it_is(featgen_objective, batch):
    """In a later phase the optimiser's momentum of an earlier one must not move it: the flow relies on the codes."""
    objective, states = featgen_objective(), []
    phases = [
        {"epochs": 1, "terms": ["kl", "reconstruction"]},
        {"epochs": 1, "terms": ["flow"]},
        {"epochs": 1, "terms": ["reconstruction", "adversarial_map", "d_map", "mask"]},
    ]
    states.append(parameters(objective.generator))
    engine = trainer(objective, batch, steps=2, epochs=3, train_handlers=[TermPhases(objective, phases)])
    parts = []

    def compare() -> None:
        parts.append(changed(objective.generator, states[-1]))
        states.append(parameters(objective.generator))

    engine.add_event_handler("EPOCH_COMPLETED", compare)
    engine.run()
    assert parts == [{"encoder", "decoder"}, {"prior"}, {"decoder", "mask"}]


@pytest.mark.parametrize("amp", [False, True])
def test_training_changes_both_sides(featgen_objective, batch, amp):
    objective = featgen_objective()
    before = parameters(objective)
    engine = trainer(objective, batch, steps=4, amp=amp)  # the flow's inner layers wait for those that start at 0
    engine.run()
    still = [n for n, p in objective.named_parameters() if torch.equal(p, before[n])]
    assert not [n for n in still if n.endswith("weight")]
    assert all(torch.isfinite(p).all() for p in objective.parameters())
    assert set(engine.state.output[0]["losses"]) == set(objective.weights)


def test_refuses(featgen_objective):
    with pytest.raises(ValueError, match="a prior of kind normal has no flow: set the weight of the term flow to 0"):
        featgen_objective(prior="normal")
    with pytest.raises(ValueError, match="no loss term is called image"):
        featgen_objective(weights={"image": 1.0})
