"""Rooms to look at: a sheet of views, with depth and instances beside them if wanted.

python -m training.data.contact_sheet rooms.png --size 448 --rooms 6
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from uniugg_core.images import save_image

from .rooms import SPLITS, Drive, RoomsConfig, RoomsDataset

__all__ = ["contact_sheet", "depth_picture", "instance_picture", "main"]


def contact_sheet(drives: Sequence[Drive], views: int = 6, *, maps: bool = False) -> np.ndarray:
    """Pictures of some views of each room, a row a room.

    Args:
        drives: the rooms.
        views: pictures a row.
        maps: adds a row of depth and a row of instances below each.

    Returns:
        (H, W, 3) uint8.
    """
    rows = []
    for drive in drives:
        count = min(views, len(drive.image))
        rows.append(np.concatenate(drive.image[:count], axis=1))
        if maps:
            rows.append(np.concatenate([depth_picture(depth) for depth in drive.depth[:count]], axis=1))
            rows.append(np.concatenate([instance_picture(ids) for ids in drive.instances[:count]], axis=1))
    return np.concatenate(rows, axis=0)


def depth_picture(depth: np.ndarray, farthest: float = 8.0) -> np.ndarray:
    """A depth map (H, W) in metres as a picture (H, W, 3): near is bright, unknown is black."""
    t = np.clip(1.0 - np.log1p(depth) / np.log1p(farthest), 0.0, 1.0)[..., None]
    near, far = np.array([255.0, 230.0, 90.0]), np.array([40.0, 20.0, 90.0])
    return np.where(depth[..., None] > 0, far + (near - far) * t, 0.0).astype(np.uint8)


def instance_picture(instances: np.ndarray) -> np.ndarray:
    """An instance map (H, W) as a picture (H, W, 3), every object in its own colour."""
    colours = np.random.default_rng(1).integers(40, 255, (256, 3)).astype(np.uint8)
    colours[0] = 0
    return colours[instances]


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a contact sheet; see ``--help``."""
    parser = argparse.ArgumentParser(prog="contact_sheet", description="Writes a picture of some procedural rooms.")
    parser.add_argument("output", help="picture file to write")
    parser.add_argument("--size", type=int, default=128, help="side of a view in pixels (default: %(default)s)")
    parser.add_argument("--rooms", type=int, default=8, help="rooms, one a row (default: %(default)s)")
    parser.add_argument("--views", type=int, default=8, help="views a room (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first room (default: %(default)s)")
    parser.add_argument("--split", choices=sorted(SPLITS), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--supersample", type=int, default=1, help="finer colours (default: %(default)s)")
    parser.add_argument("--maps", action="store_true", help="depth and instances below the pictures")
    given = parser.parse_args(arguments)
    config = RoomsConfig(size=given.size, views=max(2, given.views), supersample=given.supersample)
    dataset = RoomsDataset(config, given.split, given.seed)
    drives = [dataset.drive(given.first + number) for number in range(given.rooms)]
    save_image(given.output, contact_sheet(drives, given.views, maps=given.maps))


if __name__ == "__main__":
    main()
