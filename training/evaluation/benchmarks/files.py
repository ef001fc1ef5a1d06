"""Records of published files: Parquet, JSON lines, JSON, TSV and CSV, read as a stream.

Parquet needs pyarrow, which nothing else here does; it is the extra ``parquet`` of this package.
"""

from __future__ import annotations

import base64
import binascii
import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from uniugg_core.errors import ErrorCode, UniuggError

from .base import Picture

__all__ = ["find_files", "options_of", "picture_of", "read_file", "read_records", "text_of"]

_ENDINGS = (".parquet", ".jsonl", ".json", ".tsv", ".csv")
_BATCH = 64  # rows of a Parquet file in memory at once: pictures are in them
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]{100,}")


def find_files(path: Path, split: str, prefixes: Sequence[str] = ()) -> list[Path]:
    """The data files of one split: `path` itself, or in that folder (and ``data/``) the files named after the split.

    Names are those of the Hugging Face hub: ``test.parquet``, ``test-00000-of-00003.parquet``, ``test.jsonl``. Parquet
    is preferred to JSON lines, and so on; the parts of one ending are read in order.

    Raises:
        UniuggError: REQUEST_INVALID if there is none.
    """
    if path.is_file():
        return [path]
    wanted = re.compile("|".join(re.escape(name) for name in dict.fromkeys((split, *prefixes))))
    for folder in (path, path / "data"):
        for ending in _ENDINGS:
            files = [file for file in sorted(folder.glob(f"*{ending}")) if wanted.match(file.name)]
            if files:
                return files
    raise UniuggError(
        ErrorCode.REQUEST_INVALID,
        f"{path}: no file of the split {split!r} there ({', '.join(f'{split}*{ending}' for ending in _ENDINGS)})",
    )


def read_records(path: Path, split: str, prefixes: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The records of one split, in order."""
    for file in find_files(path, split, prefixes):
        yield from read_file(file)


def read_file(file: Path) -> Iterator[dict[str, Any]]:
    """The records of one file, by its ending.

    Raises:
        UniuggError: REQUEST_INVALID for another ending or a malformed file, and for Parquet without pyarrow.
    """
    readers = {".parquet": _parquet, ".jsonl": _json_lines, ".json": _json, ".tsv": _table, ".csv": _table}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{file}: no reader for {file.suffix!r}; {', '.join(readers)}")
    try:
        yield from reader(file)
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, UniuggError):
            raise
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{file}: {error}") from None


def picture_of(value: Any, root: Path) -> Picture:
    """A picture as published: {"bytes", "path"} of a Parquet column, base64 of a TSV, or a path below `root`."""
    if isinstance(value, Mapping):
        if value.get("bytes"):
            return Picture(data=bytes(value["bytes"]))
        value = value.get("path")
    if isinstance(value, bytes):
        return Picture(data=value)
    if isinstance(value, str) and value:
        if _BASE64.fullmatch(value):
            try:
                return Picture(data=base64.b64decode(value, validate=False))
            except binascii.Error:
                pass
        return Picture(path=root / value)
    raise UniuggError(ErrorCode.IMAGE_MISSING, f"no picture in a record: {type(value).__name__}")


def options_of(value: Any) -> tuple[str, ...]:
    """Options of a record: a list, or nothing."""
    return () if value is None else tuple(str(option) for option in value)


def text_of(value: Any) -> str:
    """A value as the text it was published as: 3, not 3.0, for whole numbers in a float column."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID,
            f"{file}: Parquet files need pyarrow, which is not installed; `pip install pyarrow`, "
            "or give the same data as JSON lines",
        ) from None
    try:
        with ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except ArrowException as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{file}: {error}") from None


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise UniuggError(ErrorCode.REQUEST_INVALID, f"{file}, line {number}: {error}") from None


def _json(file: Path) -> Iterator[dict[str, Any]]:
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, list):
        raise ValueError("not a list of records")
    yield from content


def _table(file: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # pictures stand in the cells as base64
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    with file.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines, delimiter=delimiter)
