"""Losses of the structure-map stage (Qu et al., section 2.3). ||.||^2 is a mean over elements."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from monai.networks.layers import GaussianFilter

CLOSED_ABOVE = 0.3  # of the blurred map, as in ContourMask
PICTURE_MEAN, PICTURE_DEVIATION = 0.13, 0.16  # of tiles of 4 x 4 pixels of real maps at beta 0.07


def normal_code_loss(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """loss_normal = mean(mean)^2 + (mean(exp(0.5 logvar)) - 1)^2.

    Args:
        mean: of the code, (B, C, h, w).
        logvar: likewise.
    """
    return mean.mean() ** 2 + (torch.exp(0.5 * logvar).mean() - 1) ** 2


def kl_loss(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence to N(0, 1) per code element: what loss_normal and FD_f replace in the paper.

    Args:
        mean: of the code, (B, C, h, w).
        logvar: likewise.
    """
    return 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()


def flow_loss(velocity: torch.Tensor, noise: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    """(v - (code - noise))^2: the velocity on the straight line from noise to a code (Liu et al. 2023, equation 1).

    Args:
        velocity: v at any point of that line, (B, C, h, w).
        noise: its start, N(0, 1).
        code: its end.
    """
    return F.mse_loss(velocity, code - noise)


def map_picture(structure: torch.Tensor, channels: int, stride: int) -> torch.Tensor:
    """A structure map at low resolution, in the shape of a code: means over tiles, neighbouring tiles as channels.

    Args:
        structure: (B, 1, H, W) in {0, 1}.
        channels: of the code, a square number: 4 gives tiles of half the stride.
        stride: pixels of the map for one of the code.

    Returns:
        (B, channels, H / stride, W / stride), about mean 0 and deviation 1 for maps of real slices.

    Raises:
        ValueError: for a number of channels that is no square, or does not fit the stride.
    """
    side = math.isqrt(channels)
    if side**2 != channels or stride % side:
        raise ValueError(f"a picture of a map needs 1, 4 or 16 channels at stride {stride}, got {channels}")
    tiles = F.pixel_unshuffle(F.avg_pool2d(structure, stride // side), side)
    return (tiles - PICTURE_MEAN) / PICTURE_DEVIATION


def picture_loss(mean: torch.Tensor, structure: torch.Tensor) -> torch.Tensor:
    """||mean - picture||^2: keeps the code close to :func:`map_picture`.

    Left to itself a code looks like noise, and a prior has to learn each of its pixels; a small picture of the map has
    outlines and symmetry, which a prior learns in a few hundred steps.

    Args:
        mean: of the code, (B, C, h, w).
        structure: map it belongs to, (B, 1, H, W) in {0, 1}.
    """
    return F.mse_loss(mean, map_picture(structure, mean.shape[1], structure.shape[-1] // mean.shape[-1]))


def reconstruction_loss(
    structure: torch.Tensor, logits: torch.Tensor, criterion: str = "squared", edge_weight: float = 1.0
) -> torch.Tensor:
    """||f - f_r||^2, the first term of loss_sv; ``bce`` gives binary cross-entropy instead.

    Args:
        structure: map f, (B, 1, H, W) in {0, 1}.
        logits: of its reconstruction f_r.
        criterion: ``squared`` or ``bce``.
        edge_weight: of edge pixels in ``bce``; above 1 it draws edges that are more likely absent than present, without
            which maps come out too empty.

    Raises:
        ValueError: for another criterion.
    """
    if criterion == "squared":
        return F.mse_loss(logits.sigmoid(), structure)
    if criterion == "bce":
        return F.binary_cross_entropy_with_logits(logits, structure, pos_weight=logits.new_tensor(edge_weight))
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
    structure_gen: torch.Tensor | None = None,
    mask_gen: torch.Tensor | None = None,
) -> torch.Tensor:
    """loss_mask = ||m - m_r||^2 + ||f * m_r||^2 + ||f_r * m_r||^2 + ||f_g * m_g||^2.

    Args:
        mask: m, Algorithm 2's mask of the real slice.
        mask_real: m_r = MASK(f).
        structure: f.
        structure_rec: f_r.
        structure_gen: f_g, decoded from noise; the last term is left out without it.
        mask_gen: m_g = MASK(f_g).
    """
    loss = F.mse_loss(mask_real, mask) + outside_loss(structure, mask_real) + outside_loss(structure_rec, mask_real)
    return loss if structure_gen is None else loss + outside_loss(structure_gen, mask_gen)


def leak_loss(structure: torch.Tensor, mask: torch.Tensor, steps: int = 12) -> torch.Tensor:
    """How far the background floods into a brain through gaps of its outline: Algorithm 3, made differentiable.

    Outline is where the blurred map is above 0.3, as in Algorithm 3, here with a soft threshold. The background spreads
    by a pixel a step, dampened by the outline in its way; the loss is what arrives in a band 6 to 10 pixels inside the
    brain. 0 for a closed outline; a gap anywhere lets the loss, and its gradient, in.

    Args:
        structure: map, (B, 1, H, W) in [0, 1].
        mask: 1 outside the brain.
        steps: of the flood.
    """
    blurred = GaussianFilter(2, 1.0, truncated=3.0).to(structure.device)(structure.float())
    free = torch.sigmoid((CLOSED_ABOVE - blurred) / 0.05)
    flood = mask.float()
    for _ in range(steps):
        flood = torch.maximum(F.max_pool2d(flood, 3, 1, 1) * free, mask)
    reach = [F.max_pool2d(mask, 2 * depth + 1, 1, depth) for depth in (6, 10)]
    band = reach[1] - reach[0]
    return (flood * band).sum() / band.sum().clamp(min=1)


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
