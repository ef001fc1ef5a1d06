"""Score anyone's answers to a benchmark as its official script does, with a corrected figure beside unfair rules.

FILE has one JSON object a line: {"task", "options", "answer", "prediction"}, and where they matter "question", "id"
(3DSRBench: the qid, for circular scoring) and "group" (what the bootstrap draws together, such as a scene). Options are
a list, with or without their letters, or an object of letters. An answer may be a list of acceptable ones (ScanQA).

examples:
  uniugg eval score vsi-bench --predictions answers.jsonl
  uniugg eval score 3dsrbench --predictions answers.jsonl --json figures.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .benchmarks import NAMES

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval score``."""
    parser.add_argument("benchmark", metavar="BENCH", help=", ".join(NAMES))
    parser.add_argument("--predictions", type=Path, required=True, metavar="FILE", help="rows, JSON lines")
    parser.add_argument("--json", metavar="OUT", help="write every figure at full precision; - for standard output")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the bootstrap; 0: no intervals")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap")


def run(args: argparse.Namespace) -> int:
    """Scores; the exit status."""
    from .benchmarks import benchmark
    from .scoring import read_rows, score_rows

    chosen = benchmark(args.benchmark)
    rows = read_rows(args.predictions, chosen)
    table = score_rows(chosen, rows, resamples=args.resamples, seed=args.seed)
    if args.json == "-":
        print(json.dumps(table.to_json(), indent=2))
        return 0
    print(table.to_text())
    if args.json:
        Path(args.json).write_text(json.dumps(table.to_json(), indent=2) + "\n", encoding="utf-8")
    return 0
