"""Words of a question look for what they name in its pictures, before the language model reads them.

Looking something up in a picture by its name is what a language model that learns from nothing finds hardest. Here a
word attends to the tokens of every picture once (the cross-attention of Flamingo, arXiv 2204.14198, in front of the
model instead of within it), may find nothing, and carries what it found: the tokens, where in space they are, in the
frame that the question is about, and how far they spread.

Shape letters: R talks, L words of a talk's questions, P pictures of a talk, N tokens of a picture, Q quarters of a
token's patch, D feature width, W model width, C width of likeness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..pointmaps import compressed, transform_points
from ..precision import full_precision
from ..prompts import Piece, Prompt
from .places import PlaceProjector

__all__ = ["Found", "Grounding", "Scenery"]

_LIKENESS = 128  # C
_SPAN = 4  # tokens that a word is understood with: "the ceiling light"


@dataclass(frozen=True)
class Scenery:
    """What words look at.

    Attributes:
        features: (R, P, N, D).
        tokens: (R, P, N, W), the pictures as the language model reads them.
        quarters: (R, P, N, 4, 3), points of the patches' quarters in metres, in the frame of the first picture.
        there: (R, P) bool, False where a talk has fewer pictures.
    """

    features: Tensor
    tokens: Tensor
    quarters: Tensor
    there: Tensor


@dataclass(frozen=True)
class Found:
    """Where words looked.

    Attributes:
        likely: (R, L, P, N + 1), logarithms of the weights on each picture's tokens; the last one is on none of them.
        starts: for each talk's prompts at which of the L each of their pieces begins.
    """

    likely: Tensor
    starts: list[list[dict[Piece, int]]]


class Grounding(nn.Module):
    """See the module. It says nothing at first, so that a model which can speak may get it later.

    Args:
        width: W.
        feature_width: D.
        waves: see :class:`PlaceProjector`.
    """

    def __init__(self, width: int, feature_width: int, *, waves: bool) -> None:
        super().__init__()
        self.understand = nn.Conv1d(width, _LIKENESS, _SPAN)
        self.query = nn.Linear(_LIKENESS, _LIKENESS)
        self.key = nn.Sequential(nn.LayerNorm(feature_width), nn.Linear(feature_width, _LIKENESS))
        self.nothing = nn.Linear(_LIKENESS, 1)
        self.first = nn.Linear(width, width, bias=False)
        self.later = nn.Linear(width, width, bias=False)
        self.place = PlaceProjector(width, waves=waves, silent=True)
        self.extent = nn.Linear(3, width, bias=False)
        nn.init.zeros_(self.extent.weight)
        nn.init.constant_(self.nothing.bias, 2.0)  # most words name nothing
        nn.init.zeros_(self.first.weight)
        nn.init.zeros_(self.later.weight)

    def of_prompts(
        self,
        prompts: Sequence[Sequence[Prompt]],
        lookup: Mapping[Piece, Tensor],
        scenery: Scenery,
        poses: Sequence[Sequence[Tensor | None]],
    ) -> tuple[list[list[dict[Piece, Tensor]]], Found]:
        """What every word of prompts carries with it, and where it looked.

        Args:
            prompts: of each talk.
            lookup: their pieces of text, embedded (T, W).
            scenery: of each talk.
            poses: for each prompt (4, 4) from the first picture's frame to the one it is about; None: the same.

        Returns:
            for each prompt and piece of text (T, W).
        """
        words_RLW, starts = _spread(prompts, lookup, self.first.in_features)
        frames = torch.eye(4, device=words_RLW.device).repeat(*words_RLW.shape[:2], 1, 1)
        for row, together in enumerate(starts):
            for begins, pose in zip(together, poses[row]):
                for piece, begin in begins.items() if pose is not None else ():
                    frames[row, begin : begin + len(piece)] = pose.to(frames)
        said_RLW, likely = self(words_RLW, scenery, frames)
        said = [
            [{piece: said_RLW[row, begin : begin + len(piece)] for piece, begin in begins.items()} for begins in talk]
            for row, talk in enumerate(starts)
        ]
        return said, Found(likely, starts)

    def forward(self, words: Tensor, scenery: Scenery, poses: Tensor) -> tuple[Tensor, Tensor]:
        """What words (R, L, W) carry with them, (R, L, W), and where they looked, see :class:`Found`.

        Args:
            words: embedded; separate ones are kept apart by at least three rows of zeros.
            scenery: of each talk.
            poses: (R, L, 4, 4), from the first picture's frame to the one that a word is about.
        """
        near_RLC = self.understand(F.pad(words.transpose(1, 2), (_SPAN - 1, 0))).transpose(1, 2)
        query_RLC = self.query(F.gelu(near_RLC))
        score_RLPN = torch.einsum("rlc,rpnc->rlpn", query_RLC, self.key(scenery.features)) / math.sqrt(_LIKENESS)
        nothing_RLP1 = self.nothing(query_RLC)[:, :, None].expand(-1, -1, score_RLPN.shape[2], -1)
        likely = torch.cat([score_RLPN, nothing_RLP1], dim=-1).float().log_softmax(dim=-1)
        weight_RLPN = likely[..., :-1].exp() * scenery.there[:, None, :, None]
        carried = _mixed(weight_RLPN[:, :, :1], self.first(scenery.tokens[:, :1]))
        if scenery.tokens.shape[1] > 1:
            carried = carried + _mixed(weight_RLPN[:, :, 1:], self.later(scenery.tokens[:, 1:]))
        total_RL1 = weight_RLPN.sum((2, 3))[..., None]
        mean_RLQ3, extent_RL3 = _place(weight_RLPN / (total_RL1[..., None] + 1e-3), scenery.quarters)
        moved_RLQ3 = transform_points(poses.flatten(0, 1), mean_RLQ3.flatten(0, 1)).unflatten(0, words.shape[:2])
        where = self.place(compressed(moved_RLQ3)) + self.extent(extent_RL3.to(words.dtype))
        return carried + total_RL1.clamp(max=1) * where, likely


def _spread(
    prompts: Sequence[Sequence[Prompt]], lookup: Mapping[Piece, Tensor], width: int
) -> tuple[Tensor, list[list[dict[Piece, int]]]]:
    """The words of every talk's questions in a row: (R, L, W) with gaps between pieces, and where each begins."""
    rows, starts = [], []
    gap = next(iter(lookup.values())).new_zeros(_SPAN - 1, width)
    for together in prompts:
        parts, begins, length = [], [], 0
        for prompt in together:
            begin: dict[Piece, int] = {}
            for piece in prompt.words:
                begin[piece] = length
                parts += [lookup[piece], gap]
                length += len(piece) + len(gap)
            begins.append(begin)
        rows.append(torch.cat(parts) if parts else gap)
        starts.append(begins)
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), starts


@full_precision
def _place(share_RLPN: Tensor, quarters_RPNQ3: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (R, L, Q, 3) and spread (R, L, 3) in metres of the points that are looked at."""
    mean_RLQ3 = torch.einsum("rlpn,rpnqx->rlqx", share_RLPN, quarters_RPNQ3)
    square_RL3 = torch.einsum("rlpn,rpnx->rlx", share_RLPN, quarters_RPNQ3.square().mean(3))
    return mean_RLQ3, (square_RL3 - mean_RLQ3.mean(2).square()).clamp_min(1e-4).sqrt()


def _mixed(weight_RLPN: Tensor, value_RPNW: Tensor) -> Tensor:
    """The values' weighted sum (R, L, W)."""
    return weight_RLPN.flatten(2).to(value_RPNW.dtype) @ value_RPNW.flatten(1, 2)
