"""Spatial decoder: features of two views to pointmaps, confidences, colours and descriptors, all in camera r's frame.

1. Project the features of both views with one shared MLP, and embed them to the decoder's width.
2. Two branches with their own weights exchange information in every block; both read the same snapshot of the
   layer before.
3. Normalise the last layer, and read each view out with its own head.

Shape letters: B batch, N tokens, D encoder width, E decoder width, H W pixels, h w token grid, P patch side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import DecoderConfig
from ..errors import ErrorCode, UniuggError
from ..pointmaps import canonical_map, confidence, decode_points, inverse_transform, on_rays, transform_points
from ..precision import full_precision
from .heads import ViewHead
from .layers import NORM_EPS, Attention, CrossAttention, Mlp, Rope, Rope2d

__all__ = ["SpatialDecoder", "ViewOutput"]


@dataclass(frozen=True)
class ViewOutput:
    """Per pixel of one view, float32 whatever the network's precision.

    Attributes:
        points: (B, H, W, 3) in the reference camera's frame.
        confidence: (B, H, W), greater than 1.
        colors: (B, H, W, 3) RGB in [0, 1], or None without a colour head.
        local: (B, 25, H, W) raw local features in the network's type, or None if not asked for or if the
            decoder has none; read them through ``descriptors``, ``descriptor_confidence`` or :meth:`described`.
        states: (B, N, E) of the decoder's last layer, of views decoded alone; None of others.
    """

    points: Tensor
    confidence: Tensor
    colors: Tensor | None
    local: Tensor | None = None
    states: Tensor | None = None

    @property
    def descriptors(self) -> Tensor | None:
        """(B, H, W, 24) of unit length, or None without local features."""
        return None if self.local is None else F.normalize(self.local[:, :-1].float().permute(0, 2, 3, 1), dim=-1)

    @property
    def descriptor_confidence(self) -> Tensor | None:
        """(B, H, W), positive, or None without local features."""
        return None if self.local is None else torch.exp(self.local[:, -1].float())

    def described(self, pixels_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors (B, K, 24) and their confidences (B, K) of K pixels a picture, by number in raster order.

        The same as picking from the full maps, without making them.

        Raises:
            UniuggError: REQUEST_INVALID if there are no local features.
        """
        if self.local is None:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "this view was decoded without descriptors")
        rows, columns = pixels_BK // self.local.shape[3], pixels_BK % self.local.shape[3]
        picture = torch.arange(len(pixels_BK), device=pixels_BK.device)[:, None]
        chosen_BKC = self.local[picture, :, rows, columns].float()
        return F.normalize(chosen_BKC[..., :-1], dim=-1), torch.exp(chosen_BKC[..., -1])


class DecoderBlock(nn.Module):
    """Self-attention, attention to the other view, MLP; each behind its own norm."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm_context = nn.LayerNorm(width, eps=NORM_EPS)
        self.cross_attn = CrossAttention(width, heads)
        self.norm3 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, round(width * mlp_ratio))

    def forward(self, x_BNE: Tensor, other_BNE: Tensor, rope: Rope) -> Tensor:
        """(B, N, E) of this view and of the other -> (B, N, E)."""
        x_BNE = x_BNE + self.attn(self.norm1(x_BNE), rope)
        x_BNE = x_BNE + self.cross_attn(self.norm2(x_BNE), self.norm_context(other_BNE), rope, rope)
        return x_BNE + self.mlp(self.norm3(x_BNE))


class SpatialDecoder(nn.Module):
    """Projector, two-branch decoder and heads (UniUGG's spatial decoder; without projector and colours, MASt3R's).

    Args:
        config: sizes.
        encoder_width: D, width of the features it takes.
        patch: P, pixels per token side of its outputs.
    """

    def __init__(self, config: DecoderConfig, encoder_width: int, patch: int) -> None:
        super().__init__()
        self.config = config
        self.encoder_width = encoder_width
        self.patch = patch
        self.projector = (
            nn.Sequential(nn.Linear(encoder_width, encoder_width), nn.GELU(), nn.Linear(encoder_width, encoder_width))
            if config.projector
            else nn.Identity()
        )
        self.embed = nn.Linear(encoder_width, config.width)
        self.blocks_a = self._branch()
        self.blocks_b = self._branch()
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.head_a = ViewHead(config, encoder_width, patch)
        self.head_b = ViewHead(config, encoder_width, patch)
        self.rope = Rope2d(config.width // config.heads, config.rope_base)

    def _branch(self) -> nn.ModuleList:
        config = self.config
        return nn.ModuleList(DecoderBlock(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth))

    def forward(
        self,
        reference: Tensor,
        target: Tensor,
        grid: tuple[int, int],
        *,
        matrix: Tensor | None = None,
        with_descriptors: bool = True,
    ) -> tuple[ViewOutput, ViewOutput]:
        """Decodes a pair.

        Args:
            reference: (B, h w, D) features of view r, whose camera frame the points are in.
            target: (B, h w, D) features of view v.
            grid: (h, w).
            matrix: (B, 3, 3) calibration of view r in pixels, with which canonical points become those of its camera;
                None: it is the canonical camera, or the decoder has none.
            with_descriptors: False skips the local-feature MLPs, a fifth of the work.

        Returns:
            The outputs of view r and of view v, maps of (h P, w P) pixels.

        Raises:
            UniuggError: REQUEST_INVALID if the features are not of that shape.
        """
        self._check(reference, target, grid)
        layers_a, layers_b = self.tokens(reference, target, grid)
        one = _finish(*self.head_a(layers_a, grid, with_descriptors=with_descriptors))
        other = _finish(*self.head_b(layers_b, grid, with_descriptors=with_descriptors))
        return self._calibrated(one, matrix, grid), self._calibrated(other, matrix, grid)

    def first(self, features: Tensor, other: Tensor, grid: tuple[int, int], matrix: Tensor | None = None) -> ViewOutput:
        """View r of :meth:`forward` alone, without descriptors; every picture's own points, if `other` is itself."""
        self._check(features, other, grid)
        layers, _ = self.tokens(features, other, grid)
        view = _finish(*self.head_a(layers, grid, with_descriptors=False))
        return replace(self._calibrated(view, matrix, grid), states=layers[-1])

    def posed(
        self,
        reference: Tensor,
        target: Tensor,
        grid: tuple[int, int],
        *,
        target_from_reference: Tensor,
        matrix: Tensor,
        target_matrix: Tensor,
    ) -> ViewOutput:
        """The target view's points where its camera's pose is known: on its pixels' rays, in the reference's frame.

        Args:
            reference: (B, h w, D) features of view r.
            target: (B, h w, D) features of view v.
            grid: (h, w).
            target_from_reference: (B, 4, 4), the pose.
            matrix: (B, 3, 3) calibration of view r in pixels.
            target_matrix: (B, 3, 3) of view v.
        """
        pose = target_from_reference.float()
        if not self.config.own_frames:
            view = self(reference, target, grid, matrix=matrix, with_descriptors=False)[1]
            return replace(view, points=on_rays(view.points, pose, target_matrix))
        view = self.first(target, reference, grid, target_matrix)
        there = on_rays(view.points, torch.eye(4, device=pose.device).expand_as(pose), target_matrix)
        return replace(view, points=transform_points(inverse_transform(pose), there))

    def _calibrated(self, view: ViewOutput, matrix: Tensor | None, grid: tuple[int, int]) -> ViewOutput:
        """The view with points as the calibrated camera sees them, not the canonical one."""
        if matrix is None or not self.config.canonical_fov:
            return view
        size = (grid[0] * self.patch, grid[1] * self.patch)
        return _mapped(view, torch.linalg.inv(canonical_map(matrix.float(), size, self.config.canonical_fov)))

    def tokens(self, reference: Tensor, target: Tensor, grid: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
        """What the heads read: per view [projector output (B, N, D), block 1, ..., normalised last block (B, N, E)]."""
        projected_a, projected_b = self.projector(reference), self.projector(target)
        a_BNE, b_BNE = self.embed(projected_a), self.embed(projected_b)
        rope = self.rope(grid, a_BNE.device)
        layers_a, layers_b = [projected_a], [projected_b]
        for block_a, block_b in zip(self.blocks_a, self.blocks_b):
            a_BNE, b_BNE = block_a(a_BNE, b_BNE, rope), block_b(b_BNE, a_BNE, rope)
            layers_a.append(a_BNE)
            layers_b.append(b_BNE)
        layers_a[-1], layers_b[-1] = self.norm(a_BNE), self.norm(b_BNE)
        return layers_a, layers_b

    def _check(self, reference: Tensor, target: Tensor, grid: tuple[int, int]) -> None:
        for name, features in (("reference", reference), ("target", target)):
            if features.dim() != 3 or tuple(features.shape[1:]) != (grid[0] * grid[1], self.encoder_width):
                raise UniuggError(
                    ErrorCode.REQUEST_INVALID,
                    f"{name} features are {tuple(features.shape)}, expected "
                    f"(B, {grid[0] * grid[1]}, {self.encoder_width}) for a grid of {grid[0]} x {grid[1]}",
                )
        if reference.shape[0] != target.shape[0]:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"{reference.shape[0]} reference pictures, but {target.shape[0]} target pictures",
            )


@full_precision
def _mapped(view: ViewOutput, linear_map: Tensor) -> ViewOutput:
    """The view with its points (B, H, W, 3) under a linear map (B, 3, 3)."""
    return replace(view, points=torch.einsum("bij,bhwj->bhwi", linear_map, view.points))


def _finish(raw_points: Tensor, raw_colors: Tensor | None, raw_local: Tensor | None) -> ViewOutput:
    """Raw maps (B, C, H, W) to values; in float32, since points and confidences are exponentials."""
    raw_points = raw_points.float().permute(0, 2, 3, 1)
    colors = None
    if raw_colors is not None:
        colors = torch.sigmoid(raw_colors.float().permute(0, 2, 3, 1))
    return ViewOutput(
        points=decode_points(raw_points[..., :3]),
        confidence=confidence(raw_points[..., 3]),
        colors=colors,
        local=raw_local,
    )
