"""Networks of the structure-map stage (Qu et al., section 2.3): EC_f, DC_f, MASK, D_f and FD_f."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.nets import PatchDiscriminator
from monai.transforms import SobelGradients

from monai_ext.networks.blocks import ResidualBlock, UnshuffleUNet, conv_block
from monai_ext.networks.init import init_weights

BORDER = 4  # pixels
STEPS = 5  # halvings between a map and the decoder's seed: two in the stem, three by strides


class MapEncoder(nn.Module):
    """EC_f: structure map -> mean and log-variance of its code.

    Args:
        image_size: (H, W) of a map, multiples of 32.
        latent_size: length of the code.
        channels: of the stem (H/4) and the three levels below it.
        dropout: of the input, in training.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        latent_size: int,
        channels: tuple[int, ...] = (48, 96, 160, 224),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        h, w = (s // 2**STEPS for s in image_size)
        self.dropout = nn.Dropout(dropout)
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), conv_block(16, channels[0]))
        self.levels = nn.Sequential(*[ResidualBlock(a, b, 2) for a, b in zip(channels[:-1], channels[1:])])
        self.code = nn.Linear(channels[-1] * h * w, 2 * latent_size)

    def forward(self, structure: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 1, H, W) -> mean and log-variance, each (B, latent_size)."""
        mean, logvar = self.code(self.levels(self.stem(self.dropout(structure))).flatten(1)).chunk(2, dim=1)
        return mean, logvar.clamp(-8, 8)


class EdgeHead(nn.Module):
    """Algorithm 1 as a layer: image -> logits of its structure map.

    Edges of an image are thin, and the outline of a brain on a dark background is closed, by construction: a decoder
    that paints an image and reads the map off it needs not learn either. The logit is (max(g1, g2) - beta) /
    temperature
    of :func:`monai_ext.transforms.soft_structural_feature_map`, with the Sobel kernels of MONAI's ``SobelGradients``.

    Args:
        beta: of Algorithm 1.
        temperature: slope of the logit.
        margins: rows and columns of background around the image on its canvas, on each side.
    """

    kernels: torch.Tensor

    def __init__(self, beta: float = 0.07, temperature: float = 0.02, margins: tuple[int, int] = (40, 24)) -> None:
        super().__init__()
        self.beta, self.temperature, self.margins = beta, temperature, margins
        sobel = SobelGradients()
        across = torch.outer(sobel.kernel_diff, sobel.kernel_smooth)
        self.register_buffer("kernels", torch.stack([across, across.T])[:, None], persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) -> logits (B, 1, H, W), positive where Algorithm 1 draws."""
        top, left = self.margins
        framed = F.pad(F.pad(image.float(), (left, left, top, top)), (1, 1, 1, 1), mode="reflect")
        responses = F.conv2d(framed, self.kernels)
        low, high = responses.amin(1, keepdim=True), responses.amax(1, keepdim=True)
        low, high = self._normalise(low), self._normalise(high)
        edges = torch.maximum(low.mean((2, 3), keepdim=True) - low, high - high.mean((2, 3), keepdim=True))
        edges = edges[:, :, top : edges.shape[2] - top, left : edges.shape[3] - left]
        return (edges - self.beta) / self.temperature

    @staticmethod
    def _normalise(response: torch.Tensor) -> torch.Tensor:
        lowest = response.amin((2, 3), keepdim=True)
        return (response - lowest) / (response.amax((2, 3), keepdim=True) - lowest).clamp(min=1e-6)


class MapDecoder(nn.Module):
    """DC_f: code -> logits of a structure map.

    Args:
        image_size: (H, W) of a map, multiples of 32.
        latent_size: length of the code.
        head: ``edges`` paints an image and reads the map off it (:class:`EdgeHead`); ``map`` paints the map, as the
            paper.
        canvas_size: (H, W) that maps are centre crops of.
        beta: of Algorithm 1.
        border_limit: brightest value allowed within 4 pixels of the border, where there is no brain. Algorithm 1 scales
            edges by the strongest one of an image, and a trained decoder paints a bright spot on the border to scale
            by: this
            is the knob between few edges (1) and many (0.4).
        channels: from the coarsest level (H/32) to H/2.

    Raises:
        ValueError: for another head.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        latent_size: int,
        head: str = "edges",
        canvas_size: tuple[int, int] | list[int] = (240, 240),
        beta: float = 0.07,
        border_limit: float = 1.0,
        channels: tuple[int, ...] = (256, 192, 128, 64, 24),
    ) -> None:
        super().__init__()
        if head not in ("edges", "map"):
            raise ValueError(f"head is edges or map, got {head!r}")
        self.size = tuple(s // 2**STEPS for s in image_size)
        self.channels = channels[0]
        self.seed = nn.Linear(latent_size, channels[0] * self.size[0] * self.size[1])
        pairs = list(zip(channels[:-1], channels[1:]))
        # the finest level is a single convolution: it would cost more than all the others together
        self.levels = nn.Sequential(
            *[nn.Sequential(nn.Upsample(scale_factor=2.0), ResidualBlock(a, b)) for a, b in pairs[:-1]],
            nn.Sequential(nn.Upsample(scale_factor=2.0), conv_block(*pairs[-1])),
        )
        self.head = nn.Sequential(
            nn.Upsample(scale_factor=2.0, mode="bilinear"), nn.Conv2d(channels[-1], 1, 3, padding=1)
        )
        if head == "edges":  # start from a dark image: on a grey one the frame of the canvas is the strongest edge
            nn.init.constant_(self.head[1].bias, -3.0)
        margins = tuple(max(int(c) - s, 0) // 2 for c, s in zip(canvas_size, image_size))
        self.edges = EdgeHead(beta, margins=(margins[0], margins[1])) if head == "edges" else None
        self.border_limit = border_limit
        border = torch.ones(1, 1, *image_size, dtype=torch.bool)
        border[:, :, BORDER:-BORDER, BORDER:-BORDER] = False
        self.register_buffer("border", border, persistent=False)

    def forward(self, code: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Code (B, latent_size) -> logits of the map, and the painted image in (0, 1) it is read off, (B, 1, H, W).

        With ``head="map"`` the image is the map's probability.
        """
        seed = self.seed(code).view(-1, self.channels, self.size[0], self.size[1])
        painted = self.head(self.levels(seed)).float()
        image = painted.sigmoid()
        if self.border_limit < 1:
            image = torch.where(self.border, image.clamp(max=self.border_limit), image)
        return (painted if self.edges is None else self.edges(image)), image


class CodePrior(nn.Module):
    """Turns N(0, 1) noise into codes distributed like those of the training maps: mean + factor * noise.

    The encoder's codes are never quite N(0, 1) as a whole, and a decoder paints shapes that are no brains from codes
    it has
    not seen (Ghosh et al. 2020, "From variational to deterministic autoencoders"). Mean and covariance follow the
    codes of
    the training steps; ``enabled=False`` hands the noise through, as the paper.

    Args:
        size: length of the code.
        momentum: share of a step's codes in the running moments.
        enabled: see above.
    """

    mean: torch.Tensor
    covariance: torch.Tensor
    factor: torch.Tensor

    def __init__(self, size: int, momentum: float = 0.02, enabled: bool = True) -> None:
        super().__init__()
        self.momentum, self.enabled = momentum, enabled
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("covariance", torch.eye(size))
        self.register_buffer("factor", torch.eye(size))

    @torch.no_grad()
    def update(self, code: torch.Tensor) -> None:
        """Follow the codes (B, size) of a training step."""
        if not self.enabled:
            return
        with torch.autocast(code.device.type, enabled=False):
            code = code.float()
            self.mean.lerp_(code.mean(0), self.momentum)
            centred = code - self.mean
            self.covariance.lerp_(centred.T @ centred / len(code), self.momentum)
            ridge = 1e-4 * torch.eye(len(self.mean), device=code.device)
            self.factor.copy_(torch.linalg.cholesky(self.covariance + ridge))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Noise (B, size) -> codes (B, size)."""
        return self.mean + noise @ self.factor.T

    def standardise(self, code: torch.Tensor) -> torch.Tensor:
        """The inverse: codes (B, size) -> what should be N(0, 1)."""
        return torch.linalg.solve_triangular(self.factor, (code - self.mean).T, upper=False).T


class FeatGen(nn.Module):
    """What the structure-map stage trains as a generator: EC_f, DC_f and MASK.

    Called with noise it is the generator itself: noise -> code -> map and mask.

    Args:
        image_size: (H, W) of a map, multiples of 32.
        latent_size: length of the code.
        init: see :func:`monai_ext.networks.init.init_weights`.
        dropout: of the encoder's input, in training.
        head: of the decoder, see :class:`MapDecoder`.
        canvas_size: likewise.
        beta: likewise.
        fit_prior: see :class:`CodePrior`.
        border_limit: see :class:`MapDecoder`.

    Raises:
        ValueError: for a size that is no multiple of 32.
    """

    def __init__(
        self,
        image_size: tuple[int, int] | list[int] = (160, 192),
        latent_size: int = 256,
        init: str = "default",
        dropout: float = 0.0,
        head: str = "edges",
        canvas_size: tuple[int, int] | list[int] = (240, 240),
        beta: float = 0.07,
        fit_prior: bool = True,
        border_limit: float = 1.0,
    ) -> None:
        super().__init__()
        if any(s % 2**STEPS for s in image_size):
            raise ValueError(f"image_size must be multiples of {2**STEPS}, got {tuple(image_size)}")
        self.image_size, self.latent_size = tuple(image_size), latent_size
        self.encoder = init_weights(MapEncoder(self.image_size, latent_size, dropout=dropout), init)
        decoder = MapDecoder(self.image_size, latent_size, head, canvas_size, beta, border_limit)
        self.decoder = init_weights(decoder, init)
        self.prior = CodePrior(latent_size, enabled=fit_prior)
        self.mask = init_weights(UnshuffleUNet(1, 1, (24, 48, 96, 128), factor=4), init)

    def forward(self, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise (B, latent_size), N(0, 1) -> structure map and mask (B, 1, H, W), binary {0, 1} float.

        The mask is 1 outside the brain, where the map is empty.
        """
        structure = (self.decoder(self.prior(noise))[0] > 0).to(noise.dtype)
        structure = structure * ~self.decoder.border  # what the decoder draws there is its scale, not a brain
        mask = (self.mask(structure) > 0).to(noise.dtype)
        return structure * (1 - mask), mask


class MapDiscriminator(nn.Module):
    """D_f: patch logits at two scales of a structure map (fine edges, and the outline as a whole).

    Args:
        channels: of MONAI's ``PatchDiscriminator`` at each scale.
        num_layers: strided layers of each.
    """

    def __init__(self, channels: int = 24, num_layers: int = 3) -> None:
        super().__init__()
        patch = {
            "spatial_dims": 2,
            "channels": channels,
            "in_channels": 1,
            "num_layers_d": num_layers,
            "norm": "instance",
        }
        self.fine = PatchDiscriminator(**patch)
        self.coarse = PatchDiscriminator(**patch)
        self.pool = nn.AvgPool2d(4)

    def forward(self, structure: torch.Tensor) -> list[torch.Tensor]:
        """(B, 1, H, W) -> patch logits, one tensor per scale."""
        return [self.fine(structure)[-1], self.coarse(self.pool(structure))[-1]]


class MapCodeDiscriminator(nn.Module):
    """FD_f: tells codes of real maps from N(0, 1).

    Args:
        latent_size: length of the code.
        hidden: width of the two hidden layers.
    """

    def __init__(self, latent_size: int = 256, hidden: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent_size, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        """(B, latent_size) -> logit (B, 1)."""
        return self.layers(code)
