"""Losses of the image stage (Qu et al., sections 2.4 and 2.6). ||.||^2 is a mean over elements.

Shapes: B studies, S source modalities of each, T targets of each source, M modalities of a study.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.losses import DiceCELoss

from monai_ext.transforms import soft_structural_feature_map


def image_reconstruction_loss(image: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
    """loss_sv: ||x_i - x_r,i||^2. Both (B, S, H, W)."""
    return F.mse_loss(reconstruction, image)


def cycle_loss(image: torch.Tensor, cycled: torch.Tensor) -> torch.Tensor:
    """loss_cycle: ||x_i - x_cr,j,i||^2, over every target j. (B, S, H, W) and (B, S, T, H, W)."""
    return F.mse_loss(cycled, image[:, :, None].expand_as(cycled))


def cycle_consistency_loss(cycled: torch.Tensor) -> torch.Tensor:
    """loss_cycle,consistency: ||x_cr,j,i - x_cr,k,i||^2 over pairs j != k. (B, S, T, H, W); 0 where T is 1."""
    targets = cycled.shape[2]
    if targets < 2:
        return cycled.new_zeros(())
    first, second = torch.triu_indices(targets, targets, 1)
    return F.mse_loss(cycled[:, :, first], cycled[:, :, second])


def code_consistency_loss(code: Sequence[torch.Tensor], translated: Sequence[torch.Tensor]) -> torch.Tensor:
    """loss_code,consistency: ||code_i - code_t,i->j||^2, the mean over feature levels.

    Args:
        code: per level (N, C, h, w).
        translated: per level (N * T, C, h, w), the T targets of an item side by side.
    """
    terms = []
    for a, b in zip(code, translated):
        terms.append(F.mse_loss(b, a.repeat_interleave(b.shape[0] // a.shape[0], 0)))
    return torch.stack(terms).mean()


def generated_code_loss(code: Sequence[torch.Tensor], encoded: Sequence[torch.Tensor], modalities: int) -> torch.Tensor:
    """loss_trans,code: ||code_g - code_g,i||^2 + ||code_g,i - code_g,j||^2, the mean over feature levels.

    Args:
        code: of the fused map, per level (B, C, h, w).
        encoded: codes of K generated images of each item, per level (B * K, C, h, w).
        modalities: K.
    """
    terms = []
    for a, b in zip(code, encoded):
        b = b.view(a.shape[0], modalities, *b.shape[1:])
        term = F.mse_loss(b, a[:, None].expand_as(b))
        if modalities > 1:
            first, second = torch.triu_indices(modalities, modalities, 1)
            term = term + F.mse_loss(b[:, first], b[:, second])
        terms.append(term)
    return torch.stack(terms).mean()


def registration_loss(generated: torch.Tensor, translated: torch.Tensor) -> torch.Tensor:
    """loss_trans: ||x_g,i - x_gt,j->i||^2, translations against the generated image they should equal. Same shapes."""
    return F.mse_loss(translated, generated)


def structure_loss(
    structure: torch.Tensor,
    images: torch.Tensor,
    keep: torch.Tensor,
    beta: float = 0.07,
    canvas_size: Sequence[int] | None = None,
) -> torch.Tensor:
    """loss_sv,f: ||f - f(x_g,i)||^2 with a differentiable Algorithm 1, where nothing was erased.

    Args:
        structure: f, (B, 1, H, W).
        images: generated modalities (B, M, H, W).
        keep: (B, 1, H, W), 1 where f was not erased for a lesion.
        beta: of Algorithm 1.
        canvas_size: see :func:`monai_ext.transforms.structural_feature_map`.
    """
    found = soft_structural_feature_map(images, beta, canvas_size=canvas_size)
    return ((found - structure) * keep).square().mean()


def outside_mask_loss(images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """||x_g,i * m||^2: nothing outside the brain. (B, M, H, W) and (B, 1, H, W)."""
    return (images * mask).square().mean()


class LesionLoss(nn.Module):
    """loss_sv,l: segmentation against the label, per modality.

    Args:
        criterion: ``squared`` is the paper's, (label - softmax)^2 on one-hot channels weighted by ``class_weights``;
            ``dice_ce`` is MONAI's Dice + cross-entropy.
        class_weights: weight of each channel under ``squared``, background first; those of the first channels count
            where the logits have fewer.

    Raises:
        ValueError: for another criterion.
    """

    def __init__(self, criterion: str = "dice_ce", class_weights: Sequence[float] = (2.5, 25.0, 125.0, 125.0)) -> None:
        super().__init__()
        if criterion not in ("squared", "dice_ce"):
            raise ValueError(f"criterion is squared or dice_ce, got {criterion!r}")
        self.criterion = criterion
        self.register_buffer("weights", torch.tensor(list(class_weights)).view(1, -1, 1, 1))
        # over the batch: most slices lack some class, and a Dice of an absent class is noise
        self.dice_ce = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Logits (N, n + 1, H, W) against labels (N, 1, H, W)."""
        if self.criterion == "dice_ce":
            return self.dice_ce(logits, label)
        onehot = F.one_hot(label[:, 0].long(), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
        weights = self.weights[:, : logits.shape[1]].to(logits)
        return (weights * (logits.softmax(1) - onehot).square()).mean()
