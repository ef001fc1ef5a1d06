"""Which pictures of a recording become frames: colour, depth, calibration and pose brought together in time.

Nothing is decoded here; pictures are known by topic and stamp. Every picture that is left out is left out for a reason
that the report names.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from uniugg_core.cameras import Camera, baseline, inverse_rigid, rotation_angle
from uniugg_core.errors import UniuggError

from .reader import Bag, deserialize, header
from .topics import INFO, TF, Topics, is_rectified
from .transforms import SECOND, TransformTree

__all__ = ["Alignment", "FramePlan", "Jump", "Selection", "Stamped", "align", "find_jump", "select"]


@dataclass(frozen=True)
class Selection:
    """Tolerances and limits of what becomes a frame. Times in seconds, lengths in metres, angles in degrees."""

    depth_tolerance: float = 0.02  # longest time between a colour picture and its depth
    pose_gap: float = 0.25  # longest gap of a moving transform that is interpolated over
    every: int = 1  # take only every n-th picture
    most: int | None = None  # stop after so many frames
    min_shift: float = 0.01  # a frame that moved less than this ...
    min_turn: float = 0.5  # ... and turned less than this since the last one shows nothing new; 0 and 0 keep all
    max_speed: float = 5.0  # metres a second; faster is a jump of the localisation, not a motion
    max_turn_rate: float = 360.0  # degrees a second
    min_depth_share: float = 0.05  # share of pixels that must have depth
    max_depth: float = 20.0  # metres; farther values are taken as unknown


@dataclass(frozen=True)
class Stamped:
    """One picture in the recording."""

    stamp: int  # of its header; of its arrival where the header has none
    logged: int
    frame: str


@dataclass(frozen=True, eq=False)
class FramePlan:
    """A frame to be decoded."""

    color: Stamped
    depth: Stamped
    color_camera: Camera  # as recorded, with distortion
    depth_camera: Camera | None  # None: the depth picture is registered to the colour picture
    world_from_camera: np.ndarray  # (4, 4) pose of the colour camera's optical frame
    color_from_depth: np.ndarray | None  # (4, 4) where depth is of another frame
    segment: int  # counts up at every jump of the pose; frames of different segments do not fit together


@dataclass(frozen=True)
class Jump:
    """A step of the pose that no robot makes."""

    stamp: int
    shift: float  # metres
    turn: float  # degrees
    seconds: float


@dataclass
class Alignment:
    """What a recording offers."""

    frames: list[FramePlan] = field(default_factory=list)
    dropped: list[tuple[int, str]] = field(default_factory=list)  # stamp and reason
    jumps: list[Jump] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fixed_frame: str = ""
    camera_frame: str = ""
    pictures: int = 0


def align(bag: Bag, topics: Topics, wanted: Selection) -> Alignment:
    """Plans the frames of a recording.

    Raises:
        UniuggError: what :class:`Bag` raises on damage. A recording without usable pictures is an empty result.
    """
    names = [name for name in {topics.color, topics.depth, topics.color_info, topics.depth_info, *(topics.tf or ())}]
    types, latched = {t.name: t.msgtype for t in bag.topics.values()}, {t.name: t.latched for t in bag.topics.values()}
    result, tree = Alignment(notes=list(bag.notes)), TransformTree()
    pictures: dict[str, list[Stamped]] = {topics.color or "": [], topics.depth or "": []}
    cameras: dict[str, list[tuple[int, Camera]]] = {}
    for topic, logged, data in bag.messages([name for name in names if name]):
        if topic in pictures:
            stamp, frame = header(data)
            pictures[topic].append(Stamped(stamp or logged, logged, frame))
        elif types[topic] == INFO:
            image = topics.depth if topic == topics.depth_info and topic != topics.color_info else topics.color
            _note_camera(cameras.setdefault(topic, []), topic, data, is_rectified(image or ""), result.notes)
        elif types[topic] == TF:
            _note_transforms(tree, data, topic.endswith("tf_static") or latched[topic])
    colors, depths = (
        _in_order(pictures[name or ""], name or "", result.notes) for name in (topics.color, topics.depth)
    )
    result.pictures = len(colors)
    if not colors:
        return result
    result.camera_frame = topics.camera_frame or colors[0].frame
    result.fixed_frame = topics.fixed_frame or tree.fixed_frame(result.camera_frame) or ""
    for child, parents in tree.disputed().items():
        result.notes.append(f"frame {child!r} has two parents, {parents}: the one with more transforms is used")
    if tree.ignored:
        result.notes.append(f"{tree.ignored} transforms made no sense and are left out")
    _plan(result, colors, depths, cameras, topics, tree, wanted)
    return result


def select(frames: list[FramePlan], wanted: Selection) -> tuple[list[FramePlan], list[tuple[int, str]]]:
    """The frames that move on from the one before, at most `most`; and what is left out, with reasons."""
    kept: list[FramePlan] = []
    dropped: list[tuple[int, str]] = []
    for number, frame in enumerate(frames):
        if number % max(wanted.every, 1):
            dropped.append((frame.color.stamp, f"not every {wanted.every}th picture is taken"))
        elif wanted.most is not None and len(kept) >= wanted.most:
            dropped.append((frame.color.stamp, "beyond the number of frames asked for"))
        elif kept and kept[-1].segment == frame.segment and _still(kept[-1], frame, wanted):
            dropped.append((frame.color.stamp, "the camera stood still"))
        else:
            kept.append(frame)
    return kept, dropped


def _plan(
    result: Alignment,
    colors: list[Stamped],
    depths: list[Stamped],
    cameras: dict[str, list[tuple[int, Camera]]],
    topics: Topics,
    tree: TransformTree,
    wanted: Selection,
) -> None:
    gap, segment, before = int(wanted.pose_gap * SECOND), 0, None
    depth_stamps = [depth.stamp for depth in depths]
    for color in colors:
        depth = _nearest(depths, depth_stamps, color.stamp)
        if depth is None or abs(depth.stamp - color.stamp) > wanted.depth_tolerance * SECOND:
            result.dropped.append((color.stamp, f"no depth within {wanted.depth_tolerance:g} s"))
            continue
        camera = _current(cameras.get(topics.color_info or "", []), color.stamp)
        if camera is None:
            result.dropped.append((color.stamp, "no valid calibration"))
            continue
        frame = topics.camera_frame or color.frame
        try:
            pose = tree.lookup(result.fixed_frame, frame, color.stamp, gap)
            other = None
            if depth.frame != color.frame and depth.frame:
                depth_pose = tree.lookup(result.fixed_frame, depth.frame, depth.stamp, gap)
                other = inverse_rigid(pose) @ depth_pose
                other = None if np.allclose(other, np.eye(4), atol=1e-5) else other
        except UniuggError as error:
            result.dropped.append((color.stamp, f"no pose: {error.code.name}"))
            if not any(error.message[:40] in note for note in result.notes):
                result.notes.append(f"no pose at {color.stamp / SECOND:.3f} s: {error.message}")
            continue
        depth_camera = _current(cameras.get(topics.depth_info or "", []), depth.stamp)
        plan = FramePlan(color, depth, camera, depth_camera, pose, other, segment)
        if before is not None and (jump := find_jump(before, plan, wanted)):
            segment += 1
            result.jumps.append(jump)
            plan = replace(plan, segment=segment)
        result.frames.append(plan)
        before = plan


def _note_camera(known: list[tuple[int, Camera]], topic: str, data: bytes, rectified: bool, notes: list[str]) -> None:
    try:
        info = deserialize(data, INFO)
        stamp = header(data)[0]
        roi = (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height)
        rectified = rectified and bool(np.any(info.p))
        camera = Camera.from_ros(
            info.width, info.height, info.distortion_model, info.d, info.k, info.r, info.p, info.binning_x,
            info.binning_y, roi, rectified=rectified,
        )  # fmt: skip
    except UniuggError as error:
        text = f"{topic}: {error}"
        if text not in notes:
            notes.append(text)
        return
    if not known or known[-1][1] != camera:
        known.append((stamp, camera))


def _note_transforms(tree: TransformTree, data: bytes, static: bool) -> None:
    for link in deserialize(data, TF).transforms:
        shift, turn = link.transform.translation, link.transform.rotation
        tree.add(
            link.header.frame_id,
            link.child_frame_id,
            link.header.stamp.sec * SECOND + link.header.stamp.nanosec,
            (shift.x, shift.y, shift.z),
            (turn.x, turn.y, turn.z, turn.w),
            static=static,
        )


def _in_order(pictures: list[Stamped], topic: str, notes: list[str]) -> list[Stamped]:
    """By stamp, each stamp once."""
    counts = Counter(picture.stamp for picture in pictures)
    twice = sum(count - 1 for count in counts.values())
    if twice:
        notes.append(f"{topic}: {twice} pictures repeat a stamp; the first of each is used")
    unique = {picture.stamp: picture for picture in reversed(pictures)}
    return [unique[stamp] for stamp in sorted(unique)]


def _nearest(items: list[Stamped], stamps: list[int], stamp: int) -> Stamped | None:
    at = bisect.bisect_left(stamps, stamp)
    around = items[max(0, at - 1) : at + 1]
    return min(around, key=lambda item: abs(item.stamp - stamp), default=None)


def _current(cameras: list[tuple[int, Camera]], stamp: int) -> Camera | None:
    """The calibration in force: the last one before `stamp`, or the first of all."""
    at = bisect.bisect_right([known for known, _ in cameras], stamp)
    return cameras[max(at - 1, 0)][1] if cameras else None


def _step(a: FramePlan, b: FramePlan) -> tuple[float, float]:
    move = inverse_rigid(a.world_from_camera) @ b.world_from_camera
    return baseline(move), float(np.degrees(rotation_angle(move)))


def _still(a: FramePlan, b: FramePlan, wanted: Selection) -> bool:
    shift, turn = _step(a, b)
    return shift < wanted.min_shift and turn < wanted.min_turn


def find_jump(a: FramePlan, b: FramePlan, wanted: Selection) -> Jump | None:
    """The step between two frames if no robot makes it."""
    seconds = max((b.color.stamp - a.color.stamp) / SECOND, 1e-3)
    shift, turn = _step(a, b)
    # the small constants forgive stamps that jitter
    if shift > wanted.max_speed * seconds + 0.1 or turn > wanted.max_turn_rate * seconds + 10.0:
        return Jump(b.color.stamp, shift, turn, seconds)
    return None
