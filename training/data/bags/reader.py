"""rosbag2 recordings, sqlite3 and mcap, however compressed, read by topic and time; every defect is a coded error.

The storage files are opened one by one, and ``metadata.yaml`` is asked only for their names and their compression: a
recording whose recorder died before it wrote that file is read as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["Bag", "Message", "Topic", "deserialize", "header"]

_STORAGES = (".mcap", ".db3")
_ROS1 = b"#ROSBAG V"
_MCAP = b"\x89MCAP0\r\n"
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class Topic:
    """What a recording has of one topic."""

    name: str
    msgtype: str  # "sensor_msgs/msg/Image"
    count: int  # messages
    latched: bool  # offered as transient local


class Message(NamedTuple):
    """One message as it was recorded."""

    topic: str
    logged: int  # nanoseconds, when it arrived
    data: bytes  # CDR


class Bag:
    """An opened recording; a context manager.

    Args:
        path: folder of a rosbag2, or one of its ``.mcap`` or ``.db3`` files.
        scratch: where a recording compressed as whole files is unpacked to, once; needed for those only.

    Raises:
        UniuggError: IMAGE_MISSING (no such file, no recording in it), REQUEST_INVALID (ROS 1, other formats),
            IMAGE_UNDECODABLE (damaged, cut off).
    """

    def __init__(self, path: str | Path, scratch: str | Path | None = None) -> None:
        try:
            from rosbags.rosbag2 import Reader
        except ImportError:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID, "reading recordings needs rosbags: pip install 'uniugg_ros[bags]'"
            ) from None
        self.path = Path(path)
        files, self._by_message = _storages(self.path, None if scratch is None else Path(scratch))
        self.notes: list[str] = []
        self._readers = []
        try:
            for file in files:
                _recognise(file)
                if file.with_name(file.name + "-wal").is_file() and file.with_name(file.name + "-wal").stat().st_size:
                    self.notes.append(
                        f"{file.name} was not closed by its recorder; its newest messages are still in "
                        f"{file.name}-wal and are not read (opening it once with sqlite3 moves them over)"
                    )
                with _coded(file):
                    reader = Reader(file)
                    reader.open()
                self._readers.append(reader)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        while self._readers:
            self._readers.pop().close()

    @property
    def topics(self) -> dict[str, Topic]:
        """Every topic by name, those without messages included."""
        found: dict[str, Topic] = {}
        for reader in self._readers:
            for connection in reader.connections:
                before = found.get(connection.topic)
                count = connection.msgcount + (before.count if before else 0)
                latched = _is_latched(connection) or (before is not None and before.latched)
                found[connection.topic] = Topic(connection.topic, connection.msgtype, count, latched)
        return found

    def messages(self, topics: Sequence[str], start: int | None = None, stop: int | None = None) -> Iterator[Message]:
        """Messages of `topics` logged at or after `start` and before `stop`, by time within each file.

        Raises:
            UniuggError: IMAGE_UNDECODABLE where the file is damaged.
        """
        wanted = set(topics)
        for reader in self._readers:
            connections = [connection for connection in reader.connections if connection.topic in wanted]
            if not connections:
                continue
            with _coded(reader.path):
                stream = reader.messages(connections, start, stop)
            while True:
                with _coded(reader.path):
                    item = next(stream, None)
                    if item is None:
                        break
                    connection, logged, data = item
                    if self._by_message:
                        data = _zstd().decompress(data)
                yield Message(connection.topic, logged, data)


def header(data: bytes) -> tuple[int, str]:
    """Stamp in nanoseconds and frame of a message that begins with a ``std_msgs/Header``, nothing else decoded.

    Raises:
        UniuggError: IMAGE_UNDECODABLE for bytes that are no such message.
    """
    order = "little" if len(data) > 16 and data[1] & 1 else "big"
    length = int.from_bytes(data[12:16], order)
    if len(data) < 16 + length:
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"a message of {len(data)} bytes has no header")
    seconds, nanoseconds = int.from_bytes(data[4:8], order, signed=True), int.from_bytes(data[8:12], order)
    name = bytes(data[16 : 16 + length]).rstrip(b"\0").decode("utf-8", "replace")
    return seconds * 1_000_000_000 + nanoseconds, name


_STORE: list[Any] = []


def deserialize(data: bytes, msgtype: str) -> Any:
    """The message in CDR bytes.

    Raises:
        UniuggError: IMAGE_UNDECODABLE.
    """
    if not _STORE:
        from rosbags.typesys import Stores, get_typestore

        _STORE.append(get_typestore(Stores.ROS2_JAZZY))  # the types read here are the same in all distributions
    try:
        return _STORE[0].deserialize_cdr(data, msgtype)
    except Exception as error:  # noqa: BLE001  the generated decoders fail in as many ways as bytes can be wrong
        raise UniuggError(
            ErrorCode.IMAGE_UNDECODABLE, f"{len(data)} bytes are no {msgtype}: {type(error).__name__} {error}"
        ) from None


def _storages(path: Path, scratch: Path | None) -> tuple[list[Path], bool]:
    """The storage files of a recording in order, and whether every message is compressed on its own."""
    if not path.exists():
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"there is no recording at {path}")
    if path.is_file():
        _recognise(path)
        beside = path.parent / "metadata.yaml"
        return [path], beside.is_file() and _metadata(beside)[1] == "message"
    described = path / "metadata.yaml"
    if not described.is_file():
        files = sorted(file for file in path.iterdir() if file.suffix in _STORAGES)
        if not files:
            for ros1 in path.glob("*.bag"):
                _recognise(ros1)
            raise UniuggError(
                ErrorCode.IMAGE_MISSING, f"{path} holds neither a metadata.yaml nor .mcap or .db3 files: no rosbag2"
            )
        return files, False
    names, mode = _metadata(described)
    files = [path / Path(name).name for name in names]  # older recorders wrote paths from elsewhere
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path} lacks {', '.join(missing) or 'its storage files'}")
    if mode == "file":
        files = [_unpacked(file, scratch) for file in files]
    return files, mode == "message"


def _metadata(path: Path) -> tuple[list[str], str]:
    """Names of the storage files, and "file", "message" or "" for how they are compressed."""
    import yaml

    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        names = [str(name) for name in about["relative_file_paths"]]
        mode, method = str(about.get("compression_mode") or "").lower(), str(about.get("compression_format") or "")
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UniuggError(
            ErrorCode.IMAGE_UNDECODABLE, f"{path} is no description of a rosbag2: {type(error).__name__} {error}"
        ) from None
    if mode in ("file", "message") and method != "zstd":
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path.parent} is compressed with {method!r}, expected zstd")
    return names, mode if mode in ("file", "message") else ""


def _unpacked(file: Path, scratch: Path | None) -> Path:
    """A file compressed as a whole, unpacked; one that is already there is used again."""
    if file.suffix != ".zstd":
        return file
    if scratch is None:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{file} is compressed as a whole: say where to unpack it")
    scratch.mkdir(parents=True, exist_ok=True)
    target = scratch / file.stem
    if not target.is_file():
        partial = target.with_name(target.name + ".partial")
        with _coded(file), _zstd().open(file, "rb") as source, partial.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 22)
        partial.replace(target)
    return target


def _recognise(file: Path) -> None:
    """Refuses what is no storage file of rosbag2, by its first bytes.

    Raises:
        UniuggError: see :class:`Bag`.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{file} cannot be read: {error.strerror}") from None
    if start.startswith(_ROS1):
        raise UniuggError(
            ErrorCode.REQUEST_INVALID,
            f"{file} is a ROS 1 bag; convert it with `rosbags-convert --src {file.name} --dst {file.stem}` first",
        )
    if not start:
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{file} is empty: the recorder died before it wrote anything")
    known = {".mcap": _MCAP, ".db3": _SQLITE}
    wanted = known.get(file.suffix)
    if wanted is None:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{file} ends in {file.suffix!r}, expected a rosbag2 folder, .mcap or .db3"
        )
    if not start.startswith(wanted[: len(start)]):
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{file} begins with {start[:8].hex()}: that is no {file.suffix[1:]} file"
        )


@contextmanager
def _coded(file: Path) -> Iterator[None]:
    """Turns whatever the reading library throws on damaged files into one coded error."""
    try:
        yield
    except UniuggError:
        raise
    except FileNotFoundError as error:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{file} cannot be read: {error}") from None
    except Exception as error:  # noqa: BLE001  struct, zstd, lz4, sqlite, assertions: damage has many faces
        text = str(error) or type(error).__name__
        if "Profile is not ros2" in text:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{file} is an MCAP, but not of ROS 2") from None
        cure = "`mcap recover`" if Path(file).suffix == ".mcap" else "sqlite3's `.recover`"
        raise UniuggError(
            ErrorCode.IMAGE_UNDECODABLE,
            f"{file} is damaged or cut off ({text}); {cure} saves what is whole, `ros2 bag reindex` describes it anew",
        ) from None


def _is_latched(connection: Any) -> bool:
    return any(getattr(qos.durability, "name", "") == "TRANSIENT_LOCAL" for qos in connection.ext.offered_qos_profiles)


def _zstd() -> Any:
    from rosbags.rosbag2.reader import zstd  # the standard library's or its backport, as this Python has it

    return zstd
