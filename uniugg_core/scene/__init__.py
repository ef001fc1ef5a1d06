"""Scene: coloured points, each observed or imagined; the one scene type for the node, files, evaluation and viewers."""

from __future__ import annotations

from .axes import up_direction, upright_from_frame
from .model import Scene
from .view import IMAGINED, OBSERVED, View

__all__ = ["IMAGINED", "OBSERVED", "Scene", "View", "up_direction", "upright_from_frame"]
