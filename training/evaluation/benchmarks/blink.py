"""BLINK: fourteen perception tasks with one to four pictures (arXiv 2404.12390); figures are of the val split.

Published: ``<Task>/val-00000-of-00001.parquet`` (idx, question, sub_task, image_1 to image_4, choices, answer "(A)",
prompt). Scoring as in zeyofu/BLINK_Benchmark, ``eval/evaluate.py`` (Apache-2.0): a prediction must equal the published
answer, parentheses included, and the total is the plain mean of the fourteen tasks. The authors bring free answers into
that form with a judge model (GPT-3.5), which cannot be repeated; so three columns:

* official: the prediction as it is, which must already read "(B)";
* lmms-eval: the first letter of the answer (:func:`.letters.first_letter`);
* corrected: the letter extracted from free text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..answers import extract_letter
from .base import Measure, Question, Row, Total, rows_measure
from .files import options_of, picture_of, read_records, text_of
from .letters import first_letter

__all__ = ["BENCHMARK", "Blink"]

TASKS = (
    "Art_Style",
    "Counting",
    "Forensic_Detection",
    "Functional_Correspondence",
    "IQ_Test",
    "Jigsaw",
    "Multi-view_Reasoning",
    "Object_Localization",
    "Relative_Depth",
    "Relative_Reflectance",
    "Semantic_Correspondence",
    "Spatial_Relation",
    "Visual_Correspondence",
    "Visual_Similarity",
)


class Blink:
    """The benchmark; see the module."""

    name = "blink"
    title = "BLINK"
    tasks = TASKS

    def load(self, path: Path, split: str | None = None) -> Iterator[Question]:
        """Questions of every task folder below `path`, or of one file."""
        folders = [path / task for task in TASKS if (path / task).is_dir()] or [path]
        for folder in folders:
            for record in read_records(folder, split or "val", ("val",)):
                images = [record.get(f"image_{number}") for number in range(1, 5)]
                yield Question(
                    id=text_of(record["idx"]),
                    task=record["sub_task"].replace(" ", "_"),
                    images=tuple(picture_of(image, folder) for image in images if image),
                    question=record["question"],
                    options=options_of(record["choices"]),
                    answer=record["answer"],
                    wording=record.get("prompt") or "",
                )

    def prompt(self, question: Question) -> str:
        """The published prompt, which has the choices in it, after lmms-eval's request for a letter."""
        letters = ", ".join("ABCDE"[: len(question.options)])
        request = f"Note: You only need to respond with {letters} without providing any additional information."
        listed = "\n".join(f"({'ABCDE'[index]}) {option}" for index, option in enumerate(question.options))
        wording = question.wording or (f"{question.question}\nSelect from the following choices.\n{listed}")
        return f"{request}\n{wording}"

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """Official, lmms-eval's and corrected."""
        total = (Total("overall", TASKS),)
        letters = [row.truth.strip().strip("()").upper() for row in rows]
        return [
            rows_measure(
                "official",
                rows,
                [row.prediction == f"({letter})" for row, letter in zip(rows, letters)],
                total,
                "BLINK's evaluate.py: the prediction must read exactly like the answer, e.g. (B)",
            ),
            rows_measure(
                "lmms-eval",
                rows,
                [first_letter(row.prediction) == letter for row, letter in zip(rows, letters)],
                (Total("overall", TASKS, rows=True),),
                "the first letter of the answer, whatever word it begins; overall is the mean over rows",
            ),
            rows_measure(
                "corrected",
                rows,
                [extract_letter(row.prediction, row.options) == letter for row, letter in zip(rows, letters)],
                total,
                "letter found in free text",
            ),
        ]


BENCHMARK = Blink()
