"""Puts a trained model into the package, with a card that says how it came about and how good it is.

    python tools/ship_model.py runs/tiny-unified/model --runs runs/tiny-teacher runs/tiny-encoder ... \
        --figures runs/figures-0.json runs/figures-1.json ...
    python tools/ship_model.py runs/tiny-unified-2/model --continues --runs runs/tiny-encoder-2 ... --figures ...
    python tools/ship_model.py uniugg_core/assets/uniugg-tiny --continues --figures ...      # measured anew

Runs are training runs in their order; figures are reports of `uniugg eval rooms --json`, each of another seed. The text
above and below the tables is in tools/model_card.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from uniugg_core.folder import load_folder, save_folder  # noqa: E402
from uniugg_core.pipeline import SHIPPED_MODEL  # noqa: E402

LIMIT = 60_000_000  # bytes of the whole folder
RESULTS = ROOT / "benchmarks" / "results"
SETTINGS = ROOT / "training" / "configs" / "tiny" / "shipped"  # of the runs, as they were
PARTS = ("unseen", "seen")
METHODS = {
    "imagined": "imagined",
    "network": "imagined, by the network alone",
    "surfaces": "own predicted surfaces of the room, gone on",
    "moved": "own predicted cloud, moved",
    "filled": "own predicted cloud, moved and filled",
    "moved_true": "true depth, moved",
    "filled_true": "true depth, moved and filled",
    "oracle": "true target features, decoded",
    "oracle_vae": "true target features through the VAE, decoded",
}


def main(argv: list[str] | None = None) -> int:
    """Writes the folder; fails if it is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="what `uniugg train unified` exported")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="the training runs, in order")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="reports of `uniugg eval rooms`")
    parser.add_argument("--continues", action="store_true", help="the runs began from the model that is replaced")
    parser.add_argument("--out", type=Path, default=SHIPPED_MODEL, help="default: %(default)s")
    args = parser.parse_args(argv)
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in args.figures]
    model, tokenizer = load_folder(args.model, dtype="bfloat16")
    count = sum(parameter.numel() for parameter in model.parameters())
    text = (ROOT / "tools" / "model_card.md").read_text(encoding="utf-8")
    card = text.replace("{parameters}", f"{count / 1e6:.1f} M").replace(
        "{runs}", runs_table(args.runs, earlier_rows(args.out / "README.md") if args.continues else [])
    )
    card = card.replace("{figures}", figures_tables(reports)).replace("{machine}", machine())
    save_folder(args.out, model, tokenizer, dtype="bfloat16", card=card)
    SETTINGS.mkdir(exist_ok=True)
    for run in args.runs:
        shutil.copyfile(run / "train.json", SETTINGS / f"{run.name}.json")
    for number, path in enumerate(args.figures):
        shutil.copyfile(path, RESULTS / f"rooms-{number}.json")
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB")
    return 0 if size <= LIMIT else 1


def earlier_rows(card: Path) -> list[str]:
    """The rows of the runs in a card."""
    table = card.read_text(encoding="utf-8").partition("## How it was made")[2].partition("\n## ")[0]
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


def runs_table(runs: list[Path], earlier: list[str]) -> str:
    """What each run did, from its settings and its curve."""
    lines = ["| run | started from | steps | samples | hours | last validation |", "|---|---|---:|---:|---:|---|"]
    again = tuple(f"| {run.name} (" for run in runs)
    lines += [row for row in earlier if not row.startswith(again)]
    for run in runs:
        settings = json.loads((run / "train.json").read_text(encoding="utf-8"))
        curve = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        last = next(entry for entry in reversed(curve) if entry["event"] == "train")
        found = next((entry for entry in reversed(curve) if entry["event"] == "validate"), {})
        shown = ", ".join(
            f"{name} {value:.3f}" for name, value in found.items() if name not in ("event", "step", "loss")
        )
        start = " + ".join(Path(path).name for path in settings["model"]["start"]) or "nothing"
        lines.append(
            f"| {run.name} ({settings['stage']}) | {start} | {last['step']:,} | {last['samples']:,} "
            f"| {last['seconds'] / 3600:.2f} | {shown} |"
        )
    return "\n".join(lines)


def figures_tables(reports: list[dict[str, Any]]) -> str:
    """Means over the reports; ratios with their range."""
    seeds = ", ".join(str(report["seed"]) for report in reports)
    scenes = reports[0]["scenes"]
    blocks = [f"Means over test rooms of seeds {seeds}, {scenes} rooms each.", ""]
    blocks += ["| median relative point error | unseen part | seen part |", "|---|---:|---:|"]
    for name, title in METHODS.items():
        if any(name not in report["unseen"]["methods"] for report in reports):
            continue
        cells = [_mean(reports, part, "methods", name, "error") for part in PARTS]
        blocks.append(f"| {title} | {cells[0]} | {cells[1]} |")
    blocks.append("| **ours / best free baseline** | " + " | ".join(_ratio(reports, part) for part in PARTS) + " |")
    blocks.append(
        "| delta < 1.25 (imagined) | "
        + " | ".join(_mean(reports, part, "methods", "imagined", "delta_1.25") for part in PARTS)
        + " |"
    )
    blocks += ["", f"Reference view: {_mean(reports, 'reference', 'error')}.", ""]
    blocks += ["| questions | right | blind | chance |", "|---|---:|---:|---:|"]
    families = sorted({name for report in reports for name in report["vqa"]["families"]})
    for name in families:
        rows = [report["vqa"]["families"][name] for report in reports if name in report["vqa"]["families"]]
        blocks.append(f"| {name.replace('_', ' ')} | {_rates(rows)} |")
    blocks.append(f"| **all** | {_rates([report['vqa'] for report in reports])} |")
    return "\n".join(blocks)


def machine() -> str:
    """The processor that trained."""
    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if "model name" in line),
        platform.processor(),
    )
    return model


def _mean(reports: list[dict[str, Any]], *path: str) -> str:
    values = []
    for report in reports:
        value: Any = report
        for name in path:
            value = value[name]
        values.append(value)
    return f"{fmean(values):.3f}"


def _ratio(reports: list[dict[str, Any]], part: str) -> str:
    values = [report[part]["error_ratio"] for report in reports]
    return f"**{fmean(values):.2f}** ({min(values):.2f} to {max(values):.2f})"


def _rates(rows: list[dict[str, Any]]) -> str:
    keys = ("accuracy", "blind_accuracy", "chance")
    return " | ".join(f"{100 * fmean(row[key] or 0.0 for row in rows):.0f} %" for key in keys)


if __name__ == "__main__":
    sys.exit(main())
