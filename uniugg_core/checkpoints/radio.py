"""Reader of RADIOv2.5 checkpoints: the encoder alone.

Names stand behind ``base_model.`` in the original file and behind ``radio_model.model.`` in the Hugging Face one.
Teacher adaptors and the input conditioner (we normalise outside) are left out. Linear layers still in their spectral
reparametrisation are folded into plain weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import CLIP_MEAN, CLIP_STD
from ..errors import ErrorCode, UniuggError
from ..models.encoder import build_encoder
from .mapping import PublicCheckpoint, Rule, apply_rules, check_exact, infer_encoder

__all__ = ["encoder_rules", "fold_spectral", "matches", "read", "resize_positions", "summary_tokens"]

_PREFIX = r"(?:base_model|radio_model\.model)\."
_LEFT_OUT = (
    r"(?:radio_model\.)?(?:input_conditioner|_heads|_feature_projections|_feature_normalizer"
    r"|_intermediate_feature_normalizer|adaptors)\..*|(?:radio_model\.)?summary_idxs"
)
_SPECTRAL = re.compile(r"(.*)\.parametrizations\.weight\.(original|0\.(?:parts\.(\d)\.)?(scale|_u|_v|_sn_version))")
_SPECTRAL_EPS = 1e-12
_SPECTRAL_FLOOR = 0.05  # version 2 keeps the singular value above it


def matches(keys: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of a RADIO checkpoint."""
    return any(re.match(_PREFIX + r"patch_generator\.", key) for key in keys)


def read(state: Mapping[str, Tensor], *, head_width: int = 64, position_grid: int | None = None) -> PublicCheckpoint:
    """Renames a RADIOv2.5 state dict.

    Args:
        state: the file's tensors.
        head_width: width of an attention head, which no shape tells.
        position_grid: side of the position table wanted; None keeps the file's.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH naming tensors that are missing, left over or misshapen.
    """
    folded = fold_spectral(state)
    rules = [*encoder_rules(_PREFIX), Rule(_LEFT_OUT, None)]
    tensors, ignored = apply_rules(folded, rules, "radio")
    if position_grid is not None and "encoder.position_table" in tensors:
        tensors["encoder.position_table"] = resize_positions(tensors["encoder.position_table"], position_grid)
    indices = next((state[key] for key in ("radio_model.summary_idxs", "summary_idxs") if key in state), None)
    encoder = infer_encoder(
        tensors,
        kind="radio",
        head_width=head_width,
        summary_tokens=summary_tokens(indices),
        image_mean=CLIP_MEAN,
        image_std=CLIP_STD,
    )
    with torch.device("meta"):
        check_exact(tensors, build_encoder(encoder), "encoder.")
    return PublicCheckpoint("radio", tensors, encoder, None, ignored)


def summary_tokens(indices: Tensor | None) -> tuple[int, ...]:
    """Prefix tokens of the summary, from a ``summary_idxs`` buffer; the first three, RADIOv2.5's, without one."""
    return (0, 1, 2) if indices is None else tuple(int(i) for i in indices)


def encoder_rules(prefix: str) -> list[Rule]:
    """Rules of RADIO's encoder behind `prefix`, a regular expression without groups."""
    return [
        Rule(prefix + r"patch_generator\.embedder\.weight", "encoder.patch_embed.weight"),
        Rule(prefix + r"patch_generator\.pos_embed", "encoder.position_table", _square_table),
        Rule(prefix + r"patch_generator\.cls_token\.token", "encoder.prefix_tokens"),
        Rule(
            prefix + r"blocks\.(\d+)\.(norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)",
            r"encoder.blocks.\1.\2.\3",
        ),
        Rule(prefix + r"norm\.(weight|bias)", r"encoder.norm.\1"),
    ]


def resize_positions(table_GGD: Tensor, side: int) -> Tensor:
    """A position table (G, G, D) at another side, (side, side, D): bicubic, corners aligned."""
    if table_GGD.shape[0] == side:
        return table_GGD
    table = table_GGD.float().permute(2, 0, 1)[None]
    table = F.interpolate(table, (side, side), mode="bicubic", align_corners=True)
    return table[0].permute(1, 2, 0).contiguous().to(table_GGD.dtype)


def fold_spectral(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Turns spectrally reparametrised weights into plain ones; a state dict without any comes back as it is.

    A weight W with power-iteration vectors u, v counts as ``W s / (u^T W v)``, where s is ``softplus(scale) + 0.05``,
    or ``scale`` itself in version 1 (no ``_sn_version``). The thirds of a qkv weight may each have their own u, v and
    scale (``parts.0`` to ``parts.2``); a third without them is kept as it is.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH for an incomplete reparametrisation.
    """
    layers: dict[str, dict[tuple[str | None, str], Tensor]] = {}
    for key in state:
        if match := _SPECTRAL.fullmatch(key):
            layers.setdefault(match[1], {})[match[3], match[4] or "original"] = state[key]
    if not layers:
        return state
    folded = {key: state[key] for key in state if not _SPECTRAL.fullmatch(key)}
    for layer, pieces in layers.items():
        folded[f"{layer}.weight"] = _fold_layer(layer, pieces)
    return folded


def _fold_layer(layer: str, pieces: dict[tuple[str | None, str], Tensor]) -> Tensor:
    weight = pieces.pop((None, "original"), None)
    if weight is None:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"missing: {layer}.parametrizations.weight.original")
    parts = sorted({part for part, _ in pieces if part is not None}, key=int)
    if not parts:
        return _fold(layer, weight, {name: value for (_, name), value in pieces.items()})
    if int(parts[-1]) > 2 or weight.shape[0] % 3:
        raise UniuggError(
            ErrorCode.CHECKPOINT_MISMATCH,
            f"{layer} has spectral parts {parts} of {tuple(weight.shape)}, expected thirds",
        )
    thirds = list(weight.chunk(3))
    for part in parts:
        own = {name: value for (which, name), value in pieces.items() if which == part}
        thirds[int(part)] = _fold(f"{layer} part {part}", thirds[int(part)], own)
    return torch.cat(thirds)


def _fold(layer: str, weight: Tensor, pieces: Mapping[str, Tensor]) -> Tensor:
    missing = {"scale", "_u", "_v"} - set(pieces)
    if missing:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{layer} misses {sorted(missing)} of its reparametrisation")
    matrix = weight.float().flatten(1)
    u, v, scale = pieces["_u"].float().flatten(), pieces["_v"].float().flatten(), pieces["scale"].float()
    if u.shape[0] != matrix.shape[0] or v.shape[0] != matrix.shape[1] or scale.numel() != 1:
        raise UniuggError(
            ErrorCode.CHECKPOINT_MISMATCH,
            f"{layer}: u {tuple(u.shape)}, v {tuple(v.shape)}, scale {tuple(scale.shape)} "
            f"do not fit {tuple(matrix.shape)}",
        )
    wanted = F.softplus(scale) + _SPECTRAL_FLOOR if "_sn_version" in pieces else scale
    factor = wanted.reshape(()) / (u @ matrix @ v + _SPECTRAL_EPS)
    return (weight.float() * factor).to(weight.dtype)


def _square_table(positions: Tensor) -> Tensor:
    """(1, G G, D) -> (G, G, D)."""
    side = round(positions.shape[-2] ** 0.5)
    if positions.dim() != 3 or positions.shape[0] != 1 or side * side != positions.shape[1]:
        raise UniuggError(
            ErrorCode.CHECKPOINT_MISMATCH, f"pos_embed is {tuple(positions.shape)}, expected (1, side * side, width)"
        )
    return positions[0].unflatten(0, (side, side))
