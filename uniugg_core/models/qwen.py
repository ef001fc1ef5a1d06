"""The language model's transformer: transformers' ``Qwen2ForCausalLM``, so that Qwen2.5 weights load as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._compat import ensure_torchvision
from ..config import LanguageConfig

__all__ = ["as_computed", "build_qwen"]


class _Norm(nn.RMSNorm):
    """torch's, whose one kernel wants input and weights of one type."""

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.rms_norm(states, self.normalized_shape, self.weight.to(states.dtype), self.eps)


def build_qwen(config: LanguageConfig) -> nn.Module:
    """A fresh ``Qwen2ForCausalLM`` of the configured sizes; its norms are torch's, one kernel each."""
    ensure_torchvision()
    from transformers import Qwen2Config, Qwen2ForCausalLM

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
            attn_implementation="sdpa",
        )
    )
    for layer in qwen.model.layers:
        layer.input_layernorm = _Norm(config.width, config.rms_eps)
        layer.post_attention_layernorm = _Norm(config.width, config.rms_eps)
    qwen.model.norm = _Norm(config.width, config.rms_eps)
    return qwen


def as_computed(embeddings: Tensor) -> Tensor:
    """In autocast's type, where it is on: sums of layers are then not converted to and fro in every one."""
    device = embeddings.device.type
    return embeddings.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else embeddings
