"""SPAR-Bench: twenty tasks from depth to imagination (arXiv 2503.22976).

Published: ``test-*.parquet`` (id, image as a list, question with its options, answer, task). Scoring and prompts as in
EvolvingLMMs-Lab/lmms-eval @ a1c6de4, ``lmms_eval/tasks/sparbench/utils.py`` (MIT). What is odd in it, and kept:

* choices match if the answer is contained in the truth, so an empty answer is right, or if its first letter is the
  truth, so that "Because" is B;
* numbers are unsigned, the 2 of "m^2" is none, and the first of them counts; in tasks with several pictures the last;
  MRA compares them, and |p - y| itself if y is 0;
* view change ("move_right:0.5,rotate_left:20") is compared on five signed axes by MRA, but divided by the *prediction*,
  not by the truth; a blank after a comma loses the axis, and one malformed part the whole answer;
* overall is the mean over the tasks that have rows; Low, Middle and High are means too, but view change is left out of
  Middle, because its name is cut one word short of the list.

The corrected column extracts letters and numbers from free text, divides by the truth, reads the axes tolerantly, and
has view change in Middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

from ..answers import extract_letter, extract_number
from ..mra import mean_relative_accuracy
from .base import Measure, Question, Row, Total, rows_measure
from .files import picture_of, read_records, text_of

__all__ = ["BENCHMARK", "SPARBench", "parse_motion_strictly"]

LOW = (
    "depth_prediction_oc",
    "depth_prediction_oo",
    "distance_prediction_oc",
    "distance_prediction_oo",
    "depth_prediction_oc_mv",
    "depth_prediction_oo_mv",
    "distance_prediction_oo_mv",
    "distance_prediction_oc_mv",
)
VIEW_CHANGE = "view_change_infer"
MIDDLE = ("position_matching", "camera_motion_infer")
HIGH = (
    "obj_spatial_relation_oo",
    "obj_spatial_relation_oc_mv",
    "obj_spatial_relation_oo_mv",
    "spatial_imagination_oc",
    "spatial_imagination_oo",
    "spatial_imagination_oc_mv",
    "spatial_imagination_oo_mv",
    "distance_infer_center_oo",
    "distance_infer_center_oo_mv",
)
_AXES = (
    ("move_right", "move_left"),
    ("move_up", "move_down"),
    ("move_forward", "move_backward"),
    ("rotate_right", "rotate_left"),
    ("rotate_up", "rotate_down"),
)
_UNSIGNED = re.compile(r"(?<!\^)\d+(?:\.\d+)?")
_PART = re.compile(r"\b((?:move|rotate)[_ ](?:right|left|up|down|forward|backward))\W*?[:=]\s*([-+]?\d*\.?\d+)")


class SPARBench:
    """The benchmark; see the module."""

    name = "spar-bench"
    title = "SPAR-Bench"
    tasks = (*LOW, *MIDDLE, VIEW_CHANGE, *HIGH)

    def load(self, path: Path, split: str | None = None) -> Iterator[Question]:
        """Questions of the split "test"; options are part of the question."""
        for record in read_records(path, split or "test", ("test",)):
            images = record["image"] if isinstance(record["image"], list) else [record["image"]]
            yield Question(
                id=text_of(record["id"]),
                task=record["task"],
                images=tuple(picture_of(image, path if path.is_dir() else path.parent) for image in images),
                question=record["question"],
                options=(),
                answer=text_of(record["answer"]),
            )

    def prompt(self, question: Question) -> str:
        """lmms-eval's words, blank lines included."""
        if question.task in LOW:
            return f"\n{question.question}\nPlease answer the question using a single word or phrase."
        if question.task == VIEW_CHANGE:
            return f"\n{question.question}\n\n"
        boxes = (
            "The values represent the bounding box coordinates normalized to a 0-1000 scale, "
            "with the top-left corner as the origin of the image."
        )
        hint = boxes if question.task in MIDDLE else ""
        request = "Answer with the option's letter from the given choices directly."
        return f"\n{question.question}\n{hint}\n{request}"

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """Official and corrected."""
        overall = Total("overall", tuple(sorted(self.tasks)))
        low, high = Total("low", tuple(sorted(LOW)), pairwise=True), Total("high", tuple(sorted(HIGH)), pairwise=True)
        return [
            rows_measure(
                "official",
                rows,
                [_official(row) for row in rows],
                (overall, low, Total("middle", tuple(sorted(MIDDLE)), pairwise=True), high),
                "lmms-eval's sparbench: an empty answer to a choice is right; middle has no view change",
            ),
            rows_measure(
                "corrected",
                rows,
                [_corrected(row) for row in rows],
                (overall, low, Total("middle", (*MIDDLE, VIEW_CHANGE)), high),
                "letter or number found in free text; view change divided by the truth, and counted in middle",
            ),
        ]


def parse_motion_strictly(text: str) -> dict[str, float]:
    """The official reading of "name:value,name:value"; names keep their blanks.

    Raises:
        ValueError: a part without exactly one colon, or a value that is no number.
    """
    parts = [part.split(":") for part in text.split(",")]
    if any(len(part) != 2 for part in parts):
        raise ValueError(f"not name:value in {text!r}")
    return {name: float(value) for name, value in parts}


def _official(row: Row) -> float:
    if row.task in LOW:
        return mean_relative_accuracy(_official_number(row), row.number)
    if row.task == VIEW_CHANGE:
        try:
            said, true = _axes(parse_motion_strictly(row.prediction)), _axes(parse_motion_strictly(row.truth))
        except ValueError:
            return 0.0
        # The arguments are exchanged in the official call: the error is relative to what was said
        return float(np.mean([mean_relative_accuracy(y, p) for p, y in zip(said, true)]))
    prediction, truth = row.prediction.lower(), row.truth.lower()
    return float(prediction in truth or prediction[:1] == truth)


def _official_number(row: Row) -> float | None:
    numbers = _UNSIGNED.findall(row.prediction)
    if row.task.endswith("_mv"):
        return float(numbers[-1]) if numbers else -1.0
    return float(numbers[0]) if numbers else None


def _corrected(row: Row) -> float:
    if row.task in LOW:
        return mean_relative_accuracy(extract_number(row.prediction), row.number)
    if row.task == VIEW_CHANGE:
        found = _PART.findall(row.prediction.rsplit("</think>", 1)[-1])
        said = {name.replace(" ", "_"): float(value) for name, value in found}
        if not said:
            return 0.0
        pairs = zip(_axes(said), _axes(_true_motion(row)))
        return float(np.mean([mean_relative_accuracy(p, y) for p, y in pairs]))
    return float(extract_letter(row.prediction, row.options) == row.truth.upper())


def _true_motion(row: Row) -> dict[str, float]:
    try:
        return parse_motion_strictly(row.truth)
    except ValueError as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"row {row.id!r} of {row.task}: the answer is {error}") from None


def _axes(parts: dict[str, float]) -> list[float]:
    return [parts.get(forth, 0) - parts.get(back, 0) for forth, back in _AXES]


BENCHMARK = SPARBench()
