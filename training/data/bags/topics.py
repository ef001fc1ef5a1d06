"""Which topics of a recording are the colour picture, its depth, their calibrations and the transforms.

Names differ from robot to robot, so what a topic carries decides first (the encoding of its first message) and names
only choose between topics that carry the same. Every choice can be overridden.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import COLOR_ENCODINGS, DEPTH_ENCODINGS

from .reader import Bag, Topic, deserialize, header

__all__ = ["COMPRESSED", "INFO", "RAW", "TF", "Topics", "find_topics", "is_rectified"]

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, TF = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"

_COLOR_WORDS = {"color": 3, "rgb": 3, "colour": 3, "image_raw": 1, "left": 1, "front": 1}
_NOT_COLOR = {"depth": 4, "infra": 4, "thermal": 4, "ir": 2, "mono": 2, "mask": 3, "label": 3, "debug": 2}
_DEPTH_WORDS = {"aligned": 4, "registered": 4, "depth": 2, "to_color": 2}
_NOT_DEPTH = {"confidence": 5, "infra": 4, "ir": 2, "disparity": 4}


@dataclass(frozen=True)
class Topics:
    """The chosen topics; None: not said (when asked) or not there (when found)."""

    color: str | None = None
    depth: str | None = None
    color_info: str | None = None
    depth_info: str | None = None
    tf: tuple[str, ...] | None = None
    fixed_frame: str | None = None  # the frame called world; None: see TransformTree.fixed_frame
    camera_frame: str | None = None  # of the colour picture; None: as its messages say


@dataclass(frozen=True)
class _Seen:
    """The first message of an image topic."""

    topic: Topic
    kind: str  # "color", "depth" or "other"
    detail: str  # encoding or format
    frame: str


def find_topics(bag: Bag, asked: Topics | None = None) -> Topics:
    """Fills in what `asked` leaves open.

    Raises:
        UniuggError: REQUEST_INVALID (a topic that is asked for is not there or carries something else), IMAGE_MISSING
            (no colour, no depth, or no messages on them), CAMERA_INFO_MISSING, TRANSFORM_UNAVAILABLE.
    """
    asked, there = asked or Topics(), bag.topics
    if not any(topic.count for topic in there.values()):
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{bag.path} holds {len(there)} topics and no messages at all")
    _check_asked(asked, there, bag)
    seen = [_look(bag, topic) for topic in there.values() if topic.msgtype in (RAW, COMPRESSED) and topic.count]
    devices = {item.topic.name.split("/")[1] for item in seen if item.kind == "depth"}
    color = _choose(seen, "color", asked.color, there, _COLOR_WORDS, _NOT_COLOR, devices)
    depth = _choose(seen, "depth", asked.depth, there, _DEPTH_WORDS, _NOT_DEPTH, {color.topic.name.split("/")[1]})
    color_info = asked.color_info or _info(bag, color, there)
    if color_info is None:
        infos = [topic.name for topic in there.values() if topic.msgtype == INFO and topic.count]
        raise UniuggError(
            ErrorCode.CAMERA_INFO_MISSING,
            f"no messages of a CameraInfo belong to {color.topic.name} (frame {color.frame!r}); "
            + (f"choose among {infos} with --color-info" if infos else "the recording has none"),
        )
    tf = asked.tf or tuple(topic.name for topic in there.values() if topic.msgtype == TF and topic.count)
    if not tf:
        raise UniuggError(
            ErrorCode.TRANSFORM_UNAVAILABLE,
            f"{bag.path} has no transforms: record /tf and /tf_static, from which the camera's poses come",
        )
    return replace(
        asked,
        color=color.topic.name,
        depth=depth.topic.name,
        color_info=color_info,
        depth_info=asked.depth_info or _info(bag, depth, there),
        tf=tf,
    )


def is_rectified(image: str) -> bool:
    """Whether an image topic's name says that its pictures are rectified, so that P and not K belongs to them."""
    return "rect" in _base(image).rpartition("/")[2]


def _check_asked(asked: Topics, there: dict[str, Topic], bag: Bag) -> None:
    types = {"color": (RAW, COMPRESSED), "depth": (RAW, COMPRESSED), "color_info": (INFO,), "depth_info": (INFO,)}
    for field in fields(asked):
        value = getattr(asked, field.name)
        wanted = (TF,) if field.name == "tf" else types.get(field.name)
        if value is None or wanted is None:
            continue
        for name in (value,) if isinstance(value, str) else value:
            if name not in there:
                raise UniuggError(
                    ErrorCode.REQUEST_INVALID, f"{bag.path} has no topic {name!r}; there are {sorted(there)}"
                )
            if there[name].msgtype not in wanted:
                raise UniuggError(
                    ErrorCode.REQUEST_INVALID, f"{name} carries {there[name].msgtype}, expected {' or '.join(wanted)}"
                )
            if not there[name].count:
                raise UniuggError(ErrorCode.IMAGE_MISSING, f"{name} is in the recording, but without any message")


def _look(bag: Bag, topic: Topic) -> _Seen:
    first = next(bag.messages([topic.name]), None)
    if first is None:
        return _Seen(topic, "other", "no message", "")
    try:
        frame = header(first.data)[1]
        message = deserialize(first.data, topic.msgtype)
    except UniuggError as error:
        return _Seen(topic, "other", error.message, "")
    if topic.msgtype == RAW:
        detail = str(message.encoding)
        depth = detail in DEPTH_ENCODINGS and not (detail == "mono16" and "depth" not in topic.name)
        kind = "depth" if depth else "color" if detail in COLOR_ENCODINGS else "other"
        return _Seen(topic, kind, detail, frame)
    detail = str(message.format)
    deep = "compresseddepth" in detail.lower() or topic.name.endswith("/compressedDepth")
    deep |= "16uc1" in detail.lower() or "32fc1" in detail.lower()
    return _Seen(topic, "depth" if deep else "color", detail, frame)


def _choose(
    seen: list[_Seen],
    kind: str,
    asked: str | None,
    there: dict[str, Topic],
    words: dict[str, int],
    against: dict[str, int],
    devices: set[str],
) -> _Seen:
    if asked is not None:
        return next(item for item in seen if item.topic.name == asked)
    fitting = [item for item in seen if item.kind == kind]
    if not fitting:
        empty = [topic.name for topic in there.values() if topic.msgtype in (RAW, COMPRESSED) and not topic.count]
        others = {item.topic.name: item.detail for item in seen}
        raise UniuggError(
            ErrorCode.IMAGE_MISSING,
            f"the recording has no {'colour' if kind == 'color' else kind} pictures; image topics with messages: "
            f"{others or 'none'}" + (f"; empty ones: {empty}" if empty else ""),
        )

    def score(item: _Seen) -> tuple[float, int, str]:
        name = item.topic.name.lower()
        parts = set(name.replace("/", " ").replace("_", " ").split())
        points = sum(w for word, w in words.items() if word in name)
        points -= sum(w for word, w in against.items() if (word in parts if len(word) < 4 else word in name))
        points += item.topic.name.split("/")[1] in devices
        points += 0.5 * (item.topic.msgtype == RAW)  # of one stream in both forms, the one without losses
        points -= 2 * (kind == "color" and item.detail in ("mono8", "8UC1"))
        return points, item.topic.count, item.topic.name

    return max(fitting, key=score)


def _base(name: str) -> str:
    """The image topic that a transport's topic belongs to."""
    for ending in ("/compressedDepth", "/compressed"):
        name = name.removesuffix(ending)
    return name


def _info(bag: Bag, image: _Seen, there: dict[str, Topic]) -> str | None:
    """The CameraInfo of an image topic: the one beside it, or the only one of its frame."""
    beside = _base(image.topic.name).rpartition("/")[0] + "/camera_info"
    if beside in there and there[beside].msgtype == INFO and there[beside].count:
        return beside
    same = []
    for topic in there.values():
        if topic.msgtype == INFO and topic.count:
            first = next(bag.messages([topic.name]), None)
            if first is not None and header(first.data)[1] == image.frame:
                same.append(topic.name)
    return same[0] if len(same) == 1 else None
