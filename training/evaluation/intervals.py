"""Bootstrap intervals for figures that are built from task means.

Rows that share a picture or a scene are not independent, so whole groups are drawn with replacement; a row without a
group is its own. Every draw goes through the same averaging as the figure itself (mean over tasks, mean over rows,
BLEU of a corpus), because the interval of a macro average is not the interval of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

__all__ = ["Figures", "TaskMeans", "bootstrap", "task_means"]

Figures = dict[str, float]
TaskMeans = Mapping[str, tuple[np.ndarray, float]]
"""Task name -> (mean of its units' statistics (k,), number of units)."""

_CHUNK = 64  # draws worked on at once: bounds memory


def task_means(tasks: Sequence[str], values: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """The mean statistics of every task, tasks in alphabetical order.

    Args:
        tasks: the task of each unit, N names.
        values: (N, k) statistics of each unit.
    """
    names = np.asarray(tasks, dtype=object)
    return {
        task: (np.array([np.mean(column) for column in values[names == task].T]), float((names == task).sum()))
        for task in sorted(set(tasks))
    }


def bootstrap(
    tasks: Sequence[str],
    values: np.ndarray,
    groups: Sequence[str],
    figures: Callable[[TaskMeans], Figures],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of every figure.

    Args:
        tasks: the task of each unit, N names.
        values: (N, k) statistics of each unit.
        groups: what is drawn together, N names.
        figures: from task means to figures; tasks that a draw left out are absent.
        resamples: number of draws.
        level: share of the draws within the interval.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Figure -> (low, high); NaN where no draw has the figure.
    """
    names = sorted(set(tasks))
    task_of = {task: index for index, task in enumerate(names)}
    group_of = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    rows = np.array([group_of[group] for group in groups])
    columns = np.array([task_of[task] for task in tasks])
    statistics = values.shape[1]
    sums = np.zeros((len(group_of), len(names), statistics))
    counts = np.zeros((len(group_of), len(names)))
    np.add.at(sums, (rows, columns), values)
    np.add.at(counts, (rows, columns), 1.0)

    generator = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    shares = np.full(len(group_of), 1 / len(group_of))
    for first in range(0, resamples, _CHUNK):
        weights = generator.multinomial(len(group_of), shares, size=min(_CHUNK, resamples - first)).astype(float)
        totals = np.einsum("bg,gtk->btk", weights, sums, optimize=True)
        sizes = weights @ counts
        for total, size in zip(totals, sizes):
            means = {
                task: (total[index] / size[index], float(size[index])) for task, index in task_of.items() if size[index]
            }
            for name, value in figures(means).items():
                drawn.setdefault(name, []).append(value)
    tail = 50 * (1 - level)
    return {
        name: tuple(float(edge) for edge in np.nanpercentile(values_drawn, [tail, 100 - tail]))
        for name, values_drawn in drawn.items()
    }
