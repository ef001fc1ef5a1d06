"""One page that a person can judge a scene by: input, predicted view, real view where there is one, the cloud, a plan.

Drawn with Pillow; nothing here is needed to make a scene. Colours mean the same in every panel: dark grey is the camera
that took the picture and what it observed, magenta the new pose and what was imagined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .cameras import Camera, inverse_rigid, square_crop
from .outputs import ASSUMED_FOV_DEG
from .plan import IMAGINED_COLOR, OBSERVED_COLOR, draw_plan
from .render import render_points, scene_picture
from .scene import IMAGINED, OBSERVED, Scene, View

__all__ = ["SheetText", "describe_motion", "imagined_view", "scene_sheet"]

WIDTH = 1200  # pixels of the whole page
MARGIN = 24
GUTTER = 16
PANEL = (WIDTH - 2 * MARGIN - 2 * GUTTER) // 3  # side of one of the three panels of a row
CLOUD = 309  # height of the cloud's pictures below: two of 4 to 3, and a square plan, fill the width
CAPTION = 26  # height of the line above a panel

INK = (28, 32, 38)
FAINT = (110, 118, 128)
PAPER = (255, 255, 255)
EMPTY = (236, 238, 241)
WARNING_INK = (150, 60, 0)
WARNING_PAPER = (255, 241, 224)
LOOK_DEPTH = 2.0  # metres: the outline in the input shows what the new pose sees at this distance
NEAR = 0.05  # metres: outlines are cut here, in front of the camera


@dataclass(frozen=True)
class SheetText:
    """The words of a page: a title, short facts for the line below it, and a warning or None."""

    title: str
    facts: tuple[str, ...] = ()
    warning: str | None = None


def describe_motion(target_from_reference: np.ndarray) -> str:
    """A pose in words that :func:`uniugg_core.cameras.parse_motion` reads: ``forward 0.50 m, yaw right 30°``."""
    reference_from_target = inverse_rigid(target_from_reference)
    right, down, forward = reference_from_target[:3, 3]
    turn = reference_from_target[:3, :3]  # R_y(yaw) R_x(pitch) R_z(roll)
    yaw = math.degrees(math.atan2(turn[0, 2], turn[2, 2]))
    pitch = math.degrees(math.asin(float(np.clip(-turn[1, 2], -1, 1))))
    roll = math.degrees(math.atan2(turn[1, 0], turn[1, 1]))
    shifts = ((forward, "forward", "back"), (right, "right", "left"), (down, "down", "up"))
    turns = ((yaw, "yaw right", "yaw left"), (pitch, "pitch up", "pitch down"), (roll, "roll right", "roll left"))
    parts = [
        f"{word if value > 0 else other} {abs(value):.2f} m" for value, word, other in shifts if abs(value) >= 0.005
    ]
    parts += [f"{word if value > 0 else other} {abs(value):.0f}°" for value, word, other in turns if abs(value) >= 0.5]
    return ", ".join(parts) or "stay"


def imagined_view(scene: Scene) -> View | None:
    """The first view of the scene that was imagined, or None."""
    return next((view for view in scene.views if view.source == IMAGINED), None)


def scene_sheet(
    image: np.ndarray,
    camera: Camera | None,
    target_from_reference: np.ndarray,
    scene: Scene,
    text: SheetText,
    *,
    predicted: np.ndarray | None = None,
    real: np.ndarray | None = None,
) -> np.ndarray:
    """Draws the page.

    Args:
        image: the input picture (H, W, 3) uint8.
        camera: its calibration; None where it was assumed.
        target_from_reference: pose of the request (4, 4).
        scene: the result, in the frame of the picture's camera.
        text: the words.
        predicted: the predicted picture; None takes it from the scene's imagined view.
        real: a real square picture from the target pose; None shows what the observed points alone look like there.

    Returns:
        the page (H, 1200, 3) uint8.
    """
    view = imagined_view(scene)
    if predicted is None and view is not None:
        predicted = view.image
    known = _assumed(camera, image.shape[1], image.shape[0])
    page, top = _page(text, describe_motion(target_from_reference))
    third = "what was observed, from there" if real is None else "really seen from there"
    tops = _row(page, top, ["input", "predicted from the new pose", third])
    _paste(page, 0, tops, _input_panel(image, known, target_from_reference))
    _legend(page, tops + PANEL * 2 // 3 + 14, scene, known, camera is None, target_from_reference)
    _paste(page, 1, tops, _square(predicted, "no picture was predicted"))
    if real is None:
        crop = square_crop(image, known, PANEL).camera
        real = _observed_from(scene, crop, inverse_rigid(target_from_reference))
    _paste(page, 2, tops, _square(real, ""))
    cloud = Image.fromarray(
        scene_picture(_with_cameras(scene, known, target_from_reference), (WIDTH - 2 * MARGIN - GUTTER - CLOUD, CLOUD))
    )
    top = tops + PANEL + GUTTER
    page.paste(cloud, (MARGIN, top))
    aspect = min(known.width, known.height) / 2 / known.matrix[0, 0]
    plan = draw_plan(scene, target_from_reference, CLOUD, aspect=float(aspect))
    page.paste(plan, (WIDTH - MARGIN - CLOUD, top))
    return np.asarray(page.crop((0, 0, WIDTH, top + CLOUD + MARGIN)))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which is there on every machine."""
    return ImageFont.load_default(size)


def _page(text: SheetText, motion: str) -> tuple[Image.Image, int]:
    page = Image.new("RGB", (WIDTH, 1100), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, 16), text.title, INK, font(26))
    draw.text((MARGIN, 52), " · ".join([motion, *text.facts]), FAINT, font(17))
    top = 84
    if text.warning:
        draw.rounded_rectangle((MARGIN, top, WIDTH - MARGIN, top + 30), 6, WARNING_PAPER)
        draw.text((MARGIN + 12, top + 6), text.warning, WARNING_INK, font(15))
        top += 38
    return page, top


def _row(page: Image.Image, top: int, captions: list[str]) -> int:
    """Writes the captions of a row at `top` and returns where its panels begin."""
    draw = ImageDraw.Draw(page)
    for column, caption in enumerate(captions):
        draw.text((_left(column), top + 3), caption, INK, font(16))
    return top + CAPTION


def _left(column: int) -> int:
    return MARGIN + column * (PANEL + GUTTER)


def _paste(page: Image.Image, column: int, top: int, panel: Image.Image) -> None:
    page.paste(panel, (_left(column), top))


def _square(picture: np.ndarray | None, otherwise: str) -> Image.Image:
    if picture is None:
        panel = Image.new("RGB", (PANEL, PANEL), EMPTY)
        ImageDraw.Draw(panel).text((PANEL // 2, PANEL // 2), otherwise, FAINT, font(15), anchor="mm")
        return panel
    return Image.fromarray(picture).resize((PANEL, PANEL), Image.Resampling.BICUBIC)


def _input_panel(image: np.ndarray, camera: Camera, target_from_reference: np.ndarray) -> Image.Image:
    """The input, two thirds of a panel high, with the crop that was used and an outline of where the new pose looks."""
    height, width = image.shape[:2]
    scale = min(PANEL / width, (PANEL * 2 // 3) / height)
    small = Image.fromarray(image).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS
    )
    draw = ImageDraw.Draw(small)
    side = min(width, height)
    left, upper = (width - side) / 2 * scale, (height - side) / 2 * scale
    draw.rectangle((left, upper, left + side * scale - 1, upper + side * scale - 1), outline=OBSERVED_COLOR, width=2)
    outline = _target_outline(camera.matrix, side, target_from_reference)
    if outline is not None:
        draw.line([(u * scale, v * scale) for u, v in outline], IMAGINED_COLOR, 3, joint="curve")
    return small


def _observed_from(scene: Scene, camera: Camera, scene_from_camera: np.ndarray) -> np.ndarray:
    """The observed points as the new pose sees them: what is known there without imagining."""
    known = scene.filter(source=OBSERVED)
    splat = int(np.clip(2 * math.sqrt(camera.width * camera.height / max(len(known), 1)), 2, 8))
    return render_points(known.points, known.colors, camera, scene_from_camera, splat=splat, background=EMPTY).rgb


def _target_outline(matrix: np.ndarray, side: int, target_from_reference: np.ndarray) -> np.ndarray | None:
    """The closed outline (M, 2), in pixels of the input, of the new pose's square picture at LOOK_DEPTH.

    None if all of it lies behind the camera.
    """
    half_u, half_v = side / 2 / matrix[0, 0], side / 2 / matrix[1, 1]
    corners = np.array([[-half_u, -half_v, 1], [half_u, -half_v, 1], [half_u, half_v, 1], [-half_u, half_v, 1.0]])
    reference_from_target = inverse_rigid(target_from_reference)
    points = LOOK_DEPTH * corners @ reference_from_target[:3, :3].T + reference_from_target[:3, 3]
    kept: list[np.ndarray] = []
    for one, two in zip(points, np.roll(points, -1, axis=0)):
        if one[2] >= NEAR:
            kept.append(one)
        if (one[2] >= NEAR) != (two[2] >= NEAR):  # the edge passes the near plane: cut it there
            kept.append(one + (NEAR - one[2]) / (two[2] - one[2]) * (two - one))
    if len(kept) < 3:
        return None
    closed = np.array([*kept, kept[0]]) @ matrix.T
    return closed[:, :2] / closed[:, 2:]


def _shared(camera: Camera, target_from_reference: np.ndarray) -> float:
    """Share of the new pose's square picture that the input shows as well, for a wall at LOOK_DEPTH."""
    side, count = min(camera.width, camera.height), 24
    steps = ((np.arange(count) + 0.5) / count - 0.5) * side
    u, v = np.meshgrid(steps / camera.matrix[0, 0], steps / camera.matrix[1, 1])
    points = LOOK_DEPTH * np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    reference_from_target = inverse_rigid(target_from_reference)
    points = points @ reference_from_target[:3, :3].T + reference_from_target[:3, 3]
    pixels = points[points[:, 2] > NEAR] @ camera.matrix.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    inside = ((pixels > -0.5) & (pixels < (camera.width - 0.5, camera.height - 0.5))).all(axis=1)
    return float(inside.sum()) / len(points)


def _legend(
    page: Image.Image, top: int, scene: Scene, camera: Camera, assumed: bool, target_from_reference: np.ndarray
) -> None:
    """What the colours mean and what the cloud has, in the space below the input."""
    draw, left = ImageDraw.Draw(page), _left(0)
    imagined = int((scene.source == IMAGINED).sum())
    calibration = f", {ASSUMED_FOV_DEG:.0f}° of view assumed" if assumed else ""
    shared = f"{_shared(camera, target_from_reference):.0%}"
    rows = [
        (OBSERVED_COLOR, f"the camera; the square it works on, of {camera.width} x {camera.height}{calibration}"),
        (IMAGINED_COLOR, f"the new pose; the input shows {shared} of it at {LOOK_DEPTH:.0f} m"),
        (None, f"{len(scene.points) - imagined:,} points observed, {imagined:,} imagined"),
    ]
    for color, words in rows:
        if color is not None:
            draw.rectangle((left, top + 3, left + 12, top + 15), color)
        draw.text((left + 20, top), words, INK, font(14))
        top += 24


def _with_cameras(scene: Scene, camera: Camera, target_from_reference: np.ndarray) -> Scene:
    """The scene with a view for each of the two cameras, so that both are drawn; a cloud from a message has none."""
    if scene.views:
        return scene
    side, pixels = min(camera.width, camera.height), 8
    small = Camera(
        pixels, pixels, np.diag([camera.matrix[0, 0] * pixels / side, camera.matrix[1, 1] * pixels / side, 1])
    )
    small = replace(small, matrix=small.matrix + [[0, 0, (pixels - 1) / 2], [0, 0, (pixels - 1) / 2], [0, 0, 0]])
    blank, empty = np.zeros((pixels, pixels, 3), np.uint8), np.ones((pixels, pixels), np.float32)
    poses = ((np.eye(4), OBSERVED), (inverse_rigid(target_from_reference), IMAGINED))
    views = tuple(View(blank, blank.astype(np.float32), empty, small, pose, source) for pose, source in poses)
    return replace(scene, views=views)


def _assumed(camera: Camera | None, width: int, height: int) -> Camera:
    return camera or Camera.from_fov(width, height, math.radians(ASSUMED_FOV_DEG))
