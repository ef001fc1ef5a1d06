"""SQA3D: questions from a place in a ScanNet scene, answered in a word or two (arXiv 2210.07474).

Published: ``v1_balanced_questions_<split>_scannetv2.json`` and ``v1_balanced_sqa_annotations_<split>_scannetv2.json``,
joined by question_id. Pictures are frames of the ScanNet scene. Cleaning and the lenient rule are from
SilongYong/SQA3D, ``LLM/eval_sqa3d_llm.py`` (Apache-2.0); exact and refined match from LEO
(:mod:`training.evaluation.cleaning`). Kinds of questions go by their first word, and overall is the mean over rows.

* EM and EM-R: exact and refined match, as LEO scores them; an empty answer is a refined match;
* EM, EM-R corrected: without that, and with every truth tried;
* lenient: the authors' rule for language models, which is enough for one word in common; an empty answer is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uniugg_core.errors import ErrorCode, UniuggError

from ..cleaning import clean_answer, joined, refined_match, refined_match_official
from .base import Measure, Question, Row, Total, rows_measure
from .frames import sample_frames

__all__ = ["BENCHMARK", "SQA3D", "kind_of"]

KINDS = ("what", "is", "how", "can", "which", "others")
FRAMES = 16


def kind_of(question: str) -> str:
    """The kind of a question: its beginning, in either case."""
    beginning = question.strip().lower()
    return next((kind for kind in KINDS[:-1] if beginning.startswith(kind)), "others")


class SQA3D:
    """The benchmark; see the module."""

    name = "sqa3d"
    title = "SQA3D"
    tasks = ()

    def load(self, path: Path, split: str | None = None, *, frames: int = FRAMES) -> Iterator[Question]:
        """Questions of a split ("test" unless another is named), each with frames of its scene."""
        split = split or "test"
        questions = _read(path, f"v1_balanced_questions_{split}_scannetv2.json", "questions")
        truths = {
            record["question_id"]: record
            for record in _read(path, f"v1_balanced_sqa_annotations_{split}_scannetv2.json", "annotations")
        }
        for record in questions:
            truth = truths.get(record["question_id"])
            if truth is None:
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path}: question {record['question_id']} has no answer")
            yield Question(
                id=str(record["question_id"]),
                task=kind_of(record["question"]),
                images=sample_frames(path, record["scene_id"], frames),
                question=f"{record['situation']} {record['question']}",
                options=(),
                answer=tuple(answer["answer"] for answer in truth["answers"]),
                group=record["scene_id"],
            )

    def prompt(self, question: Question) -> str:
        """Situation and question; the authors fix no prompt for pictures, so this is ours."""
        return f"{question.question}\nAnswer the question using a single word or phrase."

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """Exact, refined, both corrected, and lenient."""
        said = [clean_answer(row.prediction) for row in rows]
        truths = [[clean_answer(answer) for answer in row.answers] for row in rows]
        official = [refined_match_official(*pair) for pair in zip(said, truths)]
        corrected = [refined_match(*pair) for pair in zip(said, truths)]
        lenient = [_lenient(words, row.truth) for words, row in zip(said, rows)]
        total = (Total("overall", rows=True),)
        return [
            rows_measure("EM", rows, [exact for exact, _ in official], total, "LEO: the first truth decides"),
            rows_measure("EM-R", rows, [near for _, near in official], total, "LEO: an empty answer is right"),
            rows_measure("EM corrected", rows, [exact for exact, _ in corrected], total, "any truth"),
            rows_measure("EM-R corrected", rows, [near for _, near in corrected], total, "no answer is wrong"),
            rows_measure("lenient", rows, lenient, total, "SQA3D's script: one word in common is enough"),
        ]


def _lenient(said: str, truth: str) -> float:
    """The authors' rule; the truth is taken as published, uncleaned."""
    shared = set(said.split()) & set(truth.split())
    return float(said in truth or joined(said) in joined(truth) or bool(shared))


def _read(path: Path, name: str, key: str) -> list[dict[str, Any]]:
    for folder in (path, path / "balanced", path / "sqa_task" / "balanced"):
        if (folder / name).is_file():
            return json.loads((folder / name).read_text(encoding="utf-8"))[key]
    raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path}: there is no {name}")


BENCHMARK = SQA3D()
