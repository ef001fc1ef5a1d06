"""VSI-Bench: eight tasks about videos of rooms (arXiv 2412.14171).

Published: ``test.parquet`` or ``test.jsonl`` (id, dataset, scene_name, question_type, question, options, ground_truth)
and ``<dataset>/<scene_name>.mp4``. Scoring and prompts as in vision-x-nyu/thinking-in-space @ e6a72f3,
``lmms_eval/tasks/vsibench/{utils.py,vsibench.yaml}`` (Apache-2.0):

* only what stands before the first space counts, without full stops at its end: "B. the chair" is B, but "(B)",
  "Answer: B" and "the chair" are wrong, and so is "3\\nmetres", where no space follows the number;
* letters match in either case; numbers must be what Python's float() reads, and score by MRA;
* relative direction is the mean of its three levels, a level without rows counting 0; overall is the plain mean of the
  eight tasks that have rows (relative direction always has), so a file with some of the tasks is punished.

The corrected column extracts the letter or the number from free text and leaves absent tasks out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..answers import extract_letter, extract_number
from ..mra import mean_relative_accuracy
from .base import Measure, Question, Row, Total, rows_measure
from .files import options_of, read_records, text_of
from .frames import sample_frames

__all__ = ["BENCHMARK", "VSIBench", "first_word"]

DIRECTIONS = ("object_rel_direction_easy", "object_rel_direction_medium", "object_rel_direction_hard")
CHOICES = (*DIRECTIONS, "object_rel_distance", "route_planning", "obj_appearance_order")
NUMBERS = ("object_abs_distance", "object_counting", "object_size_estimation", "room_size_estimation")
_PLAIN = tuple(sorted({*CHOICES, *NUMBERS} - {*DIRECTIONS}))
FRAMES = 16  # a video, spread evenly; the papers' runs use between 8 and 32


def first_word(text: str) -> str:
    """What the official rule looks at: up to the first space, without full stops at the end."""
    return text.split(" ")[0].rstrip(".").strip()


class VSIBench:
    """The benchmark; see the module."""

    name = "vsi-bench"
    title = "VSI-Bench"
    tasks = (*NUMBERS, *CHOICES)

    def load(self, path: Path, split: str | None = None, *, frames: int = FRAMES) -> Iterator[Question]:
        """Questions of ``test.parquet`` or ``test.jsonl`` in folder `path`, each with `frames` frames of its video."""
        for record in read_records(path, split or "test", ("test",)):
            scene = f"{record['dataset']}/{record['scene_name']}"
            yield Question(
                id=text_of(record["id"]),
                task=record["question_type"],
                images=sample_frames(path, scene, frames),
                question=record["question"],
                options=options_of(record.get("options")),
                answer=text_of(record["ground_truth"]),
                group=scene,
            )

    def prompt(self, question: Question) -> str:
        """The official words."""
        lines = ["These are frames of a video.", question.question]
        if question.task in NUMBERS:
            return "\n".join([*lines, "Please answer the question using a single word or phrase."])
        return "\n".join(
            [
                *lines,
                "Options:",
                *question.options,
                "Answer with the option's letter from the given choices directly.",
            ]
        )

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """Official and corrected."""
        level = "object_rel_direction"
        return [
            rows_measure(
                "official",
                rows,
                [_official(row) for row in rows],
                (
                    Total(level, DIRECTIONS, absent_is_zero=True),
                    Total("overall", (*_PLAIN, level)),
                ),
                "thinking-in-space: the first word must be the letter or the number",
            ),
            rows_measure(
                "corrected",
                rows,
                [_corrected(row) for row in rows],
                (Total(level, DIRECTIONS), Total("overall", (*_PLAIN, level))),
                "letter or number found in free text; tasks without rows left out",
            ),
        ]


def _official(row: Row) -> float:
    word = first_word(row.prediction)
    if row.task in CHOICES:
        return float(word.lower() == row.truth.lower())
    return mean_relative_accuracy(_float(word), row.number)


def _corrected(row: Row) -> float:
    if row.task in CHOICES:
        return float(extract_letter(row.prediction, row.options) == row.truth.upper())
    return mean_relative_accuracy(extract_number(row.prediction), row.number)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


BENCHMARK = VSIBench()
