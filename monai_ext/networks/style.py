"""Style: the contrast of a scanner as a normally distributed vector."""

from __future__ import annotations

import torch
import torch.nn as nn

QUANTILES = (0.1, 0.5, 0.9)


def brain_quantiles(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Quantiles (10, 50, 90 %) of each modality over healthy brain.

    Args:
        image: (B, M, H, W) in [0, 1], background 0.
        label: (B, M, H, W) or (B, 1, H, W), lesion > 0.

    Returns:
        (B, 3 * M) float32; zeros for an image without brain.
    """
    image = image.float()
    healthy = (image > 0) & (label.expand_as(image) == 0)
    levels = torch.tensor(QUANTILES, device=image.device)
    rows = []
    for pixels, inside in zip(image.flatten(0, 1), healthy.flatten(0, 1)):
        values = pixels[inside]
        rows.append(torch.quantile(values, levels) if values.numel() else torch.zeros_like(levels))
    return torch.stack(rows).view(image.shape[0], -1)


class IntensityStyle(nn.Module):
    """Maps intensity quantiles of a study to a vector that is N(0, 1) over the training set, and so can be drawn.

    Args:
        num_modalities: modalities of a study.
    """

    mean: torch.Tensor
    whiten: torch.Tensor

    def __init__(self, num_modalities: int = 4) -> None:
        super().__init__()
        self.size = len(QUANTILES) * num_modalities
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("whiten", torch.eye(self.size))

    def fit(self, quantiles: torch.Tensor) -> None:
        """Set mean and whitening from the quantiles (N, size) of a training set.

        Raises:
            ValueError: for fewer than two studies.
        """
        if quantiles.shape[0] < 2:
            raise ValueError(f"style needs at least two studies to fit, got {quantiles.shape[0]}")
        values = quantiles.double()
        covariance = torch.cov(values.T) + 1e-4 * torch.eye(self.size, dtype=torch.float64)
        self.mean.copy_(values.mean(0))
        self.whiten.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)))

    def forward(self, quantiles: torch.Tensor) -> torch.Tensor:
        """Quantiles (B, size) -> style (B, size), about N(0, 1), cut at 4 standard deviations."""
        return ((quantiles - self.mean) @ self.whiten.T).clamp(-4, 4)
