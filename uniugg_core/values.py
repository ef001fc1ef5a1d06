"""Reads the quantity out of an answer: "about 2.5 meters" is 2.5 of "meters"."""

from __future__ import annotations

import math
import re

__all__ = ["conclusion", "parse_value"]

_NUMBER = r"(?<![\w.])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:(?<=\d)\.\d+|\.\d+|(?<=\d))(?:[eE][-+]?\d+)?"
_LENGTHS = {
    "km": 1000.0,
    "kilometer": 1000.0,
    "kilometre": 1000.0,
    "m": 1.0,
    "meter": 1.0,
    "metre": 1.0,
    "dm": 0.1,
    "cm": 0.01,
    "centimeter": 0.01,
    "centimetre": 0.01,
    "mm": 0.001,
    "millimeter": 0.001,
    "millimetre": 0.001,
    "foot": 0.3048,
    "feet": 0.3048,
    "ft": 0.3048,
    "inch": 0.0254,
    "inches": 0.0254,
    "in": 0.0254,
    "yard": 0.9144,
}
_PLAIN_UNITS = (
    "square meter",
    "square metre",
    "square centimeter",
    "square feet",
    "square foot",
    "cubic meter",
    "cubic metre",
    "sq m",
    "m^2",
    "m2",
    "m\u00b2",
    "m^3",
    "m3",
    "m\u00b3",
    "m/s",
    "degree",
    "deg",
    "\u00b0",
    "radian",
    "rad",
    "%",
    "percent",
    "second",
    "minute",
    "s",
)
_UNIT = "|".join(sorted((re.escape(unit) + "(?:s)?" for unit in (*_LENGTHS, *_PLAIN_UNITS)), key=len, reverse=True))
# A unit ends where the word ends; "in" only counts as inches at the end of a clause ("3 in the room" is a count).
_QUANTITY = re.compile(
    rf"({_NUMBER})(?:[\s-]*(in(?=\s*(?:$|[.,;)]))|(?!in\b)(?:{_UNIT})(?![\w^/\u00b2\u00b3])))?", re.IGNORECASE
)
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b(?:[\s-]+(?:(?!in\b)({_UNIT})(?![\w^/\u00b2\u00b3])))?", re.IGNORECASE)


def conclusion(text: str) -> str:
    """What an answer comes to: what stands behind its reasons, which end with a colon.

    >>> conclusion("the chair 1.2 m, the table 3.0 m: the chair")
    'the chair'
    """
    return text.rpartition(": ")[2]


def parse_value(text: str) -> tuple[float | None, str]:
    """The first quantity in `text` and its unit as written.

    A length in two parts is one quantity in the unit of its first part: "1 m 20 cm" is 1.2 "m". Numbers from zero to
    twenty may be words. Without any number the value is None.

    Returns:
        (value, unit); the unit is empty where none is written.

    >>> parse_value("about 2.5 meters")
    (2.5, 'meters')
    >>> parse_value("1 m 20 cm")
    (1.2, 'm')
    >>> parse_value("on the left")
    (None, '')
    """
    match = _QUANTITY.search(text)
    if match is None:
        word = _WORD.search(text)
        return (None, "") if word is None else (float(_WORDS.index(word[1].lower())), word[2] or "")
    value, unit = _number(match[1]), match[2] or ""
    if not math.isfinite(value):
        return None, ""
    factor = _length(unit)
    following = _QUANTITY.match(text, _skip_joint(text, match.end())) if factor else None
    if following is not None and following[2] and (part := _length(following[2])) and part < factor:
        # Rounded far below any written digit, so that 1 m 20 cm is 1.2 and not 1.2000000000000002.
        value = round(value + math.copysign(_number(following[1]) * part / factor, value), 9)
    return value, unit


def _number(written: str) -> float:
    return float(written.replace(",", "").replace("\u2212", "-"))


def _length(unit: str) -> float | None:
    name = unit.lower()
    return _LENGTHS.get(name) or _LENGTHS.get(name.removesuffix("s"))


def _skip_joint(text: str, position: int) -> int:
    joint = re.compile(r"\s*(?:,|and)?\s*", re.IGNORECASE).match(text, position)
    return joint.end() if joint else position
