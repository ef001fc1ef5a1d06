"""Settings of the smallest real model, for runs of a second: rooms at 32 pixels, 4 x 4 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training import sources
from training.config import DataConfig, ModelChoice, TrainConfig
from training.stream import Batch
from uniugg_core.config import ModelConfig
from uniugg_core.folder import save_folder
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.tokenizer import SpatialTokenizer

MODEL: dict[str, Any] = {
    "name": "micro",
    "image_size": 32,
    "encoder": {
        "width": 32,
        "depth": 2,
        "heads": 2,
        "patch": 8,
        "position_grid": 8,
        "stem": [8, 8],
        "stem_units": [0, 1],
    },
    "decoder": {
        "width": 32,
        "depth": 2,
        "heads": 2,
        "dpt_hooks": [0, 1, 1, 2],
        "dpt_widths": [8, 8, 8, 8],
        "dpt_features": 8,
        "dpt_head_width": 8,
        "rgb_width": 8,
        "descriptor": 8,
        "local_mlp_ratio": 1.0,
    },
    "vae": {"widths": [16, 16], "blocks": 1, "groups": 4},
    "language": {"width": 32, "mlp_width": 64, "depth": 2, "heads": 2, "kv_heads": 1, "condition_width": 16},
    "denoiser": {"widths": [16, 16], "cross_attention": [True, False], "layers": 1, "heads": 2, "groups": 4},
    "generation": {"steps": 2},
}
ROOMS = {"views": 3, "pairs": 2}


class RememberedRooms:
    """Rooms whose batches are kept for the whole process: without OpenGL a room takes half a second."""

    _batches: dict[tuple, Batch] = {}

    def __init__(self, data: DataConfig, model: ModelConfig, split: str) -> None:
        self.key = (repr(data), model.image_size, split)
        self.rooms = _ROOMS(data, model, split)

    def batch(self, kind: str, indices: Sequence[int]) -> Batch:
        key = (*self.key, kind, tuple(indices))
        if key not in self._batches:
            self._batches[key] = self.rooms.batch(kind, indices)
        return dict(self._batches[key])


_ROOMS = sources.SOURCES["rooms"]


def save_micro(folder: Path) -> Path:
    """Writes an untrained micro model to `folder`; returns it."""
    tokenizer, sizes = SpatialTokenizer.shipped(), ModelChoice(change=MODEL).resolve()
    save_folder(folder, UniUGG.initialised(sizes, 0, tokenizer), tokenizer, dtype="float32", config=sizes)
    return folder


def micro(stage: str, *, start: Path | None = None, run: dict[str, Any] | None = None, **parts: Any) -> TrainConfig:
    """Settings of one stage; `parts` change sections, e.g. ``encoder={"symmetric": False}``."""
    model = {"preset": "tiny", "change": _merge(MODEL, parts.pop("model", {}))}
    if start is not None:
        model["start"] = str(start)
    base: dict[str, Any] = {
        "stage": stage,
        "model": model,
        "data": {"workers": 0, "options": ROOMS},
        "optimizer": {"lr": 1e-3, "clip": 1.0},
        "encoder": {"correspondences": 32, "rgb_lpips": 0.0},
        "vae": {"rgb_lpips": 0.0, "statistics_samples": 8, "scale_samples": 8},
        "run": {
            "steps": 3,
            "batch_size": 2,
            "log_every": 1,
            "validate_every": 2,
            "validation_samples": 2,
            "pictures_every": 0,
            "checkpoint_every": 2,
            "device": "cpu",
            "tensorboard": False,
            "peak_tflops": 0.1,
            **(run or {}),
        },
    }
    return TrainConfig.from_dict(_merge(base, parts))


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        merged[name] = (
            _merge(merged[name], value) if isinstance(value, dict) and isinstance(merged.get(name), dict) else value
        )
    return merged
