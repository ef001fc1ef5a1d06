"""SEED-Bench, its questions about single pictures ("SEED-I", arXiv 2307.16125).

Published: ``SEED-Bench.json`` (questions with choice_a to choice_d, answer, data_id, data_type, question_type_id)
beside ``SEED-Bench-image/``, or Parquet files with the pictures inside. Questions about videos are skipped. Scoring as
in EvolvingLMMs-Lab/lmms-eval @ 07725bd, ``lmms_eval/tasks/seedbench/utils.py`` (MIT): the first character of the answer
must be the letter in capitals, so that "(B)" and "b" are wrong and "Because" is B; figures are means over rows.

The corrected column extracts the letter from free text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..answers import extract_letter
from .base import Measure, Question, Row, Total, rows_measure
from .files import picture_of, read_records, text_of
from .letters import first_character

__all__ = ["BENCHMARK", "SEEDBench"]

# question_type_id -> task, for the nine kinds that are about one picture
KINDS = {
    1: "Scene Understanding",
    2: "Instance Identity",
    3: "Instance Attributes",
    4: "Instance Location",
    5: "Instances Counting",
    6: "Spatial Relation",
    7: "Instance Interaction",
    8: "Visual Reasoning",
    9: "Text Understanding",
}


class SEEDBench:
    """The benchmark; see the module."""

    name = "seed-bench"
    title = "SEED-Bench (image)"
    tasks = ()

    def load(self, path: Path, split: str | None = None) -> Iterator[Question]:
        """Questions about single pictures, from ``SEED-Bench.json`` or the split "test"."""
        file = path / "SEED-Bench.json" if path.is_dir() else path
        if file.is_file() and file.suffix == ".json":
            records: Iterator[dict[str, Any]] = iter(json.loads(file.read_text(encoding="utf-8"))["questions"])
            root = file.parent / "SEED-Bench-image"
        else:
            records, root = read_records(path, split or "test", ("test",)), path
        for record in records:
            if record.get("data_type", "image") != "image":
                continue
            images = record["image"] if "image" in record else record["data_id"]
            kind = record.get("question_type_id")
            yield Question(
                id=text_of(record["question_id"]),
                task=KINDS.get(int(kind), text_of(kind)) if kind is not None else "image",
                images=tuple(picture_of(image, root) for image in (images if isinstance(images, list) else [images])),
                question=record["question"],
                options=_options(record),
                answer=record["answer"],
                group=text_of(record.get("data_id", "")),
            )

    def prompt(self, question: Question) -> str:
        """lmms-eval's words."""
        return "\n".join(
            [
                question.question,
                *question.options,
                "Answer with the option's letter from the given choices directly.",
            ]
        )

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """Official and corrected."""
        total = (Total("overall", rows=True),)
        return [
            rows_measure(
                "official",
                rows,
                [first_character(row.prediction) == row.truth for row in rows],
                total,
                "lmms-eval: the first character, which must be the capital letter",
            ),
            rows_measure(
                "corrected",
                rows,
                [extract_letter(row.prediction, row.options) == row.truth.upper() for row in rows],
                total,
                "letter found in free text",
            ),
        ]


def _options(record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{letter.upper()}. {record[f'choice_{letter}']}" for letter in "abcd")


BENCHMARK = SEEDBench()
