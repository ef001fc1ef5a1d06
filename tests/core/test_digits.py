"""Numbers told by the characters they are written with."""

from __future__ import annotations

import math

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from training.data.questions.types import length as spoken
from uniugg_core.models import digits

CHARACTERS = "0123456789."


def read(hot: torch.Tensor, places: int) -> str:
    return "".join((CHARACTERS + " ")[k] for k in hot.view(places, 12).argmax(-1).tolist()).rstrip()


@given(st.floats(0.0, 99.9))
def test_lengths_are_written_as_answers_say_them(metres: float) -> None:
    # not on the border between two
    assume(all(abs(metres * unit % 1 - 0.5) > 1e-3 for unit in (10, 100)) and abs(metres - 0.995) > 1e-6)
    told = digits.length(torch.tensor(metres, dtype=torch.float64))
    assert told.shape == (digits.LENGTH,) and told.sum() == 4
    assert f"{read(told, 4)} m" == spoken(metres)


def test_known_lengths() -> None:
    told = digits.length(torch.tensor([0.0, 0.05, 0.994, 0.996, 9.94, 9.96, 150.0]))
    assert [read(row, 4) for row in told] == ["0.00", "0.05", "0.99", "1.0", "9.9", "10.0", "99.9"]


def test_signs_and_digits_of_coordinates() -> None:
    told = digits.coordinate(torch.tensor([-1.26, 0.0, 3.04, -12.0]))
    assert told.shape == (4, digits.COORDINATE)
    assert told[:, :2].tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
    assert told[:, 2:].view(4, 2, 10).argmax(-1).tolist() == [[1, 3], [0, 0], [3, 0], [9, 9]]


def test_turns_are_rounded_as_commands_say_them() -> None:
    told = digits.degrees(torch.tensor([math.radians(-43.0), math.radians(1.0)]), 5)
    assert told[:, :2].tolist() == [[1, 0], [0, 0]]
    assert told[:, 2:].view(2, 2, 10).argmax(-1).tolist() == [[4, 5], [0, 0]]
    assert digits.degrees(torch.tensor(math.radians(43.0)), 1)[2:].view(2, 10).argmax(-1).tolist() == [4, 3]


def test_shares_are_told_in_hundredths() -> None:
    told = digits.percent(torch.tensor([-0.5, 0.071, 0.5, 2.0])).view(4, 2, 10).argmax(-1)
    assert told.tolist() == [[0, 0], [0, 7], [5, 0], [9, 9]]


@given(st.integers(1, 999))
def test_centimetres_are_written_as_answers_say_them(whole: int) -> None:
    told = digits.centimetres(torch.tensor(whole / 100, dtype=torch.float64)).view(3, 11)
    assert (told.sum(-1) == 1).all()
    assert "".join("0123456789 "[place.argmax()] for place in told) == f"{whole:<3}"
