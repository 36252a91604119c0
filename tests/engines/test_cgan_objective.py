"""One step of the image stage: paired and unpaired, few and all modalities, and where its gradients go."""

from __future__ import annotations

import pytest
import torch

from monai_ext.engines import AdversarialTrainer, fuse_batch
from monai_ext.transforms import background_mask, structural_feature_map

PAIRED_ONLY = {"paired", "paired_translated", "feature_matching"}


def make_batch(paired: bool = True) -> dict:
    rng = torch.Generator().manual_seed(0)
    image = torch.zeros(2, 4, 48, 48)
    image[:, :, 8:40, 10:38] = 0.3 + 0.5 * torch.rand(2, 4, 32, 28, generator=rng)
    label = torch.zeros(2, 4, 48, 48)
    target = torch.zeros(2, 4, 48, 48)
    for i in range(2):
        for m in range(4):
            shift = 0 if paired else 2 * m
            label[i, m, 14 + shift : 20 + shift, 14:20] = 2
            target[i, m, 22 : 28 + shift, 20:26] = 3
    own = torch.tensor([[1.0] * 4, [0.0] * 4])
    target[0] = label[0]
    return {"image": image, "label": label, "target": target, "own": own, "case_id": ["P0", "P1"]}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grads(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and p.grad.any() for p in module.parameters())


def generator_terms(objective, step) -> dict:
    """As the trainer does: the discriminators' terms first, which leave features of the real images in the step."""
    objective.discriminator_terms(step)
    return objective.generator_terms(step)


def test_fuse_batch_by_hand():
    image = make_batch()["image"][:, :1]
    own, target = torch.zeros(2, 2, 1, 48, 48)
    own[:, :, 14:20, 14:20], target[:, :, 22:28, 20:26] = 2, 3
    made = fuse_batch(image, own, target, canvas_size=(60, 60))
    drawn = structural_feature_map(image, 0.07, (60, 60))
    keep = (own == 0) & (target == 0)
    assert torch.equal(made.keep, keep.float()) and torch.equal(made.structure, drawn * keep)
    assert drawn[:, :, 14:20, 14:20].any() and drawn[:, :, 22:28, 20:26].any()
    assert made.fused.shape == (2, 4, 48, 48)
    # 0.8 f + 0.2 one-hot: the target's class in its place, background everywhere else, none of the own lesion
    assert made.fused[0, :, 24, 22].tolist() == pytest.approx([0, 0, 0, 0.2])
    assert made.fused[0, :, 16, 16].tolist() == pytest.approx([0.2, 0, 0, 0])
    row, column = (drawn * keep)[0, 0].nonzero()[0].tolist()
    assert made.fused[0, :, row, column].tolist() == pytest.approx([1.0, 0.8, 0.8, 0.8])
    assert made.mask[0, 0, 0, 0] == 1 and made.mask[0, 0, 24, 24] == 0
    assert torch.equal(made.target, target)


def test_fuse_batch_shows_structure_through_oedema():
    """Oedema lets the map through, but not where the slice has another lesion of its own; the core never does."""
    image = make_batch()["image"][:, :1]
    drawn = structural_feature_map(image, 0.07, (60, 60))
    own, target = torch.zeros(2, 2, 1, 48, 48)
    own[:, :, 14:20, 14:20], own[:, :, 14:20, 20:26] = 2, 3
    target[:, :, 14:20, 14:26], target[:, :, 22:28, 20:26], target[:, :, 22:28, 26:30] = 2, 2, 1
    keep = torch.ones_like(own)
    keep[:, :, 14:20, 20:26], keep[:, :, 22:28, 26:30] = 0, 0
    made = fuse_batch(image, own, target, canvas_size=(60, 60), shown=[2])
    assert torch.equal(made.keep, keep) and torch.equal(made.structure, drawn * keep)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("num_sources, num_targets", [(1, 1), (4, 3), (2, 3), (4, 1)])
@pytest.mark.parametrize("condition", [True, False])
def test_every_term_is_finite(cgan_objective, paired, num_sources, num_targets, condition):
    objective = cgan_objective(
        paired=paired, num_sources=num_sources, num_targets=num_targets, condition=condition, scheme="1seg"
    )
    step = objective.produce(make_batch(paired), rng())
    assert step["generated"].shape == (2, 4, 48, 48)
    assert step["translated"].shape == (2, num_sources, num_targets, 48, 48)
    judged, terms = objective.discriminator_terms(step), objective.generator_terms(step)
    expected = set(objective.weights) - (set() if paired else PAIRED_ONLY)
    assert {*terms, *(f"d_{n}" for n in judged)} == expected
    for name, term in (*terms.items(), *judged.items()):
        assert term.shape == () and torch.isfinite(term), name
    assert (float(terms["cycle_consistency"]) == 0) == (num_targets == 1)


def test_targets_are_never_the_source(cgan_objective):
    objective = cgan_objective(num_sources=4, num_targets=3)
    for seed in range(8):
        step = objective.produce(make_batch(), rng(seed))
        assert (step["source"].sort(1).values == torch.arange(4)).all()
        for item in range(2):
            for source, targets in zip(step["source"][item], step["target_modality"][item]):
                assert sorted([int(source), *targets.tolist()]) == [0, 1, 2, 3]
    few, seen = cgan_objective(), set()
    for seed in range(40):
        step = few.produce(make_batch(), rng(seed))
        seen |= {(int(s), int(t)) for s, t in zip(step["source"][:, 0], step["target_modality"][:, 0, 0])}
    assert seen == {(s, t) for s in range(4) for t in range(4) if s != t}


def test_sources_are_the_images_of_their_modality(cgan_objective):
    objective, batch = cgan_objective(num_sources=2, num_targets=2), make_batch()
    step = objective.produce(batch, rng(3))
    for item in range(2):
        for k, source in enumerate(step["source"][item]):
            assert torch.equal(step["source_images"][item, k], batch["image"][item, source])


@pytest.mark.parametrize("num_sources, num_targets", [(0, 1), (5, 1), (1, 0), (1, 4)])
def test_numbers_that_do_not_fit(cgan_objective, num_sources, num_targets):
    message = f"num_sources is 1 to 4 and num_targets 1 to 3, got {num_sources} and {num_targets}"
    with pytest.raises(ValueError, match=message):
        cgan_objective(num_sources=num_sources, num_targets=num_targets)


def test_background_is_cut(cgan_objective):
    step = cgan_objective().produce(make_batch(), rng())
    outside = step["made"].mask.expand(-1, 4, -1, -1) > 0
    assert outside.any() and not step["generated"][outside].any() and (step["raw"][outside] > 0).all()
    outside = background_mask(step["source_images"][:, 0], 5) > 0
    assert outside.any() and not outside.all()
    for image in (step["reconstructed"][:, 0], step["translated"][:, 0, 0]):
        assert not image[outside].any() and (image[~outside] > 0).all()


def test_target_and_label_without_a_bank(cgan_objective):
    """Batches of a plain slice data set have no target: the own label is generated."""
    batch = make_batch()
    given = {k: batch[k] for k in ("image", "label")}
    step = cgan_objective().produce(given, rng())
    assert torch.equal(step["made"].target, batch["label"][:, :1]) and step["own"].tolist() == [1.0, 1.0]


def test_paired_loss_counts_own_labels_alone(cgan_objective):
    objective = cgan_objective()
    batch = make_batch()
    step = objective.produce(batch, rng())
    expected = (step["generated"][0] - batch["image"][0]).abs().mean()
    assert float(generator_terms(objective, step)["paired"]) == pytest.approx(float(expected), rel=1e-5)
    batch["own"] = torch.zeros(2, 4)
    terms = generator_terms(objective, objective.produce(batch, rng()))
    assert float(terms["paired"]) == 0 and "feature_matching" not in terms


def test_unwanted_terms_are_not_computed(cgan_objective):
    objective = cgan_objective()
    objective.weights = {"paired": 1.0, "d_generated": 1.0}
    step = objective.produce(make_batch(), rng())
    assert "translated" not in step
    assert set(objective.discriminator_terms(step)) == {"generated"}
    assert set(objective.generator_terms(step)) == {"paired"}


def test_translate_probability(cgan_objective):
    never = cgan_objective(translate_probability=0.0)
    step = never.produce(make_batch(), rng())
    assert "translated" not in step and set(never.discriminator_terms(step)) == {"generated", "modality"}
    assert set(never.generator_terms(step)) == {
        "paired", "feature_matching", "adversarial", "modality", "structure", "lesion", "outside", "adversarial_code",
        "lesion_real",
    }  # fmt: skip
    half = cgan_objective(translate_probability=0.5)
    share = sum("translated" in half.produce(make_batch(), rng(seed)) for seed in range(40)) / 40
    assert 0.25 < share < 0.75


@pytest.mark.parametrize("paired", [True, False])
def test_discriminator_terms_train_the_discriminators_alone(cgan_objective, paired):
    objective = cgan_objective(paired=paired)
    step = objective.produce(make_batch(paired), rng())
    sum(objective.discriminator_terms(step).values()).backward()
    assert not grads(objective.generator)
    assert grads(objective.discriminator["image"]) and grads(objective.discriminator["code"])


@pytest.mark.parametrize("scheme", ["1seg", "1enc_ndec", "nseg"])
def test_guidance_learns_from_real_lesions_alone(cgan_objective, scheme):
    objective = cgan_objective(scheme=scheme)
    guidance, network = objective.generator["guidance"], objective.network
    objective.discriminator.requires_grad_(False)
    terms = generator_terms(objective, objective.produce(make_batch(), rng()))
    real = terms.pop("lesion_real")
    sum(terms.values()).backward()
    assert not grads(guidance) and grads(network)
    objective.zero_grad()
    real.backward()
    assert grads(guidance) and not grads(network)
    assert all(p.requires_grad for p in guidance.parameters())


def test_lesion_term_guides_the_generator(cgan_objective):
    objective = cgan_objective()
    generator_terms(objective, objective.produce(make_batch(), rng()))["lesion"].backward()
    assert grads(objective.network.fusion_encoder) and grads(objective.network.decoder)
    assert not grads(objective.network.image_encoder) and not grads(objective.generator["guidance"])


def test_one_iteration_changes_every_network(cgan_objective):
    objective = cgan_objective()
    before = {n: p.detach().clone() for n, p in objective.named_parameters()}
    optimizers = [torch.optim.Adam(m.parameters(), 1e-3) for m in (objective.generator, objective.discriminator)]
    AdversarialTrainer("cpu", 1, [make_batch()], objective, *optimizers).run()
    moved = {n.rsplit(".", 1)[0] for n, p in objective.named_parameters() if not torch.equal(p, before[n])}
    for part in (
        "generator.network.fusion_encoder", "generator.network.image_encoder", "generator.network.decoder",
        "generator.guidance.parts.0", "generator.guidance.parts.3", "discriminator.image.patch",
        "discriminator.image.modality", "discriminator.code",
    ):  # fmt: skip
        assert any(name.startswith(part) for name in moved), part


@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_each_optimiser_moves_its_own_side(cgan_objective, side):
    objective = cgan_objective()
    before = {n: p.detach().clone() for n, p in objective.named_parameters()}
    optimizers = [
        torch.optim.SGD(getattr(objective, s).parameters(), 0.1 if s == side else 0.0)
        for s in ("generator", "discriminator")
    ]
    AdversarialTrainer("cpu", 1, [make_batch()], objective, *optimizers).run()
    moved = {n.split(".")[0] for n, p in objective.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {side}


def test_unpaired_style_is_drawn_and_paired_style_is_measured(cgan_objective):
    for paired in (True, False):
        objective = cgan_objective(paired=paired)
        styles = [objective.produce(make_batch(paired), rng(seed))["style"] for seed in (0, 1)]
        assert torch.equal(*styles) == paired


def test_guidance_reads_through_the_augmentation(cgan_objective):
    seen = []

    def augment(images, generator):
        seen.append(images.shape)
        return images * 0

    objective = cgan_objective(guidance_augment=augment)
    objective.discriminator.requires_grad_(False)
    terms = generator_terms(objective, objective.produce(make_batch(), rng()))
    assert seen == [(2, 4, 48, 48)] * 2 and torch.isfinite(terms["lesion"])


def test_fuse_batch_takes_a_map_from_noise_where_it_is_told_to():
    image = make_batch()["image"][:, :1]
    own, target = torch.zeros(2, 2, 1, 48, 48)
    own[:, :, 14:20, 14:20], target[:, :, 22:28, 20:26] = 2, 3
    maps, masks = torch.zeros(2, 1, 48, 48), torch.ones(2, 1, 48, 48)
    maps[:, :, 16, 16], maps[:, :, 24, 22], masks[:, :, 4:44, 4:44] = 1, 1, 0
    made = fuse_batch(image, own, target, canvas_size=(60, 60), drawn=(maps, masks, torch.tensor([0.0, 1.0])))
    plain = fuse_batch(image, own, target, canvas_size=(60, 60))
    for part in ("structure", "keep", "fused", "mask"):
        assert torch.equal(getattr(made, part)[0], getattr(plain, part)[0]), part
    # the image's own lesion is not in that map: only the place of the target is erased
    assert made.structure[1, 0].nonzero().tolist() == [[16, 16]]
    assert torch.equal(made.keep[1], (target[1] == 0).float()) and torch.equal(made.mask[1], masks[1])


def test_items_from_noise_are_generated_from_their_map(cgan_objective):
    batch = make_batch()
    maps, masks = torch.zeros(2, 1, 48, 48), torch.ones(2, 1, 48, 48)
    maps[:, :, 10, 10:30], masks[:, :, 6:42, 6:42] = 1, 0
    batch |= {"map": maps, "map_mask": masks, "from_noise": torch.tensor([0.0, 1.0])}
    objective = cgan_objective()
    step = objective.produce(batch, rng())
    assert torch.equal(step["made"].mask[1], masks[1]) and not torch.equal(step["made"].mask[0], masks[0])
    assert not (step["generated"][1] * masks[1]).any()
    assert all(torch.isfinite(t) for t in generator_terms(objective, step).values())


def test_guidance_stops_where_real_lesions_are_no_easier(cgan_objective):
    objective, batch = cgan_objective(), make_batch()
    objective.match_real = True
    step = objective.produce(batch, rng())
    full = float(generator_terms(objective, step)["lesion"])
    objective.real_lesion.fill_(100.0)  # real lesions are never found
    step = objective.produce(batch, rng())
    assert float(generator_terms(objective, step)["lesion"]) == 0 < full
    objective.real_lesion.zero_()
    step = objective.produce(batch, rng())
    terms = generator_terms(objective, step)
    assert float(terms["lesion"]) == pytest.approx(full, rel=1e-4)
    # the yardstick follows the loss on real images, by modality: its mean is 2 % of theirs after one step
    assert float(objective.real_lesion.mean()) == pytest.approx(0.02 * float(terms["lesion_real"]), rel=1e-4)


def test_discriminator_sees_real_and_generated_images_through_one_draw(cgan_objective):
    seen = []

    def record(images, generator):
        seen.append((images.shape, generator.initial_seed()))
        return images

    objective = cgan_objective(condition=True)
    objective.discriminator_augment = record
    step = objective.produce(make_batch(), rng())
    generator_terms(objective, step)
    assert len({seed for _, seed in seen}) == 1 and len(seen) >= 3
    assert seen[0][0] == (8, 5, 48, 48), "an image beside its fused map of four channels"
    again = objective.produce(make_batch(), rng(1))
    assert again["augment_seed"] != step["augment_seed"]
