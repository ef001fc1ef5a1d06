"""Other people's rules for reading a letter from an answer, kept because published figures depend on them.

Each is rougher than :func:`training.evaluation.answers.extract_letter` in its own way; the docstrings say how.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..answers import split_option

__all__ = ["NO_CHOICE", "choices_of", "first_character", "first_letter", "infer_choice"]

NO_CHOICE = "Z"
_SEPARATORS = str.maketrans({character: " " for character in ".()[],:;!*#{}"})
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_FIRST_LETTER = re.compile(r"[(\s]*([A-Z])", re.IGNORECASE)


def choices_of(options: Sequence[str]) -> dict[str, str]:
    """Letter -> text of options as published."""
    return dict(split_option(option, position) for position, option in enumerate(options))


def infer_choice(text: str, choices: Mapping[str, str]) -> str:
    """The rule of VLMEvalKit without its judge model (``can_infer``, "exact matching"); "Z" for no choice.

    As it stood when 3DSRBench was published (open-compass/VLMEvalKit, ``vlmeval/utils/matching_util.py``, Apache-2.0):
    the only letter among the words decides, but none does if the word A is there and there are more than three words;
    failing that, the only option whose text occurs in the answer, as characters, so that "left" occurs in "leftmost".
    Where VLMEvalKit would ask a judge model, the answer counts as wrong here.
    """
    if any(refusal in text for refusal in _REFUSALS):
        return NO_CHOICE
    if "Failed to obtain answer via API" not in text:
        words = text.translate(_SEPARATORS).split()
        letters = [letter for letter in choices if letter in words]
        if len(letters) == 1 and not ("A" in words and len(words) > 3):
            return letters[0]
        if not letters and NO_CHOICE in words:
            return NO_CHOICE
    lowered = text.lower()
    found = [letter for letter, option in choices.items() if option.lower() in lowered]
    return found[0] if len(found) == 1 else NO_CHOICE


def first_letter(text: str) -> str:
    """The rule of lmms-eval for BLINK: the first letter of the text, whatever word it begins; "" for another start.

    EvolvingLMMs-Lab/lmms-eval, ``lmms_eval/tasks/blink/utils.py`` (MIT). "Because of the light, (A)" is B.
    """
    matched = _FIRST_LETTER.match(text.strip())
    return matched.group(1).upper() if matched else ""


def first_character(text: str) -> str:
    """The rule of lmms-eval for SEED-Bench: the first character, case kept. "(A)" is "(", and "Because" is B.

    EvolvingLMMs-Lab/lmms-eval, ``lmms_eval/tasks/seedbench/utils.py`` (MIT).
    """
    return text.strip()[:1]
