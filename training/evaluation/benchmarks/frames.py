"""Frames of a video or of a folder of pictures, spread evenly; and pictures decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

from .base import Picture

__all__ = ["decode", "encoded", "sample_frames", "spread"]

_VIDEOS = (".mp4", ".mkv", ".avi", ".webm")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
# Where a scene's frames lie, below the benchmark's folder: extracted frames, ScanNet's exported colour pictures
_PLACES = (
    "{scene}",
    "{scene}/color",
    "frames/{scene}",
    "frames/{scene}/color",
    "scans/{scene}/color",
    "videos/{scene}",
)


def spread(count: int, wanted: int) -> list[int]:
    """Indexes of `wanted` of `count` frames spread evenly, the first and the last included; never one twice.

    The rule of the common evaluation code: evenly spaced positions, cut to whole numbers.
    """
    return list(dict.fromkeys(int(index) for index in np.linspace(0, count - 1, min(wanted, count))))


def sample_frames(root: Path, scene: str, wanted: int) -> tuple[Picture, ...]:
    """`wanted` frames of a scene: from its folder of pictures if there is one, or else from its video.

    Nothing is opened here; a scene that is missing is noticed when its pictures are decoded.
    """
    folder = root if root.is_dir() else root.parent
    for place in _PLACES:
        candidate = folder / place.format(scene=scene)
        if candidate.is_dir():
            files = sorted(
                (file for file in candidate.iterdir() if file.suffix.lower() in _PICTURES),
                key=lambda file: (int(file.stem) if file.stem.isdigit() else -1, file.name),
            )
            if files:
                return tuple(Picture(path=files[index]) for index in spread(len(files), wanted))
    for place in ("{scene}", "videos/{scene}"):
        for ending in _VIDEOS:
            video = folder / f"{place.format(scene=scene)}{ending}"
            if video.is_file():
                return tuple(Picture(path=video, frame=(index, wanted)) for index in range(wanted))
    return tuple(Picture(path=folder / f"{scene}.mp4", frame=(index, wanted)) for index in range(wanted))


def decode(pictures: Sequence[Picture]) -> list[np.ndarray]:
    """RGB pictures (H, W, 3) uint8, in order; a video is opened once for all of its frames.

    Raises:
        UniuggError: IMAGE_MISSING or IMAGE_UNDECODABLE, naming the file.
    """
    from uniugg_core.images import load_image

    videos: dict[tuple[Path, int], list[np.ndarray]] = {}
    images = []
    for picture in pictures:
        if picture.data is not None:
            images.append(_decoded(picture.data))
        elif picture.path is None:
            raise UniuggError(ErrorCode.IMAGE_MISSING, "a picture with neither bytes nor a file")
        elif picture.frame is None:
            images.append(load_image(picture.path))
        else:
            index, wanted = picture.frame
            key = (picture.path, wanted)
            if key not in videos:
                videos[key] = _video_frames(picture.path, wanted)
            if index < len(videos[key]):  # a video may have fewer frames than are asked for
                images.append(videos[key][index])
    return images


def encoded(pictures: Sequence[Picture], largest: int | None = None) -> list[tuple[str, bytes]]:
    """(media type, bytes) of every picture, for sending; files go as they are, frames and shrunk ones as JPEG.

    Args:
        pictures: of one question.
        largest: the longest side in pixels; larger pictures are shrunk.
    """
    import cv2

    sent = []
    for picture in pictures:
        if picture.frame is None and largest is None:
            data = picture.data if picture.data is not None else _read(picture.path)
            media = _media_type(data)
            if media:
                sent.append((media, data))
                continue
        for image in decode([picture]) if picture.frame is None else []:
            sent.append(("image/jpeg", _jpeg(cv2, image, largest)))
    frames = [picture for picture in pictures if picture.frame is not None]
    sent += [("image/jpeg", _jpeg(cv2, image, largest)) for image in decode(frames)]
    return sent


def _jpeg(cv2: object, image: np.ndarray, largest: int | None) -> bytes:
    scale = 1.0 if largest is None else min(1.0, largest / max(image.shape[:2]))
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not done:
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"a picture of {image.shape} cannot be written as JPEG")
    return data.tobytes()


def _media_type(data: bytes) -> str | None:
    """What the first bytes say; names are often wrong."""
    signs = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
    return next((media for sign, media in signs.items() if data.startswith(sign)), None)


def _decoded(data: bytes) -> np.ndarray:
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{len(data)} bytes that are no picture")
    return image[..., ::-1].copy()


def _read(path: Path | None) -> bytes:
    try:
        return Path(path or "").read_bytes()
    except OSError as error:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path}: {error.strerror}") from None


def _video_frames(path: Path, wanted: int) -> list[np.ndarray]:
    import cv2

    if not path.is_file():
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path}: there is neither this video nor a folder of its frames")
    video = cv2.VideoCapture(str(path))
    try:
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        chosen = set(spread(count, wanted)) if count > 0 else set()
        frames = []
        # Read in order: seeking in a compressed video lands on the wrong frame with some builds of OpenCV
        for index in range(count):
            if not video.grab():
                break
            if index in chosen:
                done, image = video.retrieve()
                if done:
                    frames.append(image[..., ::-1].copy())
    finally:
        video.release()
    if not frames:
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{path}: no frame could be read")
    return frames
