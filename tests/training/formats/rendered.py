"""A furnished room seen by a moving camera: true pictures, depth and poses, to be written in any format."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch

from training.data.world.paths import pose_from_look
from training.data.world.raycast import RoomBatch, raycast
from training.data.world.room import make_room
from uniugg_core.cameras import Camera

WIDTH, HEIGHT = 256, 192
K = np.array([[200.0, 0, 127.0], [0, 201.0, 95.5], [0, 0, 1]])


@dataclass(frozen=True)
class Rendered:
    """N views of 256 x 192; pixel centres at integers, z-up world, OpenCV poses."""

    image: np.ndarray  # (N, 192, 256, 3) uint8
    depth: np.ndarray  # (N, 192, 256) float32 metres
    pose: np.ndarray  # (N, 4, 4) world from camera
    k: np.ndarray  # (3, 3)

    def __len__(self) -> int:
        return len(self.pose)

    def millimetres(self, number: int) -> np.ndarray:
        """Depth as the sets store it."""
        return np.rint(self.depth[number] * 1000).astype(np.uint16)


@lru_cache(maxsize=4)
def rendered(roll: float = 0.0, views: int = 4, seed: int = 5) -> Rendered:
    """A camera that walks and turns; `roll` degrees tilt it to the side."""
    room = make_room(seed, clutter=0.3, smallest=4.0, largest=5.0, l_shaped=0.0)
    poses = np.stack(
        [
            pose_from_look(1.2 + 0.22 * n, 1.3 + 0.1 * n, 1.4, 0.7 + 0.1 * n, -0.12, np.radians(roll))
            for n in range(views)
        ]
    )
    packed = RoomBatch.pack([room])
    k = torch.from_numpy(np.repeat(K[None], views, 0))[None]
    image, depth, _ = raycast(packed, k, torch.from_numpy(poses)[None], HEIGHT, WIDTH)
    return Rendered(image[0].numpy(), depth[0].numpy(), poses, K)


def bent(scene: Rendered, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and depth of the same views through another lens; 0 and black beyond what was rendered."""
    rays = camera.rays()
    x, y = rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2]
    u = (scene.k[0, 0] * x + scene.k[0, 2]).astype(np.float32)
    v = (scene.k[1, 1] * y + scene.k[1, 2]).astype(np.float32)
    images = np.stack([cv2.remap(image, u, v, cv2.INTER_LINEAR) for image in scene.image])
    depths = np.stack([cv2.remap(depth, u, v, cv2.INTER_NEAREST) for depth in scene.depth])
    return images, depths


def write_rgb(path, image: np.ndarray) -> None:
    """A colour picture; PNG exactly, JPEG nearly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() == ".jpg" else []
    assert cv2.imwrite(str(path), image[..., ::-1], options)


def write_grey(path, values: np.ndarray) -> None:
    """A PNG of one channel, 8 or 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)
