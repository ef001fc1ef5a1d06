"""Drives through rooms: where the pictures of the procedural world are taken, and which of them make pairs."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any, Protocol

import numpy as np
import torch

from uniugg_core.errors import ErrorCode, UniuggError

from .covisibility import covisibility
from .graph import SceneGraph
from .views import View
from .world.paths import CameraRig, draw_path, draw_rig
from .world.room import Room, make_room

__all__ = ["Drive", "RoomsConfig", "Renderer", "open_renderer", "photograph"]

_LOG = logging.getLogger(__name__)
_AT_ONCE = 16  # rooms that the ray caster takes together; more only need more memory

Pictures = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class RoomsConfig:
    """What the rooms and the pairs are like. Ranges are (least, most), drawn evenly."""

    size: int = 128  # side of the square pictures in pixels
    views: int = 12  # views of a room; more of them cost less each
    pairs: int = 10  # pairs of a room
    interleave: int = 64  # rooms dealt in turns: so many samples in a row come from different rooms. Each is rendered
    # once if this is a multiple of batch size x workers x processes, else more often; they stay in memory that long
    clutter: tuple[float, float] = (0.0, 1.0)  # 0: the bare programme of a room, 1: things everywhere
    sides: tuple[float, float] = (2.6, 7.5)  # metres; sides of the rooms
    l_shaped: float = 0.25  # share of large rooms that are L-shaped
    fov: tuple[float, float] = (45.0, 80.0)  # degrees
    heights: tuple[float, float] = (0.4, 1.6)  # metres of the camera above the floor
    covisibility: tuple[float, float] = (0.2, 0.8)  # of the share of each view that the other one sees
    baseline: tuple[float, float] = (0.0, 3.0)  # metres between the two cameras
    angle: tuple[float, float] = (0.0, 90.0)  # degrees between their optical axes
    least_motion: tuple[float, float] = (0.08, 5.0)  # a pair moves by so many metres or turns by so many degrees
    questions: int = 1  # asked about each pair, all about the same of its views, which are then read once
    supersample: int = 1  # colours drawn finer by this factor and averaged: smoother, and as much squared slower
    renderer: str = "auto"  # "gl", "torch", or "auto": OpenGL where it works
    device: str = "cpu"  # of the torch renderer
    curriculum: int = 0  # samples over which the difficulty rises from `easiest` to 1; 0 is 1 from the start
    easiest: float = 0.0  # difficulty of the first samples: 0 is small motions and hardly any clutter

    def __post_init__(self) -> None:
        good = self.views > 1 and min(self.size, self.pairs, self.interleave, self.questions, self.supersample) > 0
        ranges = (self.clutter, self.sides, self.fov, self.heights, self.covisibility, self.baseline, self.angle)
        if not good or any(low > high for low, high in ranges):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"no such rooms: {self}")
        if self.renderer not in ("auto", "gl", "torch"):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"renderer is {self.renderer!r}, expected auto, gl or torch")

    def at(self, difficulty: float) -> RoomsConfig:
        """The configuration with its hard ends drawn in: 0 is easy, 1 leaves it as it is."""
        if difficulty >= 1.0:
            return self

        def drawn_in(span: tuple[float, float], least: float) -> tuple[float, float]:
            low, high = span
            return low, max(low, min(high, least + (high - least) * difficulty))

        low, high = self.covisibility
        return replace(
            self,
            clutter=drawn_in(self.clutter, 0.1),
            baseline=drawn_in(self.baseline, 0.4),
            angle=drawn_in(self.angle, 15.0),
            covisibility=(low + (0.55 - low) * max(0.0, 1.0 - difficulty) if low < 0.55 else low, max(high, 0.9)),
        )


@dataclass(frozen=True)
class Drive:
    """One room, driven through and photographed; arrays over its V views."""

    room: Room
    image: np.ndarray  # (V, H, W, 3) uint8
    depth: np.ndarray  # (V, H, W) float32
    instances: np.ndarray  # (V, H, W) uint8
    intrinsics: np.ndarray  # (3, 3)
    world_from_camera: np.ndarray  # (V, 4, 4)
    pairs: tuple[tuple[int, int], ...]  # reference and target view of each pair
    covisibility: tuple[tuple[float, float], ...]  # of each pair: share of the reference that the target sees, and back

    @property
    def graph(self) -> SceneGraph:
        """What is in the room."""
        return self.room.graph

    def view(self, number: int) -> View:
        """View `number` as a sample."""
        instances = self.instances[number]
        return View(
            image=self.image[number],
            depth=self.depth[number],
            intrinsics=self.intrinsics,
            world_from_camera=self.world_from_camera[number],
            instances=instances,
            classes=self.room.class_of[instances],
            name=f"room {self.room.seed} view {number}",
        )


class Renderer(Protocol):
    """Renders the views of some rooms."""

    def __call__(
        self, rooms: Sequence[Room], intrinsics: Sequence[np.ndarray], poses: Sequence[np.ndarray]
    ) -> list[Pictures]:
        """Colour (V, H, W, 3), depth (V, H, W) and instances (V, H, W) of each room, for K (V, 3, 3) and (V, 4, 4)."""
        ...


def photograph(numbers: Sequence[int], configs: Sequence[RoomsConfig], render: Renderer) -> list[tuple[Drive, int]]:
    """Drives through rooms and takes pictures; the rooms are rendered together.

    Args:
        numbers: seeds of the rooms.
        configs: what each should be like; picture sizes are the renderer's.
        render: from :func:`open_renderer`.

    Returns:
        For each room the drive, and how many of its pairs are as wanted.
    """
    rooms, rigs, poses, sources = [], [], [], []
    for number, config in zip(numbers, configs):
        room, rig, path, rng = _plan(number, config)
        rooms.append(room)
        rigs.append(rig)
        poses.append(path)
        sources.append(rng)
    intrinsics = [np.repeat(rig.intrinsics[None], len(path), 0) for rig, path in zip(rigs, poses)]
    out = []
    for k, (image, depth, instances) in enumerate(render(rooms, intrinsics, poses)):
        structure = np.array([False, *(item.structural for item in rooms[k].graph.objects)])
        bare = structure[instances[:, ::4, ::4]].mean((1, 2))
        pairs, shares, found = _choose_pairs(depth, bare, intrinsics[k], poses[k], configs[k], sources[k])
        drive = Drive(rooms[k], image, depth, instances, rigs[k].intrinsics, poses[k], tuple(pairs), tuple(shares))
        out.append((drive, found))
    return out


def open_renderer(config: RoomsConfig) -> Renderer:
    """The renderer that `config` names, for its picture size.

    Raises:
        UniuggError: INTERNAL if "gl" was asked for and there is no OpenGL.
    """
    if config.renderer != "torch":
        try:
            draw = _gl_renderer(os.getpid(), config.size, config.supersample).render
            return lambda rooms, intrinsics, poses: [draw(*shot) for shot in zip(rooms, intrinsics, poses)]
        except UniuggError as error:
            if config.renderer == "gl":
                raise
            _LOG.warning("%s; rooms are ray-cast instead, which is slower", error.message)
    from .world.raycast import RoomBatch, raycast

    def cast(rooms: Sequence[Room], intrinsics: Sequence[np.ndarray], poses: Sequence[np.ndarray]) -> list[Pictures]:
        pictures: list[Pictures] = []
        for start in range(0, len(rooms), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            packed = RoomBatch.pack(rooms[part], config.device)
            k, pose = torch.from_numpy(np.stack(intrinsics[part])), torch.from_numpy(np.stack(poses[part]))
            out = [tensor.cpu().numpy() for tensor in raycast(packed, k, pose, config.size, config.size)]
            pictures += list(zip(*out))
        return pictures

    return cast


@lru_cache(maxsize=4)
def _gl_renderer(process: int, size: int, supersample: int) -> Any:
    """One renderer for all data sets of a process that want this size."""
    from .world.render_gl import GLRenderer

    return GLRenderer(size, size, supersample=supersample)


def _plan(number: int, config: RoomsConfig) -> tuple[Room, CameraRig, np.ndarray, Random]:
    """Room, camera, poses, and the source of randomness for what follows."""
    low, high = config.sides
    room = make_room(number, clutter=config.clutter, smallest=low, largest=high, l_shaped=config.l_shaped)
    rng = Random(number ^ 0x5EED)
    rig = draw_rig(rng, config.size, fov=config.fov, heights=config.heights)
    motion = min(1.0, 0.25 + 0.75 * config.angle[1] / 60.0)
    return room, rig, draw_path(room, rig, config.views, rng, motion=motion), rng


def _choose_pairs(
    depth: np.ndarray, bare: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray, config: RoomsConfig, rng: Random
) -> tuple[list[tuple[int, int]], list[tuple[float, float]], int]:
    """The pairs of a room, their covisibilities, and how many of them are as wanted.

    Fitting pairs come first, those whose views were not used yet before others; where too few fit, they return in the
    other order, and a room without any takes the pair that comes closest. `bare` (V,) is the share of each view
    that shows nothing but walls, floor and ceiling.
    """
    views = len(poses)
    baseline = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1)
    angle = np.degrees(np.arccos(np.clip(poses[:, :3, 2] @ poses[:, :3, 2].T, -1, 1)))
    moved = (baseline >= config.least_motion[0]) | (angle >= config.least_motion[1])
    moved &= (baseline >= config.baseline[0]) & (baseline <= config.baseline[1])
    moved &= (angle >= config.angle[0]) & (angle <= config.angle[1])
    dull = np.median(depth[:, ::4, ::4].reshape(views, -1), axis=1) < 0.45  # nose against a wardrobe
    dull |= bare > 0.93
    moved &= ~(dull[:, None] | dull[None, :])
    upper = np.triu(np.ones((views, views), bool), 1)
    tried = np.argwhere(moved & upper)
    if not len(tried):
        tried = np.argwhere(upper)
    both = np.concatenate([tried, tried[:, ::-1]])
    share = covisibility(depth, intrinsics, poses, both, stride=max(1, config.size // 18)).reshape(2, -1).T
    low, high = config.covisibility
    fits = np.flatnonzero((share.min(1) >= low) & (share.max(1) <= high)).tolist()
    rng.shuffle(fits)
    used, chosen = [0] * views, []
    while fits and len(chosen) < config.pairs:
        best = min(fits, key=lambda number: used[tried[number, 0]] + used[tried[number, 1]])
        fits.remove(best)
        for view in tried[best]:
            used[view] += 1
        chosen.append((best, rng.random() < 0.5))
    found = len(chosen)
    if not chosen:
        chosen.append((int(np.argmin(np.abs(share.mean(1) - 0.5 * (low + high)))), False))
    while len(chosen) < config.pairs:
        number, swapped = chosen[len(chosen) - max(found, 1)]
        chosen.append((number, not swapped))
    pairs, shares = [], []
    for number, swapped in chosen:
        order = -1 if swapped else 1
        pairs.append(tuple(int(view) for view in tried[number][::order]))
        shares.append(tuple(float(value) for value in share[number][::order]))
    return pairs, shares, found
