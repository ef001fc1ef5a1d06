"""Small checkpoints in the true public layouts: the published names on tiny tensors.

Written from the names alone, not from the readers' rules, so that the two can disagree.
"""

from __future__ import annotations

import torch
from torch import Tensor

ENCODER, DECODER, FUSION, DPT = 32, 48, 20, (8, 12, 16, 24)
HEAD_WIDTH = 16  # 2 encoder heads, 3 decoder heads
DEPTH, PATCH, TABLE, PREFIX, DESCRIPTOR = 4, 16, 6, 8, 5
POINTS, COLORS = 12, 7  # widths inside the dense heads

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def conv(name: str, out: int, into: int, side: int) -> Shapes:
    return {f"{name}.weight": (out, into, side, side), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def vit_block(name: str, width: int) -> Shapes:
    return {
        **norm(f"{name}.norm1", width),
        **linear(f"{name}.attn.qkv", 3 * width, width),
        **linear(f"{name}.attn.proj", width, width),
        **norm(f"{name}.norm2", width),
        **linear(f"{name}.mlp.fc1", 4 * width, width),
        **linear(f"{name}.mlp.fc2", width, 4 * width),
    }


def decoder_block(name: str) -> Shapes:
    cross = [linear(f"{name}.cross_attn.{part}", DECODER, DECODER) for part in ("projq", "projk", "projv", "proj")]
    found = {**vit_block(name, DECODER), **norm(f"{name}.norm3", DECODER), **norm(f"{name}.norm_y", DECODER)}
    for shapes in cross:
        found |= shapes
    return found


def head(name: str, rgb: bool) -> Shapes:
    dpt = f"{name}.dpt"
    tokens = (ENCODER, DECODER, DECODER, DECODER)
    found: Shapes = {}
    for i, (into, out) in enumerate(zip(tokens, DPT)):
        found |= conv(f"{dpt}.act_postprocess.{i}.0", out, into, 1)
        found[f"{dpt}.scratch.layer{i + 1}_rn.weight"] = (FUSION, out, 3, 3)
        found[f"{dpt}.scratch.layer_rn.{i}.weight"] = (FUSION, out, 3, 3)
        found |= conv(f"{dpt}.scratch.refinenet{i + 1}.out_conv", FUSION, FUSION, 1)
        for unit in ("resConfUnit1", "resConfUnit2"):
            for layer in ("conv1", "conv2"):
                found |= conv(f"{dpt}.scratch.refinenet{i + 1}.{unit}.{layer}", FUSION, FUSION, 3)
    for i, side in ((0, 4), (1, 2), (3, 3)):
        found |= conv(f"{dpt}.act_postprocess.{i}.1", DPT[i], DPT[i], side)
    found |= conv(f"{dpt}.head.0", POINTS, FUSION, 3)
    found |= conv(f"{dpt}.head.2", POINTS, POINTS, 3)
    found |= conv(f"{dpt}.head.4", 4, POINTS, 1)
    if rgb:
        found |= conv(f"{dpt}.rgb_head.0", POINTS, FUSION, 3)
        found |= conv(f"{dpt}.rgb_head.2", COLORS, POINTS, 3)
        found |= conv(f"{dpt}.rgb_head.4", 3, COLORS, 1)
    local = ENCODER + DECODER
    found |= linear(f"{name}.head_local_features.fc1", 2 * local, local)
    return found | linear(f"{name}.head_local_features.fc2", (DESCRIPTOR + 1) * PATCH * PATCH, 2 * local)


def radio_encoder(prefix: str) -> Shapes:
    found: Shapes = {
        f"{prefix}patch_generator.pos_embed": (1, TABLE * TABLE, ENCODER),
        f"{prefix}patch_generator.embedder.weight": (ENCODER, 3 * PATCH * PATCH),
        f"{prefix}patch_generator.cls_token.token": (PREFIX, ENCODER),
    }
    for i in range(DEPTH):
        found |= vit_block(f"{prefix}blocks.{i}", ENCODER)
    return found


def decoder(rgb: bool) -> Shapes:
    found = {**linear("decoder_embed", DECODER, ENCODER), **norm("dec_norm", DECODER), "mask_token": (1, 1, DECODER)}
    for i in range(DEPTH):
        found |= decoder_block(f"dec_blocks.{i}") | decoder_block(f"dec_blocks2.{i}")
    return found | head("downstream_head1", rgb) | head("downstream_head2", rgb)


def shapes(layout: str) -> Shapes:
    """Names and shapes of a small "radio", "hf_radio", "mast3r" or "uniugg" file."""
    if layout == "radio":
        extras = {"input_conditioner.norm_mean": (3, 1, 1), "input_conditioner.norm_std": (3, 1, 1)}
        adaptors = {"_heads.0.fc.weight": (4, ENCODER), "_feature_projections.clip.fc.bias": (4,)}
        return {**radio_encoder("base_model."), **extras, **adaptors}
    if layout == "hf_radio":
        return {**radio_encoder("radio_model.model."), "radio_model.input_conditioner.norm_mean": (3, 1, 1)}
    if layout == "mast3r":
        found = {**conv("patch_embed.proj", ENCODER, 3, PATCH), **norm("enc_norm", ENCODER)}
        for i in range(DEPTH):
            found |= vit_block(f"enc_blocks.{i}", ENCODER)
        return found | decoder(rgb=False)
    return {
        **radio_encoder("encoder.model."),
        "encoder.input_conditioner.norm_mean": (3, 1, 1),
        **linear("fc1", ENCODER, ENCODER),
        **linear("fc2", ENCODER, ENCODER),
        **conv("patch_embed.proj", ENCODER, 3, PATCH),
        **norm("enc_norm", ENCODER),
        **decoder(rgb=True),
        "radio_model_teacher.model.blocks.0.norm1.weight": (ENCODER,),
    }


def state(layout: str, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of :func:`shapes`; what is stored twice is one tensor."""
    generator = torch.Generator().manual_seed(seed)
    found = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes(layout).items()}
    for name in found:
        if ".scratch.layer_rn." in name:
            before, _, after = name.partition("layer_rn.")
            found[name] = found[f"{before}layer{int(after[0]) + 1}_rn.weight"]
    if layout == "uniugg":
        found["encoder.summary_idxs"] = torch.tensor([0, 1, 2])
    return found
