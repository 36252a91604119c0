"""One training step of the image stage (Qu et al., sections 2.4 and 2.6).

Modalities, targets and cycles are a batch dimension throughout: there is no code path per modality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from monai_ext.bundles import load_weights
from monai_ext.engines.adversarial import Objective, Terms
from monai_ext.engines.fusion import FusedBatch, fuse_batch
from monai_ext.losses import (
    AdversarialLoss,
    LesionLoss,
    code_consistency_loss,
    cycle_consistency_loss,
    cycle_loss,
    feature_matching_loss,
    generated_code_loss,
    image_reconstruction_loss,
    modality_loss,
    outside_mask_loss,
    registration_loss,
    structure_loss,
)
from monai_ext.networks import CGAN, CodeDiscriminator, ImageDiscriminator, LesionGuidance, brain_quantiles
from monai_ext.transforms import background_mask


class CGANObjective(Objective):
    """Losses of EC_lf, EC, DC, D, FD and the lesion guidance.

    Generator terms. Generation: ``adversarial``, ``modality``, ``structure``, ``lesion``, ``registration``,
    ``generated_code``, ``outside``, ``adversarial_code``. Real images: ``reconstruction``, ``adversarial_translated``,
    ``modality_translated``, ``cycle``, ``cycle_consistency``, ``code``, ``lesion_real`` (trains the guidance, and
    nothing else does). Paired data only: ``paired`` and ``paired_translated`` (L1 to the study's own images),
    ``feature_matching``. Discriminators: ``d_generated``, ``d_translated``, ``d_modality``, ``d_code``.

    Args:
        network: EC_lf, EC, DC and the style.
        image_discriminator: D.
        code_discriminator: FD.
        guidance: the lesion guidance component.
        weights: term -> weight.
        paired: whether the images of an item belong together (see
            :class:`monai_ext.data.GenerationDataset`).
        num_sources: modalities of each item that are translated in a step; the number of modalities gives every one.
        num_targets: targets of each source in a step; the number of modalities less one gives every one.
        translate_probability: share of the steps in which real images are translated and generated ones encoded again;
            these branches cost as much as all the others, and every second step keeps the features as consistent.
        beta: of Algorithm 1.
        pad: of Algorithm 2, the margin of the mask that cuts the background.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        map_channels: channels of the images that maps are drawn from; all when ``None``.
        adversarial: see :class:`monai_ext.losses.AdversarialLoss`.
        lesion_loss: see :class:`monai_ext.losses.LesionLoss`.
        guidance_augment: applied to (B, M, H, W) images and a generator before guidance reads them, real ones and
            generated ones alike; it keeps the generator from printing patterns that only a segmentor sees.
        match_real: guide a modality only as far as its real lesions are found: beyond that guidance makes lesions that
            are easier than real ones. The yardstick is a running mean of the guidance's loss on real images.
        discriminator_augment: applied to (N, C, H, W) images, beside their fused map, and a generator before D reads
            them, real ones and generated ones alike; it keeps D from learning few patients by heart.
        companion_weights: file of an earlier training's :attr:`companions` to start from.
    """

    TERMS = (
        "adversarial", "modality", "structure", "lesion", "registration", "generated_code", "outside",
        "adversarial_code",
        "reconstruction", "adversarial_translated", "modality_translated", "cycle", "cycle_consistency", "code",
        "lesion_real", "paired", "paired_translated", "feature_matching",
        "d_generated", "d_translated", "d_modality", "d_code",
    )  # fmt: skip

    def __init__(
        self,
        network: CGAN,
        image_discriminator: ImageDiscriminator,
        code_discriminator: CodeDiscriminator,
        guidance: LesionGuidance,
        weights: Mapping[str, float],
        paired: bool = True,
        num_sources: int = 1,
        num_targets: int = 1,
        translate_probability: float = 1.0,
        beta: float = 0.07,
        pad: int = 5,
        canvas_size: Sequence[int] | None = (240, 240),
        map_channels: Sequence[int] | None = None,
        adversarial: str = "least_squares",
        lesion_loss: LesionLoss | None = None,
        guidance_augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
        match_real: bool = False,
        discriminator_augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
        companion_weights: str | Path | None = None,
    ) -> None:
        super().__init__(weights)
        modalities = network.num_modalities
        if not 1 <= num_sources <= modalities or not 1 <= num_targets <= modalities - 1:
            raise ValueError(
                f"num_sources is 1 to {modalities} and num_targets 1 to {modalities - 1}, got {num_sources} and "
                f"{num_targets}"
            )
        self.generator = nn.ModuleDict({"network": network, "guidance": guidance})
        self.discriminator = nn.ModuleDict({"image": image_discriminator, "code": code_discriminator})
        self.paired = paired
        self.num_sources, self.num_targets = num_sources, num_targets
        self.translate_probability = translate_probability
        self.beta, self.pad, self.canvas_size = beta, pad, canvas_size
        self.map_channels = None if map_channels is None else list(map_channels)
        self.adversarial = AdversarialLoss(adversarial)
        self.lesion_loss = lesion_loss or LesionLoss()
        self.augment, self.match_real = guidance_augment, match_real
        self.discriminator_augment = discriminator_augment
        self.register_buffer("real_lesion", torch.zeros(modalities))
        load_weights(self.companions, companion_weights)

    @property
    def companions(self) -> nn.ModuleDict:
        """Guidance, D and FD: trained beside the generator, and needed again only by a training that goes on."""
        return nn.ModuleDict({"guidance": self.generator["guidance"], **self.discriminator})

    @property
    def network(self) -> CGAN:
        """EC_lf, EC, DC and the style."""
        return self.generator["network"]

    def _judge(
        self, step: Mapping[str, Any], images: torch.Tensor, fused: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list]:
        """D on (B, K, H, W) images folded into the batch, beside their item's fused map where D is conditional."""
        judge = self.discriminator["image"]
        seen = images.flatten(0, 1)[:, None]
        if judge.condition_channels:  # one fused map an item, or one an image
            seen = torch.cat([seen, fused.to(seen.dtype).repeat_interleave(len(seen) // len(fused), 0)], 1)
        if self.discriminator_augment is not None:
            # the same draw for a real image and its generated counterpart: their features are compared
            seen = self.discriminator_augment(seen, torch.Generator().manual_seed(step["augment_seed"]))
        return judge(seen[:, :1], seen[:, 1:]) if judge.condition_channels else judge(seen)

    def _fuse(
        self,
        image: torch.Tensor,
        own: torch.Tensor,
        target: torch.Tensor,
        drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None,
    ) -> FusedBatch:
        return fuse_batch(
            image, own, target, self.network.num_classes, self.beta, self.pad, self.canvas_size, drawn,
            self.network.shown_classes,
        )  # fmt: skip

    def _segment(self, images: torch.Tensor, label: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Lesion loss (M,) of the guidance on (B, M, H, W) images against (B, M or 1, H, W) labels."""
        if self.augment is not None:
            images = self.augment(images, rng)
        logits, label = self.generator["guidance"](images).float(), label.expand_as(images)
        return torch.stack([self.lesion_loss(logits[:, m], label[:, m, None]) for m in range(images.shape[1])])

    def produce(self, batch: Mapping[str, Any], rng: torch.Generator) -> dict[str, Any]:
        """Generate from fused maps, translate real images; ``target`` is generated where the batch has one."""
        images, labels = batch["image"], batch["label"]
        target, own = batch.get("target", labels), batch.get("own")
        count, modalities = images.shape[:2]
        rows = torch.arange(count, device=images.device)
        network = self.network

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=rng).to(images)

        # the map of a step comes from one modality of each item, drawn anew
        channels = torch.tensor(self.map_channels if self.map_channels is not None else range(modalities))
        chosen = channels[torch.randint(len(channels), (count,), generator=rng)].to(images.device)
        image, label = images[rows, chosen][:, None], labels[rows, chosen][:, None]
        drawn = (batch["map"], batch["map_mask"], batch["from_noise"]) if "map" in batch else None
        made = self._fuse(image, label, target[rows, chosen][:, None], drawn)
        inside = 1 - made.mask
        if self.paired:
            style = network.style(brain_quantiles(images, labels)).to(images)
        else:
            style = draw(count, network.style_size)
        code = network.encode_fused(made.fused, draw(count, network.noise_channels, *images.shape[2:]))
        raw = network.decoder(code, network.all_modalities(count, images), style)
        step = {
            "rng": rng, "images": images, "labels": labels, "made": made, "style": style, "code": code,
            "raw": raw.float(), "generated": raw.float() * inside,
            "own": own.to(images)[rows, chosen] if own is not None else torch.ones(count, device=images.device),
        }  # fmt: skip
        # D sees each real image beside the map and label it shows
        if not self.paired:
            image, label = images.flatten(0, 1)[:, None], labels.flatten(0, 1)[:, None]
        step["real_fused"] = self._fuse(image, label, label).fused
        if self.discriminator_augment is not None:
            step["augment_seed"] = int(torch.randint(2**31, (1,), generator=rng))
        step["translating"] = float(torch.rand(1, generator=rng)) < self.translate_probability
        if step["translating"]:
            step.update(self._translate(step))
        return step

    def _translate(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Real images: x_i -> code_i -> x_r,i and x_t,i->j."""
        if not self.wants(
            "reconstruction", "adversarial_translated", "modality_translated", "cycle", "cycle_consistency", "code",
            "paired_translated", "d_translated", "d_code",
        ):  # fmt: skip
            return {}
        images, rng = step["images"], step["rng"]
        count, modalities = images.shape[:2]
        order = torch.stack([torch.randperm(modalities, generator=rng) for _ in range(count)]).to(images.device)
        source = order[:, : self.num_sources]
        # the targets of source i are the next ones in the item's cyclic order, so never i itself
        steps = torch.arange(self.num_sources)[:, None] + 1 + torch.arange(self.num_targets)
        target = order[:, (steps % modalities).to(images.device)]
        x = torch.gather(images, 1, source[:, :, None, None].expand(-1, -1, *images.shape[2:]))
        code = self.network.image_encoder(x.flatten(0, 1)[:, None])
        eye = torch.eye(modalities, device=images.device, dtype=images.dtype)
        wanted = eye[torch.cat([source[:, :, None], target], 2)].flatten(0, 1)
        style = step["style"].repeat_interleave(self.num_sources, 0)
        inside = (1 - background_mask(x, self.pad)).flatten(0, 1)[:, None]
        decoded = self.network.decoder(code, wanted, style).float() * inside
        decoded = decoded.view(count, self.num_sources, 1 + self.num_targets, *images.shape[2:])
        return {
            "source": source, "target_modality": target, "source_images": x, "source_code": code, "inside": inside,
            "source_style": style, "reconstructed": decoded[:, :, 0], "translated": decoded[:, :, 1:],
        }  # fmt: skip

    def discriminator_terms(self, step: dict[str, Any]) -> Terms:
        """loss_D and loss_D,class on real and generated images, loss_D,assist on translated ones, FD on codes."""
        terms: Terms = {}
        images, modalities = step["images"], step["images"].shape[1]
        eye = torch.eye(modalities, device=images.device)
        real_logits, real_class, features = self._judge(step, images, step["real_fused"])
        step["real_features"] = [f.detach() for f in features]
        classes = eye.repeat(images.shape[0], 1)
        if self.wants("d_generated", "d_modality"):
            fake_logits, fake_class, _ = self._judge(step, step["generated"].detach(), step["made"].fused)
            if self.wants("d_generated"):
                terms["generated"] = self.adversarial.discriminator(real_logits.float(), fake_logits.float())
            if self.wants("d_modality"):
                terms["modality"] = modality_loss(real_class.float(), classes) + modality_loss(
                    fake_class.float(), classes
                )
        if self.wants("d_translated") and "translated" in step:
            fakes, fused = self._translated(step)
            terms["translated"] = self.adversarial.discriminator(
                real_logits.float(), self._judge(step, fakes.detach(), fused)[0].float()
            )
        if self.wants("d_code") and "source_code" in step:
            judge = self.discriminator["code"]
            terms["code"] = self.adversarial.discriminator(
                judge(step["source_code"][-1].detach()).float(), judge(step["code"][-1].detach()).float()
            )
        return terms

    def _translated(self, step: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Translations (B * S, T, H, W) and the fused map of each one's source item."""
        fakes = step["translated"].flatten(0, 1)
        fused = step["real_fused"]
        if self.paired:
            return fakes, fused.repeat_interleave(self.num_sources, 0)
        own = fused.view(*step["images"].shape[:2], *fused.shape[1:])
        rows = torch.arange(own.shape[0], device=fused.device)[:, None]
        return fakes, own[rows, step["source"]].flatten(0, 1)

    def generator_terms(self, step: Mapping[str, Any]) -> Terms:
        """Every weighted term of generation and, where wanted, of the real-image branch."""
        return {**self._generation_terms(step), **self._real_terms(step)}

    def _generation_terms(self, step: Mapping[str, Any]) -> Terms:
        terms: Terms = {}
        made, generated, images = step["made"], step["generated"], step["images"]
        count, modalities = images.shape[:2]
        eye = torch.eye(modalities, device=images.device)
        if self.wants("adversarial", "modality", "feature_matching"):
            logits, classes, features = self._judge(step, generated, made.fused)
            if self.wants("adversarial"):
                terms["adversarial"] = self.adversarial.generator(logits.float())
            if self.wants("modality"):
                terms["modality"] = modality_loss(classes.float(), eye.repeat(count, 1))
            if self.paired and self.wants("feature_matching"):
                real = step["real_features"]
                own = step["own"].repeat_interleave(modalities).bool()
                if own.any():
                    terms["feature_matching"] = feature_matching_loss(
                        [f[own].float() for f in features], [f[own].float() for f in real]
                    )
        if self.paired and self.wants("paired"):
            own = step["own"][:, None, None, None]
            terms["paired"] = ((generated - images).abs() * own).sum() / (own.expand_as(images).sum() + 1e-6)
        if self.wants("structure"):
            terms["structure"] = structure_loss(made.structure, generated, made.keep, self.beta, self.canvas_size)
        if self.wants("outside"):
            terms["outside"] = outside_mask_loss(step["raw"], made.mask)
        if self.wants("lesion"):
            # generation is guided through the segmentors and does not train them
            self.generator["guidance"].requires_grad_(False)
            found = self._segment(generated, made.target, step["rng"])
            self.generator["guidance"].requires_grad_(True)
            if self.match_real:
                found = (found - self.real_lesion).relu()
            terms["lesion"] = found.mean()
        if self.wants("adversarial_code"):
            terms["adversarial_code"] = self.adversarial.generator(self.discriminator["code"](step["code"][-1]).float())
        if step["translating"] and self.wants("registration", "generated_code"):
            terms.update(self._consistency_terms(step, eye))
        return terms

    def _consistency_terms(self, step: Mapping[str, Any], eye: torch.Tensor) -> Terms:
        """Generated images encoded again: registration and code consistency."""
        generated, rng = step["generated"], step["rng"]
        count, modalities = generated.shape[:2]
        picks = min(self.num_sources + 1, modalities)
        order = torch.stack([torch.randperm(modalities, generator=rng) for _ in range(count)]).to(generated.device)
        chosen = order[:, :picks]
        x = torch.gather(generated, 1, chosen[:, :, None, None].expand(-1, -1, *generated.shape[2:]))
        code = self.network.image_encoder(x.flatten(0, 1)[:, None])
        terms: Terms = {}
        if self.wants("generated_code"):
            terms["generated_code"] = generated_code_loss(
                [f.float() for f in step["code"]], [f.float() for f in code], picks
            )
        if self.wants("registration"):
            steps = torch.arange(picks)[:, None] + 1 + torch.arange(self.num_targets)
            target = order[:, (steps % modalities).to(generated.device)]
            decoded = self.network.decoder(
                code, eye.to(generated)[target].flatten(0, 1), step["style"].repeat_interleave(picks, 0)
            )
            inside = (1 - step["made"].mask).repeat_interleave(picks, 0)
            rows = torch.arange(count, device=generated.device)[:, None, None]
            expected = generated[rows, target].flatten(0, 1)
            terms["registration"] = registration_loss(expected, decoded.float() * inside)
        return terms

    def _real_terms(self, step: Mapping[str, Any]) -> Terms:
        terms: Terms = {}
        if self.wants("lesion_real"):
            found = self._segment(step["images"], step["labels"], step["rng"])
            self.real_lesion.lerp_(found.detach(), 0.02)
            terms["lesion_real"] = found.mean()
        if "translated" not in step:
            return terms
        images, source, x = step["images"], step["source"], step["source_images"]
        count, modalities = images.shape[:2]
        eye = torch.eye(modalities, device=images.device, dtype=images.dtype)
        translated, target = step["translated"], step["target_modality"]
        if self.wants("reconstruction"):
            terms["reconstruction"] = image_reconstruction_loss(x, step["reconstructed"])
        if self.wants("adversarial_translated", "modality_translated"):
            logits, classes, _ = self._judge(step, *self._translated(step))
            if self.wants("adversarial_translated"):
                terms["adversarial_translated"] = self.adversarial.generator(logits.float())
            if self.wants("modality_translated"):
                terms["modality_translated"] = modality_loss(classes.float(), eye[target.flatten()].float())
        if self.paired and self.wants("paired_translated"):
            rows = torch.arange(count, device=images.device)[:, None, None]
            terms["paired_translated"] = F.l1_loss(translated, images[rows, target])
        if self.wants("cycle", "cycle_consistency", "code"):
            code = self.network.image_encoder(translated.flatten(0, 2)[:, None])
            if self.wants("code"):
                terms["code"] = code_consistency_loss(
                    [f.float() for f in step["source_code"]], [f.float() for f in code]
                )
            if self.wants("cycle", "cycle_consistency"):
                back = eye[source][:, :, None].expand(-1, -1, self.num_targets, -1).flatten(0, 2)[:, None]
                style = step["source_style"].repeat_interleave(self.num_targets, 0)
                inside = step["inside"].repeat_interleave(self.num_targets, 0)
                cycled = (self.network.decoder(code, back, style).float() * inside).view_as(translated)
                if self.wants("cycle"):
                    terms["cycle"] = cycle_loss(x, cycled)
                if self.wants("cycle_consistency"):
                    terms["cycle_consistency"] = cycle_consistency_loss(cycled)
        return terms
