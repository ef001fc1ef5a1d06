"""What every benchmark is made of: questions, rows with predictions, and measures that turn rows into figures.

A :class:`Benchmark` has three jobs that do not know of each other: ``load`` reads the published files into
:class:`Question` s, ``prompt`` says what a model is asked, and ``measures`` says how rows are scored. A
:class:`Measure` is one scoring rule: a statistic for every unit (a row, or a group of rows that only counts together),
and the averages that are published. Several rules stand side by side where several are in use, or where the official
one is plainly unfair; the official one comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

from ..intervals import Figures, TaskMeans

__all__ = ["Benchmark", "Measure", "Picture", "Question", "Row", "Total", "first", "rows_measure"]


@dataclass(frozen=True)
class Picture:
    """A picture of a question, not yet decoded: the bytes of a picture file, a file, or one frame of a video.

    Args:
        data: an encoded picture; or
        path: a picture file, or a video if `frame` is given.
        frame: (i, n): the i-th of n frames spread evenly over the video, the first and the last included.
    """

    data: bytes | None = None
    path: Path | None = None
    frame: tuple[int, int] | None = None


@dataclass(frozen=True)
class Question:
    """One question of a benchmark, whatever file it came from.

    Args:
        id: unique in the benchmark.
        task: the benchmark's own name of the kind of question.
        images: in the order in which they are shown.
        question: the words, without prompt and options.
        options: as published, letters included or not; empty for open questions.
        answer: the truth as published: a letter, a number, words, or several acceptable answers.
        group: what is drawn together in the bootstrap, or counts together; "" if nothing.
        wording: the whole prompt, where the benchmark publishes it.
    """

    id: str
    task: str
    images: tuple[Picture, ...]
    question: str
    options: tuple[str, ...]
    answer: str | tuple[str, ...]
    group: str = ""
    wording: str = ""


@dataclass(frozen=True)
class Row:
    """A question with somebody's answer: what is scored. An unanswered question has the prediction ""."""

    task: str
    answer: str | tuple[str, ...]
    prediction: str
    options: tuple[str, ...] = ()
    question: str = ""
    id: str = ""
    group: str = ""

    @property
    def answers(self) -> tuple[str, ...]:
        """Every acceptable answer."""
        return (self.answer,) if isinstance(self.answer, str) else self.answer

    @property
    def truth(self) -> str:
        """The answer, or the first of several."""
        return self.answers[0]

    @property
    def number(self) -> float:
        """The answer of a numeric task.

        Raises:
            UniuggError: REQUEST_INVALID if it is none.
        """
        try:
            return float(self.truth)
        except ValueError:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID, f"row {self.id!r} of {self.task}: the answer {self.truth!r} is no number"
            ) from None


@dataclass(frozen=True)
class Total:
    """An average over tasks or over other averages, in the order they are listed.

    Args:
        name: what it is called in the table.
        members: tasks or earlier totals; empty: every task.
        rows: weigh each member by its number of units, instead of equally.
        absent_is_zero: a member without rows counts as 0 instead of not at all, even if all are.
        pairwise: add up as NumPy does, not one by one: the official script's last bit.
    """

    name: str
    members: tuple[str, ...] = ()
    rows: bool = False
    absent_is_zero: bool = False
    pairwise: bool = False


def first(statistics: np.ndarray, _units: float) -> float:
    """The first statistic: the mean itself."""
    return float(statistics[0])


@dataclass(frozen=True)
class Measure:
    """One scoring rule, applied.

    Args:
        name: the column in the table.
        tasks: the task of each unit, N names.
        values: (N, k) statistics of each unit.
        groups: what the bootstrap draws together, N names.
        totals: the averages, in order.
        note: one sentence: whose rule it is, and what is odd about it.
        finish: from mean statistics (k,) and the number of units to the figure of a task.
        percent: whether figures are shares, printed times 100.
    """

    name: str
    tasks: tuple[str, ...]
    values: np.ndarray
    groups: tuple[str, ...]
    totals: tuple[Total, ...]
    note: str = ""
    finish: Callable[[np.ndarray, float], float] = field(default=first)
    percent: bool = True

    def figures(self, means: TaskMeans) -> Figures:
        """Task figures, then totals."""
        found = {task: self.finish(mean, size) for task, (mean, size) in means.items()}
        sizes = {task: size for task, (_, size) in means.items()}
        for total in self.totals:
            members = total.members or tuple(means)
            if total.rows:
                present = [member for member in members if member in means]
                size = sum(sizes[member] for member in present)
                if size:
                    pooled = sum(means[member][0] * sizes[member] for member in present) / size
                    found[total.name] = self.finish(pooled, size)
                continue
            values = [found.get(member, 0.0) for member in members if member in found or total.absent_is_zero]
            if values:
                found[total.name] = float(np.mean(values)) if total.pairwise else sum(values) / len(values)
        return found


def rows_measure(
    name: str,
    rows: Sequence[Row],
    values: Sequence[float],
    totals: tuple[Total, ...],
    note: str = "",
    *,
    percent: bool = True,
) -> Measure:
    """A measure with one number a row."""
    return Measure(
        name=name,
        tasks=tuple(row.task for row in rows),
        values=np.asarray(values, dtype=np.float64).reshape(-1, 1),
        groups=tuple(row.group or f"row {index}" for index, row in enumerate(rows)),
        totals=totals,
        note=note,
        percent=percent,
    )


class Benchmark(Protocol):
    """What the registry holds."""

    name: str
    title: str
    tasks: tuple[str, ...]
    """Tasks that rows may name; empty: any."""

    def load(self, path: Path, split: str | None = None) -> Iterator[Question]:
        """The questions in the published files at `path`, in their order."""

    def prompt(self, question: Question) -> str:
        """What a model is asked, pictures aside."""

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """The scoring rules applied to rows; the official one first."""
