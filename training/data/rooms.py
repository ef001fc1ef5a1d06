"""Endless pairs of views of furnished rooms, made while training runs.

Sample number i of a split is a pure function of the configuration, the split, the seed and i: it does not matter which
process makes it, in which order, or whether the run was resumed. Rooms are numbered; the number is the seed of the
room, and the splits own disjoint ranges of it, so no training run ever sees a test room.

    dataset = RoomsDataset(RoomsConfig(size=112), "train", seed=0)
    pair = dataset.pair(7)                              # one ViewPair
    for batch in dataset.batches(32, start=position):   # endless PairBatch; remember how many were used
        ...
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from random import Random
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from uniugg_core.errors import ErrorCode, UniuggError

from .covisibility import covisibility
from .graph import SceneGraph
from .questions import Question, QuestionMaker
from .views import PairBatch, View, ViewPair
from .world.paths import draw_path, draw_rig
from .world.room import Room, make_room

__all__ = ["SPLITS", "Drive", "RoomsConfig", "RoomsDataset"]

_LOG = logging.getLogger(__name__)
_RANGE = 1 << 60
_SEEDS = 1 << 24  # seeds a split, each with _RANGE / _SEEDS rooms
SPLITS: dict[str, int] = {"train": 0, "validation": _RANGE, "test": 2 * _RANGE}  # first room number of each split


@dataclass(frozen=True)
class RoomsConfig:
    """What the rooms and the pairs are like. Ranges are (least, most), drawn evenly."""

    size: int = 112  # side of the square pictures in pixels
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
    supersample: int = 1  # colours drawn finer by this factor and averaged: smoother, and as much squared slower
    renderer: str = "auto"  # "gl", "torch", or "auto": OpenGL where it works
    device: str = "cpu"  # of the torch renderer
    curriculum: int = 0  # samples over which the difficulty rises from `easiest` to 1; 0 is 1 from the start
    easiest: float = 0.0  # difficulty of the first samples: 0 is small motions and hardly any clutter

    def __post_init__(self) -> None:
        good = self.size > 0 and self.views > 1 and min(self.pairs, self.interleave, self.supersample) > 0
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


class RoomsDataset(IterableDataset):
    """Pairs, single views and questions of rooms; see the module's docstring for how to iterate.

    Args:
        config: what they are like.
        split: "train", "validation" or "test".
        seed: another seed is another world in the same split.

    Raises:
        UniuggError: REQUEST_INVALID for an unknown split or a seed out of range.
    """

    name = "rooms"

    def __init__(self, config: RoomsConfig | None = None, split: str = "train", seed: int = 0) -> None:
        super().__init__()
        if split not in SPLITS:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"split is {split!r}, expected one of {sorted(SPLITS)}")
        if not 0 <= seed < _SEEDS:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"seed is {seed}, expected 0 to {_SEEDS - 1}")
        self.config = config or RoomsConfig()
        self.split, self.seed = split, seed
        self._drives: OrderedDict[int, Drive] = OrderedDict()  # those that samples still come from
        self._renderer: Any = None
        self._questions = QuestionMaker()

    def __getstate__(self) -> dict[str, Any]:
        # Renderers belong to their process; a copy in another one opens its own.
        return {**self.__dict__, "_drives": OrderedDict(), "_renderer": None}

    # -- samples by number --------------------------------------------------------------------------------------

    def pair(self, index: int) -> ViewPair:
        """Pair number `index`.

        Raises:
            UniuggError: REQUEST_INVALID for a negative number.
        """
        if index < 0:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"index is {index}, samples count from 0")
        room, slot = self.place(index)
        drive = self.drive(room)
        reference, target = drive.pairs[slot]
        return ViewPair(
            drive.view(reference), drive.view(target), drive.covisibility[slot], self.name, index, drive.graph
        )

    def place(self, index: int) -> tuple[int, int]:
        """Room number of pair number `index`, and which of that room's pairs it is."""
        deal, width = self.config.pairs * self.config.interleave, self.config.interleave
        block, rest = divmod(index, deal)
        slot, position = divmod(rest, width)
        return block * width + position, slot

    def question(self, index: int, most: int = 1) -> tuple[ViewPair, tuple[Question, ...]]:
        """Pair number `index` and up to `most` different questions about it (at least one)."""
        pair = self.pair(index)
        rng = Random(f"questions/{self.split}/{self.seed}/{index}")
        return pair, self._questions.ask(pair, most, rng)

    def drive(self, number: int) -> Drive:
        """Room number `number` of this split and seed with all its views."""
        if number in self._drives:
            self._drives.move_to_end(number)
            return self._drives[number]
        drive = self._make(number)
        self._drives[number] = drive
        while len(self._drives) > self.config.interleave:
            self._drives.popitem(last=False)
        return drive

    # -- streams ------------------------------------------------------------------------------------------------

    def batch(self, kind: str, indices: Sequence[int]) -> dict[str, Any]:
        """Samples number `indices`, stacked: a pure function of its arguments.

        Args:
            kind: "pair": the tensors of :class:`PairBatch`. "single": "image" (B, 3, H, W) uint8 and "classes"
                (B, H, W) uint8 of unrelated views. "question": the tensors of the pairs, and "questions", a tuple of
                one :class:`Question` a pair.
            indices: sample numbers.

        Raises:
            UniuggError: REQUEST_INVALID for another kind.
        """
        if kind == "pair":
            return PairBatch.collate([self.pair(i) for i in indices]).to_dict()
        if kind == "single":
            views = [self.pair(i).views[i % 2] for i in indices]
            return {
                "image": torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2).contiguous(),
                "classes": torch.from_numpy(np.stack([view.classes for view in views])),  # type: ignore[arg-type]
                "index": torch.tensor(list(indices)),
            }
        if kind == "question":
            asked = [self.question(i) for i in indices]
            return {
                **PairBatch.collate([pair for pair, _ in asked]).to_dict(),
                "questions": tuple(questions[0] for _, questions in asked),
            }
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"kind is {kind!r}, expected pair, single or question")

    def batches(self, size: int, *, start: int = 0, rank: int = 0, world: int = 1) -> Iterator[PairBatch]:
        """Endless batches of pairs from batch number `start` on.

        Batch b of process `rank` of `world` holds the pairs ``(b * world + rank) * size`` and the `size` - 1 after it.
        In a worker of torch's loader (``batch_size=None``) every worker makes its share, and the loader hands the
        batches out in this same order.
        """
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        number = start + first
        while True:
            begin = (number * world + rank) * size
            yield PairBatch.collate([self.pair(i) for i in range(begin, begin + size)])
            number += step

    def __iter__(self) -> Iterator[ViewPair]:
        """Endless pairs from number 0 on; with several workers in a loader, each has rooms of its own."""
        info = get_worker_info()
        mine, workers = (info.id, info.num_workers) if info else (0, 1)
        for index in count():
            if index % self.config.interleave % workers == mine:
                yield self.pair(index)

    # -- making -------------------------------------------------------------------------------------------------

    def difficulty(self, room: int) -> float:
        """How hard the pairs of room number `room` are, from `easiest` to 1."""
        if self.config.curriculum <= 0:
            return 1.0
        share = min(1.0, room * self.config.pairs / self.config.curriculum)
        return self.config.easiest + (1.0 - self.config.easiest) * share

    def _make(self, number: int) -> Drive:
        room_number = SPLITS[self.split] + self.seed * (_RANGE // _SEEDS) + number
        config = self.config.at(self.difficulty(number))
        best, most = None, -1
        for attempt in range(3):  # a room may have too little free floor for good pairs
            drive, found = self._photograph(room_number + attempt * (_RANGE // _SEEDS // 4), config)
            if found > most:
                best, most = drive, found
            if found >= max(1, self.config.pairs // 3):
                break
        return best  # type: ignore[return-value]

    def _photograph(self, room_number: int, config: RoomsConfig) -> tuple[Drive, int]:
        room = make_room(
            room_number,
            clutter=config.clutter,
            smallest=config.sides[0],
            largest=config.sides[1],
            l_shaped=config.l_shaped,
        )
        rng = Random(room_number ^ 0x5EED)
        rig = draw_rig(rng, config.size, fov=config.fov, heights=config.heights)
        motion = min(1.0, 0.25 + 0.75 * config.angle[1] / 60.0)
        poses = draw_path(room, rig, config.views, rng, motion=motion)
        intrinsics = np.repeat(rig.intrinsics[None], config.views, 0)
        image, depth, instances = self._render(room, intrinsics, poses)
        structure = np.array([False, *(item.structural for item in room.graph.objects)])
        bare = structure[instances[:, ::4, ::4]].mean((1, 2))
        pairs, shares, found = _choose_pairs(depth, bare, intrinsics, poses, config, rng)
        return Drive(room, image, depth, instances, rig.intrinsics, poses, tuple(pairs), tuple(shares)), found

    def _render(
        self, room: Room, intrinsics: np.ndarray, poses: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._renderer is None:
            self._renderer = _open_renderer(self.config)
        return self._renderer(room, intrinsics, poses)


@lru_cache(maxsize=4)
def _gl_renderer(process: int, size: int, supersample: int) -> Any:
    """One renderer for all data sets of a process that want this size."""
    from .world.render_gl import GLRenderer

    return GLRenderer(size, size, supersample=supersample)


def _open_renderer(config: RoomsConfig) -> Any:
    """The wanted renderer as a function of room, intrinsics and poses."""
    if config.renderer != "torch":
        try:
            return _gl_renderer(os.getpid(), config.size, config.supersample).render
        except UniuggError as error:
            if config.renderer == "gl":
                raise
            _LOG.warning("%s; rooms are ray-cast instead, which is slower", error.message)
    from .world.raycast import RoomBatch, raycast

    def cast(room: Room, intrinsics: np.ndarray, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        packed = RoomBatch.pack([room], config.device)
        out = raycast(
            packed, torch.from_numpy(intrinsics)[None], torch.from_numpy(poses)[None], config.size, config.size
        )
        return tuple(tensor[0].cpu().numpy() for tensor in out)  # type: ignore[return-value]

    return cast


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
