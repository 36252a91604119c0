"""Losses of the structure-map stage (Qu et al., section 2.3). ||.||^2 is a mean over elements."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def normal_code_loss(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """loss_normal = mean(mean)^2 + (mean(exp(0.5 logvar)) - 1)^2.

    Args:
        mean: (B, N).
        logvar: (B, N).
    """
    return mean.mean() ** 2 + (torch.exp(0.5 * logvar).mean() - 1) ** 2


def kl_loss(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence to N(0, 1) per code element: what loss_normal and FD_f replace in the paper.

    Args:
        mean: (B, N).
        logvar: (B, N).
    """
    return 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()


def reconstruction_loss(structure: torch.Tensor, logits: torch.Tensor, criterion: str = "squared") -> torch.Tensor:
    """||f - f_r||^2, the first term of loss_sv; ``bce`` gives binary cross-entropy instead.

    Args:
        structure: map f, (B, 1, H, W) in {0, 1}.
        logits: of its reconstruction f_r.
        criterion: ``squared`` or ``bce``.

    Raises:
        ValueError: for another criterion.
    """
    if criterion == "squared":
        return F.mse_loss(logits.sigmoid(), structure)
    if criterion == "bce":
        return F.binary_cross_entropy_with_logits(logits, structure)
    raise ValueError(f"criterion is squared or bce, got {criterion!r}")


def outside_loss(structure: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """||f * m||^2: nothing of a map lies outside the brain (second term of loss_sv, last three of loss_mask).

    Args:
        structure: map, (B, 1, H, W) in [0, 1].
        mask: 1 outside the brain.
    """
    return (structure * mask).square().mean()


def mask_loss(
    mask: torch.Tensor,
    mask_real: torch.Tensor,
    structure: torch.Tensor,
    structure_rec: torch.Tensor,
    structure_gen: torch.Tensor,
    mask_gen: torch.Tensor,
) -> torch.Tensor:
    """loss_mask = ||m - m_r||^2 + ||f * m_r||^2 + ||f_r * m_r||^2 + ||f_g * m_g||^2.

    Args:
        mask: m, Algorithm 2's mask of the real slice.
        mask_real: m_r = MASK(f).
        structure: f.
        structure_rec: f_r.
        structure_gen: f_g, decoded from noise.
        mask_gen: m_g = MASK(f_g).
    """
    return (
        F.mse_loss(mask_real, mask)
        + outside_loss(structure, mask_real)
        + outside_loss(structure_rec, mask_real)
        + outside_loss(structure_gen, mask_gen)
    )


def binarise(probability: torch.Tensor, mode: str = "straight_through") -> torch.Tensor:
    """What the map discriminator sees of a generated map.

    A hard threshold would cut the gradient to the decoder.

    Args:
        probability: (B, 1, H, W) in (0, 1).
        mode: ``straight_through`` shows {0, 1} forward and passes the gradient as if it were the identity;
            ``probabilities`` shows the probabilities.

    Raises:
        ValueError: for another mode.
    """
    if mode == "probabilities":
        return probability
    if mode == "straight_through":
        return (probability > 0.5).to(probability.dtype) + (probability - probability.detach())
    raise ValueError(f"mode is straight_through or probabilities, got {mode!r}")
