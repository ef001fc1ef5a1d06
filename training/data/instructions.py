"""LLaVA's JSON (LCS-558K, EMOVA), and SPAR-7M's JSON lines behind an index, as conversations.

LLaVA: a JSON list of ``{id, image, conversations: [{from: human|gpt, value}]}``; ``<image>`` stands first or last in a
human turn, and our prompts put the pictures first anyway. Entries without a picture (speech, text) are skipped. A
picture's path is relative to the annotation's folder, to ``images`` beside it, or to the folder above (EMOVA has
``annotations/<subset>.json`` and pictures in ``<subset>/``).

SPAR: an index ``{name: {root, annotation, repeat_time, length}}`` names JSON-lines files; a repeat_time below 1 takes
that share of the lines, above 1 repeats them. Lines have ``image`` (a list), and perhaps points and boxes by colour
(``red_point``, ``blue_bbox`` ...) on a scale of 0 to 1000, which are drawn into the pictures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Turn

from .conversations import Conversation, Mark

__all__ = ["JsonRecords", "LlavaRecords", "SparRecords", "find_llava", "find_spar", "parse_entry"]

_HUMAN, _MODEL = {"human", "user"}, {"gpt", "assistant"}
_HEAD = 1 << 16  # bytes of a file that decide what it is


class JsonRecords:
    """Objects of a JSON list or of JSON lines, by number; only where each begins is kept in memory.

    Raises:
        UniuggError: REQUEST_INVALID if the file is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_bytes()
        except OSError as error:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} cannot be read: {error.strerror}") from None
        found = list(_list_spans(text, path) if text.lstrip()[:1] == b"[" else _line_spans(text))
        self._spans = np.array(found, np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, number: int) -> Any:
        start, end = self._spans[number].tolist()
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(end - start)
        try:
            return json.loads(data)
        except ValueError:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{self.path}: record {number} is no JSON") from None


class LlavaRecords:
    """The conversations of some annotation files in LLaVA's format; see :class:`.conversations.Records`."""

    def __init__(self, files: list[Path]) -> None:
        self.files = [JsonRecords(path) for path in files]
        self._ends = np.cumsum([len(file) for file in self.files])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def conversation(self, number: int) -> Conversation:
        """Conversation `number`; raises as the protocol says."""
        file = int(np.searchsorted(self._ends, number, side="right"))
        records = self.files[file]
        within = number - int(self._ends[file - 1] if file else 0)
        entry, path = records[within], records.path
        return parse_entry(entry, (path.parent, path.parent / "images", path.parent.parent, path.with_suffix("")), path)


class SparRecords:
    """The conversations of an index file of SPAR-7M, repeated as it says; see :class:`.conversations.Records`.

    Raises:
        UniuggError: REQUEST_INVALID if the index is damaged or names a file that is not there.
    """

    def __init__(self, index: Path) -> None:
        self.roots, self.files, rows = [], [], []
        try:
            parts = json.loads(index.read_text())
            for number, (name, part) in enumerate(parts.items()):
                root, annotation = _below(index.parent, part["root"]), _below(index.parent, part["annotation"])
                records = JsonRecords(annotation)
                times = float(part.get("repeat_time", 1))
                share = np.random.default_rng(number).permutation(len(records))[: round(len(records) * (times % 1))]
                lines = np.concatenate([np.tile(np.arange(len(records)), int(times)), np.sort(share)])
                rows.append(np.stack([np.full(len(lines), number), lines], 1))
                self.roots.append(root)
                self.files.append((name, records))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, UniuggError):
                raise
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{index} is no index of SPAR: {error!r}") from None
        self._rows = np.concatenate(rows).astype(np.int32) if rows else np.zeros((0, 2), np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def conversation(self, number: int) -> Conversation:
        """Conversation `number`; raises as the protocol says."""
        part, line = self._rows[number].tolist()
        root, (name, records) = self.roots[part], self.files[part]
        return parse_entry(records[line], (root, root / "images"), f"{name} line {line}")


def parse_entry(entry: Any, roots: tuple[Path, ...], source: object) -> Conversation:
    """One record as a conversation.

    Raises:
        UniuggError: REQUEST_INVALID, naming what is wrong with it.
    """
    if not isinstance(entry, Mapping):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{source}: a record is a {type(entry).__name__}")
    name = f"{source}: {entry.get('id', '')}"
    images = entry.get("image") or []
    images = [images] if isinstance(images, str) else images
    if not images or not all(isinstance(image, str) for image in images):
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{name} has no picture")
    turns: list[Turn] = []
    asked: str | None = None
    for said in entry.get("conversations") or []:
        who, value = (said.get("from"), said.get("value")) if isinstance(said, Mapping) else (None, None)
        if not isinstance(value, str):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name}: a turn is {str(said)[:60]!r}")
        if who in _HUMAN:
            asked = value.replace("<image>", "").strip()
        elif who in _MODEL and asked is not None:
            turns.append(Turn(asked, value.strip()))
            asked = None
    if not turns or not all(turn.answer for turn in turns):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} has no answer")
    marks = tuple(_marks(entry, len(images)))
    paths = tuple(_picture(image, roots) for image in images)
    return Conversation(name, paths, tuple(turns), str(entry.get("type") or ""), marks)


def find_llava(root: Path) -> list[Path]:
    """Annotation files in LLaVA's format: in `root`, ``annotations/``, or `root` itself."""
    paths = [root] if root.is_file() else sorted([*root.glob("*.json*"), *root.glob("annotations/*.json*")])
    return [path for path in paths if b'"conversations"' in _head(path)]


def find_spar(root: Path) -> list[Path]:
    """Index files of SPAR: in `root` or right below it, or `root` itself."""
    paths = [root] if root.is_file() else sorted([*root.glob("*.json"), *root.glob("*/*.json")])
    return [path for path in paths if b'"annotation"' in _head(path) and b'"root"' in _head(path)]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _below(folder: Path, name: object) -> Path:
    """A path of the index: as it stands, or from the folder of the index or one of those above it."""
    path = Path(str(name))
    for base in (folder, *list(folder.parents)[:2]):
        if (base / path).exists():
            return base / path
    return folder / path


def _picture(name: str, roots: tuple[Path, ...]) -> Path:
    return next((root / name for root in roots if (root / name).is_file()), roots[0] / name)


def _marks(entry: Mapping[str, Any], pictures: int) -> Iterator[Mark]:
    """Points and boxes by colour: for one picture a plain list of them, for several one list a picture."""
    for key, value in entry.items():
        colour, _, kind = key.partition("_")
        if kind not in ("point", "bbox") or not isinstance(value, list) or not value:
            continue
        width = 2 if kind == "point" else 4
        for number, of_picture in enumerate(value if len(value) == pictures else [value]):
            for corners in _rows(of_picture, width):
                yield Mark(number, colour, corners)


def _rows(value: Any, width: int) -> Iterator[tuple[float, ...]]:
    """Every innermost row of `width` numbers, however deep the lists are nested."""
    if not isinstance(value, list):
        return
    if len(value) == width and all(isinstance(number, (int, float)) for number in value):
        yield tuple(float(number) for number in value)
        return
    for part in value:
        yield from _rows(part, width)


def _line_spans(text: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        if text[start:end].strip():
            yield start, end
        start = end + 1


def _list_spans(text: bytes, path: Path) -> Iterator[tuple[int, int]]:
    """Byte ranges of the objects in a JSON list: braces counted, outside of strings."""
    depth, start, at, length = 0, 0, text.index(b"[") + 1, len(text)
    for match in re.compile(rb'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL).finditer(text, at, length):
        token = match.group()
        if token == b"{":
            if depth == 0:
                start = match.start()
            depth += 1
        elif token == b"}":
            depth -= 1
            if depth == 0:
                yield start, match.end()
    if depth:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} is cut off")
