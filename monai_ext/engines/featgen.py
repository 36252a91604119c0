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
    kl_loss,
    mask_loss,
    normal_code_loss,
    outside_loss,
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
    """Losses of EC_f, DC_f, MASK, D_f and FD_f.

    Terms of the generator side: ``adversarial_code``, ``adversarial_map``, ``normal``, ``kl``, ``reconstruction``,
    ``image`` (L1 between the slice and the image the map is read off, outside the lesion; for the decoder's ``edges``
    head),
    ``outside``, ``mask``. Of the discriminators: ``d_code``, ``d_map``.

    Args:
        network: EC_f, DC_f and MASK.
        map_discriminator: D_f.
        code_discriminator: FD_f.
        weights: term -> weight.
        beta: of Algorithm 1.
        pad: of Algorithm 2.
        criterion: of the reconstruction, ``squared`` or ``bce``.
        adversarial: see :class:`monai_ext.losses.AdversarialLoss`.
        map_to_discriminator: see :func:`monai_ext.losses.binarise`.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
        map_channels: channels of the image that maps are drawn from; all when ``None``.
        image_key: images (B, M, H, W); one modality of each is drawn in a step.
        label_key: labels (B, 1, H, W).
    """

    TERMS = (
        "adversarial_code", "adversarial_map", "normal", "kl", "reconstruction", "image", "outside", "mask",
        "d_code", "d_map",
    )  # fmt: skip

    def __init__(
        self,
        network: FeatGen,
        map_discriminator: MapDiscriminator,
        code_discriminator: MapCodeDiscriminator,
        weights: Mapping[str, float],
        beta: float = 0.07,
        pad: int = 5,
        criterion: str = "bce",
        adversarial: str = "least_squares",
        map_to_discriminator: str = "straight_through",
        canvas_size: Sequence[int] | None = (240, 240),
        map_channels: Sequence[int] | None = None,
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        super().__init__(weights)
        self.generator = network
        self.discriminator = nn.ModuleDict({"map": map_discriminator, "code": code_discriminator})
        self.beta, self.pad, self.criterion, self.mode = beta, pad, criterion, map_to_discriminator
        self.canvas_size, self.map_channels = canvas_size, None if map_channels is None else list(map_channels)
        self.adversarial = AdversarialLoss(adversarial)
        self.image_key, self.label_key = image_key, label_key

    def produce(self, batch: Mapping[str, Any], rng: torch.Generator) -> dict[str, Any]:
        """Encode and reconstruct real maps, decode noise."""
        images, label = batch[self.image_key], batch[self.label_key]
        count = images.shape[0]
        channels = torch.tensor(self.map_channels if self.map_channels is not None else range(images.shape[1]))
        modality = channels[torch.randint(len(channels), (count,), generator=rng)].to(images.device)
        noise = torch.randn(2, count, self.generator.latent_size, generator=rng).to(images.device)
        image = images[torch.arange(count, device=images.device), modality][:, None]
        structure, mask = maps_and_masks(image, label, self.beta, self.pad, self.canvas_size)
        mean, logvar = self.generator.encoder(structure)
        code = mean + torch.exp(0.5 * logvar) * noise[0].to(mean.dtype)
        self.generator.prior.update(code.detach())
        codes = [code]
        if self.wants("adversarial_map", "d_map", "mask"):
            codes.append(self.generator.prior(noise[1]).to(code.dtype))
        logits, painted = self.generator.decoder(torch.cat(codes))
        step = {
            "structure": structure, "mask": mask, "mean": mean.float(), "logvar": logvar.float(),
            "code": self.generator.prior.standardise(code.float()),
            "noise": noise[1], "logits": logits[:count].float(),
            "image": image, "painted": painted[:count].float(), "healthy": (label == 0).float(),
        }  # fmt: skip
        if len(codes) > 1:
            step["generated"] = logits[count:].float().sigmoid()
        return step

    def discriminator_terms(self, step: Mapping[str, Any]) -> Terms:
        """loss_FD_f (drawn codes are the real ones) and loss_D_f."""
        terms: Terms = {}
        if self.wants("d_code"):
            judge = self.discriminator["code"]
            terms["code"] = self.adversarial.discriminator(judge(step["noise"]), judge(step["code"].detach()))
        if self.wants("d_map"):
            judge = self.discriminator["map"]
            terms["map"] = self.adversarial.discriminator(
                judge(step["structure"]), judge(binarise(step["generated"].detach(), self.mode))
            )
        return terms

    def generator_terms(self, step: Mapping[str, Any]) -> Terms:
        """loss_G_f, loss_normal, loss_sv and loss_mask."""
        structure, logits, mask, generated = (step.get(k) for k in ("structure", "logits", "mask", "generated"))
        terms: Terms = {
            "normal": normal_code_loss(step["mean"], step["logvar"]),
            "reconstruction": reconstruction_loss(structure, logits, self.criterion),
            "outside": outside_loss(logits.sigmoid(), mask),
        }
        if self.wants("image"):
            terms["image"] = ((step["painted"] - step["image"]).abs() * step["healthy"]).mean()
        if self.wants("kl"):
            terms["kl"] = kl_loss(step["mean"], step["logvar"])
        if self.wants("adversarial_code"):
            terms["adversarial_code"] = self.adversarial.generator(self.discriminator["code"](step["code"]))
        if self.wants("adversarial_map"):
            terms["adversarial_map"] = self.adversarial.generator(
                self.discriminator["map"](binarise(generated, self.mode))
            )
        if self.wants("mask"):
            rec = logits.sigmoid()
            seen = torch.cat([structure, rec.detach(), generated.detach()])
            mask_real, _, mask_gen = self.generator.mask(binarise(seen, self.mode)).float().sigmoid().chunk(3)
            terms["mask"] = mask_loss(mask, mask_real, structure, rec, generated, mask_gen)
        return terms
