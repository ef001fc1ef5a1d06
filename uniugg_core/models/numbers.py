"""Numbers of a language model that is unsure: the median of what it might say.

The likeliest digit after the likeliest digit is a bad number: if 0.9, 1.8, 2.0 and 2.2 m are equally likely, it is 2.0
or 2.2. The median of many drawn answers is the choice of least absolute error (minimum-risk decoding).

Shape letters: K draws, U different beginnings of theirs, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..tokenizer import SpatialTokenizer

__all__ = ["NumberTokens", "median_number"]

_NUMBER = re.compile(rb"[0-9.]+")
_LONGEST = 8  # tokens of a number


class NumberTokens:
    """The tokens that numbers are written with, digits and points.

    Args:
        tokenizer: whose; None: there are none.
    """

    def __init__(self, tokenizer: SpatialTokenizer | None = None) -> None:
        spelled = {} if tokenizer is None else {token: tokenizer.token_bytes(token) for token in range(len(tokenizer))}
        self._text = {token: text.decode() for token, text in spelled.items() if _NUMBER.fullmatch(text)}

    def __contains__(self, token: int) -> bool:
        return token in self._text

    def silent(self, logits_V: Tensor) -> Tensor:
        """Logits without any number, as what follows one that has been drawn whole."""
        ids = torch.tensor(list(self._text), dtype=torch.long, device=logits_V.device)
        return logits_V.index_fill(0, ids, -torch.inf)

    def value(self, tokens: Sequence[int]) -> float:
        """The number that tokens begin with; infinity where they begin with none."""
        try:
            return float("".join(self._text[token] for token in itertools.takewhile(self.__contains__, tokens)))
        except ValueError:
            return math.inf


def median_number(
    after: Callable[[Tensor, Tensor], Tensor], logprobs: Tensor, numbers: NumberTokens, *, draws: int, limit: int
) -> list[tuple[int, float]]:
    """Draws the number that comes next, always with the same random numbers, and takes the one of median value.

    Draws that begin alike are gone on with together, which for most numbers leaves a few of them.

    Args:
        after: logarithms of probabilities (U, V) of the next tokens, after U beginnings that are one token longer than
            those it was asked for last (first: after one, the empty one). Takes which of those each goes on (U,), and
            with what (U, 1).
        logprobs: (V,) of the first token.
        numbers: which tokens numbers are made of.
        draws: K.
        limit: of the number's tokens.

    Returns:
        (token, natural logarithm of its probability) of the number; nothing where no draw is one.
    """
    generator = torch.Generator().manual_seed(0)
    drawn: list[list[tuple[int, float]]] = [[] for _ in range(draws)]
    going, begun = list(range(draws)), [0] * draws  # draws whose number may be longer; the beginning of each draw
    beginnings: list[tuple[int, int]] = []
    logprobs_UV = logprobs[None]
    for _ in range(min(limit, _LONGEST)):
        if beginnings:
            parent_U1, token_U1 = torch.tensor(beginnings, device=logprobs.device).split(1, dim=1)
            logprobs_UV = after(parent_U1[:, 0], token_U1)
        # all draws are drawn on, read or not, so that each keeps its random numbers
        logprobs_KV = logprobs_UV[torch.tensor(begun, device=logprobs.device)]
        token_K1 = torch.multinomial(logprobs_KV.exp().cpu(), 1, generator=generator).to(logprobs.device)
        tokens, odds = (part[:, 0].tolist() for part in (token_K1, logprobs_KV.gather(1, token_K1)))
        going = [row for row in going if tokens[row] in numbers]
        if not going:
            break
        for row in going:
            drawn[row].append((tokens[row], odds[row]))
        longer = {row: (begun[row], tokens[row]) for row in going}
        beginnings = list(dict.fromkeys(longer.values()))
        begun = [beginnings.index(longer[row]) if row in longer else 0 for row in range(draws)]
    values = [numbers.value([token for token, _ in number]) for number in drawn]
    known = [row for row in sorted(range(draws), key=lambda row: (values[row], row)) if values[row] < math.inf]
    return drawn[known[(len(known) - 1) // 2]] if known else []
