"""Image encoders: one picture to a grid of features, and for RADIO's kind a summary vector.

1. Cut the normalised picture into P x P patches and embed each linearly; a stem of convolutions may add to it.
2. radio: add a window of the learned position table and prepend the prefix tokens. croco: positions turn the
   attention's queries and keys instead.
3. Run the pre-norm transformer blocks.
4. croco: normalise. radio: take the raw residual stream, unless the checkpoint came with a final norm.

Shape letters: B batch, N tokens, D width, S summary width, H W pixels, h w token grid, P patch side, G table side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import EncoderConfig
from ..errors import ErrorCode, UniuggError
from ..precision import full_precision
from .layers import NORM_EPS, Attention, Mlp, PatchEmbed, Rope, Rope2d, Stem

__all__ = [
    "CrocoEncoder",
    "Encoder",
    "EncoderOutput",
    "RadioEncoder",
    "build_encoder",
    "patch_views",
    "random_position_windows",
]

_MIN_CROP_SCALE = math.sqrt(0.1)
_MAX_CROP_LOG_ASPECT = math.log(4 / 3)
_DROP_POSITIONS = 0.1


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder says about a batch of pictures.

    Attributes:
        features: (B, h w, D), tokens in raster order.
        summary: (B, S) whole-picture vector, or None if the encoder has none.
        grid: (h, w), rows and columns of tokens.
    """

    features: Tensor
    summary: Tensor | None
    grid: tuple[int, int]


class EncoderBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, round(width * mlp_ratio))

    def forward(self, x_BND: Tensor, rope: Rope | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x_BND = x_BND + self.attn(self.norm1(x_BND), rope)
        return x_BND + self.mlp(self.norm2(x_BND))


class Encoder(nn.Module):
    """What both kinds share: normalisation, size checks, patches and blocks."""

    def __init__(self, config: EncoderConfig, *, patch_bias: bool, final_norm: bool) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.patch, config.width, bias=patch_bias)
        self.blocks = nn.ModuleList(
            EncoderBlock(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS) if final_norm else nn.Identity()
        self.stem = Stem(config.stem, config.width, config.stem_units) if config.stem else None
        self.calibration = nn.Linear(3, config.width) if config.calibrated else None
        if self.calibration is not None:  # an encoder that had none begins as it was
            nn.init.zeros_(self.calibration.weight)
            nn.init.zeros_(self.calibration.bias)

    def normalise(self, image01: Tensor) -> Tensor:
        """Shifts and scales RGB (B, 3, H, W) in [0, 1] to what :meth:`forward` takes."""
        mean = torch.tensor(self.config.image_mean, dtype=image01.dtype, device=image01.device)
        std = torch.tensor(self.config.image_std, dtype=image01.dtype, device=image01.device)
        return (image01 - mean[:, None, None]) / std[:, None, None]

    def embed(self, image: Tensor, matrix: Tensor | None) -> Tensor:
        """Patch tokens (B, N, D), with their viewing rays where the encoder reads them and `matrix` is given."""
        tokens_BND = self.patch_embed(image)
        if self.stem is not None:
            tokens_BND = tokens_BND + self.stem(image)
        if self.calibration is None or matrix is None:
            return tokens_BND
        known_B = matrix[:, 0, 0] > 0
        looks_BN3 = patch_views(matrix, self.grid(image), self.config.patch).to(tokens_BND.dtype)
        rays_BND = self.calibration(torch.where(known_B[:, None, None], looks_BN3, torch.zeros_like(looks_BN3)))
        return tokens_BND + rays_BND * known_B[:, None, None]

    def grid(self, image: Tensor) -> tuple[int, int]:
        """Rows and columns of tokens of a picture (B, 3, H, W).

        Raises:
            UniuggError: IMAGE_MALFORMED if it is not (B, 3, H, W) or a side is no positive multiple of the patch.
        """
        patch = self.config.patch
        if image.dim() != 4 or image.shape[1] != 3:
            raise UniuggError(
                ErrorCode.IMAGE_MALFORMED, f"encoder input is {tuple(image.shape)}, expected (B, 3, H, W)"
            )
        height, width = image.shape[2:]
        if height % patch or width % patch or not height or not width:
            raise UniuggError(
                ErrorCode.IMAGE_MALFORMED,
                f"picture of {width} x {height}, expected sides that are multiples of {patch}",
            )
        return height // patch, width // patch


@full_precision
def patch_views(matrix: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """How each patch is looked at, (B, N, 3): slopes x / z and y / z of the ray through its centre, and the zoom.

    Args:
        matrix: (B, 3, 3) pinhole matrices in pixels of the picture; rows that are unknown are zero and give anything.
        grid: (h, w).
        patch: P.

    Returns:
        The zoom is ``log(2 f_x / W)``, 0 for a field of view of 90 degrees.
    """
    rows, columns = grid
    v, u = torch.meshgrid(
        (torch.arange(rows, device=matrix.device) + 0.5) * patch - 0.5,
        (torch.arange(columns, device=matrix.device) + 0.5) * patch - 0.5,
        indexing="ij",
    )
    focal_x, focal_y = (matrix[:, i, i, None, None].float().clamp(min=1.0) for i in (0, 1))
    x, y = ((at - matrix[:, i, 2, None, None].float()) / f for i, (at, f) in enumerate(((u, focal_x), (v, focal_y))))
    zoom = torch.log(2 * focal_x / (columns * patch)).expand_as(x)
    return torch.stack([x, y, zoom], dim=-1).flatten(1, 2)


class RadioEncoder(Encoder):
    """RADIOv2.5's kind: learned positions cropped from one large table, prefix tokens, a summary."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config, patch_bias=False, final_norm=config.final_norm)
        side = config.position_grid
        self.position_table = nn.Parameter(torch.empty(side, side, config.width))
        self.prefix_tokens = nn.Parameter(torch.empty(config.prefix_tokens, config.width))
        nn.init.trunc_normal_(self.position_table, std=0.02)
        nn.init.trunc_normal_(self.prefix_tokens, std=0.02)

    def forward(
        self, image: Tensor, *, matrix: Tensor | None = None, position_generator: torch.Generator | None = None
    ) -> EncoderOutput:
        """Encodes normalised pictures.

        Args:
            image: (B, 3, H, W), from :meth:`normalise`; sides are multiples of the patch.
            matrix: (B, 3, 3) their calibrations in pixels, zeros where one is unknown; only a calibrated encoder looks.
            position_generator: given in training, each picture sees a random crop of the position table, and one in
                ten sees none; None (the default) is the fixed window of inference, whatever the module's mode.

        Raises:
            UniuggError: IMAGE_MALFORMED.
        """
        grid = self.grid(image)
        tokens_BND = self.embed(image, matrix)
        if position_generator is None:
            positions = self.position_window(grid).flatten(0, 1)
        else:
            windows = random_position_windows(self.position_table, image.shape[0], grid, position_generator)
            positions = windows.flatten(1, 2)
        tokens_BND = tokens_BND + positions
        prefix = self.prefix_tokens.expand(image.shape[0], -1, -1).to(tokens_BND.dtype)
        tokens_BND = torch.cat([prefix, tokens_BND], dim=1)
        for block in self.blocks:
            tokens_BND = block(tokens_BND)
        tokens_BND = self.norm(tokens_BND)
        chosen = self.config.summary_tokens
        summary = torch.cat([tokens_BND[:, i] for i in chosen], dim=-1) if chosen else None
        return EncoderOutput(tokens_BND[:, self.config.prefix_tokens :], summary, grid)

    def position_window(self, grid: tuple[int, int]) -> Tensor:
        """Positions (h, w, D) of inference: the table resized to a square of the longer side, its top-left window."""
        side = max(grid)
        table = self.position_table
        if side != table.shape[0]:
            table = F.interpolate(table.permute(2, 0, 1)[None], (side, side), mode="bilinear", align_corners=True)
            table = table[0].permute(1, 2, 0)
        return table[: grid[0], : grid[1]]


def random_position_windows(table_GGD: Tensor, batch: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Training's positions: per picture a random crop of the table, resampled to the grid; sometimes none at all.

    The crop's side is s ~ U[sqrt(0.1), 1] of the table's, its aspect a with ln a ~ U[ln 3/4, ln 4/3]: (s a) wide and
    (s / a) high, at most the whole table, anywhere inside. With probability 0.1 the positions are zero.

    Args:
        table_GGD: (G, G, D).
        batch: number of pictures.
        grid: (h, w).
        generator: the only source of randomness; may live on another device than the table.

    Returns:
        (B, h, w, D).
    """
    draw = torch.rand(batch, 5, generator=generator, device=generator.device).to(table_GGD.device)
    scale = _MIN_CROP_SCALE + (1 - _MIN_CROP_SCALE) * draw[:, 0]
    aspect = torch.exp(_MAX_CROP_LOG_ASPECT * (2 * draw[:, 1] - 1))
    size_B2 = torch.stack([scale * aspect, scale / aspect], dim=-1).clamp(max=1)  # x, y
    offset_B2 = draw[:, 2:4] * (1 - size_B2)
    rows, columns = grid
    across = torch.linspace(0, 1, columns, device=table_GGD.device)
    down = torch.linspace(0, 1, rows, device=table_GGD.device)
    unit = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)  # (h, w, 2) as x, y
    where = (unit * size_B2[:, None, None] + offset_B2[:, None, None]) * 2 - 1
    # One tall grid for the whole batch: a table copied per picture would cost its gradient per picture too.
    tall = where.flatten(0, 1)[None].to(table_GGD.dtype)
    windows = F.grid_sample(table_GGD.permute(2, 0, 1)[None], tall, mode="bilinear", align_corners=True)
    windows = windows[0].permute(1, 2, 0).unflatten(0, (batch, rows))
    keep = draw[:, 4] >= _DROP_POSITIONS
    return windows * keep[:, None, None, None].to(windows.dtype)


class CrocoEncoder(Encoder):
    """MASt3R's (CroCo) kind: 2-D rotary positions, a final norm, no prefix tokens and no summary."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config, patch_bias=True, final_norm=True)
        self.rope = Rope2d(config.width // config.heads, config.rope_base)

    def forward(
        self, image: Tensor, *, matrix: Tensor | None = None, position_generator: torch.Generator | None = None
    ) -> EncoderOutput:
        """Encodes normalised pictures (B, 3, H, W); `position_generator` is accepted and has nothing to draw.

        Raises:
            UniuggError: IMAGE_MALFORMED.
        """
        grid = self.grid(image)
        tokens_BND = self.embed(image, matrix)
        rope = self.rope(grid, tokens_BND.device)
        for block in self.blocks:
            tokens_BND = block(tokens_BND, rope)
        return EncoderOutput(self.norm(tokens_BND), None, grid)


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder that `config` describes, with fresh weights.

    Raises:
        UniuggError: CHECKPOINT_INVALID for an unknown kind.
    """
    kinds: dict[str, type[RadioEncoder] | type[CrocoEncoder]] = {"radio": RadioEncoder, "croco": CrocoEncoder}
    if config.kind not in kinds:
        raise UniuggError(
            ErrorCode.CHECKPOINT_INVALID, f"encoder.kind is {config.kind!r}, expected one of {sorted(kinds)}"
        )
    return kinds[config.kind](config)
