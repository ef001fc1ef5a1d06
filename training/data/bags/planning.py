"""A folder of frames planned as if it were a recording: the same selection, jumps and report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uniugg_core.cameras import Camera
from uniugg_core.errors import UniuggError
from uniugg_core.images import read_header

from ..frame_folder import FrameFolder
from .align import Alignment, FramePlan, Selection, Stamped, find_jump

__all__ = ["plan_folder"]

_RATE = 10.0  # frames a second that are assumed where a folder has no stamps


def plan_folder(path: Path, wanted: Selection) -> Alignment:
    """Plans the frames of a folder; the ``frame`` of a picture is its file.

    Raises:
        UniuggError: what :meth:`FrameFolder.open` raises.
    """
    folder = FrameFolder.open(path)
    result = Alignment(pictures=len(folder), fixed_frame="world", camera_frame="camera")
    timed = (path / "stamps.txt").is_file()
    if not timed:
        result.notes.append(f"no stamps.txt: {_RATE:g} frames a second are assumed")
    segment, before = 0, None
    for number in range(len(folder)):
        stamp = round(folder.stamps[number] * (1.0 if timed else 1 / _RATE) * 1e9)
        try:
            file = folder.color_file(number)
            about = read_header(file.read_bytes())
            camera = Camera(about.width, about.height, folder.intrinsics[number])
        except UniuggError as error:
            result.dropped.append((stamp, f"not decodable: {error.code.name}"))
            result.notes.append(f"{folder.names[number]}: {error}")
            continue
        depth = path / "depth" / f"{folder.names[number]}.png"
        plan = FramePlan(
            Stamped(stamp, number, str(file)),
            Stamped(stamp, number, str(depth)),
            camera,
            None,
            folder.world_from_camera[number],
            None,
            segment,
        )
        if before is not None and (jump := find_jump(before, plan, wanted)):
            segment += 1
            result.jumps.append(jump)
            plan = replace(plan, segment=segment)
        result.frames.append(plan)
        before = plan
    return result
