"""Answers in words brought to one form, and compared: the rules of SQA3D and of those who score 3-D question answering.

The cleaning is that of SilongYong/SQA3D @ e4e2cec, ``LLM/eval_sqa3d_llm.py`` (Apache-2.0), which others use unchanged.
It is a fixed sequence, and the sequence matters: typing errors that occur in the data are put right, digits become
words up to twenty (and 23, which occurs), "none" becomes "zero", a digit at the end of a word goes, and articles go if
a word follows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["clean_answer", "joined", "refined_match", "refined_match_official"]

_KEPT = re.compile(r"[^a-zA-Z0-9,'\s\-:]+")
_TYPING_ERRORS = {
    "letf": "left",
    "let": "left",
    "tehre": "there",
    "rigth": "right",
    "rght": "right",
    "behine": "behind",
    "tv": "TV",
    "chai": "chair",
    "wasing": "washing",
    "waslked": "walked",
    "oclock": "o'clock",
}
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_WORDS = {str(number): word for number, word in enumerate(_NUMBERS)} | {"none": "zero", "23": "twenty-three"}


def clean_answer(text: str) -> str:
    """The official cleaning of an answer."""
    text = re.sub(r"^ +| +$", "", text.lower())  # $ also stands before a line break at the end
    text = re.sub(r" {2,}", " ", text)
    text = _KEPT.sub("", text)  # full stops and letters with accents go here
    for wrong, right in _TYPING_ERRORS.items():
        text = re.sub(rf"\b{wrong}\b", right, text)
    text = re.sub(r"\bo'[ ]+clock\b", "o'clock", text)
    for digits, word in _WORDS.items():
        text = re.sub(rf"\b{digits}\b", word, text)
    text = re.sub(r"\b([a-zA-Z]+)[0-9]\b", r"\1", text)
    for article in ("a", "an", "the"):
        text = re.sub(rf"\b{article}\b ([a-zA-Z]+)", r"\1", text)
    return re.sub(r"\bbackwards\b", "backward", text)


def joined(text: str) -> str:
    """The text without blanks of any kind."""
    return "".join(text.split())


def refined_match_official(prediction: str, truths: Sequence[str]) -> tuple[bool, bool]:
    """(exact match, refined match) of cleaned texts as LEO scores them.

    embodied-generalist/embodied-generalist, ``evaluator/scanqa_eval.py``: truths are tried in order and the first that
    equals, contains or is contained in the prediction (blanks aside) decides. So an exact match with the second truth
    is lost if the first is a part of it, and an empty answer, a part of everything, is a refined match.
    """
    for truth in truths:
        if prediction == truth:
            return True, True
        if joined(prediction) in joined(truth) or joined(truth) in joined(prediction):
            return False, True
    return False, False


def refined_match(prediction: str, truths: Sequence[str]) -> tuple[bool, bool]:
    """As :func:`refined_match_official`, without its two errors: any truth may match, and no answer matches nothing."""
    if not joined(prediction):
        return False, False
    exact = prediction in truths
    parts = [joined(truth) for truth in truths if joined(truth)]
    return exact, exact or any(joined(prediction) in part or part in joined(prediction) for part in parts)
