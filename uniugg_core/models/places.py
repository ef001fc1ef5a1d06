"""What the language model is told of where patches lie in space."""

from __future__ import annotations

from torch import Tensor, nn

from ..pointmaps import PATCH_POINTS, PATCH_WAVES, patch_waves

__all__ = ["PlaceProjector"]


class PlaceProjector(nn.Sequential):
    """A two-layer projector of patches' points, beside it a linear one of the same points as waves.

    Args:
        width: of what it gives.
        waves: whether there is the second one. It says nothing at first, so that a model which can speak may get it
            later.
        silent: whether the first one says nothing at first, either.
    """

    def __init__(self, width: int, *, waves: bool = False, silent: bool = False) -> None:
        super().__init__(nn.Linear(PATCH_POINTS, width), nn.GELU(), nn.Linear(width, width))
        if silent:
            nn.init.zeros_(self[2].weight)
            nn.init.zeros_(self[2].bias)
        self.waves = nn.Linear(PATCH_WAVES, width, bias=False) if waves else None
        if self.waves is not None:
            nn.init.zeros_(self.waves.weight)

    def forward(self, points: Tensor) -> Tensor:
        """:func:`~uniugg_core.pointmaps.patch_points` (..., 12) to (..., width)."""
        dtype = self[0].weight.dtype
        told = self[2](self[1](self[0](points.to(dtype))))
        return told if self.waves is None else told + self.waves(patch_waves(points).to(dtype))
