"""Reader of MASt3R metric checkpoints: CroCo encoder, two-branch decoder, and heads without colours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..models.decoder import SpatialDecoder
from ..models.encoder import build_encoder
from .mapping import PublicCheckpoint, Rule, apply_rules, check_exact, infer_decoder, infer_encoder

__all__ = ["decoder_rules", "fill_second_branch", "matches", "read"]

_HALF = (0.5, 0.5, 0.5)
_WB = r"\.(weight|bias)"
_BRANCH = {"": "a", "2": "b"}  # dec_blocks, dec_blocks2
_HEAD = {"1": "a", "2": "b"}  # downstream_head1, downstream_head2
_CROSS = {"projq": "q", "projk": "k", "projv": "v", "proj": "proj"}
_UNIT = {"resConfUnit1.": "lateral_unit.", "resConfUnit2.": "path_unit."}


def matches(keys: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of a MASt3R checkpoint."""
    return any(key.startswith("enc_blocks.") for key in keys) and "decoder_embed.weight" in keys


def read(
    state: Mapping[str, Tensor], *, head_width: int = 64, hooks: tuple[int, int, int, int] | None = None
) -> PublicCheckpoint:
    """Renames a MASt3R state dict.

    Args:
        state: the file's tensors.
        head_width: width of an attention head, which no shape tells.
        hooks: layers the dense heads read; see :func:`~uniugg_core.checkpoints.mapping.infer_decoder`.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH naming tensors that are missing, left over or misshapen.
    """
    rules = [
        Rule(r"mask_token", None),
        Rule(r"patch_embed\.proj\.weight", "encoder.patch_embed.weight", lambda weight: weight.flatten(1)),
        Rule(r"patch_embed\.proj\.bias", "encoder.patch_embed.bias"),
        Rule(
            r"enc_blocks\.(\d+)\.(norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)" + _WB,
            r"encoder.blocks.\1.\2.\3",
        ),
        Rule(r"enc_norm" + _WB, r"encoder.norm.\1"),
        *decoder_rules(),
    ]
    tensors, ignored = apply_rules(state, rules, "mast3r")
    fill_second_branch(tensors)
    encoder = infer_encoder(tensors, kind="croco", head_width=head_width, image_mean=_HALF, image_std=_HALF)
    decoder = infer_decoder(tensors, patch=encoder.patch, head_width=head_width, hooks=hooks)
    with torch.device("meta"):
        check_exact(tensors, build_encoder(encoder), "encoder.")
        check_exact(tensors, SpatialDecoder(decoder, encoder.width, encoder.patch), "spatial.")
    return PublicCheckpoint("mast3r", tensors, encoder, decoder, ignored)


def decoder_rules() -> list[Rule]:
    """Rules of the two-branch decoder and its heads, shared with the UniUGG release (which adds ``rgb_head``)."""
    block, head = r"dec_blocks(2?)\.(\d+)\.", r"downstream_head([12])\."
    fusion = head + r"dpt\.scratch\.refinenet([1-4])\."
    return [
        Rule(r"decoder_embed" + _WB, r"spatial.embed.\1"),
        Rule(r"dec_norm" + _WB, r"spatial.norm.\1"),
        Rule(
            block + r"(norm1|norm2|norm3|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)" + _WB,
            lambda m: f"spatial.blocks_{_BRANCH[m[1]]}.{m[2]}.{m[3]}.{m[4]}",
        ),
        Rule(block + r"norm_y" + _WB, lambda m: f"spatial.blocks_{_BRANCH[m[1]]}.{m[2]}.norm_context.{m[3]}"),
        Rule(
            block + r"cross_attn\.(projq|projk|projv|proj)" + _WB,
            lambda m: f"spatial.blocks_{_BRANCH[m[1]]}.{m[2]}.cross_attn.{_CROSS[m[3]]}.{m[4]}",
        ),
        Rule(
            head + r"dpt\.act_postprocess\.([0-3])\.([01])" + _WB,
            lambda m: f"spatial.head_{_HEAD[m[1]]}.dpt.reassemble.{m[2]}.{m[3]}.{m[4]}",
        ),
        # The lateral convolutions are stored twice, under two names.
        Rule(
            head + r"dpt\.scratch\.layer([1-4])_rn\.weight",
            lambda m: f"spatial.head_{_HEAD[m[1]]}.dpt.lateral.{int(m[2]) - 1}.weight",
        ),
        Rule(
            head + r"dpt\.scratch\.layer_rn\.([0-3])\.weight",
            lambda m: f"spatial.head_{_HEAD[m[1]]}.dpt.lateral.{m[2]}.weight",
        ),
        Rule(
            fusion + r"out_conv" + _WB,
            lambda m: f"spatial.head_{_HEAD[m[1]]}.dpt.fusion.{int(m[2]) - 1}.out.{m[3]}",
        ),
        Rule(
            fusion + r"(resConfUnit[12]\.)(conv[12])" + _WB,
            lambda m: f"spatial.head_{_HEAD[m[1]]}.dpt.fusion.{int(m[2]) - 1}.{_UNIT[m[3]]}{m[4]}.{m[5]}",
        ),
        Rule(head + r"dpt\.head\.([024])" + _WB, lambda m: f"spatial.head_{_HEAD[m[1]]}.points.{m[2]}.{m[3]}"),
        Rule(head + r"dpt\.rgb_head\.([024])" + _WB, lambda m: f"spatial.head_{_HEAD[m[1]]}.colors.{m[2]}.{m[3]}"),
        Rule(
            head + r"head_local_features\.(fc1|fc2)" + _WB,
            lambda m: f"spatial.head_{_HEAD[m[1]]}.descriptors.{m[2]}.{m[3]}",
        ),
    ]


def fill_second_branch(tensors: dict[str, Tensor]) -> None:
    """Gives the second branch a copy of the first one's blocks if a file has none (CroCo's pre-training had one)."""
    first, second = "spatial.blocks_a.", "spatial.blocks_b."
    if any(key.startswith(second) for key in tensors):
        return
    for key in [key for key in tensors if key.startswith(first)]:
        tensors[second + key.removeprefix(first)] = tensors[key].clone()
