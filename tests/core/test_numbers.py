"""The median of drawn numbers: against its distribution, and against draws that are gone on with one by one."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_low

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uniugg_core.models.numbers import NumberTokens, median_number
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()
NUMBERS = NumberTokens(TOKENIZER)
SIZE = len(TOKENIZER)
END = TOKENIZER.im_end
Odds = Callable[[tuple[int, ...]], torch.Tensor]


class Speaker:
    """Says one of some texts, each equally likely; keeps what it was asked to go on with."""

    def __init__(self, *texts: str) -> None:
        self.texts = [(*TOKENIZER.encode(text), END) for text in texts]
        self.beginnings: list[tuple[int, ...]] = [()]
        self.rounds: list[list[tuple[int, ...]]] = []

    def odds(self, beginning: tuple[int, ...]) -> torch.Tensor:
        """Logarithms (V,) of what comes after `beginning`."""
        chances = torch.zeros(SIZE)
        for text in self.texts:
            if text[: len(beginning)] == beginning and len(text) > len(beginning):
                chances[text[len(beginning)]] += 1
        if not chances.any():
            chances[END] = 1
        return (chances / chances.sum()).log()

    def __call__(self, parents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        self.beginnings = [(*self.beginnings[p], t) for p, (t,) in zip(parents.tolist(), tokens.tolist(), strict=True)]
        self.rounds.append(self.beginnings)
        return torch.stack([self.odds(beginning) for beginning in self.beginnings])

    def median(self, draws: int, limit: int = 16) -> str:
        return TOKENIZER.decode(
            [token for token, _ in median_number(self, self.odds(()), NUMBERS, draws=draws, limit=limit)]
        )


def one_by_one(odds: Odds, draws: int) -> str:
    """The same, every draw in a row of its own to the end of the longest."""
    generator, rows = torch.Generator().manual_seed(0), [()] * draws
    for _ in range(8):
        chances = torch.stack([odds(row) for row in rows]).exp()
        drawn = torch.multinomial(chances, 1, generator=generator)[:, 0].tolist()
        rows = [row if row[-1:] == (END,) else (*row, token) for row, token in zip(rows, drawn)]
        if all(row[-1] == END for row in rows):
            break
    return f"{median_low(float(TOKENIZER.decode([t for t in row if t != END])) for row in rows):g}"


def test_the_median_of_what_may_be_said():
    assert Speaker("0.9", "1.8", "2.0", "2.1", "2.2").median(301) == "2.0"
    assert Speaker("3", "3", "3", "12", "105").median(301) == "3"


def test_what_is_no_number_does_not_count():
    assert Speaker("chair", "lamp", "7").median(64) == "7"
    assert Speaker("chair", "lamp").median(64) == ""
    assert Speaker("1 m", "1 m").median(8) == "1"  # ends with its last digit


def test_the_odds_are_those_of_each_token():
    said = median_number(speaker := Speaker("1.5", "1.7", "2.5"), speaker.odds(()), NUMBERS, draws=301, limit=16)
    first, *_, last = said
    assert TOKENIZER.decode([token for token, _ in said]) == "1.7"
    assert torch.tensor([first[1], last[1]]).exp().allclose(torch.tensor([2 / 3, 1 / 2]))


def test_no_more_tokens_than_allowed_are_asked_for():
    speaker = Speaker("1.2345", "1.2346")
    assert speaker.median(8, limit=3) == "1.2"
    assert len(speaker.rounds) == 2
    assert Speaker("1.5").median(8, limit=1) == "1"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 300).map(lambda n: f"{n / 10:g}"), min_size=1, max_size=12), st.integers(1, 40))
def test_draws_that_begin_alike_are_gone_on_with_once(texts, draws):
    speaker = Speaker(*texts)
    assert speaker.median(draws) == one_by_one(speaker.odds, draws)
    for beginnings in speaker.rounds:
        assert len(beginnings) == len(set(beginnings)) <= min(draws, len(set(texts)))
