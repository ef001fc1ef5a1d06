"""Scenes as pictures: what a camera sees of a cloud, and overviews for people."""

from __future__ import annotations

from .pictures import IMAGINED_TINT, scene_picture
from .splat import Rendering, render_points

__all__ = ["IMAGINED_TINT", "Rendering", "render_points", "scene_picture"]
