"""Taking single parts out of one of our checkpoint folders, whole models and converted encoders alike."""

from __future__ import annotations

from pathlib import Path

import torch

from ..config import ModelConfig
from ..errors import ErrorCode, UniuggError
from ..models.decoder import SpatialDecoder
from ..models.encoder import Encoder
from ..weights import read_weights, verify_sums
from .mapping import PublicCheckpoint

__all__ = ["load_encoder", "load_spatial"]


def load_encoder(
    folder: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    verify: bool = True,
) -> Encoder:
    """The encoder of a checkpoint folder, in evaluation mode.

    Args:
        folder: a whole model's, or one with some parts.
        device: where the weights go.
        dtype: number format of the weights.
        verify: compare the files with ``SHA256SUMS`` if there is one.

    Raises:
        UniuggError: CHECKPOINT_MISSING if there is no folder or no encoder in it, CHECKPOINT_INVALID or
            CHECKPOINT_MISMATCH.
    """
    return _part(folder, "encoder.", verify).build_encoder(dtype).to(device)


def load_spatial(
    folder: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    verify: bool = True,
) -> SpatialDecoder:
    """The spatial decoder of a checkpoint folder, in evaluation mode; arguments as for :func:`load_encoder`.

    Raises:
        UniuggError: as :func:`load_encoder`.
    """
    return _part(folder, "spatial.", verify).build_spatial(dtype).to(device)


def _part(folder: str | Path, prefix: str, verify: bool) -> PublicCheckpoint:
    folder = Path(folder)
    config = ModelConfig.load(folder / "config.json")
    if verify:
        verify_sums(folder)
    tensors = read_weights(folder, prefixes=(prefix,))
    if not tensors:
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no {prefix}* in {folder}")
    return PublicCheckpoint("own", tensors, config.encoder, config.decoder, ())
