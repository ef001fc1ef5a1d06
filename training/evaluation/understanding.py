"""Answers against the truth, as VSI-Bench and SPAR-Bench judge them: numbers by how near they are, choices exactly.

A number scores by mean relative accuracy (:mod:`training.evaluation.mra`). Lengths are compared in metres, so "80 cm"
answers "0.80 m". An answer without a number scores 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from uniugg_core.values import conclusion, parse_value

from ..data.questions import Question
from .mra import mean_relative_accuracy

__all__ = ["Scored", "chance", "score_answer", "understanding_figures"]

_METRES = {"km": 1e3, "m": 1.0, "meter": 1.0, "metre": 1.0, "dm": 0.1, "cm": 0.01, "mm": 1e-3}
_METRES |= {"centimeter": 0.01, "centimetre": 0.01, "millimeter": 1e-3, "millimetre": 1e-3}


def score_answer(said: str, question: Question) -> float:
    """How right the text `said` is, 0 to 1.

    Numbers: :func:`mean_relative_accuracy`. Options said in words: 1 if the texts agree but for case, spaces and a full
    stop. Options said by letter: 1 if the first word is the letter. Reasons in front of the answer do not count.
    """
    said = conclusion(said)
    if question.kind == "numeric":
        value, unit = parse_value(said)
        have, want = _factor(unit), _factor(question.unit)
        if value is not None and have and want:
            value *= have / want
        return mean_relative_accuracy(value, float(question.value if question.value is not None else 0.0))
    if question.lettered:
        words = re.findall(r"[a-z]+", said.lower())
        return float(bool(words) and words[0] == question.answer.lower())
    return float(_plain(said) == _plain(question.answer))


def chance(questions: Sequence[Question]) -> list[float]:
    """What each question scores on average without looking.

    A choice: one over the number of options. A number: the score of the best constant answer of its family and unit,
    among the true values there, which is more than chance and what a model without eyes may learn.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for question in questions:
        if question.kind == "numeric" and question.value is not None:
            groups.setdefault((question.family, question.unit), []).append(question.value)
    constants = {key: _best_constant(values) for key, values in groups.items()}
    return [
        1.0 / len(question.options)
        if question.options
        else mean_relative_accuracy(constants.get((question.family, question.unit)), float(question.value or 0.0))
        for question in questions
    ]


@dataclass(frozen=True)
class Scored:
    """One question with what was said, seeing and blind."""

    question: Question
    said: str
    blind: str | None = None


def understanding_figures(scored: Sequence[Scored]) -> dict[str, Any]:
    """Accuracies of all questions and of each family.

    Returns:
        ``accuracy``, ``blind_accuracy`` (None if nobody answered blind) and ``chance``: means over the questions;
        ``family_accuracy``: mean over the families; ``questions``; ``families`` and ``kinds`` (numeric, choice): the
        same of each.
    """
    by_chance = chance([item.question for item in scored])
    rows = [
        {
            "accuracy": score_answer(item.said, item.question),
            "blind_accuracy": None if item.blind is None else score_answer(item.blind, item.question),
            "chance": guess,
        }
        for item, guess in zip(scored, by_chance)
    ]
    families = _grouped(rows, [item.question.family for item in scored])
    accuracies = [figure["accuracy"] for figure in families.values()]
    return {
        **_means(rows),
        "family_accuracy": fmean(accuracies) if accuracies else None,
        "kinds": _grouped(rows, [item.question.kind for item in scored]),
        "families": families,
    }


def _grouped(rows: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {name: _means([row for row, own in zip(rows, names) if own == name]) for name in sorted(set(names))}


def _means(rows: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    def mean(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    names = ("accuracy", "blind_accuracy", "chance")
    return {**{name: mean(row[name] for row in rows) for name in names}, "questions": len(rows)}


def _best_constant(values: Sequence[float]) -> float:
    candidates = {*values, median(values)} if len(values) <= 64 else {*sorted(values)[:: len(values) // 64]}
    return max(sorted(candidates), key=lambda guess: fmean(mean_relative_accuracy(guess, value) for value in values))


def _factor(unit: str) -> float | None:
    name = unit.lower()
    return _METRES.get(name) or _METRES.get(name.removesuffix("s"))


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(". ")
