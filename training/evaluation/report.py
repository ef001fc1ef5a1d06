"""One report of whatever was measured: a page for a browser or a printer, and the same as Markdown.

Takes the JSON files that the evaluation commands write, tells them apart by what they hold, and sets the paper's
published rows beside ours where they measure the same thing.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uniugg_core.errors import ErrorCode, UniuggError

from .published import GENERATION, UNDERSTANDING, UNDERSTANDING_COLUMNS

__all__ = ["Section", "Table", "build", "kind_of", "write_report"]

_DATA_SETS = {"arkitscenes": 0, "scannetpp": 1, "scannetpp-iphone": 1}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2026; max-width: 1080px; margin: 2em auto; padding: 0 1em }
h1 { margin-bottom: 0 } h2 { margin-top: 1.8em; border-bottom: 2px solid #e4e7eb } p.note { color: #6e7680 }
table { border-collapse: collapse; margin: .8em 0; font-variant-numeric: tabular-nums; break-inside: avoid }
th { text-align: right; color: #6e7680; font-weight: normal; vertical-align: bottom }
th, td { border-bottom: 1px solid #e4e7eb; padding: .2em .9em .2em 0 } td { text-align: right }
th:first-child, td:first-child { text-align: left } tr.ours td { background: #fdf0f6 }
img { max-width: 100%; border: 1px solid #e4e7eb; border-radius: 4px; margin: .4em 0; break-inside: avoid }
code { background: #f4f5f7; padding: .1em .3em; border-radius: 3px; word-break: break-all }
@media print { body { max-width: none; margin: 0; font-size: 11px } h2 { break-after: avoid } }
"""
_METHODS = {
    "imagined": "imagined",
    "network": "imagined, network alone",
    "regression": "direct regression",
    "moved": "own cloud, moved",
    "filled": "own cloud, moved and filled",
    "moved_true": "true depth, moved",
    "filled_true": "true depth, moved and filled",
    "oracle_vae": "true features through the VAE",
    "oracle": "true features",
}


@dataclass
class Table:
    """Rows under a head; `ours` are the numbers of the rows that this project measured."""

    head: Sequence[str]
    rows: list[Sequence[str]]
    ours: set[int] = field(default_factory=set)


@dataclass
class Section:
    """A heading with notes, tables and pictures (files, copied beside the page)."""

    title: str
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)


def kind_of(report: Any) -> str | None:
    """What wrote a JSON file: "rooms" (or frames), "generation", "score", "ablations" or "distances"; None: others."""
    if not isinstance(report, dict):
        return None
    if report.get("what") == "ablations":
        return "ablations"
    for kind, keys in (
        ("rooms", {"unseen", "seen", "by_angle", "model"}),
        ("generation", {"outputs", "protocol", "pairs"}),
        ("score", {"benchmark", "measures"}),
        ("distances", {"features", "counts", "subsets"}),
    ):
        if keys <= report.keys():
            return kind
    return None


def build(files: Sequence[Path], pictures: Sequence[Path] = (), models: Sequence[Path] = ()) -> list[Section]:
    """The report's sections.

    Args:
        files: JSON files of the evaluation commands.
        pictures: more pictures, or folders of them.
        models: checkpoint folders whose hashes are stated.

    Raises:
        UniuggError: REQUEST_INVALID, naming a file that is none of ours.
    """
    found: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for path in files:
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} cannot be read: {error}") from None
        kind = kind_of(report)
        if kind is None:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} is no report of an evaluation command")
        found.setdefault(kind, []).append((path, report))
    makers: dict[str, Callable[[list[tuple[Path, dict[str, Any]]]], list[Section]]] = {
        "generation": _generation,
        "score": _understanding,
        "rooms": _rooms,
        "ablations": _ablations,
        "distances": _distances,
    }
    sections = [section for kind, make in makers.items() if kind in found for section in make(found[kind])]
    shown = [file for path in pictures for file in _picture_files(path)]
    if shown:
        sections.append(Section("Pictures", pictures=shown))
    sections.append(_provenance(files, models))
    return sections


def write_report(sections: Sequence[Section], out: Path, title: str = "UniUGG: evaluation") -> None:
    """Writes ``report.html`` and ``report.md`` with their pictures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    page = [f"<h1>{html.escape(title)}</h1>"]
    text = [f"# {title}"]
    for number, section in enumerate(sections):
        page.append(f"<h2>{html.escape(section.title)}</h2>")
        text.append(f"## {section.title}")
        for table in section.tables:
            page.append(_html_table(table))
            text.append(_markdown_table(table))
        page += [f'<p class="note">{html.escape(note)}</p>' for note in section.notes]
        text += section.notes
        for place, picture in enumerate(section.pictures):
            name = f"pictures/{number:02d}-{place:02d}-{picture.name}"
            (out / "pictures").mkdir(exist_ok=True)
            shutil.copyfile(picture, out / name)
            page.append(f'<img src="{html.escape(name)}" alt="{html.escape(picture.stem)}">')
            text.append(f"![{picture.stem}]({name})")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    document = (
        f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(page)}</body></html>"
    )
    (out / "report.html").write_text(document + "\n", encoding="utf-8")
    (out / "report.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")


# --- sections ---------------------------------------------------------------------------------------------------------


def _generation(found: list[tuple[Path, dict[str, Any]]]) -> list[Section]:
    sections = []
    for path, report in found:
        columns = ("fid", "kid_mean", "lpips")
        table = Table(["views", "FID ↓", "KID ↓", "LPIPS ↓", "PSNR ↑", "SSIM ↑", "not drawn"], [])
        place = _DATA_SETS.get(report["source"])
        if place is not None:
            table.rows += [
                [f"{name} (published)", *(_cell(value, 4 if value < 1 else 2) for value in rows[place]), "", "", ""]
                for name, rows in GENERATION.items()
            ]
        named = sorted({key for figures in report["outputs"].values() for key in figures if key.startswith("frechet_")})
        table.head = [*table.head, *named]
        table.rows = [[*row, *("" for _ in named)] for row in table.rows]
        for name, figures in report["outputs"].items():
            table.ours.add(len(table.rows))
            cells = [_cell(figures.get(key), 2 if key == "fid" else 4) for key in columns]
            more = [_cell(figures["psnr"], 2), _cell(figures["ssim"], 3), f"{100 * figures['black']:.1f} %"]
            table.rows.append([name, *cells, *more, *(_cell(figures.get(key), 4) for key in named)])
        notes = [
            f"{report['pairs']} pairs of {report['source']}; protocol {json.dumps(report['protocol'])}; {path.name}."
        ]
        if place is not None:
            notes.append(
                "The published rows do not say how many pairs, which point size and which holes; FID depends on all."
            )
        if named:
            notes.append(
                "Distances of features other than Inception's are no FID and compare with nothing but each other."
            )
        sections.append(Section(f"Generated views: {report['source']}", notes, [table]))
    return sections


def _understanding(found: list[tuple[Path, dict[str, Any]]]) -> list[Section]:
    own: dict[str, dict[str, float]] = {}
    section = Section("Spatial understanding")
    for path, report in found:
        measures = {measure["name"]: measure["figures"] for measure in report["measures"]}
        for name, figures in measures.items():
            row = own.setdefault(f"{path.stem} ({name})", {})
            for (benchmark, figure), heading in UNDERSTANDING_COLUMNS.items():
                if benchmark == report["benchmark"] and figure in figures:
                    row[heading] = 100 * figures[figure]["value"]
    headings = list(UNDERSTANDING_COLUMNS.values())
    table = Table(["model", *headings], [])
    table.rows = [[f"{name} (published)", *(_cell(value, 1) for value in row)] for name, row in UNDERSTANDING.items()]
    for name, row in own.items():
        if row:
            table.ours.add(len(table.rows))
            table.rows.append([name, *(_cell(row.get(heading), 1) for heading in headings)])
    if table.ours:
        section.tables.append(table)
    for path, report in found:
        names = list(dict.fromkeys(name for measure in report["measures"] for name in measure["figures"]))
        detail = Table(
            [f"{report['benchmark']}: {path.stem}", *(measure["name"] for measure in report["measures"])], []
        )
        for name in names:
            figures = [measure["figures"].get(name) for measure in report["measures"]]
            detail.rows.append([name, *(_interval(figure) for figure in figures)])
        section.tables.append(detail)
        section.notes += [f"{report['benchmark']}, {m['name']}: {m['note']}" for m in report["measures"] if m["note"]]
        section.notes.append(
            f"{path.name}: {report['rows']} rows, {report['unanswered']} without an answer; 95 % intervals from "
            f"{report['bootstrap']['resamples']} bootstrap resamples, seed {report['bootstrap']['seed']}."
        )
    return [section]


def _rooms(found: list[tuple[Path, dict[str, Any]]]) -> list[Section]:
    sections = []
    groups: dict[tuple[str, str], list[tuple[Path, dict[str, Any]]]] = {}
    for path, report in found:
        groups.setdefault((report["what"], str(report["model"].get("folder") or report["model"]["name"])), []).append(
            (path, report)
        )
    for (what, model), members in groups.items():
        reports = [report for _, report in members]
        names = [name for name in _METHODS if all(name in report["unseen"]["methods"] for report in reports)]
        table = Table(
            ["median relative point error ↓", "unseen", "seen", "delta < 1.25, unseen ↑", "F 10 cm, unseen ↑"], []
        )
        for name in names:
            if name in ("imagined", "regression"):
                table.ours.add(len(table.rows))
            cells = [_mean(report[part]["methods"][name]["error"] for report in reports) for part in ("unseen", "seen")]
            cells += [_mean(r["unseen"]["methods"][name][key] for r in reports) for key in ("delta_1.25", "f_10cm")]
            table.rows.append([_METHODS[name], *cells])
        ratios = [_mean(report[part]["error_ratio"] for report in reports) for part in ("unseen", "seen")]
        table.rows.append(["ours / best free baseline", *ratios, "", ""])
        section = Section(f"Imagined points: {what}, {model}", tables=[table])
        section.tables += [
            _by_motion(reports, key, title, [name for name in names if not name.startswith("moved")])
            for key, title in (("by_angle", "camera turned, °"), ("by_baseline", "camera moved, m"))
        ]
        answered = [report["vqa"] for report in reports if report["vqa"] is not None]
        if answered:
            answers = Table(["questions", "right ↑", "blind", "chance"], [])
            for family in sorted({name for vqa in answered for name in vqa["families"]}):
                rows = [vqa["families"][family] for vqa in answered if family in vqa["families"]]
                answers.rows.append([family.replace("_", " "), *_rates(rows)])
            answers.ours.add(len(answers.rows))
            answers.rows.append(["all", *_rates(answered)])
            section.tables.append(answers)
        seeds = ", ".join(str(report["seed"]) for report in reports)
        files = ", ".join(path.name for path, _ in members)
        section.notes.append(f"Means over seeds {seeds}, {reports[0]['scenes']} scenes each ({files}).")
        for path, _ in members:
            beside = path.with_suffix("")
            section.pictures += [file for name in ("curves.png", "answers.png") if (file := beside / name).is_file()]
        sections.append(section)
    return sections


def _by_motion(reports: Sequence[dict[str, Any]], key: str, title: str, names: Sequence[str]) -> Table:
    """Errors of the unseen part, a row for each range of motions."""
    ranges = sorted({(row["from"], row["to"] or math.inf) for report in reports for row in report[key]})
    table = Table([f"{title}: unseen error ↓", "scenes", *(_METHODS[name] for name in names)], [])
    for low, high in ranges:
        rows = [row for report in reports for row in report[key] if row["from"] == low]
        cells = [_mean((row["unseen"][name] for row in rows), spread=False) for name in names]
        label = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and more"
        table.rows.append([label, str(sum(row["scenes"] for row in rows)), *cells])
    return table


def _ablations(found: list[tuple[Path, dict[str, Any]]]) -> list[Section]:
    from .. import ablations

    sections = []
    for path, report in found:
        lines = [line for line in ablations.markdown(report).splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        sections.append(Section(f"Ablations: {path.parent.name}", tables=[Table(cells[0], list(cells[2:]))]))
        sections[-1].notes.append(
            f"Training seeds {report['train_seeds']}, rooms of seeds {report['seeds']}; in brackets, in how many of "
            f"the pairs the full model is better ({path.name})."
        )
    return sections


def _distances(found: list[tuple[Path, dict[str, Any]]]) -> list[Section]:
    table = Table(["features", "counts", "Frechet", "kernel (mean)", "kernel (std)"], [])
    for path, report in found:
        frechet = report.get("fid", report.get("frechet_distance"))
        kernel = "kid" if "kid_mean" in report else "kernel_distance"
        table.rows.append(
            [f"{report['features']} ({path.name})", " / ".join(map(str, report["counts"])), _cell(frechet, 4)]
            + [_cell(report[f"{kernel}_{key}"], 6) for key in ("mean", "std")]
        )
    return [Section("Distances of features", tables=[table])]


def _provenance(files: Sequence[Path], models: Sequence[Path]) -> Section:
    section = Section("What this was made from", tables=[Table(["file", "SHA-256"], [])])
    weights = [file for folder in models for file in sorted(folder.glob("*.safetensors"))]
    for path in (*files, *weights):
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        section.tables[0].rows.append([str(path), digest.hexdigest()])
    return section


# --- cells ------------------------------------------------------------------------------------------------------------


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    text = f"{100 * figure['value']:.2f}"
    if figure["low"] is not None and figure["high"] is not None:
        text += f" ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"
    return text


def _mean(values: Iterable[float | None], *, spread: bool = True) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean = sum(known) / len(known)
    return f"{mean:.3f}" if len(known) == 1 or not spread else f"{mean:.3f} ({min(known):.3f} to {max(known):.3f})"


def _rates(rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = []
    for key in ("accuracy", "blind_accuracy", "chance"):
        known = [row[key] for row in rows if row[key] is not None]
        cells.append(f"{100 * sum(known) / len(known):.1f} %" if known else "-")
    return cells


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.head)
    rows = "".join(
        f"<tr{' class=ours' if number in table.ours else ''}>"
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)
        + "</tr>"
        for number, row in enumerate(table.rows)
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"

    rows = [[f"**{cell}**" if n in table.ours and cell else cell for cell in row] for n, row in enumerate(table.rows)]
    rule = "|---" + "|---:" * (len(table.head) - 1) + "|"
    return "\n".join([line(table.head), rule, *map(line, rows)])


def _picture_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not path.is_file():
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"there is no picture {path}")
    return [path]
