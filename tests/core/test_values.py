"""Reading quantities out of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniugg_core.values import conclusion, parse_value

TABLE = [
    ("about 2.5 meters", 2.5, "meters"),
    ("3", 3.0, ""),
    ("3.", 3.0, ""),
    ("1 m 20 cm", 1.2, "m"),
    ("1 m and 20 cm", 1.2, "m"),
    ("3 metres, 5 millimetres", 3.005, "metres"),
    ("5 ft 6 in", 5.5, "ft"),
    ("6 feet 3 inches tall", 6.25, "feet"),
    ("1 m 2 m", 1.0, "m"),  # the second is no part of the first
    ("20 cm 1 m", 20.0, "cm"),
    ("-2.5 m", -2.5, "m"),
    ("\u22122.5 m", -2.5, "m"),
    (".5 m", 0.5, "m"),
    ("0.8m", 0.8, "m"),
    ("1,250 mm", 1250.0, "mm"),
    ("1e-3 m", 0.001, "m"),
    ("It is 45 degrees to the left.", 45.0, "degrees"),
    ("45\u00b0", 45.0, "\u00b0"),
    ("12.5 square meters", 12.5, "square meters"),
    ("20 m2 or so", 20.0, "m2"),
    ("20 m\u00b2", 20.0, "m\u00b2"),
    ("1.5 m/s", 1.5, "m/s"),
    ("7 %", 7.0, "%"),
    ("There are 3 in the room", 3.0, ""),  # not inches
    ("3 in.", 3.0, "in"),
    ("2 mugs", 2.0, ""),  # not metres
    ("two chairs", 2.0, ""),
    ("Twelve metres", 12.0, "metres"),
    ("one m", 1.0, "m"),
    ("someone is there", None, ""),
    ("A. left", None, ""),
    ("Frame2", None, ""),
    ("", None, ""),
    ("1e999 m", None, ""),
]


@pytest.mark.parametrize(("text", "value", "unit"), TABLE)
def test_table(text, value, unit):
    assert parse_value(text) == (value, unit)


@given(st.decimals(-10_000, 10_000, places=3), st.sampled_from(["m", "cm", "meters", "degrees", "", "square meters"]))
def test_numbers_come_back(number, unit):
    assert parse_value(f"It is about {number} {unit} away") == (float(number), unit)


@given(st.text(max_size=80))
def test_nothing_breaks_it(text):
    value, unit = parse_value(text)
    assert value is None or value == value
    assert unit == "" or unit in text


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("the chair 1.2 m, the table 3.0 m: the chair", "the chair"),
        ("left", "left"),
        ("a: b: 2 m", "2 m"),
        ("1:2", "1:2"),
    ],
)
def test_conclusion(text, end):
    assert conclusion(text) == end
