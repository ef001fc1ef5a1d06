"""The language model's transformer: transformers' ``Qwen2ForCausalLM``, so that Qwen2.5 weights load as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._compat import ensure_torchvision
from ..config import LanguageConfig
from .layers import attend, in_the_open

__all__ = ["additive_mask", "as_computed", "build_qwen"]


_ATTENTION = "uniugg"  # the name that transformers knows it by


class _Norm(nn.RMSNorm):
    """torch's, whose one kernel wants input and weights of one type."""

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.rms_norm(states, self.normalized_shape, self.weight.to(states.dtype), self.eps)


def build_qwen(config: LanguageConfig) -> nn.Module:
    """A fresh ``Qwen2ForCausalLM`` of the configured sizes; its norms are torch's, one kernel each."""
    ensure_torchvision()
    from transformers import AttentionInterface, Qwen2Config, Qwen2ForCausalLM
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
    qwen = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            max_position_embeddings=config.max_positions,
            rms_norm_eps=config.rms_eps,
            rope_theta=config.rope_theta,
            tie_word_embeddings=config.tie_embeddings,
            use_sliding_window=False,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
            attn_implementation=_ATTENTION,
        )
    )
    for layer in qwen.model.layers:
        layer.input_layernorm = _Norm(config.width, config.rms_eps)
        layer.post_attention_layernorm = _Norm(config.width, config.rms_eps)
    qwen.model.norm = _Norm(config.width, config.rms_eps)
    return qwen


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """transformers' "sdpa", but for :func:`~.layers.attend` where that is the faster one.

    Args:
        module: the layer.
        query: (B, H, N, C).
        key, value: (B, K, M, C) of K heads for the H.
        attention_mask: (B or 1, 1, N, M); None: every place sees itself and what is before it.

    Returns:
        (B, N, H, C), and no weights.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not in_the_open(query):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    (heads, count), (groups, total) = query.shape[1:3], key.shape[1:3]
    if attention_mask is None:
        attention_mask = torch.ones(count, total, dtype=torch.bool, device=query.device).tril(total - count)[None, None]
    mask = attention_mask.expand(-1, heads // groups, -1, -1).flatten(1, 2)[:, None]  # heads of a group side by side
    mixed = attend(query.unflatten(1, (groups, -1)).flatten(2, 3), key, value, mask)
    return mixed.unflatten(2, (-1, count)).flatten(1, 2).transpose(1, 2).contiguous(), None


def as_computed(embeddings: Tensor) -> Tensor:
    """In autocast's type, where it is on: sums of layers are then not converted to and fro in every one."""
    device = embeddings.device.type
    return embeddings.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else embeddings


def additive_mask(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, columns), True where attention must not look, to the (1, 1, rows, columns) that is added to its scores."""
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill(hidden, torch.finfo(dtype).min)[None, None]
