"""Converts a public checkpoint, once and offline, into a folder that loads without any pickle.

The folder has ``config.json``, ``model.safetensors`` (``encoder.*`` and, where the source has one, ``spatial.*``), a
model card and ``SHA256SUMS``. It is a part of a model: :func:`~uniugg_core.checkpoints.load_encoder` and
``load_spatial`` read it, and :func:`uniugg_core.folder.load_parts` starts a whole model from it.

    uniugg convert source.pth folder
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..config import DecoderConfig, ModelConfig
from ..errors import ErrorCode, UniuggError
from ..weights import sha256, weight_files, write_sums, write_weights
from .mapping import PublicCheckpoint
from .public import load_public

__all__ = ["Conversion", "ProgressCallback", "convert"]

#: Called with the step's name and the fraction of the whole done so far.
ProgressCallback = Callable[[str, float], None]

_TITLES = {
    "radio": ("RADIOv2.5 image encoder", "NVIDIA's RADIOv2.5"),
    "mast3r": ("MASt3R encoder and spatial decoder", "Naver's MASt3R"),
    "uniugg": ("UniUGG encoder and spatial decoder", "the released UniUGG encoder"),
}
_IMAGE_SIZE = 224


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        folder: where it is now.
        layout: "radio", "mast3r" or "uniugg".
        sources: name and hexadecimal SHA-256 of every source file.
        encoder_parameters: number of values under ``encoder.*``.
        spatial_parameters: number of values under ``spatial.*``; 0 without a decoder.
        ignored: number of tensors of the source that were left out.
    """

    folder: Path
    layout: str
    sources: tuple[tuple[str, str], ...]
    encoder_parameters: int
    spatial_parameters: int
    ignored: int


def convert(
    source: str | Path,
    folder: str | Path,
    layout: str = "auto",
    *,
    dtype: torch.dtype | None = None,
    head_width: int = 64,
    inert: Sequence[str] = (),
    progress: ProgressCallback | None = None,
) -> Conversion:
    """Writes `folder` from the public checkpoint `source`; the folder appears complete or not at all.

    Args:
        source: as for :func:`~uniugg_core.checkpoints.load_public`.
        folder: must not exist, or be empty.
        layout: "radio", "mast3r", "uniugg" or "auto".
        dtype: number format to store; None keeps the source's.
        head_width: width of an attention head.
        inert: see :func:`~uniugg_core.checkpoints.unpickle.read_torch`.
        progress: called before each step.

    Raises:
        UniuggError: as :func:`~uniugg_core.checkpoints.load_public`; CHECKPOINT_INVALID if `folder` is in use or
            cannot be written.
    """
    source, folder = Path(source), Path(folder)
    report = progress or (lambda step, done: None)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder} exists already; convert into a new folder")
    report("reading", 0.0)
    checkpoint = load_public(source, layout, head_width=head_width, inert=inert)
    report("hashing", 0.4)
    files = weight_files(source) if source.is_dir() else [source]
    result = Conversion(
        folder=folder,
        layout=checkpoint.layout,
        sources=tuple((path.name, sha256(path)) for path in files),
        encoder_parameters=_count(checkpoint, "encoder."),
        spatial_parameters=_count(checkpoint, "spatial."),
        ignored=len(checkpoint.ignored),
    )
    report("writing", 0.6)
    try:
        _write(checkpoint, result, dtype)
    except (OSError, RuntimeError) as error:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder} could not be written: {error}") from error
    report("done", 1.0)
    return result


def _write(checkpoint: PublicCheckpoint, result: Conversion, dtype: torch.dtype | None) -> None:
    """Fills a folder beside the wanted one, then renames it into place."""
    folder = result.folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        config = ModelConfig(
            name=f"{checkpoint.layout}-parts",
            image_size=-(-_IMAGE_SIZE // checkpoint.encoder.patch) * checkpoint.encoder.patch,
            encoder=checkpoint.encoder,
            decoder=checkpoint.decoder or DecoderConfig(),
        )
        config.save(partial / "config.json")
        tensors = {k: v if dtype is None else v.to(dtype) for k, v in checkpoint.tensors.items()}
        write_weights(partial, tensors, metadata={"layout": checkpoint.layout})
        (partial / "README.md").write_text(_card(checkpoint, result), encoding="utf-8")
        write_sums(partial)
        partial.chmod(0o755)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _count(checkpoint: PublicCheckpoint, prefix: str) -> int:
    return sum(value.numel() for key, value in checkpoint.tensors.items() if key.startswith(prefix))


def _card(checkpoint: PublicCheckpoint, result: Conversion) -> str:
    """The model card."""
    title, origin = _TITLES[checkpoint.layout]
    encoder = checkpoint.encoder
    sources = "".join(f"- source file: `{name}`, sha256 `{digest}`\n" for name, digest in result.sources)
    spatial = f"- spatial decoder: {result.spatial_parameters:,} parameters\n" if result.spatial_parameters else ""
    loading = "encoder = load_encoder(folder)\n" + ("spatial = load_spatial(folder)\n" if spatial else "")
    return f"""# {title}

Converted from a checkpoint of {origin}. The weights stay under their publisher's licence; read it before use.

{sources}- encoder: {encoder.kind}, {encoder.depth} x {encoder.width}, {result.encoder_parameters:,} parameters
{spatial}- tensors left out (teacher copies, adaptors, unused remains): {result.ignored}

```python
from uniugg_core.checkpoints import load_encoder, load_spatial
{loading}```
"""
