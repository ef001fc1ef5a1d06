"""What a free text says: the letter it chooses, or the number it gives.

Language models answer "B", "(b)", "**C**", "Answer: B.", "B. the chair", "the chair", or a page of reasoning that names
every option on the way. The rules here are ours and are the same for every model and benchmark; official scripts have
their own, which are kept beside these (:mod:`training.evaluation.benchmarks`). In order:

1. Reasoning in ``<think>`` tags is dropped (a chain that never closes has no answer), ``<answer>`` and ``\\boxed`` are
   opened, Markdown is dropped.
2. An explicit statement ("the answer is B", "B is correct", "I choose (b)") decides; the last of several wins, and one
   that is denied ("B is wrong", "the answer is not B") does not count.
3. Without one, a refusal has no answer.
4. Otherwise in turn: a text that begins with a marked letter ("B. the chair"), a marked last line, the only letter in
   the last sentence or the text, and the only option whose words occur in the last sentence or the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["extract_letter", "extract_number", "final_text", "is_refusal", "split_option"]

_LETTERS = "ABCDEFGHIJ"
_RESTATED = "the options themselves"
_OPTION = re.compile(r"^\s*[\(\[]?([A-Z])[\)\]\.:]\s*(.*)$", re.DOTALL)
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_OPENED = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_CLOSED = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_ANSWER_TAG = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{\s*(?:\\(?:text|mathrm|textbf|mathbf)\s*\{)?([^{}]*)\}")
_MARKUP = re.compile(r"[*_`$#>]+")

_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:cannot|can't|can not|could not|couldn't|don't know|do not know)|"
    r"(?:cannot|can't|can not|could not|unable to|impossible to|not possible to|insufficient information to) "
    r"(?:be )?(?:answer|determine|tell|say|see|assist|help|decide)|not enough information|as an ai\b|"
    r"(?:none of (?:the|these) (?:above|options|choices)))",
    re.IGNORECASE,
)
_DENIED = (
    r"(?!\s*[\)\]\.,:]?\s*(?:is|was|seems|looks|can|does|would|must|cannot|can't|isn't|doesn't|wouldn't|are)?\s*(?:be\s+)?"
    r"(?:not\b|n't|isn't|wrong|incorrect|false|eliminated|ruled\s+out|unlikely|impossible|out\b))"
)
_CHOICE = r"[\(\[\"'“]*([A-Za-z])(?![A-Za-z0-9'’])"
_FILLER = (
    r"(?:(?:is|was|would\s+be|should\s+be|must\s+be|to\s+be|be|are|the|an?|letter|option|choice|answer|one|my|"
    r"therefore|thus)\b|[\s:=,\-–—>]){0,24}"
)
_STATED = re.compile(
    r"\b(?:answer|choice|select|choose|chose|pick|guess|go(?:ing)?\s+with|opt\s+for|correct\s+(?:option|one|letter)|"
    r"best\s+(?:option|one)|right\s+(?:option|one|letter)|(?:options?|it)\s+(?:is|must\s+be|should\s+be|would\s+be))\b"
    + _FILLER
    + _CHOICE
    + _DENIED,
    re.IGNORECASE,
)
_CONFIRMED = re.compile(
    r"(?<![A-Za-z0-9'’])[\(\[]?([A-Z])[\)\]]?\s*(?:\.|,|:)?\s*(?:is|must\s+be|would\s+be|seems|looks)\s+(?:the\s+|most\s+|likely\s+)*"
    r"(?:correct|right|answer|best|true)\b"
)
_LEADING = re.compile(r"^[\(\[]?([A-Za-z])(?:[\)\]\.:,;]|\s*$|\s*\n|\s+[-–—]\s)")
_SINGLE = re.compile(r"(?<![A-Za-z0-9'’])([A-Z])(?![A-Za-z0-9'’])")
_NO_NOUN = re.compile(r"\s*(?:$|[.!?,;:)]|(?:or|and|nor|vs)\b)")
_MARKED = re.compile(r"(?:[\(\[]([A-Za-z])[\)\]]|\b([Oo]ption|[Cc]hoice)\s+\(?([A-Z])\b)")

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += ["seventeen", "eighteen", "nineteen"]
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: float(value) for value, word in enumerate(_ONES)}
_WORDS |= {word: 10.0 * value for value, word in enumerate(_TENS, start=2)}
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9.^])([-−]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-−]?\d+(?:\.\d+)?|[-−]?\.\d+)(?:[eE]([-+]?\d+))?(?!\d)"
    r"|\b((?:" + "|".join(_TENS) + r")(?:[- ](?:" + "|".join(_ONES[1:10]) + r"))?|" + "|".join(_ONES) + r")\b",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"(?:\banswer\b|\bestimate\b|\btotal\b|\bresult\b|\btherefore\b|\bthus\b|\bin total\b|=|≈)", re.IGNORECASE
)


def split_option(option: str, position: int) -> tuple[str, str]:
    """(letter, text) of an option as published: "B. chair", "(B) chair", or plain "chair" with `position` 0, 1, ..."""
    matched = _OPTION.match(option)
    if matched:
        return matched.group(1), matched.group(2).strip()
    return chr(ord("A") + position), option.strip()


def final_text(text: str) -> str:
    """What is left of an answer once reasoning, tags and Markdown are gone; "" for a chain that never ends."""
    text = _THOUGHT.sub(" ", text)
    closed = _CLOSED.split(text)  # some templates open the chain in the prompt, so that only its end is in the answer
    if len(closed) > 1:
        text = closed[-1]
    elif _OPENED.search(text):
        return ""
    tagged = _ANSWER_TAG.findall(text)
    if tagged and tagged[-1].strip():
        text = tagged[-1]
    boxed = _BOXED.findall(text)
    if boxed and boxed[-1].strip():
        text = boxed[-1]
    return _MARKUP.sub("", text).strip()


def is_refusal(text: str) -> bool:
    """Whether the text says that it will not or cannot answer."""
    return _REFUSAL.search(text.replace("’", "'")) is not None


def extract_letter(text: str, options: Sequence[str] = ()) -> str | None:
    """The letter of the option that a free text chooses, in upper case; None if it chooses none or several.

    Args:
        text: the model's answer.
        options: the options in order, with or without their letters. Without them A to J are looked for.
    """
    text = final_text(text)
    if not text:
        return None
    pairs = [split_option(option, position) for position, option in enumerate(options)]
    letters = {letter for letter, _ in pairs} or set(_LETTERS)
    bare = text.strip(" \t\r\n()[]{}.,:;!\"'“”").upper()
    if bare in letters:
        return bare
    exact = [letter for letter, words in pairs if words and _plain(words) == _plain(text)]
    if len(exact) == 1:
        return exact[0]
    stated = _stated(text, letters)
    if stated:
        return stated
    if is_refusal(text) and not any(is_refusal(words) for _, words in pairs):
        return None
    leading = _leading(text, letters)
    if leading == _RESTATED:
        return None
    if leading:
        return leading
    letter, option = _only_letter(text, letters), _only_option(text, pairs)
    return None if letter and option and letter != option else letter or option


def extract_number(text: str) -> float | None:
    """The number a free text gives; None without one. Of several, the first after the last "answer", "total", "=", ...
    or else the last.

    Words up to ninety-nine count ("two"), 1,200 is one number, and the 2 of m^2 or m2 is none.
    """
    text = final_text(text)
    found = [(match.start(), _value(match)) for match in _NUMBER.finditer(text)]
    if not found:
        return None
    for conclusion in reversed(list(_CONCLUSION.finditer(text))):
        after = [value for start, value in found if start >= conclusion.end()]
        if after:
            return after[0]
    return found[-1][1]


def _stated(text: str, letters: set[str]) -> str | None:
    found: list[tuple[int, str]] = []
    for match in _STATED.finditer(text):
        letter, after = match.group(1), text[match.end(1) : match.end(1) + 2].strip()
        # "the answer is a chair" chooses nothing: a small letter, and the words A and I, must stand by themselves
        alone = not after or after[0] in ")].,:;!?\"'”" or after[0] == "\n"
        if (letter.isupper() and letter not in "AI") or alone or text[match.end(1) :].startswith("\n"):
            found.append((match.start(1), letter.upper()))
    found += [(match.start(1), match.group(1)) for match in _CONFIRMED.finditer(text)]
    found = [(start, letter) for start, letter in found if letter in letters]
    return max(found)[1] if found else None


def _leading(text: str, letters: set[str]) -> str | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [match.group(1).upper() for line in lines if (match := _LEADING.match(line))]
    marked = [letter for letter in marked if letter in letters]
    if len(set(marked)) == 1:
        return marked[0]
    if len(set(marked)) == 0:
        return None
    # Several lines begin with letters: the options restated. A marked line at the end, after other text, is an answer.
    last, before = _LEADING.match(lines[-1]), _LEADING.match(lines[-2])
    if last and not before and last.group(1).upper() in letters:
        return last.group(1).upper()
    return _RESTATED if last else None


def _only_letter(text: str, letters: set[str]) -> str | None:
    sentence = _last_sentence(text)
    for part in (sentence, text):
        marked = {next(g for g in groups if len(g) == 1).upper() for groups in _MARKED.findall(part)} & letters
        if len(marked) == 1:
            return marked.pop()
        if marked:
            continue
        # The words A and I are letters only where no noun can follow: "Either A or B", "it is A."
        single = {
            match.group(1)
            for match in _SINGLE.finditer(part)
            if match.group(1) not in "AI" or _NO_NOUN.match(part, match.end())
        }
        single &= letters
        if len(single) == 1:
            return single.pop()
    return None


def _only_option(text: str, pairs: Sequence[tuple[str, str]]) -> str | None:
    for part in (_last_sentence(text), text):
        words = f" {_plain(part)} "
        spans: list[tuple[int, int, str]] = []
        for letter, option in pairs:
            plain = _plain(option)
            if plain:
                pattern = rf"(?<!\bnot )(?<!\bnot the )(?<!\bnot a )(?<= ){re.escape(plain)}(?= )"
                spans += [(m.start(), m.end(), letter) for m in re.finditer(pattern, words)]
        # "chair" within "office chair" is not a second choice
        outer = {
            letter
            for start, end, letter in spans
            if not any(a <= start and end <= b and (a, b) != (start, end) for a, b, _ in spans)
        }
        if len(outer) == 1:
            return outer.pop()
    return None


def _last_sentence(text: str) -> str:
    parts = [part for part in re.split(r"(?<=[.!?])\s+|\n+", text.strip()) if part.strip()]
    return parts[-1] if parts else ""


def _plain(text: str) -> str:
    """Lower case, without articles and punctuation, one space between words."""
    words = re.sub(r"[^a-z0-9.]+", " ", text.lower()).split()
    return " ".join(word.strip(".") for word in words if word not in ("the", "a", "an") and word.strip("."))


def _value(match: re.Match[str]) -> float:
    digits, exponent, words = match.groups()
    if digits:
        value = float(digits.replace(",", "").replace("−", "-"))
        return value * 10.0 ** int(exponent) if exponent else value
    return sum(_WORDS[word] for word in re.split(r"[- ]", words.lower()))
