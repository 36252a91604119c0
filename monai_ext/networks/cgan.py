"""Networks of the image stage (Qu et al., sections 2.4 and 2.6): EC_lf, EC, DC, D and FD."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.nets import PatchDiscriminator

from monai_ext.networks.blocks import ConditionalBlock, PyramidEncoder, SelectiveConv, conv_block
from monai_ext.networks.init import init_weights
from monai_ext.networks.style import IntensityStyle

CHANNELS = (32, 64, 128, 192)
LABEL_GAIN = 5.0  # 1 / label weight of FuseLesion


class ImageDecoder(nn.Module):
    """DC: features and a modality -> an image of that modality.

    One trunk down to H/4 serves all modalities; the modality enters there. The head resizes instead of shuffling
    pixels: a shuffled head prints a checkerboard into lesions.

    Args:
        num_modalities: length of the one-hot modality.
        style_size: length of the style vector.
        channels: of the encoders.
        condition_size: width of the condition that scales the normalisations.
    """

    def __init__(
        self,
        num_modalities: int = 4,
        style_size: int = 12,
        channels: tuple[int, ...] | list[int] = CHANNELS,
        condition_size: int = 64,
    ) -> None:
        super().__init__()
        c2, c4, c8, c16 = channels
        self.num_modalities = num_modalities
        self.style = nn.Sequential(nn.Linear(style_size, condition_size), nn.LeakyReLU(0.2))
        self.modality = nn.Sequential(
            nn.Linear(style_size + num_modalities, condition_size),
            nn.LeakyReLU(0.2),
            nn.Linear(condition_size, condition_size),
        )
        self.at16 = ConditionalBlock(c16, c16, condition_size)
        # a level's features are added, not concatenated: half the cost where images are large
        self.to8, self.to4, self.to2 = nn.Conv2d(c16, c8, 1), nn.Conv2d(c8, c4, 1), nn.Conv2d(c4, c2, 1)
        self.at8 = ConditionalBlock(c8, c8, condition_size)
        self.at4 = ConditionalBlock(c4, c4, condition_size)
        self.select4, self.select2 = SelectiveConv(c4, num_modalities), SelectiveConv(c2, num_modalities)
        self.modality4 = ConditionalBlock(c4, c4, condition_size)
        self.modality2 = ConditionalBlock(c2, c2, condition_size)
        self.head = nn.Sequential(
            nn.Conv2d(c2, 16, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2.0),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(8, 1, 3, padding=1),
        )

    @staticmethod
    def _up(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2.0)

    def forward(self, features: list[torch.Tensor], modality: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Decode K modalities of each item in one batch.

        Args:
            features: of B items, from H/2 down to H/16.
            modality: one-hot (B, K, M): the K modalities wanted of each item.
            style: (B, style_size).

        Returns:
            (B, K, H, W) in (0, 1).
        """
        f2, f4, f8, f16 = features
        batch, targets = modality.shape[0], modality.shape[1]
        look = self.style(style)
        x = self.at16(f16, look)
        x = self.at8(self._up(self.to8(x)) + f8, look)
        x = self.at4(self._up(self.to4(x)) + f4, look)
        condition = self.modality(torch.cat([style[:, None].expand(-1, targets, -1), modality], 2)).flatten(0, 1)
        wanted = modality.flatten(0, 1)
        x = self.modality4(self.select4(x.repeat_interleave(targets, 0), wanted), condition)
        x = self.modality2(self._up(self.to2(x)) + f2.repeat_interleave(targets, 0), condition)
        x = torch.sigmoid(self.head(self.select2(x, wanted)))
        return x.view(batch, targets, x.shape[-2], x.shape[-1])


class CGAN(nn.Module):
    """What the image stage trains as a generator: EC_lf, EC, DC and the style's statistics.

    Called with a fused map it generates one study: all modalities of one anatomy, with the lesion asked for.

    Args:
        num_modalities: images of a study.
        num_classes: lesion classes; a fused map has one channel more.
        noise_channels: channels of texture noise given beside the fused map.
        channels: of the encoders and the decoder, from H/2 to H/16.
        init: see :func:`monai_ext.networks.init.init_weights`.
        dropout: of the encoders' inputs, in training.
        shown_classes: lesion classes that let the structure map through; under the others it is erased. Oedema leaves
            folds and ventricles where they are: with nothing under it, it is painted flat, and found by that alone.
    """

    def __init__(
        self,
        num_modalities: int = 4,
        num_classes: int = 3,
        noise_channels: int = 2,
        channels: tuple[int, ...] | list[int] = CHANNELS,
        init: str = "default",
        dropout: float = 0.0,
        shown_classes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.shown_classes = tuple(shown_classes)
        self.num_modalities, self.num_classes, self.noise_channels = num_modalities, num_classes, noise_channels
        self.style = IntensityStyle(num_modalities)
        self.style_size = self.style.size
        self.fusion_encoder = init_weights(PyramidEncoder(num_classes + 2 + noise_channels, channels, dropout), init)
        self.image_encoder = init_weights(PyramidEncoder(1, channels, dropout), init)
        self.decoder = init_weights(ImageDecoder(num_modalities, self.style_size, channels), init)

    def all_modalities(self, batch: int, like: torch.Tensor) -> torch.Tensor:
        """One-hot (batch, M, M) that asks for every modality."""
        return torch.eye(self.num_modalities, device=like.device, dtype=like.dtype).expand(batch, -1, -1)

    def encode_fused(self, fused: torch.Tensor, noise: torch.Tensor) -> list[torch.Tensor]:
        """EC_lf: fused map (B, n + 1, H, W) and noise (B, noise_channels, H, W) -> features.

        The channels differ by the label alone, which weighs 0.2 against the map's 0.8: their mean and their deviations,
        scaled up, hold the same and let the network see the label from the first step.
        """
        mean = fused.mean(1, keepdim=True)
        return self.fusion_encoder(torch.cat([mean, LABEL_GAIN * (fused - mean), noise], 1))

    def forward(self, fused: torch.Tensor, style: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Generate studies.

        Args:
            fused: (B, n + 1, H, W), see :class:`monai_ext.transforms.FuseLesion`; sides are multiples of 16.
            style: (B, style_size), N(0, 1).
            noise: (B, noise_channels, H, W), N(0, 1).

        Returns:
            (B, M, H, W) in (0, 1); the caller cuts the background with the mask.
        """
        return self.decoder(self.encode_fused(fused, noise), self.all_modalities(fused.shape[0], fused), style)

    def translate(self, image: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """One real modality (B, 1, H, W) -> every modality (B, M, H, W) of the same anatomy, in (0, 1)."""
        return self.decoder(self.image_encoder(image), self.all_modalities(image.shape[0], image), style)


class ImageDiscriminator(nn.Module):
    """D: real or fake, patch by patch, and which modality. MONAI's ``PatchDiscriminator`` with a second head.

    Args:
        num_modalities: classes of the modality head.
        condition_channels: channels of a condition given beside the image (the fused map), 0 for none.
        channels: of the first layer.
        num_layers: strided layers.
    """

    def __init__(
        self, num_modalities: int = 4, condition_channels: int = 0, channels: int = 24, num_layers: int = 3
    ) -> None:
        super().__init__()
        self.condition_channels = condition_channels
        self.patch = PatchDiscriminator(2, channels, 1 + condition_channels, num_layers_d=num_layers, norm="instance")
        last = channels * 2 ** (num_layers)
        # nonlinear before the mean over the image: instance normalisation leaves nothing in the means of its channels
        self.modality = nn.Sequential(
            nn.Conv2d(last, 64, 3, padding=1), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(64, num_modalities),
        )  # fmt: skip

    def forward(
        self, image: torch.Tensor, condition: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Image (B, 1, H, W) -> patch logits, modality logits (B, M) and the features between."""
        if self.condition_channels:
            if condition is None:
                raise ValueError("this discriminator needs a condition beside the image")
            image = torch.cat([image, condition], 1)
        outputs = self.patch(image)
        return outputs[-1], self.modality(outputs[-2]), outputs[:-1]


class CodeDiscriminator(nn.Module):
    """FD: is this code from a real image or from a fused map?

    Args:
        in_channels: channels of the code.
        hidden: channels inside.
    """

    def __init__(self, in_channels: int = CHANNELS[-1], hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_block(in_channels, hidden), conv_block(hidden, hidden, 2), nn.Conv2d(hidden, 1, 3, padding=1)
        )

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        """(B, in, h, w) -> patch logits (B, 1, h/2, w/2)."""
        return self.layers(code)
