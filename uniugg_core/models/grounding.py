"""Words of a question look for what they name in its pictures, before the language model reads them.

Looking something up in a picture by its name is what a language model that learns from nothing finds hardest. Here a
word attends to the tokens of every picture once (the cross-attention of Flamingo, arXiv 2204.14198, in front of the
model instead of within it), and may find nothing. Behind a name that finds something stands what it found, as if the
question had marked that place: the words themselves stay as they are, so that they can be said again.

A name may be likely in several places, and the mean of two chairs is where none stands. A focused model shows the one
place where a name looks most, and what hangs together with it; how many there are is told all the same.

Shape letters: R talks, L words of a talk's questions, P pictures of a talk, N tokens of a picture, Q quarters of a
token's patch, M names, D feature width, E width of the spatial decoder, W model width, C width of likeness, K shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..pointmaps import compressed, transform_points
from ..precision import full_precision
from ..prompts import NameSlot, Piece, Prompt

__all__ = ["LIKENESS", "RANGES", "Found", "Grounding", "Mention", "Sightings", "Scenery", "sightings_of", "with_slots"]

LIKENESS = 128  # C
_CLOSER = 192  # hidden width
_SPAN = 4  # tokens that a word is understood with: "the ceiling light"
_WAVES = (math.pi, 2 * math.pi, 4 * math.pi, 8 * math.pi)  # a picture's side is told in
_SURE = 0.5  # weight on a picture's tokens from which on a word has found something
_PLAIN = 0.25  # share of the largest weight from which on a token counts as part of what was found
_TOGETHER = 0.1  # share of the largest weight from which on neighbouring tokens hang together
_FRONT = 0.2  # share of what was found that is its near side
RANGES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)  # shares of what was found that are nearer than what is told


@dataclass(frozen=True)
class Scenery:
    """What words look at.

    Attributes:
        features: (R, P, N, D).
        states: (R, P, N, E), of the spatial decoder.
        own: (R, P, N, 4, 3), points of the patches' quarters in metres, in the frame of the picture's own camera.
        placed: the same in the frame of the talk's first picture.
        there: (R, P) bool, False where a talk has fewer pictures.
        grid: (h, w) of the N tokens.
    """

    features: Tensor
    states: Tensor
    own: Tensor
    placed: Tensor
    there: Tensor
    grid: tuple[int, int]


@dataclass(frozen=True)
class Found:
    """Where words looked.

    Attributes:
        likely: (R, L, P, N + 1), logarithms of the weights on each picture's tokens; the last one is on none of them.
        meaning: (R, L, C), what words mean that look.
        starts: for each talk's prompts at which of the L each of their pieces begins.
    """

    likely: Tensor
    meaning: Tensor
    starts: list[list[dict[Piece, int]]]


@dataclass(frozen=True)
class Mention:
    """A name that found something: in which talk and prompt, its slots' number, and which of the L words it is."""

    talk: int
    prompt: int
    number: int
    word: int


@dataclass(frozen=True)
class Sightings:
    """What M names found in each of P pictures.

    Attributes:
        share: (M, P), how sure it is that it is there.
        features: (M, P, D), of the tokens that were looked at, mixed.
        states: (M, P, E), the same of the spatial decoder's.
        own, placed: (M, P, 12), where they are, as :func:`~uniugg_core.pointmaps.patch_points`.
        extent: (M, P, 3), how far they spread, metres.
        outline: (M, P, 4), where in the picture: middle x and y, and how far they spread there; shares of its sides.
        ranges: (M, P, K), how far away they are, from their near side to the far one, by `RANGES` of them; shares of
            their middle's distance.
        crowd: (M, P, 2), logarithms of how many tokens, and of how many separate spots, they take.
    """

    share: Tensor
    features: Tensor
    states: Tensor
    own: Tensor
    placed: Tensor
    extent: Tensor
    outline: Tensor
    ranges: Tensor
    crowd: Tensor

    @property
    def near(self) -> Tensor:
        """How far away their near side is (M, P), as a share of their middle's distance."""
        return self.ranges[..., RANGES.index(_FRONT)].clamp(0.3, 1.0)

    def to(self, device: torch.device) -> Sightings:
        """The same there."""
        return Sightings(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class Grounding(nn.Module):
    """See the module.

    Args:
        width: W.
        feature_width: D.
        state_width: E, of a model whose words look by the decoder's states as well; 0: they do not.
    """

    def __init__(self, width: int, feature_width: int, state_width: int = 0) -> None:
        super().__init__()
        self.understand = nn.Conv1d(width, LIKENESS, _SPAN)
        self.query = nn.Linear(LIKENESS, LIKENESS)
        self.key = nn.Sequential(nn.LayerNorm(feature_width), nn.Linear(feature_width, LIKENESS))
        self.closer = _Closer(feature_width, state_width) if state_width else None
        self.nothing = nn.Linear(LIKENESS, 1)
        self.looks = nn.Linear(8 + 4 * len(_WAVES), width, bias=False)
        nn.init.zeros_(self.looks.weight)
        nn.init.constant_(self.nothing.bias, 6.0)  # most words name nothing, and a picture has many tokens

    def of_prompts(
        self, prompts: Sequence[Sequence[Prompt]], lookup: Mapping[Piece, Tensor], scenery: Scenery
    ) -> Found:
        """Where every word of prompts looks.

        Args:
            prompts: of each talk.
            lookup: their pieces of text, embedded (T, W).
            scenery: of each talk.
        """
        words_RLW, starts = _spread(prompts, lookup, self.understand.in_channels)
        meaning_RLC = self._meaning(words_RLW)
        return Found(self._look(meaning_RLC, scenery.features, scenery.states), meaning_RLC, starts)

    def of_names(self, names: Sequence[Tensor], features: Tensor, states: Tensor) -> Tensor:
        """Where names look that stand alone: (M, P, N + 1), as :class:`Found`.

        Args:
            names: M of them, embedded (T, W).
            features: (P, N, D) of pictures.
            states: (P, N, E), of the spatial decoder.
        """
        gap = names[0].new_zeros(_SPAN - 1, names[0].shape[1])
        ends = torch.tensor([len(name) for name in names]).add(len(gap)).cumsum(0) - len(gap) - 1
        row = torch.cat([part for name in names for part in (name, gap)])
        return self._look(self._meaning(row[None]), features[None], states[None])[0, ends]

    def _meaning(self, words_RLW: Tensor) -> Tensor:
        """What words mean (R, L, C); separate ones are kept apart by at least three rows of zeros."""
        return F.gelu(self.understand(F.pad(words_RLW.transpose(1, 2), (_SPAN - 1, 0))).transpose(1, 2))

    def _look(self, meaning_RLC: Tensor, features: Tensor, states: Tensor) -> Tensor:
        """Where words look in each talk's pictures (R, P, N, D), (R, P, N, E): (R, L, P, N + 1), see :class:`Found`."""
        query_RLC, key_RPNC = self.query(meaning_RLC), self.key(features)
        if self.closer is not None:
            key_RPNC = key_RPNC + self.closer(features, states)
        score_RLPN = torch.einsum("rlc,rpnc->rlpn", query_RLC, key_RPNC) / math.sqrt(LIKENESS)
        nothing_RLP1 = self.nothing(query_RLC)[:, :, None].expand(-1, -1, score_RLPN.shape[2], -1)
        return torch.cat([score_RLPN, nothing_RLP1], dim=-1).float().log_softmax(dim=-1)

    def shape(self, sightings: Sightings) -> Tensor:
        """How large what names found is, and where in the picture: (M, P, W)."""
        middle, spread = sightings.outline.split(2, dim=-1)
        phase = (middle[..., None] * middle.new_tensor(_WAVES)).flatten(-2)
        told = torch.cat([sightings.extent, sightings.extent.log(), spread, phase.sin(), phase.cos()], dim=-1)
        return self.looks(told.to(self.looks.weight.dtype))


class _Closer(nn.Module):
    """What tokens are like by features and decoder's states together, beyond what each says; nothing at first.

    Args:
        feature_width: D.
        state_width: E.
    """

    def __init__(self, feature_width: int, state_width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in (feature_width, state_width))
        self.wide = nn.Linear(feature_width + state_width, _CLOSER)
        self.like = nn.Linear(_CLOSER, LIKENESS, bias=False)
        nn.init.zeros_(self.like.weight)

    def forward(self, features: Tensor, states: Tensor) -> Tensor:
        """(..., N, D) and (..., N, E) to (..., N, C)."""
        seen = [norm(part) for norm, part in zip(self.norms, (features, states))]
        return self.like(F.gelu(self.wide(torch.cat(seen, dim=-1))))


def with_slots(
    prompts: Sequence[Sequence[Prompt]], found: Found, there: Tensor
) -> tuple[list[list[Prompt]], list[Mention]]:
    """The prompts with slots behind every name that found something in a picture that it is about, and those names.

    Args:
        prompts: of each talk.
        found: where their words looked.
        there: (R, P), of the :class:`Scenery`.
    """
    total_RLP = 1 - found.likely[..., -1].exp()
    sure = (total_RLP * there[:, None] > _SURE).tolist()
    pictures = there.sum(1).tolist()
    names: list[Mention] = []
    slotted: list[list[Prompt]] = []
    for talk, together in enumerate(prompts):
        slotted.append([])
        for place, prompt in enumerate(together):
            cut: dict[Piece, list[Piece]] = {}
            count = 0
            for piece, begin in found.starts[talk][place].items():
                about = [k for k in range(pictures[talk]) if k in prompt.about.get(piece, (k,))]
                flags = [any(word[k] for k in about) for word in sure[talk][begin : begin + len(piece)]] + [False]
                ends = [at + 1 for at in range(len(piece)) if flags[at] and not flags[at + 1]]
                cut[piece] = []
                for start, end in zip([0, *ends], [*ends, len(piece)]):
                    if start == end:  # a name ends the piece
                        continue
                    cut[piece].append(piece[start:end])
                    if end in ends:
                        names.append(Mention(talk, place, count, begin + end - 1))
                        cut[piece] += [NameSlot(picture, count) for picture in about]
                        count += 1
            later = (part for piece in prompt.pieces[prompt.before :] for part in cut.get(piece, [piece]))
            slotted[talk].append(replace(prompt, pieces=(*prompt.pieces[: prompt.before], *later)))
    return slotted, names


def sightings_of(
    names: Sequence[Mention], found: Found, scenery: Scenery, poses: Tensor, *, focused: bool = False
) -> Sightings:
    """What names found.

    Args:
        names: M of them, from :func:`with_slots`.
        found: where all words looked.
        scenery: what at.
        poses: (M, 4, 4), from the first picture's frame to the one that the name's question is about.
        focused: in one place of each picture.
    """
    talks, words = [name.talk for name in names], [name.word for name in names]
    weight_MPN = found.likely[talks, words][..., :-1].exp()
    share_MP = weight_MPN.sum(-1)
    mixed_MPN = weight_MPN / share_MP.clamp_min(1e-6)[..., None]
    crowd_MP2 = _crowd(mixed_MPN, scenery.grid)
    if focused:
        mixed_MPN = F.normalize(mixed_MPN * _where_most(mixed_MPN, scenery.grid), p=1, dim=-1)
    features_MPD, states_MPE = (
        (mixed_MPN[:, :, None].to(tokens.dtype) @ tokens[talks]).squeeze(2)
        for tokens in (scenery.features, scenery.states)
    )
    # a look that strays takes the mean far away: by squared weights it has less of a say
    sharp_MPN = F.normalize(mixed_MPN.square(), p=1, dim=-1)
    own_MPQ3, placed_MPQ3 = (_place(sharp_MPN, points[talks])[0] for points in (scenery.own, scenery.placed))
    _, extent_MP3 = _place(mixed_MPN, scenery.placed[talks])
    outline_MP4 = _outline(mixed_MPN, scenery.grid)
    moved_MPQ3 = transform_points(poses.to(placed_MPQ3), placed_MPQ3.flatten(1, 2)).view_as(placed_MPQ3)
    away_MP1 = own_MPQ3.mean(2).norm(dim=-1, keepdim=True).clamp_min(1e-3)
    ranges_MPK = (_ranges(mixed_MPN, scenery.own[talks]) / away_MP1).clamp(0.1, 10.0)
    places = compressed(own_MPQ3), compressed(moved_MPQ3)
    return Sightings(share_MP, features_MPD, states_MPE, *places, extent_MP3, outline_MP4, ranges_MPK, crowd_MP2)


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
def _outline(mixed_MPN: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean and spread (M, P, 4) of where in the picture is looked at."""
    (rows, columns), number = grid, torch.arange(mixed_MPN.shape[-1], device=mixed_MPN.device)
    spots_N2 = torch.stack([(number % columns + 0.5) / columns, (number // columns + 0.5) / rows], dim=-1)
    mean_MP2, square_MP2 = mixed_MPN @ spots_N2, mixed_MPN @ spots_N2.square()
    return torch.cat([mean_MP2, (square_MP2 - mean_MP2.square()).clamp_min(1e-6).sqrt()], dim=-1)


@torch.no_grad()
def _where_most(mixed_MPN: Tensor, grid: tuple[int, int]) -> Tensor:
    """The token (M, P, N) that is looked at most, and those that hang together with it; 0 or 1."""
    flat_X1hw = mixed_MPN.float().flatten(0, 1).unflatten(-1, grid)[:, None]
    most_X1hw = flat_X1hw.amax((-2, -1), keepdim=True)
    plain_X1hw, kept_X1hw = flat_X1hw >= _TOGETHER * most_X1hw, (flat_X1hw == most_X1hw).float()
    for _ in range(max(grid)):
        kept_X1hw = F.max_pool2d(kept_X1hw, 3, 1, 1) * plain_X1hw
    return kept_X1hw.view_as(mixed_MPN).to(mixed_MPN)


@full_precision
def _crowd(mixed_MPN: Tensor, grid: tuple[int, int]) -> Tensor:
    """Logarithms (M, P, 2) of how many tokens are looked at, and of how many stand out among their neighbours."""
    tokens_MP = -(mixed_MPN * mixed_MPN.clamp_min(1e-9).log()).sum(-1)
    maps_MPhw = mixed_MPN.unflatten(-1, grid)
    plain_MPhw = maps_MPhw >= _PLAIN * maps_MPhw.amax((-2, -1), keepdim=True)
    spots_MP = (plain_MPhw & (maps_MPhw == F.max_pool2d(maps_MPhw, 3, 1, 1))).sum((-2, -1))
    return torch.stack([tokens_MP, spots_MP.clamp_min(1).log()], dim=-1)


@full_precision
def _ranges(mixed_MPN: Tensor, quarters_MPNQ3: Tensor) -> Tensor:
    """Metres (M, P, K) from the camera than which `RANGES` of what is looked at are nearer."""
    plain_MPN = torch.where(mixed_MPN >= _PLAIN * mixed_MPN.amax(-1, keepdim=True), mixed_MPN, 0.0)
    away_MPX, order_MPX = quarters_MPNQ3.norm(dim=-1).flatten(2).sort(dim=-1)
    weight_MPX = plain_MPN.repeat_interleave(quarters_MPNQ3.shape[3], dim=-1).gather(-1, order_MPX).cumsum(-1)
    firsts = [(weight_MPX >= share * weight_MPX[..., -1:]).int().argmax(-1) for share in RANGES]
    return away_MPX.gather(-1, torch.stack(firsts, dim=-1))


@full_precision
def _place(mixed_MPN: Tensor, quarters_MPNQ3: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (M, P, Q, 3) and spread (M, P, 3) in metres of the points that are looked at."""
    mean_MPQ3 = torch.einsum("mpn,mpnqx->mpqx", mixed_MPN, quarters_MPNQ3)
    square_MP3 = torch.einsum("mpn,mpnx->mpx", mixed_MPN, quarters_MPNQ3.square().mean(3))
    return mean_MPQ3, (square_MP3 - mean_MPQ3.mean(2).square()).clamp_min(1e-4).sqrt()
