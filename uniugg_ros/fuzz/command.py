"""Send the node mutated messages and count what becomes of them.

examples:
  uniugg fuzz --seconds 60
  uniugg fuzz --messages 1000000 --over process --json fuzz.json
  uniugg fuzz --over dds --seconds 120 --seed 7
  uniugg fuzz --seed 7 --only 48213

Images, compressed pictures, calibrations, poses, transforms and requests, most of them with a few odd values:
through the node's own functions in this process, and over real DDS to a node in a process of its own. The model is a
stand-in that answers at once. What message number N is depends on the seed and N alone: --only repeats one in this
process. Nothing may crash, hang or grow: the exit status is 0 if every message ended in an answer or a coded refusal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["configure", "fuzz", "run"]

GOOD_SHARE = 0.3  # of the messages, so that what mutated ones leave behind meets good ones
CHECK_EVERY = 250  # messages over DDS between two looks at whether a good question is answered
WARM = 2000  # messages before memory is first looked at
SHOWN = 20  # crashes that are kept in full


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg fuzz``."""
    parser.add_argument("--seconds", type=float, default=30.0, metavar="N", help="each way at most (%(default)g)")
    parser.add_argument("--messages", type=int, metavar="N", help="end after so many, each way")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed is another run (%(default)s)")
    parser.add_argument("--over", choices=("process", "dds", "both"), default="both", help="default: %(default)s")
    parser.add_argument("--only", type=int, metavar="N", help="show message number N and what becomes of it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was counted here")


def run(args: argparse.Namespace) -> int:
    """Fuzzes; status 1 if anything was found."""
    try:
        import uniugg_interfaces.srv  # noqa: F401
    except ImportError as error:
        raise UniuggError(
            ErrorCode.INTERNAL, f"this needs rclpy and uniugg_interfaces ({error}); see `make env`"
        ) from error
    if args.only is not None:
        return _show(args.seed, args.only)
    seconds = args.seconds if args.messages is None else float("inf")
    report: dict[str, Any] = {"seed": args.seed}
    for way in ("process", "dds"):
        if args.over in (way, "both"):
            report[way] = found = fuzz(way, args.seed, seconds, args.messages)
            print(_lines(way, found))
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(any(report[way]["crashes"] for way in ("process", "dds") if way in report))


def fuzz(way: str, seed: int, seconds: float, messages: int | None = None) -> dict[str, Any]:
    """One run.

    Args:
        way: "process" or "dds".
        seed: of the messages.
        seconds: ends it.
        messages: ends it, if not None.

    Returns:
        ``messages``, ``mutated``, ``seconds``, ``kinds``, ``outcomes`` (by kind and code), ``crashes`` (how many),
        ``found`` (the first of them: number, kind, changed fields, traceback), ``memory_mb`` (before and after).
    """
    with tempfile.TemporaryDirectory(prefix="uniugg-fuzz-") as folder:
        target, process = _open(way, Path(folder))
        source = _Source(seed)
        kinds: Counter[str] = Counter()
        outcomes: Counter[str] = Counter()
        found: list[dict[str, Any]] = []
        crashes = mutated = number = 0
        began, before = time.monotonic(), 0.0
        try:
            while time.monotonic() - began < seconds and number != messages:
                kind, message, changed = source.message(number)
                number += 1
                kinds[kind] += 1
                mutated += bool(changed)
                try:
                    code = target.take(kind, message)
                    if way == "dds" and number % CHECK_EVERY == 0:
                        target.check()
                except Exception:  # noqa: BLE001  this is what is looked for
                    code = "CRASH"
                    crashes += 1
                    if len(found) < SHOWN:
                        found.append(
                            {"number": number - 1, "kind": kind, "changed": changed, "error": traceback.format_exc()}
                        )
                    if way == "dds":
                        break
                outcomes[f"{kind}/{code}"] += 1
                if number == min(WARM, messages or WARM):
                    before = _memory(process)
            after = _memory(process)
        finally:
            if way == "dds":
                target.close()
    return {
        "messages": number,
        "mutated": mutated,
        "seconds": round(time.monotonic() - began, 2),
        "kinds": dict(sorted(kinds.items())),
        "outcomes": dict(sorted(outcomes.items())),
        "crashes": crashes,
        "found": found,
        "memory_mb": {"before": before or after, "after": after},
    }


class _Source:
    """Message number N of a seed."""

    def __init__(self, seed: int) -> None:
        from .corpus import KINDS, Corpus
        from .mutate import Mutator

        self._seed, self._kinds = seed, KINDS
        self._random = Random()
        self._corpus, self._mutator = Corpus(self._random), Mutator(self._random)
        self._begin = 1_700_000_000 * 10**9

    def message(self, number: int) -> tuple[str, Any, list[str]]:
        """(kind, message, what was changed)."""
        random = self._random
        random.seed(f"{self._seed}/{number}")
        kind = random.choice(self._kinds)
        message = self._corpus.message(kind, self._begin + number * 10**7)
        changed = [] if random.random() < GOOD_SHARE else self._mutator.mutate(message)
        return kind, message, changed


def _open(way: str, folder: Path) -> tuple[Any, int]:
    if way == "process":
        from .in_process import InProcess

        return InProcess(), os.getpid()
    from ..demo.processes import ros_environment
    from ..shares import share
    from .wire import OverDds

    profile = share("config/fastdds.xml")
    domain = int(os.environ.get("ROS_DOMAIN_ID", 20 + os.getpid() % 80))
    os.environ.update(ros_environment(folder, domain, profile if profile.is_file() else None))
    target = OverDds(folder)
    return target, target.process


def _memory(process: int) -> float:
    """Resident megabytes of a process."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return float("nan")
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def _show(seed: int, number: int) -> int:
    from .in_process import InProcess

    kind, message, changed = _Source(seed).message(number)
    print(f"{kind}, changed: {', '.join(changed) or 'nothing'}\n{str(message)[:4000]}")
    try:
        print(InProcess().take(kind, message))
    except Exception:  # noqa: BLE001  shown
        traceback.print_exc(file=sys.stdout)
        return 1
    return 0


def _lines(way: str, found: dict[str, Any]) -> str:
    memory = found["memory_mb"]
    lines = [
        f"over {way}: {found['messages']:,} messages ({found['mutated']:,} mutated) in {found['seconds']:.0f} s, "
        f"{found['crashes']} crashes, memory {memory['before']:.0f} -> {memory['after']:.0f} MB"
    ]
    lines += [f"  {name:<42}{count:>9,}" for name, count in found["outcomes"].items()]
    lines += [f"message {item['number']} ({item['kind']}):\n{item['error']}" for item in found["found"][:3]]
    return "\n".join(lines)
