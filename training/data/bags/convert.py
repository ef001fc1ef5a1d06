"""A recording turned into training data, step by step, in several processes, resumable at any moment.

    plan (align) -> frames (blocks) -> pairs -> folder or shards -> preview and report -> recording.json

OUT/work keeps what is half done; ``recording.json`` is written last, so that a folder that has it is whole.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import save_image

from ..frame_folder import FrameFolder, is_frame_folder, write_tables
from .align import Alignment, FramePlan, Selection, align, select
from .blocks import Block, BlockResult, Source, begin_worker, close_bags, do_block
from .pairs import PairLimits, PoseCheck, candidates, check_poses, choose, confirmed, measure
from .planning import plan_folder
from .reader import Bag
from .recording import FORMAT, INDEX
from .report import Report, write_report
from .shards import write_shard
from .sheet import contact_sheet
from .topics import Topics, find_topics

__all__ = ["Options", "convert"]

_BLOCK = 48  # frames; the unit of work and of resuming
Progress = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True)
class Options:
    """All that decides what comes out."""

    topics: Topics = field(default_factory=Topics)
    selection: Selection = field(default_factory=Selection)
    pairs: PairLimits = field(default_factory=PairLimits)
    form: str = "folder"  # "folder" (frames once, plain files) or "shards" (tar files of pairs)
    short_side: int | None = None  # pixels; None keeps the recorded size
    per_shard: int = 500  # pairs
    previews: int = 6  # rows of the contact sheet
    seed: int = 0  # of the choice among many candidates


def convert(
    source: str | Path,
    out: str | Path,
    options: Options | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Converts a rosbag2 or a folder of frames; a conversion that was interrupted goes on where it stopped.

    Args:
        source: see :class:`training.data.bags.reader.Bag` and :mod:`training.data.frame_folder`.
        out: folder to write to.
        options: what to make.
        workers: processes.
        overwrite: remove what is in `out` if it was made from something else or in another way.
        progress: told how far each step is.

    Raises:
        UniuggError: what is wrong with the recording or the request; IMAGE_MISSING where no frame can be used.
    """
    source, out, options = Path(source).resolve(), Path(out), options or Options()
    if options.form not in ("folder", "shards"):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"form is {options.form!r}, expected 'folder' or 'shards'")
    work = out / "work"
    settings = json.dumps({"source": _fingerprint(source), "options": asdict(options)}, indent=2, sort_keys=True)
    if _prepare(out, work, settings, overwrite):
        return Report.load(out / "report.json")
    try:
        with _pool(workers) as pool:
            return _convert(source, out, work, options, pool, progress, settings)
    except OSError as error:
        raise UniuggError(ErrorCode.INTERNAL, f"{error.filename or out} cannot be written: {error.strerror}") from None
    except BrokenProcessPool:
        raise UniuggError(
            ErrorCode.OUT_OF_MEMORY, "a process was killed, most likely for memory; run again with fewer --workers"
        ) from None
    finally:
        close_bags()


def _convert(
    source: Path, out: Path, work: Path, options: Options, pool: Executor | None, progress: Progress, settings: str
) -> Report:
    progress("reading the recording", 0, 1)
    alignment, topics = _plan(source, work, options)
    plans, passed_over = select(alignment.frames, options.selection)
    progress("reading the recording", 1, 1)
    target = out if options.form == "folder" else work / "frames"
    results = _frames(source, target, work, topics, plans, options, pool, progress)
    dropped = [*alignment.dropped, *passed_over, *(item for result in results for item in result.dropped)]
    names = [name for result in results for name in result.names]
    alignment.notes.extend(dict.fromkeys(note for result in results for note in result.notes[:1]))
    if not names:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{source} has no usable frame: {_reasons(dropped, alignment)}")
    kept = [plans[_BLOCK * number + local] for number, result in enumerate(results) for local in result.plans]
    poses = np.stack([plan.world_from_camera for plan in kept])
    stamps = np.array([plan.color.stamp for plan in kept], np.float64) / 1e9
    write_tables(target, names, poses, np.concatenate([result.intrinsics for result in results]), stamps)
    folder = FrameFolder.open(target)
    pairs, check, segments = _pairs(results, poses, np.array([plan.segment for plan in kept]), options, pool, progress)
    index = {"format": FORMAT, "form": options.form, "frames": len(names), "pairs": [_rounded(pair) for pair in pairs]}
    if options.form == "shards":
        index["shards"] = _shards(out, folder, pairs, options.per_shard, pool, progress)
    if len(pairs):
        save_image(out / "preview.png", _preview(folder, pairs, options.previews))
    report = Report.make(source, topics, alignment, kept, results, dropped, pairs, check, segments, options.form)
    write_report(out, report)
    partial = out / (INDEX + ".partial")
    partial.write_text(json.dumps(index, separators=(",", ":")) + "\n", encoding="utf-8")
    (out / "settings.json").write_text(settings, encoding="utf-8")
    os.replace(partial, out / INDEX)
    shutil.rmtree(work)
    return report


def _prepare(out: Path, work: Path, settings: str, overwrite: bool) -> bool:
    """Makes the folders; True if `out` already holds exactly this."""
    finished = out / "settings.json"
    if (out / INDEX).is_file() and finished.is_file() and finished.read_text(encoding="utf-8") == settings:
        return True
    mine = work / "settings.json"
    if mine.is_file() and mine.read_text(encoding="utf-8") == settings:
        return False
    if mine.is_file() and not list((work / "blocks").glob("*.npz")):
        shutil.rmtree(work)  # an attempt that made nothing yet, say with a wrong topic
    if out.is_dir() and any(out.iterdir()):
        ours = (out / INDEX).is_file() or mine.is_file()
        if not (overwrite and ours):
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"{out} holds something else"
                + (" (another recording or other settings); --overwrite replaces it" if ours else ""),
            )
        for name in ("color", "depth", "work"):
            shutil.rmtree(out / name, ignore_errors=True)
        for file in [*out.glob("pairs-*.tar*"), *out.glob("*.txt"), *out.glob("report.*"), out / "preview.png"]:
            file.unlink(missing_ok=True)
        (out / INDEX).unlink(missing_ok=True)
        finished.unlink(missing_ok=True)
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise UniuggError(ErrorCode.INTERNAL, f"{work} cannot be made: {error.strerror}") from None
    mine.write_text(settings, encoding="utf-8")
    return False


def _plan(source: Path, work: Path, options: Options) -> tuple[Alignment, Topics | None]:
    if is_frame_folder(source):
        return plan_folder(source, options.selection), None
    with Bag(source, work / "unpacked") as bag:
        topics = find_topics(bag, options.topics)
        return align(bag, topics, options.selection), topics


def _frames(
    source: Path,
    target: Path,
    work: Path,
    topics: Topics | None,
    plans: Sequence[FramePlan],
    options: Options,
    pool: Executor | None,
    progress: Progress,
) -> list[BlockResult]:
    limits = options.selection
    common = Source(
        source, work / "unpacked", topics, target, options.short_side, limits.max_depth, limits.min_depth_share
    )
    for folder in (target / "color", target / "depth", work / "blocks"):
        folder.mkdir(parents=True, exist_ok=True)
    blocks = [
        Block(
            common,
            work / "blocks" / f"{number:05d}.npz",
            tuple(f"{k:06d}" for k in range(start, min(start + _BLOCK, len(plans)))),
            tuple(plans[start : start + _BLOCK]),
        )
        for number, start in enumerate(range(0, len(plans), _BLOCK))
    ]
    results: list[BlockResult | None] = [None] * len(blocks)
    done = 0
    for number, result in _each(do_block, blocks, pool):
        results[number] = result
        done += len(blocks[number].plans)
        progress("frames", done, len(plans))
    return [result for result in results if result is not None]


def _pairs(
    results: list[BlockResult],
    poses: np.ndarray,
    segments: np.ndarray,
    options: Options,
    pool: Executor | None,
    progress: Progress,
) -> tuple[np.ndarray, PoseCheck, np.ndarray]:
    """(P, 4) of frame numbers and overlaps; whether the poses fit the depth; segments without mistaken jumps."""
    small = _stacked([depth for result in results for depth in result.small])
    small_k = np.concatenate([result.small_k for result in results])
    segments = confirmed(small, small_k, poses, segments)
    check = check_poses(small, small_k, poses, segments)
    tried = candidates(poses, segments, options.pairs, options.seed)
    overlaps = measure(
        small, small_k, poses, tried[:, :2], pool, lambda done: progress("pairs", done, max(len(tried), 1))
    )
    kept = choose(tried[:, :2], overlaps, options.pairs, options.seed)
    return np.concatenate([tried[kept, :2], overlaps[kept]], axis=-1), check, segments


def _stacked(maps: list[np.ndarray]) -> np.ndarray:
    """Small maps of one height and width; a recording that changes its shape is filled up with "unknown"."""
    height, width = max(m.shape[0] for m in maps), max(m.shape[1] for m in maps)
    stack = np.zeros((len(maps), height, width), np.float32)
    for number, small in enumerate(maps):
        stack[number, : small.shape[0], : small.shape[1]] = small
    return stack


def _shards(
    out: Path, folder: FrameFolder, pairs: np.ndarray, size: int, pool: Executor | None, progress: Progress
) -> list[dict[str, str | int]]:
    starts = list(range(0, len(pairs), size))
    files = [out / f"pairs-{number:05d}.tar" for number in range(len(starts))]
    jobs = [
        (file, folder, pairs[start : start + size].tolist(), start)
        for file, start in zip(files, starts)
        if not file.is_file()
    ]
    for done, _ in enumerate(_each(_write_one, jobs, pool), 1):
        progress("shards", done, len(jobs))
    return [{"name": file.name, "pairs": min(size, len(pairs) - start)} for file, start in zip(files, starts)]


def _write_one(job: tuple[Path, FrameFolder, list[list[float]], int]) -> None:
    write_shard(*job)


def _preview(folder: FrameFolder, pairs: np.ndarray, rows: int) -> np.ndarray:
    """Pairs from all over the recording, from the least to the most overlap."""
    spread = np.linspace(0, len(pairs) - 1, min(rows, len(pairs))).astype(int)
    chosen = sorted((pairs[number] for number in spread), key=lambda pair: min(pair[2], pair[3]))
    shown = []
    for i, j, forth, back in chosen:
        reference, target = folder.view(int(i)), folder.view(int(j))
        title = f"{folder.names[int(i)]} to {folder.names[int(j)]}, sees {forth:.0%} / {back:.0%}"
        shown.append((reference, target, title))
    return contact_sheet(shown)


def _each(call: Callable, jobs: Sequence, pool: Executor | None) -> Iterator[tuple[int, object]]:
    """(number, result) of every job, as they finish."""
    if pool is None:
        yield from ((number, call(job)) for number, job in enumerate(jobs))
        return
    futures = {pool.submit(call, job): number for number, job in enumerate(jobs)}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


@contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    if workers <= 1:
        yield None
        return
    # not fork: the parent may have threads and open databases
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker) as pool:
        yield pool


def _fingerprint(source: Path) -> dict[str, object]:
    """What the source is: another or a changed one must not continue a conversion."""
    if not source.exists():
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"there is no recording at {source}")
    files = sorted(file for file in source.iterdir() if file.is_file()) if source.is_dir() else [source]
    return {"path": str(source), "files": [[file.name, file.stat().st_size] for file in files]}


def _reasons(dropped: list[tuple[int, str]], alignment: Alignment) -> str:
    if not alignment.pictures:
        return "its colour topic holds no picture"
    counts: dict[str, int] = {}
    for _, reason in dropped:
        counts[reason] = counts.get(reason, 0) + 1
    listed = ", ".join(f"{reason} ({count} of {alignment.pictures})" for reason, count in counts.items())
    return "; ".join([listed, *alignment.notes[:3]])


def _rounded(pair: np.ndarray) -> list[float]:
    return [int(pair[0]), int(pair[1]), round(float(pair[2]), 4), round(float(pair[3]), 4)]
