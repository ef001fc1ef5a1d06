"""A checkpoint is a folder; this file is the only way in and out of one.

    config.json         every size, :class:`~uniugg_core.config.ModelConfig`
    model.safetensors   ``encoder.* spatial.* vae.* language.* denoiser.*``, sharded above 5 GB
    tokenizer/          Qwen2's layout
    README.md           the model card
    SHA256SUMS          checked when present

A folder may hold some parts only, as the converter of public checkpoints makes them; :func:`load_parts` starts a model
from such a folder, :func:`load_folder` refuses it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .checkpoints.mapping import check_exact, load_into
from .config import ModelConfig
from .errors import ErrorCode, UniuggError
from .models.uniugg import PARTS, UniUGG
from .tokenizer import SpatialTokenizer
from .weights import SUMS, read_weights, verify_sums, weight_files, write_sums, write_weights

__all__ = ["DTYPES", "load_folder", "load_parts", "resolve_device", "resolve_dtype", "save_folder"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_EMBEDDING = "language.qwen.model.embed_tokens.weight"
_HEAD = "language.qwen.lm_head.weight"
_BUFFERS = ("vae.feature_mean", "vae.feature_std", "vae.latent_scale")  # statistics; stay float32
_OURS = ("config.json", "README.md", SUMS, "tokenizer")


def resolve_dtype(name: str) -> torch.dtype:
    """The torch type called `name`.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    if name not in DTYPES:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"dtype is {name!r}, expected one of {list(DTYPES)}")
    return DTYPES[name]


def resolve_device(name: str) -> torch.device:
    """The torch device called `name`, if this machine has it.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"device {name!r} cannot be used: {reason}") from error
    return device


def load_folder(
    folder: str | Path, *, device: str = "cpu", dtype: str = "float32", verify: bool = True
) -> tuple[UniUGG, SpatialTokenizer]:
    """The whole model of a checkpoint folder, in evaluation mode, and its tokenizer.

    Args:
        folder: written by :func:`save_folder`.
        device: where the weights go.
        dtype: "float32", "bfloat16" or "float16"; stored statistics stay float32.
        verify: compare with ``SHA256SUMS`` if there is one.

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_INVALID, CHECKPOINT_UNSAFE, or CHECKPOINT_MISMATCH naming tensors
            and shapes; REQUEST_INVALID for an unknown device or type.
    """
    folder = Path(folder)
    target, kind = resolve_device(device), resolve_dtype(dtype)
    weight_files(folder)  # says first what kind of thing this is
    if verify:
        verify_sums(folder)
    config = ModelConfig.load(folder / "config.json")
    tokenizer = SpatialTokenizer(folder / "tokenizer")
    try:
        model = UniUGG.on_meta(config)
    except UniuggError:
        raise
    except Exception as error:  # sizes that do not divide each other fail in many places, and in many ways
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder}/config.json describes no model: {error}") from error
    tensors = _read(folder, config, kind)
    _require_all_parts(tensors, model, folder)
    check_exact(tensors, model, "")
    model.load_state_dict(tensors, strict=True, assign=True)
    model.language.revive()
    model.bind(tokenizer)
    return model.to(target).eval(), tokenizer


def load_parts(model: UniUGG, folder: str | Path, parts: Sequence[str] = PARTS) -> tuple[str, ...]:
    """Copies the weights of some parts from a folder into a model, as a start for training.

    Args:
        model: its other parts keep their weights.
        folder: a whole checkpoint or one with some parts only; its tokenizer is not looked at.
        parts: which to take, from :data:`PARTS`; each one must be there as a whole.

    Returns:
        The parts that were copied, in the order of :data:`PARTS`.

    Raises:
        UniuggError: REQUEST_INVALID for an unknown part, CHECKPOINT_MISSING for one that the folder lacks, and as
            :func:`load_folder`. No part is changed then.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"no parts {unknown}; there are {list(PARTS)}")
    chosen = tuple(part for part in PARTS if part in parts)
    verify_sums(folder)
    tensors = _read(Path(folder), model.config, None, tuple(f"{part}." for part in chosen))
    for part in chosen:
        if not any(key.startswith(f"{part}.") for key in tensors):
            raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"{folder} has no {part}.* tensors")
    for part in chosen:
        check_exact(tensors, getattr(model, part), f"{part}.")
    for part in chosen:
        load_into(getattr(model, part), tensors, f"{part}.")
    return chosen


def save_folder(
    folder: str | Path,
    model: UniUGG,
    tokenizer: SpatialTokenizer,
    *,
    dtype: str | None = None,
    card: str | None = None,
    config: ModelConfig | None = None,
) -> None:
    """Writes a checkpoint folder; it appears as a whole or not at all.

    A checkpoint that was there before is replaced in one rename; files in it that are none of ours are kept.

    Args:
        dtype: stores parameters in this type; None keeps them as they are. Statistics are float32 always.
        card: text of ``README.md``; None writes one from the configuration.
        config: written in place of the model's own, for instance to mark it as trained; sizes must agree.

    Raises:
        UniuggError: CHECKPOINT_INVALID if `folder` is in use by something else or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder / "config.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder} exists and is no checkpoint; nothing was written")
    kind = None if dtype is None else resolve_dtype(dtype)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder} cannot be written: {error}") from error
    try:
        _fill(partial, model, tokenizer, kind, card, config or model.config)
        _swap(partial, folder)
    except (OSError, RuntimeError) as error:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder} could not be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fill(
    folder: Path,
    model: UniUGG,
    tokenizer: SpatialTokenizer,
    dtype: torch.dtype | None,
    card: str | None,
    config: ModelConfig,
) -> None:
    from .card import model_card

    tensors = {}
    for key, tensor in model.state_dict().items():
        if key == _HEAD and config.language.tie_embeddings:
            continue
        if key in _BUFFERS:
            tensor = tensor.float()
        elif dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        tensors[key] = tensor
    config.save(folder / "config.json")
    write_weights(folder, tensors)
    tokenizer.save(folder / "tokenizer")
    counts = {part: sum(t.numel() for key, t in tensors.items() if key.startswith(f"{part}.")) for part in PARTS}
    (folder / "README.md").write_text(model_card(config, counts) if card is None else card, encoding="utf-8")
    write_sums(folder)
    for path in (folder, *folder.rglob("*")):  # temporary folders and safetensors files are private to their maker
        path.chmod(0o755 if path.is_dir() else 0o644)


def _swap(partial: Path, folder: Path) -> None:
    """Puts the new folder in the old one's place; a crash in between leaves both, whole, side by side."""
    if not folder.exists():
        os.replace(partial, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.replace(folder, old)
    os.replace(partial, folder)
    for path in old.iterdir():
        if path.name not in _OURS and not path.name.startswith("model") and not (folder / path.name).exists():
            shutil.move(path, folder / path.name)
    shutil.rmtree(old, ignore_errors=True)


def _read(
    folder: Path, config: ModelConfig, dtype: torch.dtype | None, prefixes: tuple[str, ...] = ("",)
) -> dict[str, Tensor]:
    tensors = read_weights(folder, prefixes=prefixes, dtype=dtype)
    for key in _BUFFERS:
        if key in tensors:
            tensors[key] = tensors[key].float()
    if config.language.tie_embeddings and _EMBEDDING in tensors:
        tensors[_HEAD] = tensors[_EMBEDDING]
    return tensors


def _require_all_parts(tensors: dict[str, Tensor], model: UniUGG, folder: Path) -> None:
    there = {key.partition(".")[0] for key in tensors}
    needed = {key.partition(".")[0] for key in model.state_dict()}
    if there < needed and there:
        raise UniuggError(
            ErrorCode.CHECKPOINT_MISMATCH,
            f"{folder} holds {sorted(there)} only, {sorted(needed - there)} are missing; such a folder starts a "
            "training, it is no whole model",
        )
