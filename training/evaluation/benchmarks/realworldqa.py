"""RealWorldQA: questions about photographs from cars and elsewhere (xAI, 2024).

Published: ``test-*.parquet`` (image, question with options and instructions, answer: a letter, a number or a word).
Scoring as in EvolvingLMMs-Lab/lmms-eval @ 001eca0, ``lmms_eval/tasks/realworldqa/{utils.py,realworldqa.yaml}`` (MIT):

* a bare number word becomes its digit; punctuation is dropped; if an option's text then occurs in the answer, case and
  all, the answer becomes that option's letter, the earliest text in the answer deciding; texts with punctuation in them
  are therefore never found, and "No" is found in "Not sure";
* what is left must equal the truth but for case, blanks and full stops at the end.

The corrected column extracts the letter, or for open questions compares the last number or the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..answers import extract_letter, extract_number, final_text, split_option
from .base import Measure, Question, Row, Total, rows_measure
from .files import picture_of, read_records, text_of

__all__ = ["BENCHMARK", "RealWorldQA", "listed_options"]

_DIGITS = {
    word: str(digit) for digit, word in enumerate("zero one two three four five six seven eight nine ten".split())
}
_LISTED = re.compile(r"\b([A-Z])\.\s+([^\n]*)")
_PUNCTUATION = re.compile(r"[^\w\s]")


def listed_options(question: str) -> tuple[str, ...]:
    """The options that the question's own text lists, one a line: "A. left"."""
    return tuple(f"{letter}. {text.strip()}" for letter, text in _LISTED.findall(question))


class RealWorldQA:
    """The benchmark; see the module."""

    name = "realworldqa"
    title = "RealWorldQA"
    tasks = ()

    def load(self, path: Path, split: str | None = None) -> Iterator[Question]:
        """Questions of the split "test", or "validation" if that is what is there."""
        for index, record in enumerate(read_records(path, split or "test", ("test", "validation"))):
            yield Question(
                id=text_of(record.get("id", record.get("index", index))),
                task="realworldqa",
                images=(picture_of(record["image"], path if path.is_dir() else path.parent),),
                question=record["question"].strip(),
                options=listed_options(record["question"]),
                answer=text_of(record["answer"]),
            )

    def prompt(self, question: Question) -> str:
        """The published question, which says how to answer."""
        return question.question

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """Official and corrected."""
        total = (Total("overall", rows=True),)
        return [
            rows_measure(
                "official",
                rows,
                [_official(row) for row in rows],
                total,
                "lmms-eval: the whole answer, or an option's text in it, must equal the truth",
            ),
            rows_measure("corrected", rows, [_corrected(row) for row in rows], total, "letter or number in free text"),
        ]


def _options(row: Row) -> tuple[str, ...]:
    return row.options or listed_options(row.question)


def _official(row: Row) -> float:
    text = _DIGITS.get(row.prediction.lower(), row.prediction)
    text = _PUNCTUATION.sub("", text).strip()
    # Letters are counted off, whatever the question calls them; of two options with one text the later one counts
    texts = [split_option(option, 0)[1] for option in listed_options(row.question) or row.options]
    letters = {option: chr(ord("A") + index) for index, option in enumerate(texts)}
    found = re.search("|".join(re.escape(option) for option in letters), text) if letters else None
    if found:
        text = letters.get(found.group(), text)
    return float(text.lower().strip().rstrip(".") == row.truth.lower().strip())


def _corrected(row: Row) -> float:
    truth = row.truth.strip()
    options = _options(row)
    if options and len(truth) == 1 and truth.isalpha():
        return float(extract_letter(row.prediction, options) == truth.upper())
    try:
        return float(extract_number(row.prediction) == float(truth))
    except ValueError:
        return float(_plain(final_text(row.prediction)) == _plain(truth))


def _plain(text: str) -> str:
    return _PUNCTUATION.sub("", text).strip().lower()


BENCHMARK = RealWorldQA()
