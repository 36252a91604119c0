"""One training step of the structure-map stage (Qu et al., section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn

from monai_ext.engines.adversarial import Objective, Terms
from monai_ext.losses import (
    AdversarialLoss,
    binarise,
    flow_loss,
    kl_loss,
    leak_loss,
    mask_loss,
    normal_code_loss,
    outside_loss,
    picture_loss,
    reconstruction_loss,
)
from monai_ext.networks import FeatGen, MapCodeDiscriminator, MapDiscriminator
from monai_ext.transforms import background_mask, erase_lesion, structural_feature_map


def maps_and_masks(
    image: torch.Tensor,
    label: torch.Tensor,
    beta: float = 0.07,
    pad: int = 5,
    canvas_size: Sequence[int] | None = (240, 240),
) -> tuple[torch.Tensor, torch.Tensor]:
    """Training pair of real slices: Algorithm 1's map with the slice's own lesion erased, and Algorithm 2's mask.

    Args:
        image: (B, 1, H, W) in [0, 1].
        label: (B, 1, H, W), lesion > 0.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.

    Returns:
        Map and mask (1 outside the brain), (B, 1, H, W) in {0, 1}.
    """
    return erase_lesion(structural_feature_map(image, beta, canvas_size), label), background_mask(image, pad)


class FeatGenObjective(Objective):
    """Losses of EC_f, DC_f, MASK, D_f and FD_f, and of the flow from noise to codes.

    Terms of the generator side: ``adversarial_code``, ``normal``, ``kl`` and ``picture`` shape the code,
    ``reconstruction`` and ``outside`` rebuild the map, ``flow`` trains the prior on codes as they are,
    ``adversarial_map`` and ``leak`` DC_f on maps from noise, ``mask`` MASK. Of the discriminators: ``d_code``,
    ``d_map``. In a step without a term that shapes the code EC_f rests, so that the flow keeps what it learned.

    Args:
        network: EC_f, DC_f, MASK and the prior.
        map_discriminator: D_f.
        code_discriminator: FD_f.
        weights: term -> weight.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        criterion: of the reconstruction, ``squared`` or ``bce``.
        edge_weight: see :func:`monai_ext.losses.reconstruction_loss`.
        adversarial: see :class:`monai_ext.losses.AdversarialLoss`.
        map_to_discriminator: see :func:`monai_ext.losses.binarise`.
        num_generated: maps from noise in a step; as many as real ones when ``None``. Drawing them is what costs most.
        flow_draws: points on lines from noise to one and the same code in a step.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        map_channels: channels of the image that maps are drawn from; all when ``None``.
        image_key: images (B, M, H, W); one modality of each is drawn in a step.
        label_key: labels (B, 1, H, W).

    Raises:
        ValueError: when ``flow`` has a weight and the prior nothing to train.
    """

    TERMS = (
        "adversarial_code", "adversarial_map", "normal", "kl", "picture", "reconstruction", "outside", "flow", "leak",
        "mask", "d_code", "d_map",
    )  # fmt: skip
    SHAPE_CODE = ("adversarial_code", "normal", "kl", "picture")

    def __init__(
        self,
        network: FeatGen,
        map_discriminator: MapDiscriminator,
        code_discriminator: MapCodeDiscriminator,
        weights: Mapping[str, float],
        beta: float = 0.07,
        pad: int = 5,
        criterion: str = "bce",
        edge_weight: float = 1.0,
        adversarial: str = "least_squares",
        map_to_discriminator: str = "straight_through",
        num_generated: int | None = None,
        flow_draws: int = 4,
        canvas_size: Sequence[int] | None = (240, 240),
        map_channels: Sequence[int] | None = None,
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        super().__init__(weights)
        if self.wants("flow") and network.prior.kind != "flow":
            raise ValueError(f"a prior of kind {network.prior.kind} has no flow: set the weight of the term flow to 0")
        self.generator = network
        self.discriminator = nn.ModuleDict({"map": map_discriminator, "code": code_discriminator})
        self.beta, self.pad, self.mode, self.flow_draws = beta, pad, map_to_discriminator, flow_draws
        self.num_generated = num_generated
        self.criterion, self.edge_weight = criterion, edge_weight
        self.canvas_size, self.map_channels = canvas_size, None if map_channels is None else list(map_channels)
        self.adversarial = AdversarialLoss(adversarial)
        self.image_key, self.label_key = image_key, label_key

    def produce(self, batch: Mapping[str, Any], rng: torch.Generator) -> dict[str, Any]:
        """Encode and rebuild real maps, decode noise, as far as a term wants it."""
        images, label = batch[self.image_key], batch[self.label_key]
        network, count, device = self.generator, images.shape[0], images.device
        channels = torch.tensor(self.map_channels if self.map_channels is not None else range(images.shape[1]))
        modality = channels[torch.randint(len(channels), (count,), generator=rng)].to(device)
        noise = torch.randn(2, count, network.latent_size, generator=rng).to(device)
        image = images[torch.arange(count, device=device), modality][:, None]
        structure, mask = maps_and_masks(image, label, self.beta, self.pad, self.canvas_size)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.wants(*self.SHAPE_CODE)):
            mean, logvar = (x.float() for x in network.encoder(structure))
        code = mean + torch.exp(0.5 * logvar) * noise[0].view_as(mean)
        network.prior.update(code.detach())
        step = {
            "structure": structure, "mask": mask, "mean": mean, "logvar": logvar, "code": code,
            "noise": noise[1], "rng": rng,
        }  # fmt: skip
        if self.wants("reconstruction", "outside", "mask"):
            step["logits"] = network.decoder(code).float()
        if self.wants("adversarial_map", "d_map", "leak"):
            with torch.no_grad():
                drawn = network.prior(noise[1, : self.num_generated])
            step["generated"] = network.decoder(drawn).float().sigmoid()
        return step

    def discriminator_terms(self, step: Mapping[str, Any]) -> Terms:
        """loss_FD_f (drawn codes are the real ones) and loss_D_f."""
        terms: Terms = {}
        if self.wants("d_code"):
            judge = self.discriminator["code"]
            terms["code"] = self.adversarial.discriminator(judge(step["noise"]), judge(self._judged(step).detach()))
        if self.wants("d_map"):
            judge = self.discriminator["map"]
            terms["map"] = self.adversarial.discriminator(
                judge(step["structure"]), judge(binarise(step["generated"].detach(), self.mode))
            )
        return terms

    def generator_terms(self, step: Mapping[str, Any]) -> Terms:
        """loss_G_f, loss_normal, loss_sv and loss_mask, and the flow's."""
        structure, logits, mask, generated = (step.get(k) for k in ("structure", "logits", "mask", "generated"))
        terms: Terms = {}
        if self.wants("normal"):
            terms["normal"] = normal_code_loss(step["mean"], step["logvar"])
        if self.wants("kl"):
            terms["kl"] = kl_loss(step["mean"], step["logvar"])
        if self.wants("picture"):
            terms["picture"] = picture_loss(step["mean"], structure)
        if self.wants("reconstruction"):
            terms["reconstruction"] = reconstruction_loss(structure, logits, self.criterion, self.edge_weight)
        if self.wants("outside"):
            terms["outside"] = outside_loss(logits.sigmoid(), mask)
        if self.wants("adversarial_code"):
            terms["adversarial_code"] = self.adversarial.generator(self.discriminator["code"](self._judged(step)))
        if self.wants("adversarial_map"):
            terms["adversarial_map"] = self.adversarial.generator(
                self.discriminator["map"](binarise(generated, self.mode))
            )
        if self.wants("leak"):
            drawn = binarise(generated, self.mode)
            with torch.no_grad():
                outside = (self.generator.mask(drawn) > 0).float()
            terms["leak"] = leak_loss(drawn, outside)
        if self.wants("flow"):
            terms["flow"] = self._flow(step)
        if self.wants("mask"):
            rec = logits.sigmoid()
            seen = structure if generated is None else torch.cat([structure, binarise(generated.detach(), self.mode)])
            found = self.generator.mask(seen).float().sigmoid()
            mask_gen = None if generated is None else found[len(structure) :]
            terms["mask"] = mask_loss(mask, found[: len(structure)], structure, rec, generated, mask_gen)
        return terms

    def _judged(self, step: Mapping[str, Any]) -> torch.Tensor:
        """Codes as FD_f sees them: a flow makes any mean and deviation N(0, 1), without one the code itself must be."""
        prior, code = self.generator.prior, step["code"]
        return (prior.standardise(code) if prior.kind == "flow" else code).flatten(1)

    def _flow(self, step: Mapping[str, Any]) -> torch.Tensor:
        prior = self.generator.prior
        code = prior.standardise(step["code"].detach()).repeat(self.flow_draws, 1, 1, 1)
        noise = torch.randn(code.shape, generator=step["rng"]).to(code.device)
        # times near the middle are the hard ones (Esser et al. 2024, "Scaling rectified flow transformers", 3.1)
        time = torch.randn(len(code), generator=step["rng"]).sigmoid().to(code.device)
        at = time[:, None, None, None]
        return flow_loss(prior.move((1 - at) * noise + at * code, time), noise, code)
