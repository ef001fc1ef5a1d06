"""Where in the pictures an answer rests: the language model's attention from the answer's words to picture tokens.

Shape letters: T tokens of the whole sequence, A answer tokens, W model width, C head width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .models.language import Language

__all__ = ["attention_to", "strongest_patches"]

LAYER_SHARE = 0.25  # the last quarter of the layers, where what is attended to bears on the next word


def attention_to(language: Language, embeddings: Tensor, first: int, count: int) -> Tensor:
    """Mean attention of `count` places, from `first` on, to every token: one pass over the finished sequence.

    The scores are computed for these rows only, beside the fused attention, so memory grows with T and not T squared.

    Args:
        language: the model.
        embeddings: (T, W) of prompt and answer.
        first: the place that predicted the answer's first token.
        count: number of answer tokens.

    Returns:
        (T,), non-negative, adding up to 1: the mean over these places, heads and the last quarter of the layers.
    """
    layers = language.qwen.model.layers
    chosen = layers[len(layers) - max(1, round(LAYER_SHARE * len(layers))) :]
    total = torch.zeros(embeddings.shape[0], device=embeddings.device)
    rows = slice(first, first + count)

    def watch(module: Any, arguments: tuple, named: dict[str, Any]) -> None:
        states = named["hidden_states"] if "hidden_states" in named else arguments[0]
        total.add_(_rows(module, states, named["position_embeddings"], rows))

    hooks = [layer.self_attn.register_forward_pre_hook(watch, with_kwargs=True) for layer in chosen]
    try:
        language.qwen.model(inputs_embeds=embeddings[None], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return total / len(chosen)


def _rows(attention: Any, states: Tensor, rotary: tuple[Tensor, Tensor], rows: slice) -> Tensor:
    """Mean over rows and heads of one layer's causal attention, (T,) in float32."""
    from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

    shape = (*states.shape[:2], -1, attention.head_dim)
    query = attention.q_proj(states).view(shape).transpose(1, 2)
    key = attention.k_proj(states).view(shape).transpose(1, 2)
    query, key = apply_rotary_pos_emb(query, key, *rotary)
    key = key.repeat_interleave(attention.num_key_value_groups, dim=1)
    scores = (query[:, :, rows].float() @ key.float().transpose(2, 3)) / math.sqrt(attention.head_dim)
    places = torch.arange(scores.shape[-1], device=scores.device)
    later = places[None, :] > places[rows][:, None]
    return torch.softmax(scores.masked_fill(later, -torch.inf), dim=-1).mean(dim=(0, 1, 2))


def strongest_patches(attention: Tensor, places: Sequence[slice], top: int) -> list[tuple[int, int, float]]:
    """The picture tokens with the most attention.

    Args:
        attention: (T,).
        places: where each picture's tokens stand.
        top: how many at most.

    Returns:
        (picture, token in raster order, share of the attention on all picture tokens), the strongest first.
    """
    seen = torch.cat([attention[place] for place in places])
    share = seen / seen.sum().clamp(min=torch.finfo(seen.dtype).tiny)
    owners = [(picture, token) for picture, place in enumerate(places) for token in range(place.stop - place.start)]
    weights, numbers = share.topk(min(top, len(owners)))
    return [(*owners[number], weight) for weight, number in zip(weights.tolist(), numbers.tolist())]
