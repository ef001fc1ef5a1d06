"""Spatial-VAE: the encoder's features of a view to a small latent picture and back (UniUGG section 3.2).

1. Standardise the features per channel with stored statistics; encoder channels differ widely in scale.
2. Encode to a Gaussian posterior of `latent_channels` on a grid of `up` times the token grid.
3. Decode a latent to standardised features, and undo the standardisation.

The layers are ours (the paper names only the shapes): "conv" keeps the latent smooth in space, as a convolutional U-Net
likes it; "vit" works on the token grid and shuffles pixels. With ``enabled = False`` the latent *is* the standardised
feature map (the ablation that diffuses raw features).

Shape letters: B batch, N tokens, D feature width, h w token grid, C latent channels, Lh Lw latent grid, E inner width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import VAEConfig
from ..errors import ErrorCode, UniuggError
from .encoder import EncoderBlock
from .layers import NORM_EPS, Rope2d, attend

__all__ = ["Posterior", "SpatialVAE"]

LOGVAR_RANGE = (-30.0, 20.0)
VIT_ROPE_BASE = 100.0


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian over the latent; `mean` and `logvar` are (B, C, Lh, Lw), logvar within [-30, 20]."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw (B, C, Lh, Lw); the noise is drawn on the generator's device, so a CPU generator serves all."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device, dtype=torch.float32)
        return self.mean + torch.exp(0.5 * self.logvar) * noise.to(self.mean)

    def kl(self) -> Tensor:
        """KL divergence to N(0, I), the mean over all latent numbers; the loss adds up both views' (our reduction)."""
        mean, logvar = self.mean.float(), self.logvar.float()
        return 0.5 * (mean**2 + logvar.exp() - 1.0 - logvar).mean()


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions behind GroupNorm and SiLU, added to the input."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width, eps=NORM_EPS)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, E, h, w) -> (B, E, h, w)."""
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class GridAttention(nn.Module):
    """Single-head self-attention between all places of the grid."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=NORM_EPS)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.proj = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, E, h, w) -> (B, E, h, w)."""
        query, key, value = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        mixed = attend(query, key, value)
        return x + self.proj(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))


class ConvEncoder(nn.Module):
    """Feature map (B, D, h, w) -> (B, 2 C, Lh, Lw)."""

    def __init__(self, config: VAEConfig, feature_width: int) -> None:
        super().__init__()
        coarse, fine = config.widths
        groups = config.groups
        self.up = config.up
        self.stem = nn.Conv2d(feature_width, coarse, 1)
        self.coarse = nn.Sequential(*(ResBlock(coarse, groups) for _ in range(config.blocks)))
        self.attention = GridAttention(coarse, groups)
        self.resize = nn.Conv2d(coarse, fine, 3, padding=1)
        self.fine = nn.Sequential(*(ResBlock(fine, groups) for _ in range(config.blocks)))
        self.norm = nn.GroupNorm(groups, fine, eps=NORM_EPS)
        self.out = nn.Conv2d(fine, 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Mean and log-variance, stacked along the channels."""
        x = self.attention(self.coarse(self.stem(x)))
        if self.up > 1:
            x = F.interpolate(x, scale_factor=self.up, mode="nearest")
        return self.out(F.silu(self.norm(self.fine(self.resize(x)))))


class ConvDecoder(nn.Module):
    """Latent (B, C, Lh, Lw) -> feature map (B, D, h, w)."""

    def __init__(self, config: VAEConfig, feature_width: int) -> None:
        super().__init__()
        coarse, fine = config.widths
        groups = config.groups
        self.stem = nn.Conv2d(config.latent_channels, fine, 3, padding=1)
        self.fine = nn.Sequential(*(ResBlock(fine, groups) for _ in range(config.blocks)))
        self.resize = nn.Conv2d(fine, coarse, 3, stride=config.up, padding=1)
        self.coarse = nn.Sequential(*(ResBlock(coarse, groups) for _ in range(config.blocks + 1)))
        self.attention = GridAttention(coarse, groups)
        self.norm = nn.GroupNorm(groups, coarse, eps=NORM_EPS)
        self.out = nn.Conv2d(coarse, feature_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The standardised features."""
        x = self.coarse(self.resize(self.fine(self.stem(x))))
        return self.out(F.silu(self.norm(self.attention(x))))


class VitCoder(nn.Module):
    """Transformer on the token grid with 2-D rotary positions: (B, in, h, w) -> (B, out, h, w)."""

    def __init__(self, config: VAEConfig, depth: int, in_width: int, out_width: int) -> None:
        super().__init__()
        width = config.vit_width
        self.stem = nn.Linear(in_width, width)
        self.blocks = nn.ModuleList(EncoderBlock(width, config.vit_heads, 4.0) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.out = nn.Linear(width, out_width)
        self.rope = Rope2d(width // config.vit_heads, VIT_ROPE_BASE)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens in, tokens out, both laid out as maps."""
        grid = (x.shape[2], x.shape[3])
        rope = self.rope(grid, x.device)
        tokens_BNE = self.stem(x.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens_BNE = block(tokens_BNE, rope)
        return self.out(self.norm(tokens_BNE)).transpose(1, 2).unflatten(2, grid)


class VitEncoder(nn.Module):
    """Feature map (B, D, h, w) -> (B, 2 C, Lh, Lw), `up` x `up` latent places for each token."""

    def __init__(self, config: VAEConfig, feature_width: int) -> None:
        super().__init__()
        self.up = config.up
        numbers = 2 * config.latent_channels * config.up**2
        self.coder = VitCoder(config, config.vit_depths[0], feature_width, numbers)

    def forward(self, x: Tensor) -> Tensor:
        """Mean and log-variance, stacked along the channels."""
        return F.pixel_shuffle(self.coder(x), self.up)


class VitDecoder(nn.Module):
    """Latent (B, C, Lh, Lw) -> feature map (B, D, h, w)."""

    def __init__(self, config: VAEConfig, feature_width: int) -> None:
        super().__init__()
        self.up = config.up
        self.coder = VitCoder(config, config.vit_depths[1], config.latent_channels * config.up**2, feature_width)

    def forward(self, x: Tensor) -> Tensor:
        """The standardised features."""
        return self.coder(F.pixel_unshuffle(x, self.up))


class SpatialVAE(nn.Module):
    """Features of one view to a latent and back; the same weights serve both views.

    Buffers (part of the checkpoint, set by :meth:`set_statistics` from training data):
        feature_mean, feature_std: (D,), per-channel statistics of the encoder's features.
        latent_scale: (), one over the standard deviation of the posterior means; diffusion works on the scaled latent.

    Args:
        config: sizes.
        feature_width: D.
    """

    feature_mean: Tensor
    feature_std: Tensor
    latent_scale: Tensor

    def __init__(self, config: VAEConfig, feature_width: int) -> None:
        super().__init__()
        self.config = config
        self.feature_width = feature_width
        self.register_buffer("feature_mean", torch.zeros(feature_width))
        self.register_buffer("feature_std", torch.ones(feature_width))
        self.register_buffer("latent_scale", torch.ones(()))
        if config.enabled:
            conv = config.arch == "conv"
            self.encoder: nn.Module | None = (ConvEncoder if conv else VitEncoder)(config, feature_width)
            self.decoder: nn.Module | None = (ConvDecoder if conv else VitDecoder)(config, feature_width)
        else:
            self.encoder = self.decoder = None

    def set_statistics(
        self, *, mean: Tensor | None = None, std: Tensor | None = None, latent_scale: float | None = None
    ) -> None:
        """Stores the statistics of the training features (D,), (D,) and of their latents."""
        if mean is not None:
            self.feature_mean.copy_(mean)
        if std is not None:
            self.feature_std.copy_(std.clamp(min=1e-6))
        if latent_scale is not None:
            self.latent_scale.fill_(latent_scale)

    def standardise(self, features: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D) of about zero mean and unit variance per channel, in float32."""
        return (features.float() - self.feature_mean.float()) / self.feature_std.float()

    def destandardise(self, standardised: Tensor) -> Tensor:
        """The inverse of :meth:`standardise`, in float32."""
        return standardised.float() * self.feature_std.float() + self.feature_mean.float()

    def encode(self, features: Tensor, grid: tuple[int, int]) -> Posterior:
        """Posterior over the (unscaled) latent.

        Args:
            features: (B, h w, D), straight from the image encoder.
            grid: (h, w); need not be square.

        Raises:
            UniuggError: REQUEST_INVALID if features and grid do not fit.
        """
        rows, columns = grid
        if features.dim() != 3 or tuple(features.shape[1:]) != (rows * columns, self.feature_width):
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"features are {tuple(features.shape)}, expected (B, {rows * columns}, {self.feature_width}) "
                f"for a grid of {rows} x {columns}",
            )
        x = self.standardise(features).transpose(1, 2).unflatten(2, (rows, columns))
        if self.encoder is None:
            return Posterior(x, torch.full_like(x, LOGVAR_RANGE[0]))
        mean, logvar = self.encoder(x.to(self._dtype)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(*LOGVAR_RANGE))

    def decode(self, latent: Tensor) -> Tensor:
        """Features (B, h w, D) in float32 of an unscaled latent (B, C, Lh, Lw).

        Raises:
            UniuggError: REQUEST_INVALID if the latent's sides are no multiple of ``up`` or its channels are wrong.
        """
        up, channels = (
            (self.config.up, self.config.latent_channels) if self.decoder is not None else (1, self.feature_width)
        )
        if latent.dim() != 4 or latent.shape[1] != channels or latent.shape[2] % up or latent.shape[3] % up:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"latent is {tuple(latent.shape)}, expected (B, {channels}, Lh, Lw) with sides in multiples of {up}",
            )
        x = latent if self.decoder is None else self.decoder(latent.to(self._dtype))
        return self.destandardise(x.flatten(2).transpose(1, 2))

    def scaled(self, latent: Tensor) -> Tensor:
        """What the denoiser works on: the latent at unit variance."""
        return latent * self.latent_scale.to(latent)

    def unscaled(self, latent: Tensor) -> Tensor:
        """The inverse of :meth:`scaled`."""
        return latent / self.latent_scale.to(latent)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype
