"""Which samples come when, over processes, workers and resumed runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest
import torch

from training.stream import Batch, choose_kind, stream


class Numbers:
    """A batch is its own request."""

    def batch(self, kind: str, indices: Sequence[int]) -> Batch:
        return {"index": torch.tensor(list(indices)), "threads": torch.get_num_threads()}


def take(count: int, *, batch: int = 0, sample: int = 0, shares: dict | None = None, **options: int) -> list[Batch]:
    shares = shares or {"pair": 1.0}
    return list(islice(stream(Numbers(), shares, seed=1, batch=batch, sample=sample, size=3, **options), count))


def test_numbers_run_on_from_any_position() -> None:
    whole = [row["index"].tolist() for row in take(4)]
    assert whole == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert [row["index"].tolist() for row in take(2, batch=2, sample=6)] == whole[2:]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_samples(world: int) -> None:
    seen = [i for rank in range(world) for row in take(4, rank=rank, world=world) for i in row["index"].tolist()]
    assert sorted(seen) == list(range(4 * 3 * world))


def test_kinds_come_with_their_shares_and_repeat() -> None:
    shares = {"pair": 0.75, "single": 0.25, "question": 0.0}
    kinds = [choose_kind(shares, 5, batch) for batch in range(4000)]
    assert kinds == [choose_kind(shares, 5, batch) for batch in range(4000)]
    assert kinds.count("single") == pytest.approx(1000, abs=100) and "question" not in kinds
    rows = take(6, shares=shares)
    assert [row["kind"] for row in rows] == [choose_kind(shares, 1, batch) for batch in range(6)]
    later = take(3, shares=shares, batch=3, sample=9)
    assert [row["kind"] for row in later] == [row["kind"] for row in rows[3:]]


def test_workers_keep_the_order() -> None:
    rows = take(5, workers=2, prefetch=1)
    assert [row["index"].tolist() for row in rows] == [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(5)]
    assert {row["threads"] for row in rows} == {1}


def test_global_randomness_is_left_alone() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    take(2)
    assert torch.equal(torch.rand(3), wanted)
