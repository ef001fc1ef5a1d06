"""Reads a local folder of Qwen2 or Qwen2.5 (such as Qwen2.5-3B-Instruct) as the language model's start.

The folder is the publisher's: ``config.json``, safetensors in one file or in shards, and the tokenizer. Nothing is
downloaded. The weights stay under their publisher's licence.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import LanguageConfig
from ..errors import ErrorCode, UniuggError
from ..models.language import Language
from ..tokenizer import SpatialTokenizer
from ..weights import read_weights
from .mapping import load_into

__all__ = ["load_qwen2", "read_json", "read_qwen2"]

_PREFIX = "language.qwen."
_EMBEDDING = "language.qwen.model.embed_tokens.weight"
_HEAD = "language.qwen.lm_head.weight"
_FIXED = {"model_type": "qwen2", "hidden_act": "silu"}
_FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "width",
    "intermediate_size": "mlp_width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "rms_norm_eps": "rms_eps",
    "max_position_embeddings": "max_positions",
}


def read_qwen2(
    folder: str | Path, base: LanguageConfig | None = None, *, dtype: torch.dtype | None = None
) -> tuple[LanguageConfig, dict[str, Tensor]]:
    """The sizes and the weights of a Qwen2 folder under our names.

    If the folder's tokenizer, with the control tokens this project adds, has more entries than the embedding has rows,
    rows are added: the mean of the others, so that no new token starts out likely.

    Args:
        folder: the publisher's.
        base: what the sizes do not tell (condition width, ...); the defaults are those of the paper.
        dtype: converts the weights while reading; None keeps the file's type.

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_INVALID (no plain Qwen2), CHECKPOINT_UNSAFE (pickles).
    """
    folder = Path(folder)
    tensors = {_PREFIX + key: value for key, value in read_weights(folder, dtype=dtype).items()}
    config = _config(read_json(folder / "config.json"), base or LanguageConfig(), folder)
    if _EMBEDDING not in tensors:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder} has no model.embed_tokens.weight, as a Qwen2 has")
    if config.tie_embeddings:
        tensors.pop(_HEAD, None)  # some files store the tied matrix twice
    if (folder / "tokenizer_config.json").is_file():
        entries = len(SpatialTokenizer(folder))
        for key in (_EMBEDDING, _HEAD):
            if key in tensors and entries > len(tensors[key]):
                rows = tensors[key]
                mean = rows.float().mean(dim=0, keepdim=True).to(rows.dtype)
                tensors[key] = torch.cat([rows, mean.expand(entries - len(rows), -1)])
        config = dataclasses.replace(config, vocab_size=max(config.vocab_size, entries))
    if config.tie_embeddings:
        tensors[_HEAD] = tensors[_EMBEDDING]
    return config, tensors


def load_qwen2(language: Language, folder: str | Path) -> None:
    """Copies a Qwen2 folder's weights into a language model of the same sizes; the connectors keep theirs.

    Raises:
        UniuggError: as :func:`read_qwen2`; CHECKPOINT_MISMATCH naming tensors and shapes.
    """
    _, tensors = read_qwen2(folder, language.config)
    load_into(language.qwen, tensors, _PREFIX)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UniuggError: CHECKPOINT_MISSING or CHECKPOINT_INVALID.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no {path.name} in {path.parent}") from None
    except (OSError, ValueError) as error:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} is {type(data).__name__}, expected an object")
    return data


def _config(data: dict[str, Any], base: LanguageConfig, folder: Path) -> LanguageConfig:
    for name, wanted in _FIXED.items():
        if data.get(name, wanted) != wanted:
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder}: {name} is {data[name]!r}, expected {wanted!r}")
    rope = data.get("rope_parameters") or data.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default" or data.get("use_sliding_window"):
        raise UniuggError(
            ErrorCode.CHECKPOINT_INVALID,
            f"{folder} uses scaled rotary positions or a sliding window; plain Qwen2 is taken",
        )
    missing = sorted(set(_FIELDS) - set(data))
    if missing:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder}/config.json lacks {missing}")
    sizes = {ours: data[theirs] for theirs, ours in _FIELDS.items()}
    theta = rope.get("rope_theta", data.get("rope_theta", base.rope_theta))
    values = {
        **dataclasses.asdict(base),
        **sizes,
        "rope_theta": theta,
        "tie_embeddings": data.get("tie_word_embeddings", False),
    }
    head_width = data.get("head_dim") or sizes["width"] // sizes["heads"]
    if head_width * sizes["heads"] != sizes["width"]:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder}: head_dim {head_width} does not divide the width")
    try:
        return LanguageConfig(**values)
    except TypeError as error:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder}/config.json: {error}") from error
