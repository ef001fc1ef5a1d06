"""Reads a local U-Net folder of Stable Diffusion 1.x as the denoiser's start.

Takes the pipeline's folder (with ``unet/`` and, for the noise schedule, ``scheduler/``) or the U-Net's own, as
diffusers lays them out, safetensors only. Nothing is downloaded. The weights stay under their publisher's licence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import DenoiserConfig
from ..errors import ErrorCode, UniuggError
from ..models.denoiser import Denoiser
from ..weights import read_weights
from .mapping import load_into
from .qwen2 import read_json

__all__ = ["DiffusionStart", "load_sd15", "read_sd15"]

_PREFIX = "denoiser.unet."
_STEMS = ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16")
_BLOCKS = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
_PLAIN = {  # options of other U-Nets, with the value under which they are absent
    "class_embed_type": None,
    "addition_embed_type": None,
    "num_class_embeds": None,
    "use_linear_projection": False,
    "dual_cross_attention": False,
    "only_cross_attention": False,
}


@dataclass(frozen=True)
class DiffusionStart:
    """A U-Net under our names.

    Attributes:
        config: sizes and noise schedule.
        latent_channels: of its input and output.
        condition_width: of its cross-attention.
        tensors: ``denoiser.unet.*``.
    """

    config: DenoiserConfig
    latent_channels: int
    condition_width: int
    tensors: dict[str, Tensor] = field(repr=False)


def read_sd15(folder: str | Path, *, dtype: torch.dtype | None = None) -> DiffusionStart:
    """The sizes, the noise schedule and the weights of a U-Net folder.

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_INVALID (another kind of U-Net), CHECKPOINT_UNSAFE (pickles).
    """
    folder = Path(folder)
    unet = folder / "unet" if (folder / "unet").is_dir() else folder
    tensors = {_PREFIX + key: value for key, value in _read(unet, dtype).items()}
    data = read_json(unet / "config.json")
    schedule_file = unet.parent / "scheduler" / "scheduler_config.json"
    schedule = read_json(schedule_file) if unet != folder and schedule_file.is_file() else {}
    return DiffusionStart(_config(data, schedule, unet), data["in_channels"], data["cross_attention_dim"], tensors)


def load_sd15(denoiser: Denoiser, folder: str | Path) -> None:
    """Copies a U-Net folder's weights into a denoiser of the same sizes.

    Raises:
        UniuggError: as :func:`read_sd15`; CHECKPOINT_MISMATCH naming tensors and shapes.
    """
    load_into(denoiser.unet, read_sd15(folder).tensors, _PREFIX)


def _read(unet: Path, dtype: torch.dtype | None) -> dict[str, Tensor]:
    # Publishers ship full and half precision under different names; the first that is there will do.
    for stem in _STEMS[1:]:
        if (unet / f"{stem}.safetensors").is_file() and not any(unet.glob(f"{_STEMS[0]}.safetensors*")):
            return read_weights(unet, stem, dtype=dtype)
    return read_weights(unet, _STEMS[0], dtype=dtype)


def _config(data: dict[str, Any], schedule: dict[str, Any], unet: Path) -> DenoiserConfig:
    def refuse(what: str) -> UniuggError:
        return UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{unet}/config.json: {what}")

    if data.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise refuse(f"_class_name is {data['_class_name']!r}, expected 'UNet2DConditionModel'")
    for name, absent in _PLAIN.items():
        if data.get(name, absent) != absent:
            raise refuse(f"{name} is {data[name]!r}; a Stable Diffusion 1.x U-Net has {absent!r}")
    needed = ("block_out_channels", "down_block_types", "layers_per_block", "attention_head_dim")
    missing = [name for name in (*needed, "in_channels", "cross_attention_dim") if name not in data]
    if missing:
        raise refuse(f"it lacks {missing}")
    kinds = data["down_block_types"]
    if any(kind not in _BLOCKS for kind in kinds):
        raise refuse(f"down_block_types are {kinds}, expected {sorted(_BLOCKS)}")
    for name in ("layers_per_block", "attention_head_dim", "in_channels", "cross_attention_dim"):
        if type(data[name]) is not int:
            raise refuse(f"{name} is {data[name]!r}, expected one whole number")
    defaults = DenoiserConfig()
    return DenoiserConfig(
        widths=tuple(data["block_out_channels"]),
        cross_attention=tuple(_BLOCKS[kind] for kind in kinds),
        layers=data["layers_per_block"],
        heads=data["attention_head_dim"],
        groups=data.get("norm_num_groups", defaults.groups),
        train_steps=schedule.get("num_train_timesteps", defaults.train_steps),
        beta_start=schedule.get("beta_start", defaults.beta_start),
        beta_end=schedule.get("beta_end", defaults.beta_end),
        beta_schedule=schedule.get("beta_schedule", defaults.beta_schedule),
        prediction=schedule.get("prediction_type", defaults.prediction),
    )
