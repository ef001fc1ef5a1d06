"""Per-view heads of the spatial decoder: dense prediction (points, confidence, colours) and local features.

Shape letters: B batch, N tokens, D width, K fusion width, H W pixels, h w token grid, P patch side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import DecoderConfig
from .layers import Mlp

__all__ = ["DPT", "LocalFeatures", "ViewHead", "dense_head"]

_DPT_SCALE = 8  # pixels of the trunk's output per token side


class ResidualUnit(nn.Module):
    """Two 3 x 3 convolutions behind ReLUs, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, h, w) -> (B, K, h, w)."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Fusion(nn.Module):
    """RefineNet fusion: adds a finer level to the coarser path, refines, and doubles the size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lateral_unit = ResidualUnit(width)  # the coarsest level has no path to add to and leaves it unused
        self.path_unit = ResidualUnit(width)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, level: Tensor, path: Tensor | None = None) -> Tensor:
        """(B, K, h, w) and the coarser path of the same size -> (B, K, 2 h, 2 w)."""
        fused = level if path is None else path + self.lateral_unit(level)
        fused = self.path_unit(fused)
        fused = F.interpolate(fused, scale_factor=2, mode="bilinear", align_corners=True)
        return self.out(fused)


class DPT(nn.Module):
    """Dense-prediction trunk: four layers of tokens to one map of 8 times the token grid.

    The layers are brought to 4, 2, 1 and 1/2 times the grid and fused from coarse to fine. An odd side rounds up at
    1/2, so the coarsest path is cropped to the next level's size.

    Args:
        token_widths: D of each of the four layers.
        widths: channels they are reassembled to.
        features: K.
    """

    def __init__(self, token_widths: Sequence[int], widths: Sequence[int], features: int) -> None:
        super().__init__()
        first, second, third, fourth = widths
        resamplers = (
            [nn.ConvTranspose2d(first, first, 4, stride=4)],
            [nn.ConvTranspose2d(second, second, 2, stride=2)],
            [],
            [nn.Conv2d(fourth, fourth, 3, stride=2, padding=1)],
        )
        self.reassemble = nn.ModuleList(
            nn.Sequential(nn.Conv2d(tokens, width, 1), *resampler)
            for tokens, width, resampler in zip(token_widths, widths, resamplers)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, features, 3, padding=1, bias=False) for width in widths)
        self.fusion = nn.ModuleList(Fusion(features) for _ in widths)

    def forward(self, layers: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Four (B, h w, D_i) -> (B, K, 8 h, 8 w)."""
        maps = [layer.transpose(1, 2).unflatten(2, grid) for layer in layers]
        levels = [lateral(part(m)) for lateral, part, m in zip(self.lateral, self.reassemble, maps)]
        path = self.fusion[3](levels[3])
        path = path[:, :, : levels[2].shape[2], : levels[2].shape[3]]
        for i in (2, 1, 0):
            path = self.fusion[i](levels[i], path)
        return path


def dense_head(features: int, middle: int, last: int, out: int, upscale: int) -> nn.Sequential:
    """Trunk output (B, K, h, w) to per-pixel values (B, out, h upscale, w upscale)."""
    return nn.Sequential(
        nn.Conv2d(features, middle, 3, padding=1),
        nn.Identity() if upscale == 1 else nn.Upsample(scale_factor=upscale, mode="bilinear", align_corners=True),
        nn.Conv2d(middle, last, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(last, out, 1),
    )


class LocalFeatures(Mlp):
    """Per token an MLP whose output is unfolded into the token's P x P pixels: descriptors and their confidence."""

    def __init__(self, width: int, mlp_ratio: float, channels: int, patch: int) -> None:
        super().__init__(width, round(width * mlp_ratio), channels * patch * patch)
        self.patch = patch

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, h w, D) -> (B, channels, h P, w P)."""
        values = super().forward(tokens).transpose(1, 2).unflatten(2, grid)
        return F.pixel_shuffle(values, self.patch)


class ViewHead(nn.Module):
    """Everything one view's tokens are read out into; raw values, before their parameterisations.

    Args:
        config: sizes.
        encoder_width: D of the first entry of the layer list (the projector's output).
        patch: P, a multiple of 8.
    """

    def __init__(self, config: DecoderConfig, encoder_width: int, patch: int) -> None:
        super().__init__()
        self.hooks = config.dpt_hooks
        token_widths = [config.width if hook else encoder_width for hook in config.dpt_hooks]
        features, middle, upscale = config.dpt_features, config.dpt_head_width, patch // _DPT_SCALE
        self.dpt = DPT(token_widths, config.dpt_widths, features)
        self.points = dense_head(features, middle, middle, 4, upscale)
        self.colors = dense_head(features, middle, config.rgb_width, 3, upscale) if config.rgb else None
        read = encoder_width + config.width
        self.descriptors = (
            LocalFeatures(read, config.local_mlp_ratio, config.descriptor + 1, patch) if config.descriptor else None
        )

    def forward(
        self, layers: Sequence[Tensor], grid: tuple[int, int], *, with_descriptors: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Reads out one view.

        Args:
            layers: [projector output, block 1, ..., last block], each (B, h w, D).
            grid: (h, w).
            with_descriptors: whether to run the local-feature MLP, if there is one.

        Returns:
            Raw points and confidence (B, 4, H, W); raw colours (B, 3, H, W) or None; raw descriptors and their
            confidence (B, descriptor + 1, H, W) or None.
        """
        trunk = self.dpt([layers[hook] for hook in self.hooks], grid)
        colors = self.colors(trunk) if self.colors is not None else None
        local = None
        if with_descriptors and self.descriptors is not None:
            local = self.descriptors(torch.cat([layers[0], layers[-1]], dim=-1), grid)
        return self.points(trunk), colors, local
