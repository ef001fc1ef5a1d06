"""Taking single parts out of one of our checkpoint folders, whole models and converted encoders alike."""

from __future__ import annotations

from pathlib import Path

import torch

from ..config import ModelConfig
from ..errors import ErrorCode, UniuggError
from ..models.decoder import SpatialDecoder
from ..models.encoder import Encoder
from .mapping import PublicCheckpoint
from .unpickle import read_tensors

__all__ = ["load_encoder", "load_spatial"]


def load_encoder(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Encoder:
    """The encoder of a checkpoint folder, in evaluation mode.

    Raises:
        UniuggError: CHECKPOINT_MISSING if there is no folder or no encoder in it, CHECKPOINT_INVALID or
            CHECKPOINT_MISMATCH.
    """
    return _part(folder, "encoder.").build_encoder(dtype).to(device)


def load_spatial(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> SpatialDecoder:
    """The spatial decoder of a checkpoint folder, in evaluation mode.

    Raises:
        UniuggError: as :func:`load_encoder`.
    """
    return _part(folder, "spatial.").build_spatial(dtype).to(device)


def _part(folder: str | Path, prefix: str) -> PublicCheckpoint:
    config = ModelConfig.load(Path(folder) / "config.json")
    tensors = read_tensors(Path(folder) / "model.safetensors", (prefix,))
    if not tensors:
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no {prefix}* in {folder}")
    return PublicCheckpoint("own", tensors, config.encoder, config.decoder, ())
