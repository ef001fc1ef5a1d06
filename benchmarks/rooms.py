"""How fast rooms become training data: ``python -m benchmarks.rooms [--size 128] [--processes 2] [--json FILE]``.

Wall-clock rates say what a trainer gets; CPU milliseconds say what it costs, also on a machine that is busy otherwise.
"""

from __future__ import annotations

import os

# Read when torch and Mesa are loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LP_NUM_THREADS", "0")

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Rate", "main", "measure"]


@dataclass(frozen=True)
class Rate:
    """So many things a second."""

    what: str
    processes: int
    count: int
    per_second: float  # wall clock, all processes together
    cpu_ms: float  # processor milliseconds a thing


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rooms", description=__doc__)
    parser.add_argument("--size", type=int, default=128, help="side of a view in pixels (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core (%(default)s)")
    parser.add_argument("--rooms", type=int, default=48, help="rooms a process makes (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="of the ray caster (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    given = parser.parse_args(argv)
    rates = measure(given.size, given.processes, given.rooms, given.device)
    print(f"{'':<44}{'processes':>10}{'a second':>12}{'CPU ms each':>13}")
    for rate in rates:
        print(f"{rate.what:<44}{rate.processes:>10}{rate.per_second:>12.1f}{rate.cpu_ms:>13.3f}")
    if given.json:
        from .harness import machine

        report = {"machine": machine(), "size": given.size, "rates": [asdict(rate) for rate in rates]}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def measure(size: int, processes: int, rooms: int, device: str) -> list[Rate]:
    """All rates; see :func:`main` for the arguments."""
    jobs: list[tuple[str, Callable[..., tuple[int, float, float]]]] = [
        ("rooms built", _build),
        ("views rendered, rooms at hand", _render),
        ("new views (room, path, render, pairs)", _views),
        ("pairs, stacked into batches of 16", _pairs),
        ("questions, pairs at hand", _ask),
    ]
    rates = []
    for what, job in jobs:
        for count in sorted({1, processes}):
            rates.append(_together(what, job, count, size, rooms))
    made, wall, cpu = _cast(size, max(2, rooms // 8), device)
    rates.append(Rate(f"views ray-cast on {device}", 1, made, made / wall, 1000 * cpu / made))
    return rates


def _together(what: str, job: Callable[..., tuple[int, float, float]], processes: int, size: int, rooms: int) -> Rate:
    """Runs a job in several processes at once; every one warms up on its own and they start together."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_work, args=(job, start, answers, size, rooms, number)) for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    results = [answers.get(timeout=900) for _ in workers]
    for worker in workers:
        worker.join()
    count, cpu = sum(r[0] for r in results), sum(r[2] for r in results)
    return Rate(what, processes, count, sum(r[0] / r[1] for r in results), 1000 * cpu / count)


def _work(
    job: Callable[..., tuple[int, float, float]],
    start: multiprocessing.synchronize.Barrier,
    answers: multiprocessing.Queue,
    size: int,
    rooms: int,
    number: int,
) -> None:
    import torch

    torch.set_num_threads(1)
    answers.put(job(size, rooms, number, start.wait))


def _timed(call: Callable[[], int], ready: Callable[[], object]) -> tuple[int, float, float]:
    """What was made, wall seconds, CPU seconds."""
    ready()
    wall, cpu = time.perf_counter(), time.process_time()
    count = call()
    return count, time.perf_counter() - wall, time.process_time() - cpu


def _build(size: int, rooms: int, number: int, ready: Callable[[], object]) -> tuple[int, float, float]:
    from training.data.world.room import make_room

    make_room(0)
    seeds = range(1 + number * rooms, 1 + (number + 1) * rooms)
    return _timed(lambda: len([make_room(seed) for seed in seeds]), ready)


def _render(size: int, rooms: int, number: int, ready: Callable[[], object]) -> tuple[int, float, float]:
    import numpy as np

    from training.data.world.render_gl import GLRenderer

    dataset = _dataset(size, number)
    drives = [dataset.drive(k) for k in range(min(rooms, 16))]
    renderer = GLRenderer(size, size)

    def draw() -> int:
        count = 0
        for drive in drives:
            k = np.repeat(drive.intrinsics[None], len(drive.image), 0)
            count += len(renderer.render(drive.room, k, drive.world_from_camera)[0])
        return count

    draw()
    return _timed(draw, ready)


def _views(size: int, rooms: int, number: int, ready: Callable[[], object]) -> tuple[int, float, float]:
    dataset = _dataset(size, number)
    dataset.drive(0)
    return _timed(lambda: sum(len(dataset.drive(k).image) for k in range(1, rooms + 1)), ready)


def _pairs(size: int, rooms: int, number: int, ready: Callable[[], object]) -> tuple[int, float, float]:
    dataset = _dataset(size, number)
    whole = dataset.config.pairs * dataset.config.interleave  # whole deals, so that no room is made for nothing
    dataset.batch("pair", [10 * whole])

    def stack() -> int:
        stream, count = dataset.batches(16), 0
        while count < max(1, round(rooms / dataset.config.interleave)) * whole:
            count += len(next(stream))
        return count

    return _timed(stack, ready)


def _ask(size: int, rooms: int, number: int, ready: Callable[[], object]) -> tuple[int, float, float]:
    from random import Random

    from training.data.questions import QuestionMaker

    dataset = _dataset(size, number)
    pairs, maker = [dataset.pair(k) for k in range(min(rooms, 24))], QuestionMaker()

    def ask() -> int:
        return sum(len(maker.ask(pair, 8, Random(k))) for k, pair in enumerate(pairs) for _ in range(4))

    return _timed(ask, ready)


def _cast(size: int, rooms: int, device: str) -> tuple[int, float, float]:
    import torch

    from training.data.world.raycast import RoomBatch, raycast

    drives = [_dataset(size, 0).drive(k) for k in range(rooms)]
    batch = RoomBatch.pack([drive.room for drive in drives], device)
    k = torch.stack([torch.from_numpy(drive.intrinsics).expand(len(drive.image), 3, 3) for drive in drives])
    poses = torch.stack([torch.from_numpy(drive.world_from_camera) for drive in drives])

    def cast() -> int:
        depth = raycast(batch, k, poses, size, size)[1]
        float(depth.sum())  # waits for the device
        return depth.shape[0] * depth.shape[1]

    cast()
    return _timed(cast, lambda: None)


def _dataset(size: int, number: int) -> object:
    from training.data.rooms import RoomsConfig, RoomsDataset

    return RoomsDataset(RoomsConfig(size=size, interleave=24), "train", seed=number)


if __name__ == "__main__":
    raise SystemExit(main())
