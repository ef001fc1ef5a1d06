"""Where the robot drives and looks: smooth camera paths through the free floor of a room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from .plan import Rect
from .room import Room

__all__ = ["CameraRig", "clear_distance", "draw_drive", "draw_path", "draw_rig", "pose_from_look"]

CLEARANCE = 0.22  # metres that the camera keeps from things and walls
LOOK_AHEAD = 0.75  # metres of free floor in front that a view starts with


@dataclass(frozen=True)
class CameraRig:
    """A robot's camera: one height and one K for all its views, and how it is mounted."""

    height: float  # metres above the floor
    pitch: float  # radians, positive looks up
    intrinsics: np.ndarray  # (3, 3), pixel centres at integers


def draw_rig(
    rng: Random,
    size: int,
    *,
    fov: tuple[float, float] = (45.0, 80.0),
    heights: tuple[float, float] = (0.4, 1.6),
    offset: float = 0.02,
) -> CameraRig:
    """A random rig.

    Args:
        rng: source of randomness.
        size: side of the square picture in pixels.
        fov: range of the field of view in degrees, the same for both axes up to 2 %.
        heights: range of the camera's height in metres.
        offset: largest distance of the principal point from the middle, as a share of the side.
    """
    height = rng.uniform(*heights)
    focal = 0.5 * size / math.tan(0.5 * math.radians(rng.uniform(*fov)))
    middle = 0.5 * (size - 1)
    k = np.array(
        [
            [focal, 0.0, middle + size * rng.uniform(-offset, offset)],
            [0.0, focal * rng.uniform(0.98, 1.02), middle + size * rng.uniform(-offset, offset)],
            [0.0, 0.0, 1.0],
        ]
    )
    # Low cameras look level, high ones down.
    pitch = math.radians(min(12.0, max(-30.0, rng.gauss(2.0 - 9.0 * (height - 0.4), 6.0))))
    return CameraRig(height, pitch, k)


def pose_from_look(x: float, y: float, z: float, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """``world_from_camera`` (4, 4) of an OpenCV camera.

    Args:
        x, y, z: where it is, world metres.
        yaw: direction it looks in on the floor plane, counter-clockwise from world x, radians.
        pitch: positive looks up.
        roll: positive turns the camera clockwise.
    """
    ahead = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    down = np.cross(ahead, right)
    c, s = math.cos(roll), math.sin(roll)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = c * right + s * down, c * down - s * right, ahead, (x, y, z)
    return pose


def draw_path(room: Room, rig: CameraRig, count: int, rng: Random, *, motion: float = 1.0) -> np.ndarray:
    """`count` camera poses along a few short drives.

    Args:
        room: where.
        rig: the camera.
        count: number of views.
        rng: source of randomness.
        motion: scales steps and turns between successive views; 1 is the full range.

    Returns:
        (count, 4, 4) ``world_from_camera``.
    """
    return _Driver(room, rig, rng, motion).drive(count)


def draw_drive(room: Room, rig: CameraRig, count: int, rng: Random, *, motion: float = 1.0) -> np.ndarray:
    """As :func:`draw_path`, but one drive without a jump: a walk that bends and turns where something is in the way."""
    driver = _Driver(room, rig, rng, motion)
    return np.stack(driver.walk(*driver.start(), count))


def clear_distance(room: Room, x: float, y: float, yaw: float, limit: float = 3.0) -> float:
    """Free floor from (x, y) straight ahead, metres, at most `limit`."""
    obstacles = _obstacles(room)
    step, ux, uy = 0.12, math.cos(yaw), math.sin(yaw)
    travelled = 0.0
    while travelled < limit:
        travelled += step
        px, py = x + travelled * ux, y + travelled * uy
        if not _inside(room, px, py, 0.0) or any(r.x0 < px < r.x1 and r.y0 < py < r.y1 for r in obstacles):
            return travelled - step
    return limit


class _Driver:
    """Draws drives and strings their views together."""

    def __init__(self, room: Room, rig: CameraRig, rng: Random, motion: float) -> None:
        self.room, self.rig, self.rng, self.motion = room, rig, rng, motion
        self.walls = CLEARANCE + 0.08
        self.obstacles = [rect.grown(CLEARANCE) for rect in _obstacles(room)]
        loose = [item for item in room.graph.objects if not item.structural]
        self.things = np.array([(*item.center[:2], item.longest) for item in loose]).reshape(-1, 3)

    def drive(self, count: int) -> np.ndarray:
        poses: list[np.ndarray] = []
        while len(poses) < count:
            length = min(count - len(poses), self.rng.randint(3, 5))
            start = self.start()
            kind = self.rng.choices((self.walk, self.turn, self.circle), (5, 2, 3))[0]
            poses += kind(*start, length)
        return np.stack(poses[:count])

    def free(self, x: float, y: float) -> bool:
        """Whether the camera may be here."""
        return _inside(self.room, x, y, self.walls) and not any(
            r.x0 < x < r.x1 and r.y0 < y < r.y1 for r in self.obstacles
        )

    def start(self) -> tuple[float, float, float]:
        """A free place and a direction with floor ahead and things to see."""
        plan, rng = self.room.plan, self.rng
        best, most = (0.5 * plan.width, 0.5 * plan.depth, 0.0), -1.0
        tried = 0
        for _ in range(60):
            x, y = rng.uniform(0, plan.width), rng.uniform(0, plan.depth)
            if not self.free(x, y):
                continue
            yaw = rng.uniform(-math.pi, math.pi)
            ahead = clear_distance(self.room, x, y, yaw)
            score = (self.sights(x, y, yaw) + rng.uniform(0.0, 1.5)) * (1.0 if ahead > LOOK_AHEAD else 0.2)
            if score > most:
                best, most = (x, y, yaw), score
            tried += 1
            if tried == 6:
                break
        return best

    def sights(self, x: float, y: float, yaw: float) -> float:
        """How much there is to see from here, roughly the number of things in front."""
        dx, dy = self.things[:, 0] - x, self.things[:, 1] - y
        distance = np.hypot(dx, dy)
        ahead = (dx * math.cos(yaw) + dy * math.sin(yaw)) / np.maximum(distance, 0.1)
        worth = np.minimum(1.0, 2.0 * self.things[:, 2] / np.maximum(distance, 0.5))
        return float((worth * (ahead > 0.85) * (distance > 0.5)).sum())

    def view(self, x: float, y: float, yaw: float) -> np.ndarray:
        """The pose of one view, with the shake of a moving robot."""
        rng = self.rng
        height = min(max(self.rig.height + rng.gauss(0.0, 0.01), 0.4), 1.6)
        return pose_from_look(x, y, height, yaw, self.rig.pitch + rng.gauss(0.0, 0.02), rng.gauss(0.0, 0.015))

    def walk(self, x: float, y: float, heading: float, count: int) -> list[np.ndarray]:
        """Forwards along a bending line, the camera a little to one side of the heading."""
        rng, poses = self.rng, []
        offset = rng.gauss(0.0, 0.25)
        stride = self.motion * rng.uniform(0.12, 0.6)
        rate = self.motion * rng.gauss(0.0, 0.2)
        for _ in range(count):
            poses.append(self.view(x, y, heading + offset))
            rate = 0.6 * rate + self.motion * rng.gauss(0.0, 0.15)
            nx, ny = x + stride * math.cos(heading + rate), y + stride * math.sin(heading + rate)
            if self.free(nx, ny) and self.free(0.5 * (x + nx), 0.5 * (y + ny)):
                x, y, heading = nx, ny, heading + rate
            else:  # something is in the way: turn on the spot
                heading += self.motion * math.copysign(rng.uniform(0.3, 0.8), rate)
        return poses

    def turn(self, x: float, y: float, heading: float, count: int) -> list[np.ndarray]:
        """Turning on the spot."""
        rate = self.motion * self.rng.choice((-1, 1)) * self.rng.uniform(0.15, 0.65)
        return [self.view(x, y, heading + k * rate * self.rng.uniform(0.8, 1.2)) for k in range(count)]

    def circle(self, x: float, y: float, heading: float, count: int) -> list[np.ndarray]:
        """Around something that it keeps looking at."""
        rng = self.rng
        aim, radius = self.target(x, y, heading)
        cx, cy = x + radius * math.cos(aim), y + radius * math.sin(aim)
        step = self.motion * rng.choice((-1, 1)) * rng.uniform(0.12, 0.5) / max(1.0, radius)
        angle, poses = aim + math.pi, []
        for _ in range(count):
            poses.append(self.view(x, y, math.atan2(cy - y, cx - x) + rng.gauss(0.0, 0.05)))
            for trial in (step, 0.5 * step, -step, -2 * step):
                nx, ny = cx + radius * math.cos(angle + trial), cy + radius * math.sin(angle + trial)
                if self.free(nx, ny):
                    x, y, angle = nx, ny, angle + trial
                    break
        return poses

    def target(self, x: float, y: float, heading: float) -> tuple[float, float]:
        """Direction and distance of something in front, or of a point there if nothing is."""
        dx, dy = self.things[:, 0] - x, self.things[:, 1] - y
        distance = np.hypot(dx, dy)
        turn = np.abs(np.angle(np.exp(1j * (np.arctan2(dy, dx) - heading))))
        good = np.flatnonzero((turn < 0.6) & (distance > 0.8) & (distance < 3.5))
        if not len(good):
            return heading, self.rng.uniform(0.8, 2.5)
        chosen = int(good[self.rng.randrange(len(good))])
        return math.atan2(dy[chosen], dx[chosen]), float(distance[chosen])


def _obstacles(room: Room) -> list[Rect]:
    return [*room.blocked, *([room.plan.cut] if room.plan.cut else [])]


def _inside(room: Room, x: float, y: float, margin: float) -> bool:
    return margin < x < room.plan.width - margin and margin < y < room.plan.depth - margin
