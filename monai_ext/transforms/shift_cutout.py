"""Random shift and cutout for a batch of images, differentiable."""

from __future__ import annotations

import torch


class RandShiftCutout:
    """What a discriminator sees images through: each one shifted and with a square cut out.

    With few patients a discriminator soon knows every real image; shown to it through the same random changes, real and
    generated ones alike, they stay new to it and the generator is not taught the changes.

    Source: Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", policies translation and
    cutout.

    Args:
        shift: largest shift along each axis, in pixels; what comes in from outside is 0.
        cutout: side of the square set to 0, as a share of each side of the image; 0 cuts nothing.
    """

    def __init__(self, shift: int = 12, cutout: float = 0.25) -> None:
        self.shift, self.cutout = shift, cutout

    def __call__(self, images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Apply a draw of its own to each image, the same to all its channels.

        Args:
            images: (N, C, H, W).
            rng: CPU generator of the draws.

        Returns:
            Same shape.
        """
        height, width = images.shape[2:]
        down, right = torch.randint(-self.shift, self.shift + 1, (2, len(images)), generator=rng).to(images.device)
        tall, wide = int(self.cutout * height), int(self.cutout * width)
        place = torch.rand(2, len(images), generator=rng).to(images.device)
        top, left = (place[0] * (height - tall + 1)).long(), (place[1] * (width - wide + 1)).long()
        rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
        source_rows, source_columns = rows - down[:, None], columns - right[:, None]
        keep_rows = (source_rows >= 0) & (source_rows < height)
        keep_columns = (source_columns >= 0) & (source_columns < width)
        hole = ((rows >= top[:, None]) & (rows < top[:, None] + tall))[:, :, None] & (
            (columns >= left[:, None]) & (columns < left[:, None] + wide)
        )[:, None]
        keep = (keep_rows[:, :, None] & keep_columns[:, None] & ~hole)[:, None]
        number = torch.arange(len(images), device=images.device)[:, None, None]
        moved = images.movedim(1, -1)[
            number, source_rows.clamp(0, height - 1)[:, :, None], source_columns.clamp(0, width - 1)[:, None]
        ]
        return moved.movedim(-1, 1) * keep
