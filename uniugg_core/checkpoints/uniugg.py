"""Reader of the released UniUGG encoder checkpoints: RADIO's encoder, the projector, the two-branch decoder, heads.

The file keeps remains of the networks it was built from: a copy of the teacher, and MASt3R's mask token, patch
embedding and encoder norm, which the forward pass does not use. They are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..config import CLIP_MEAN, CLIP_STD
from ..models.decoder import SpatialDecoder
from ..models.encoder import build_encoder
from .mapping import PublicCheckpoint, Rule, apply_rules, check_exact, infer_decoder, infer_encoder
from .mast3r import decoder_rules, fill_second_branch
from .radio import encoder_rules, fold_spectral, summary_tokens

__all__ = ["matches", "read"]

_PREFIX = r"encoder\.model\."
_LEFT_OUT = (
    r"radio_model_teacher\..*|encoder\.input_conditioner\..*|encoder\.summary_idxs"
    r"|patch_embed\.proj\.(weight|bias)|enc_norm\.(weight|bias)|mask_token"
)


def matches(keys: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of a UniUGG release."""
    return any(key.startswith("encoder.model.patch_generator.") for key in keys)


def read(
    state: Mapping[str, Tensor], *, head_width: int = 64, hooks: tuple[int, int, int, int] | None = None
) -> PublicCheckpoint:
    """Renames the state dict of a released UniUGG encoder.

    Args:
        state: the file's tensors.
        head_width: width of an attention head, which no shape tells.
        hooks: layers the dense heads read; see :func:`~uniugg_core.checkpoints.mapping.infer_decoder`.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH naming tensors that are missing, left over or misshapen.
    """
    rules = [
        *encoder_rules(_PREFIX),
        Rule(r"fc1\.(weight|bias)", r"spatial.projector.0.\1"),
        Rule(r"fc2\.(weight|bias)", r"spatial.projector.2.\1"),
        *decoder_rules(),
        Rule(_LEFT_OUT, None),
    ]
    tensors, ignored = apply_rules(fold_spectral(state), rules, "uniugg")
    fill_second_branch(tensors)
    encoder = infer_encoder(
        tensors,
        kind="radio",
        head_width=head_width,
        summary_tokens=summary_tokens(state.get("encoder.summary_idxs")),
        image_mean=CLIP_MEAN,
        image_std=CLIP_STD,
    )
    decoder = infer_decoder(tensors, patch=encoder.patch, head_width=head_width, hooks=hooks)
    with torch.device("meta"):
        check_exact(tensors, build_encoder(encoder), "encoder.")
        check_exact(tensors, SpatialDecoder(decoder, encoder.width, encoder.patch), "spatial.")
    return PublicCheckpoint("uniugg", tensors, encoder, decoder, ignored)
