"""Safetensors on disk, in one file or in shards with an index, as the Hugging Face libraries lay them out.

Nothing here ever unpickles. A folder that offers only a pickle is refused by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ErrorCode, UniuggError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["SUMS", "read_weights", "sha256", "verify_sums", "weight_files", "write_sums", "write_weights"]

SUMS = "SHA256SUMS"
MAX_SHARD_BYTES = 5_000_000_000
_PICKLES = (".bin", ".pth", ".pt", ".pkl", ".pickle", ".ckpt", ".tar", ".npy", ".joblib")
_BLOCK = 1 << 22


def weight_files(folder: str | Path, stem: str = "model") -> list[Path]:
    """The safetensors files of a folder: ``<stem>.safetensors``, or the shards of ``<stem>.safetensors.index.json``.

    Raises:
        UniuggError: CHECKPOINT_MISSING; CHECKPOINT_UNSAFE if `folder` is a pickle or holds nothing but pickles;
            CHECKPOINT_INVALID for a broken index.
    """
    folder = Path(folder)
    if folder.is_file():
        if folder.suffix.lower() in _PICKLES:
            raise UniuggError(
                ErrorCode.CHECKPOINT_UNSAFE,
                f"{folder} may be a pickle, which can run code; convert it with `uniugg convert`",
            )
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder} is a file, expected a checkpoint folder")
    if not folder.is_dir():
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no checkpoint folder at {folder}")
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return _shards(index)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _PICKLES)
    if pickles:
        raise UniuggError(
            ErrorCode.CHECKPOINT_UNSAFE,
            f"{folder} has {', '.join(pickles[:4])} but no {single.name}; pickles are never loaded, convert them first",
        )
    raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no {single.name} in {folder}")


def read_weights(
    folder: str | Path, stem: str = "model", *, prefixes: Sequence[str] = ("",), dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """The tensors of a folder by name.

    Args:
        folder: see :func:`weight_files`.
        stem: as in ``<stem>.safetensors``.
        prefixes: only names with one of these beginnings are read.
        dtype: floating-point tensors are converted one by one while reading; None keeps the file's types.

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_UNSAFE or CHECKPOINT_INVALID (truncated, or no safetensors).
    """
    import safetensors

    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder, stem):
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                for key in file.keys():
                    if key.startswith(tuple(prefixes)):
                        tensor = file.get_tensor(key)
                        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
                        # A copy: what comes from the file is mapped memory, and dies with a file that is overwritten.
                        tensors[key] = tensor.to(kind, copy=True)
        except (safetensors.SafetensorError, OSError) as error:
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} cannot be read as safetensors: {error}") from error
    return tensors


def write_weights(
    folder: Path,
    tensors: Mapping[str, Tensor],
    stem: str = "model",
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes tensors into `folder`, with their types kept, in shards of at most `max_shard_bytes` where needed.

    No two tensors may share memory.
    """
    import safetensors.torch

    shards: list[dict[str, Tensor]] = [{}]
    room = max_shard_bytes
    for key, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > room and shards[-1]:
            shards.append({})
            room = max_shard_bytes
        shards[-1][key] = tensor.detach().cpu().contiguous()
        room -= size
    described = {"format": "pt", **(metadata or {})}
    if len(shards) == 1:
        safetensors.torch.save_file(shards[0], folder / f"{stem}.safetensors", described)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        safetensors.torch.save_file(shard, folder / name, described)
        weight_map.update(dict.fromkeys(shard, name))
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_sums(folder: Path) -> None:
    """Writes ``SHA256SUMS`` over every other file below `folder`, as ``sha256sum`` would."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines))


def verify_sums(folder: str | Path) -> bool:
    """Compares the files with ``SHA256SUMS`` if the folder has one.

    Returns:
        Whether there was one.

    Raises:
        UniuggError: CHECKPOINT_INVALID naming the file that is missing, changed, or outside of the folder.
    """
    folder = Path(folder)
    sums = folder / SUMS
    if not sums.is_file():
        return False
    for line in sums.read_text(errors="replace").splitlines():
        digest, _, name = line.strip().partition(" ")
        name = name.strip().lstrip("*")
        if not name:
            continue
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{sums} names {name!r}, which is outside of the folder")
        if not path.is_file():
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{sums} names {name!r}, which is missing")
        if sha256(path) != digest.lower():
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} is not the file that {sums.name} describes")
    return True


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        good = names and all(Path(name).name == name and name.endswith(".safetensors") for name in names)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{index} is no shard index: {error}") from error
    if not good:
        raise UniuggError(
            ErrorCode.CHECKPOINT_INVALID, f"{index} names files that are no safetensors beside it: {names[:4]}"
        )
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"{index.parent} lacks {', '.join(missing[:4])}")
    return [index.parent / name for name in names]
