"""Writes what the demo leaves behind: scenes, a picture for each request, the answers, and a page that sums it up."""

from __future__ import annotations

import html
import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

from uniugg_core.commands.common import UNTRAINED_NOTE
from uniugg_core.images import save_image
from uniugg_core.values import conclusion

from .cards import answer_card, imagine_sheet, printable
from .latency import StageRow, stage_rows
from .outcome import Outcome

__all__ = ["RunFacts", "write_report"]

TITLE = "UniUGG demo"
_WIDE = 60  # characters of an answer in the table
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2026; max-width: 1200px; margin: 2em auto; padding: 0 1em }
h1 { margin-bottom: 0 } h2 { margin-top: 2em } p.facts { color: #6e7680; margin-top: .2em }
p.warning { background: #fff1e0; color: #963c00; padding: .6em 1em; border-radius: 6px }
table { border-collapse: collapse; width: 100% } th { text-align: left; color: #6e7680; font-weight: normal }
th, td { border-bottom: 1px solid #e4e7eb; padding: .25em .8em .25em 0 } td.n, th.n { text-align: right }
td.bad { color: #b00020; font-weight: bold } code { background: #f4f5f7; padding: .1em .3em; border-radius: 3px }
img { width: 100%; border: 1px solid #e4e7eb; border-radius: 6px; margin: .5em 0 1.5em }
"""


REQUESTS = ["", "request", "by", "ms", "result"]
LATENCIES = ["job", "stage", "n", "p50 ms", "p99 ms", "max ms"]
FILES = (
    ("scenes/", "the scenes as PLY; any point cloud viewer opens them, `make view` shows them in a browser"),
    ("pictures/", "one picture for each request"),
    ("answers.txt", "questions and answers"),
    ("bag/", "a rosbag2 (MCAP) of everything that was published; `ros2 bag play demo_output/bag` plays it"),
    ("result.json", "all of this for programs"),
    ("logs/", "what the node and the recorder wrote"),
)
PERCENTILE_NOTE = "Percentiles are nearest-rank; with fewer than 100 requests p99 is the slowest one."


@dataclass
class RunFacts:
    """What is known of a run besides its requests.

    Attributes:
        model: the node's description of its model; empty if it gave none.
        trained: whether the weights come from training.
        bag: what was played.
        start_seconds: from starting the node's process to its being active.
        seconds: the whole run.
        played: messages published from the bag.
        recorded: messages recorded, by topic.
        problems: what went wrong besides the requests.
    """

    model: str = ""
    trained: bool = False
    bag: str = ""
    start_seconds: float = 0.0
    seconds: float = 0.0
    played: int = 0
    recorded: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def warning(self) -> str | None:
        """The plain line about an untrained model."""
        return None if self.trained else UNTRAINED_NOTE


def write_report(folder: Path, outcomes: list[Outcome], facts: RunFacts) -> None:
    """Writes ``scenes/``, ``pictures/``, ``answers.txt``, ``result.json``, ``summary.md`` and ``summary.html``.

    Fills in the outcomes' ``files``, relative to `folder`.
    """
    for name in ("scenes", "pictures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        _write_files(folder, outcome, facts.warning)
    (folder / "answers.txt").write_text(_answers(outcomes, facts), encoding="utf-8")
    (folder / "result.json").write_text(json.dumps(_result(outcomes, facts), indent=2, ensure_ascii=False) + "\n")
    (folder / "summary.md").write_text(_markdown(outcomes, facts), encoding="utf-8")
    (folder / "summary.html").write_text(_page(outcomes, facts), encoding="utf-8")


def _write_files(folder: Path, outcome: Outcome, warning: str | None) -> None:
    if not outcome.good or outcome.refused_on_purpose:
        return
    if outcome.scene is not None:
        name = f"scenes/{outcome.slug}.ply"
        outcome.scene.save(folder / name)
        outcome.files.append(name)
    picture = imagine_sheet(outcome, warning)
    if outcome.job == "ask":
        picture = answer_card(outcome, warning)
    if picture is not None:
        name = f"pictures/{outcome.slug}.png"
        save_image(folder / name, picture)
        outcome.files.append(name)


def _answers(outcomes: list[Outcome], facts: RunFacts) -> str:
    blocks = [facts.warning] if facts.warning else []
    for outcome in outcomes:
        if outcome.job != "ask":
            continue
        question = (
            outcome.question
            if len(outcome.question) <= 200
            else f"{outcome.question[:80]}... ({len(outcome.question)} characters)"
        )
        if outcome.good and not outcome.refused_on_purpose:
            details = (
                f"confidence {outcome.confidence:.2f}, {outcome.tokens} tokens, {outcome.milliseconds / 1000:.2f} s"
            )
            answer = f"A: {printable(outcome.answer)}\n   ({details})"
            answer += f"\n   true: {printable(outcome.truth)}" if outcome.truth else ""
        else:
            answer = f"-: {_code(outcome)}: {outcome.message}"
        blocks.append(f"{outcome.number}. {outcome.title}, by {outcome.via}\nQ: {question}\n{answer}")
    return "\n\n".join(blocks) + "\n"


def _result(outcomes: list[Outcome], facts: RunFacts) -> dict:
    return {
        "model": facts.model,
        "trained": facts.trained,
        "machine": _machine(),
        "bag": facts.bag,
        "seconds": round(facts.seconds, 2),
        "node_start_seconds": round(facts.start_seconds, 2),
        "messages_played": facts.played,
        "messages_recorded": facts.recorded,
        "problems": facts.problems,
        "latency_ms": [vars(row) for row in stage_rows(outcomes)],
        "requests": [
            {
                "number": outcome.number,
                "title": outcome.title,
                "job": outcome.job,
                "via": outcome.via,
                "good": outcome.good,
                "code": _code(outcome),
                "expected": outcome.expected.name,
                "message": outcome.message,
                "milliseconds": round(outcome.milliseconds, 2),
                "stages_ms": outcome.stages,
                "updates": outcome.updates,
                "seed": outcome.seed,
                "points": None if outcome.scene is None else len(outcome.scene.points),
                "reference": outcome.reference,
                "target": outcome.target,
                "target_from_reference": None
                if outcome.target_from_reference is None
                else outcome.target_from_reference.tolist(),
                "question": outcome.question[:1000],
                "answer": outcome.answer,
                "truth": outcome.truth or None,
                "confidence": outcome.confidence,
                "value": outcome.value,
                "files": outcome.files,
            }
            for outcome in outcomes
        ],
    }


def _code(outcome: Outcome) -> str:
    return outcome.code.name if outcome.code is not None else "NO REPLY"


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _facts_line(outcomes: list[Outcome], facts: RunFacts) -> str:
    good = sum(outcome.good for outcome in outcomes)
    return (
        f"{good} of {len(outcomes)} requests ended as they should. {facts.model or 'Model unknown'}. Node active after "
        f"{facts.start_seconds:.1f} s, whole run {facts.seconds:.0f} s. {facts.played:,} messages played from "
        f"{facts.bag}, {sum(facts.recorded.values()):,} recorded. {_machine()}."
    )


def _ending(outcome: Outcome) -> str:
    if not outcome.good:
        return f"FAILED: {_code(outcome)}: {outcome.message}"
    if outcome.refused_on_purpose:
        return f"{_code(outcome)}, as it should be"
    if outcome.scene is not None:
        return f"{len(outcome.scene.points):,} points"
    true = f" (true: {printable(outcome.truth)[:30]})" if outcome.truth else ""
    return (_shortened(printable(outcome.answer)) or "(empty answer)") + true


def _shortened(answer: str) -> str:
    """Of a long answer what it begins with and what it comes to."""
    if len(answer) <= _WIDE:
        return answer
    end = conclusion(answer)[-_WIDE // 2 :]
    return f"{answer[: _WIDE - len(end) - 2]}… {end}"


def _row_cells(row: StageRow) -> list[str]:
    return [row.job, row.stage, str(row.count), f"{row.p50:.1f}", f"{row.p99:.1f}", f"{row.most:.1f}"]


def _request_cells(outcome: Outcome) -> list[str]:
    return [
        str(outcome.number),
        f"{outcome.job}: {outcome.title}",
        outcome.via,
        f"{outcome.milliseconds:.0f}",
        _ending(outcome),
    ]


def _markdown(outcomes: list[Outcome], facts: RunFacts) -> str:
    def table(head: list[str], rows: list[list[str]]) -> list[str]:
        cells = [head, ["---"] * len(head), *rows]
        return ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in cells]

    lines = [f"# {TITLE}", ""]
    if facts.warning:
        lines += [f"**{facts.warning}**", ""]
    lines += [_facts_line(outcomes, facts), ""]
    lines += [f"**Problem:** {problem}" for problem in facts.problems]
    lines += ["## Requests", "", *table(REQUESTS, [_request_cells(outcome) for outcome in outcomes]), ""]
    lines += [
        "## Latency",
        "",
        *table(LATENCIES, [_row_cells(row) for row in stage_rows(outcomes)]),
        "",
        PERCENTILE_NOTE,
        "",
    ]
    lines += ["## Files", "", *[f"* `{name}` {what}" for name, what in FILES], ""]
    return "\n".join(lines)


def _page(outcomes: list[Outcome], facts: RunFacts) -> str:
    def table(head: list[str], rows: list[list[str]], numbers: set[int]) -> str:
        def line(tag: str, cells: list[str]) -> str:
            parts = []
            for column, cell in enumerate(cells):
                kind = "n" if column in numbers else "bad" if cell.startswith("FAILED") else ""
                parts.append(f'<{tag} class="{kind}">{html.escape(cell)}</{tag}>')
            return f"<tr>{''.join(parts)}</tr>"

        return f"<table>{line('th', head)}{''.join(line('td', row) for row in rows)}</table>"

    parts = [f"<h1>{TITLE}</h1>", f'<p class="facts">{html.escape(_facts_line(outcomes, facts))}</p>']
    if facts.warning:
        parts.insert(0, f'<p class="warning">{html.escape(facts.warning)}</p>')
    parts += [f'<p class="warning">{html.escape(problem)}</p>' for problem in facts.problems]
    parts += ["<h2>Requests</h2>", table(REQUESTS, [_request_cells(outcome) for outcome in outcomes], {0, 3})]
    parts += ["<h2>Latency</h2>", table(LATENCIES, [_row_cells(row) for row in stage_rows(outcomes)], {2, 3, 4, 5})]
    parts.append(f'<p class="facts">{PERCENTILE_NOTE}</p>')
    for job, heading in (("imagine", "Imagined"), ("ask", "Answered")):
        shown = [(o, name) for o in outcomes if o.job == job for name in o.files if name.endswith(".png")]
        if shown:
            parts.append(f"<h2>{heading}</h2>")
        parts += [
            f'<a href="{html.escape(name)}"><img src="{html.escape(name)}" alt="{html.escape(outcome.title)}"></a>'
            for outcome, name in shown
        ]
    items = "".join(f"<li><code>{name}</code> {html.escape(what)}</li>" for name, what in FILES)
    parts.append(f"<h2>Files</h2><ul>{items}</ul>")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{TITLE}</title>'
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
