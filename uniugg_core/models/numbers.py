"""Numbers of a language model that is unsure: the median of what it might say.

The likeliest digit after the likeliest digit is a bad number: if 0.9, 1.8, 2.0 and 2.2 m are equally likely, it is 2.0
or 2.2. The median of many drawn answers is the choice of least absolute error (minimum-risk decoding).

Shape letters: K draws, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from ..tokenizer import SpatialTokenizer

__all__ = ["NumberTokens", "median_answer"]

_NUMBER = re.compile(rb"[0-9.]+")
_LONGEST = 16  # tokens; a number with its unit has fewer


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

    def value(self, tokens: Sequence[int]) -> float:
        """The number that an answer begins with; infinity where it begins with none."""
        try:
            return float("".join(self._text[token] for token in itertools.takewhile(self.__contains__, tokens)))
        except ValueError:
            return math.inf


def median_answer(
    after: Callable[[Tensor], Tensor],
    logprobs: Tensor,
    numbers: NumberTokens,
    stops: Collection[int],
    *,
    draws: int,
    limit: int,
) -> list[tuple[int, float]]:
    """Draws answers, always with the same random numbers, and takes the one of median value.

    Args:
        after: logarithms of probabilities (K, V) of the next tokens, after one more token (K, 1) of each answer.
        logprobs: (V,) of the first token.
        numbers: which tokens numbers are made of.
        stops: tokens that end an answer.
        draws: K.
        limit: of an answer's tokens.

    Returns:
        (token, natural logarithm of its probability) of the answer, up to the one that ended it; its beginning, where
        it is longer than numbers are.
    """
    generator = torch.Generator().manual_seed(0)
    ends = torch.tensor(sorted(stops), device=logprobs.device)
    over = torch.zeros(draws, dtype=torch.bool, device=logprobs.device)
    logprobs = logprobs.expand(draws, -1)
    tokens: list[Tensor] = []
    odds: list[Tensor] = []
    for number in range(min(limit, _LONGEST)):
        if number:
            logprobs = after(tokens[-1][:, None])
        drawn = torch.multinomial(logprobs.exp().cpu(), 1, generator=generator).to(logprobs.device)
        tokens.append(drawn[:, 0])
        odds.append(logprobs.gather(1, drawn)[:, 0])
        over |= torch.isin(drawn[:, 0], ends)
        if over.all():
            break
    answers = [list(zip(*row)) for row in zip(torch.stack(tokens, 1).tolist(), torch.stack(odds, 1).tolist())]
    values = [numbers.value([token for token, _ in answer]) for answer in answers]
    ranked = sorted(range(draws), key=lambda row: (values[row], row))
    known = [row for row in ranked if values[row] < math.inf] or ranked
    answer = answers[known[(len(known) - 1) // 2]]
    end = next((place for place, (token, _) in enumerate(answer) if token in stops), len(answer) - 1)
    return answer[: end + 1]
