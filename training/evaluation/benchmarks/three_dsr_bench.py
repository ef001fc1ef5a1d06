"""3DSRBench: twelve kinds of 3-D relations in photographs, with flipped and rotated variants (arXiv 2412.07825).

Published: ``3dsrbench_v1_vlmevalkit_circular.tsv`` (index, qid, question, A to D, answer, category, image as base64),
and the same without rotations. A row's id is its qid; rotations of the options end in "-" and one character.

Scoring as by the authors' script for the outputs of VLMEvalKit, known to us through its port in lmms-eval's family of
evaluators (``df_to_scores``): hits of the rows with one qid, rotation cut off, are multiplied, and every average is
over such groups, not over categories. The flipped picture of a question has a qid of its own and stays a separate
question. Rows that name a ``group`` are grouped by it instead.

* plain: every row counts, hit by VLMEvalKit's rule without its judge (:func:`.letters.infer_choice`);
* circular: a question counts if every rotation is hit, by the same rule;
* plain and circular, corrected: the same with the letter extracted from free text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..answers import extract_letter
from .base import Measure, Question, Row, Total, rows_measure
from .files import picture_of, read_records, text_of
from .letters import choices_of, infer_choice

__all__ = ["BENCHMARK", "ThreeDSRBench", "without_rotation"]

KINDS: Mapping[str, tuple[str, ...]] = {
    "height": ("height_higher",),
    "location": ("location_above", "location_closer_to_camera", "location_next_to"),
    "orientation": ("orientation_in_front_of", "orientation_on_the_left", "orientation_viewpoint"),
    "multi_object": (
        "multi_object_closer_to",
        "multi_object_facing",
        "multi_object_viewpoint_towards_object",
        "multi_object_parallel",
        "multi_object_same_direction",
    ),
}
_TOTALS = (*(Total(kind, tasks, rows=True) for kind, tasks in KINDS.items()), Total("overall", rows=True))


def without_rotation(qid: str) -> str:
    """The question a variant belongs to: "-" and one character cut off, as the official script does."""
    return qid[:-2] if qid[-2:-1] == "-" else qid


class ThreeDSRBench:
    """The benchmark; see the module."""

    name = "3dsrbench"
    title = "3DSRBench"
    tasks = tuple(task for tasks in KINDS.values() for task in tasks)

    def load(self, path: Path, split: str | None = None) -> Iterator[Question]:
        """Questions of the circular TSV, or of the file `path`."""
        for record in read_records(path, split or "3dsrbench_v1_vlmevalkit_circular", ("3dsrbench_v1_vlmevalkit",)):
            qid = text_of(record["qid"])
            options = [(letter, record.get(letter)) for letter in "ABCD"]
            yield Question(
                id=qid,
                task=record["category"],
                images=(picture_of(record["image"], path if path.is_dir() else path.parent),),
                question=record["question"],
                options=tuple(f"{letter}. {text}" for letter, text in options if text not in (None, "", "nan")),
                answer=record["answer"],
                group=without_rotation(qid),
            )

    def prompt(self, question: Question) -> str:
        """VLMEvalKit's words for multiple choice."""
        options = "\n".join(question.options)
        return (
            f"Question: {question.question}\nOptions:\n{options}\n"
            "Please select the correct answer from the options above."
        )

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """Plain and circular, each by VLMEvalKit's rule and corrected; circular only if rows have an id or a group."""
        official = [float(infer_choice(row.prediction, _choices(row)) == row.truth.upper()) for row in rows]
        corrected = [float(extract_letter(row.prediction, row.options) == row.truth.upper()) for row in rows]
        keys = [row.group or without_rotation(row.id) for row in rows]
        note = "VLMEvalKit without its judge model"
        free = "letter found in free text"
        measures = [rows_measure("plain", rows, official, _TOTALS, f"every row counts; {note}")]
        if all(keys):
            measures.append(_circular("circular", rows, keys, official, f"every rotation must be right; {note}"))
        measures.append(rows_measure("plain, corrected", rows, corrected, _TOTALS, free))
        if all(keys):
            measures.append(_circular("circular, corrected", rows, keys, corrected, free))
        return measures


def _choices(row: Row) -> dict[str, str]:
    return choices_of(row.options) or {letter: f"option {letter}" for letter in "ABCD"}


def _circular(name: str, rows: Sequence[Row], keys: Sequence[str], hits: Sequence[float], note: str) -> Measure:
    product: dict[str, float] = {}
    task: dict[str, str] = {}
    for row, key, hit in zip(rows, keys, hits):
        product[key] = product.get(key, 1.0) * hit
        task.setdefault(key, row.task)
    return Measure(
        name=name,
        tasks=tuple(task.values()),
        values=np.array(list(product.values())).reshape(-1, 1),
        groups=tuple(product),
        totals=_TOTALS,
        note=note,
    )


BENCHMARK = ThreeDSRBench()
