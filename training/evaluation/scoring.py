"""Rows of predictions in, a table of figures with intervals out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniugg_core.errors import ErrorCode, UniuggError

from .benchmarks.base import Benchmark, Measure, Row
from .intervals import bootstrap, task_means

__all__ = ["Column", "Figure", "ScoreTable", "read_rows", "row_of", "score_rows"]


@dataclass(frozen=True)
class Figure:
    """A figure with its bootstrap interval and the number of units behind it (None for averages over tasks)."""

    value: float
    low: float
    high: float
    units: int | None


@dataclass(frozen=True)
class Column:
    """One scoring rule's figures, by task and then by total."""

    name: str
    note: str
    percent: bool
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class ScoreTable:
    """What ``uniugg eval score`` says."""

    benchmark: str
    rows: int
    unanswered: int
    columns: tuple[Column, ...]
    resamples: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, at full precision; shares between 0 and 1."""
        return {
            "benchmark": self.benchmark,
            "rows": self.rows,
            "unanswered": self.unanswered,
            "bootstrap": {"resamples": self.resamples, "seed": self.seed, "level": 0.95},
            "measures": [
                {
                    "name": column.name,
                    "note": column.note,
                    "figures": {
                        name: {
                            "value": figure.value,
                            "low": None if math.isnan(figure.low) else figure.low,
                            "high": None if math.isnan(figure.high) else figure.high,
                            "units": figure.units,
                        }
                        for name, figure in column.figures.items()
                    },
                }
                for column in self.columns
            ],
        }

    def to_text(self) -> str:
        """A table for people: times 100, two decimals, intervals behind."""
        names = list(dict.fromkeys(name for column in self.columns for name in column.figures))
        lines = [["", "n", *(column.name for column in self.columns)]]
        for name in names:
            units = next((column.figures[name].units for column in self.columns if name in column.figures), None)
            lines.append([name, "" if units is None else str(units), *(_cell(column, name) for column in self.columns)])
        widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
        table = [
            "  ".join(
                cell.ljust(width) if not index else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(line, widths))
            )
            for line in lines
        ]
        told = f"{self.benchmark}: {self.rows} rows, {self.unanswered} without an answer"
        notes = [f"{column.name}: {column.note}" for column in self.columns if column.note]
        interval = f"in per cent; 95 % intervals from {self.resamples} bootstrap resamples, seed {self.seed}"
        return "\n".join([told, interval, "", *(line.rstrip() for line in table), "", *notes])


def read_rows(path: Path, benchmark: Benchmark) -> list[Row]:
    """Rows of a JSON lines file: task, answer and prediction, and where they matter options, question, id, group.

    Raises:
        UniuggError: REQUEST_INVALID, naming the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} cannot be read: {error}") from None
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(row_of(json.loads(line), benchmark))
            except (json.JSONDecodeError, UniuggError) as error:
                reason = error.args[0] if isinstance(error, UniuggError) else error
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path}, line {number}: {reason}") from None
    if not rows:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path}: no rows")
    return rows


def row_of(record: Any, benchmark: Benchmark) -> Row:
    """One row, checked.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    if not isinstance(record, Mapping):
        raise UniuggError(ErrorCode.REQUEST_INVALID, "a row is an object with task, answer and prediction")
    if "answer" not in record or "prediction" not in record:
        absent = ", ".join(name for name in ("answer", "prediction") if name not in record)
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"the row has no {absent}; it has {', '.join(map(str, record))}")
    task = str(record.get("task") or _default_task(record, benchmark))
    if benchmark.tasks and task not in benchmark.tasks:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{task!r} is no task of {benchmark.title}: {', '.join(benchmark.tasks)}"
        )
    answer, options = record["answer"], record.get("options")
    answers = tuple(map(str, answer)) if isinstance(answer, list) else str(answer)
    if not answers:
        raise UniuggError(ErrorCode.REQUEST_INVALID, "the row's list of answers is empty")
    if isinstance(options, Mapping):
        options = [f"{letter}. {text}" for letter, text in options.items()]
    prediction = record["prediction"]
    return Row(
        task=task,
        answer=answers,
        prediction="" if prediction is None else str(prediction),
        options=tuple(map(str, options or ())),
        question=str(record.get("question") or ""),
        id=str(record.get("id") or ""),
        group=str(record.get("group") or ""),
    )


def score_rows(benchmark: Benchmark, rows: Sequence[Row], *, resamples: int = 1000, seed: int = 0) -> ScoreTable:
    """Scores rows by every rule of the benchmark.

    Args:
        benchmark: of the registry.
        rows: questions with answers.
        resamples: of the bootstrap; 0: no intervals.
        seed: of the bootstrap.
    """
    return ScoreTable(
        benchmark=benchmark.title,
        rows=len(rows),
        unanswered=sum(not row.prediction.strip() for row in rows),
        columns=tuple(_column(measure, resamples, seed) for measure in benchmark.measures(rows)),
        resamples=resamples,
        seed=seed,
    )


def _column(measure: Measure, resamples: int, seed: int) -> Column:
    means = task_means(measure.tasks, measure.values)
    figures = measure.figures(means)
    intervals: Mapping[str, tuple[float, float]] = {}
    if resamples:
        intervals = bootstrap(
            measure.tasks, measure.values, measure.groups, measure.figures, resamples=resamples, seed=seed
        )
    units: dict[str, int] = {task: int(size) for task, (_, size) in means.items()}
    for total in measure.totals:
        members: Iterable[str] = total.members or tuple(means)
        if total.rows:
            units.setdefault(total.name, sum(units.get(member, 0) for member in members))
    nothing = (float("nan"), float("nan"))
    return Column(
        name=measure.name,
        note=measure.note,
        percent=measure.percent,
        figures={
            name: Figure(value, *intervals.get(name, nothing), units.get(name)) for name, value in figures.items()
        },
    )


def _default_task(record: Mapping[str, Any], benchmark: Benchmark) -> str:
    """Benchmarks whose kinds follow from the question need no task."""
    import importlib

    kind_of = getattr(importlib.import_module(type(benchmark).__module__), "kind_of", None)
    if kind_of is not None and record.get("question"):
        return kind_of(str(record["question"]))
    return benchmark.name if not benchmark.tasks else ""


def _cell(column: Column, name: str) -> str:
    figure = column.figures.get(name)
    if figure is None:
        return ""
    scale = 100 if column.percent else 1
    interval = "" if math.isnan(figure.low) else f" [{figure.low * scale:.1f}, {figure.high * scale:.1f}]"
    return f"{figure.value * scale:.2f}{interval}"
