"""Put a benchmark's questions to a model: ours, a local transformers folder, or any OpenAI-compatible server.

PATH holds the benchmark's published files (folder or one file; Parquet needs pyarrow). Answers go to --out as they
come, raw, in rows that `uniugg eval score` takes; run the same command again to go on after an interruption. A server's
key is read from the variable OPENAI_API_KEY, if it is set. Under torchrun every process asks its share of the questions
into a file of its own beside FILE, which has them all in the end.

examples:
  uniugg eval answer vsi-bench --data VSI-Bench/ --model ours --out answers.jsonl
  uniugg eval answer blink --data BLINK/ --model http://localhost:8000 --out answers.jsonl --concurrency 16
  uniugg eval answer spar-bench --data SPAR-Bench/ --model Qwen2.5-VL-3B-Instruct/ --device cuda --out answers.jsonl
  torchrun --nproc-per-node 8 --no-python uniugg eval answer blink --data BLINK/ --model DIR --device cuda --out a.jsonl
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .benchmarks import NAMES

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval answer``."""
    parser.add_argument("benchmark", metavar="BENCH", help=", ".join(NAMES))
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="the published files")
    parser.add_argument("--model", required=True, metavar="X", help="ours, FOLDER, or http(s)://server")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="rows, JSON lines; made or continued")
    parser.add_argument("--split", metavar="NAME", help="of the data (default: the one that is reported)")
    parser.add_argument("--frames", type=int, metavar="N", help="of a video or scene (default: 16)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions")
    parser.add_argument("--max-new-tokens", type=int, default=128, metavar="N", help="of an answer (default: 128)")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="for ours and FOLDER")
    parser.add_argument("--served-model", metavar="NAME", help="which of the server's models (default: its first)")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N", help="calls to a server side by side")
    parser.add_argument("--max-side", type=int, metavar="PX", help="shrink pictures sent to a server")
    parser.add_argument("--price-in", type=float, metavar="X", help="per million tokens, for the cost line")
    parser.add_argument("--price-out", type=float, metavar="X", help="per million tokens")
    parser.add_argument("--quiet", action="store_true", help="no progress line")


def run(args: argparse.Namespace) -> int:
    """Asks; 1 if any question failed."""
    from itertools import islice

    from .asking import Tally, ask, join
    from .benchmarks import benchmark
    from .respondents import respondent
    from .sharing import Share

    chosen = benchmark(args.benchmark)
    share = Share()
    parts = [args.out.with_name(f"{args.out.stem}.{n}of{share.count}{args.out.suffix}") for n in range(share.count)]
    options = {"frames": args.frames} if args.frames else {}
    if options and "frames" not in chosen.load.__code__.co_varnames:
        options = {}  # its questions are about photographs
    questions = islice(chosen.load(args.data, args.split, **options), share.rank, args.limit, share.count)
    who = respondent(
        args.model,
        device=args.device,
        max_new_tokens=args.max_new_tokens,
        served=args.served_model,
        at_once=max(1, args.concurrency),
        largest=args.max_side,
    )

    def progress(tally: Tally) -> None:
        print(f"\r{tally.line(args.price_in, args.price_out)}", end="", file=sys.stderr, flush=True)

    tally = ask(
        chosen,
        questions,
        who,
        args.out if share.count == 1 else parts[share.rank],
        limit=args.max_new_tokens,
        progress=progress if share.leads and sys.stderr.isatty() and not args.quiet else None,
    )
    tallies = share.gathered([tally])
    if not share.leads:
        return 0
    if share.count > 1:
        join(parts, args.out)
        tally = Tally.total(tallies)
    for failure in tally.failed:
        print(failure, file=sys.stderr)
    print(f"{chosen.title}, {who.name}: {tally.line(args.price_in, args.price_out)}")
    print(f"score with: uniugg eval score {chosen.name} --predictions {args.out}")
    return 1 if tally.failures else 0
