"""A benchmark put to a respondent: several questions at once, answers on disk as they come, nothing asked twice.

Answers are appended to a JSON lines file whose rows ``uniugg eval score`` takes as they are; `prediction` is the raw
answer. A row carries the fingerprint of all that decides an answer (who is asked, prompt, pictures, limit), by which a
later run knows what is answered already. A line that a killed run left torn is dropped. A question that fails is not
written, so that the next run asks it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from uniugg_core.errors import ErrorCode, UniuggError

from .benchmarks.base import Benchmark, Question
from .respondents import Reply, Respondent

__all__ = ["Tally", "ask", "fingerprint", "join"]


@dataclass
class Tally:
    """What a run came to."""

    answered: int = 0
    kept: int = 0  # from an earlier run
    failed: list[str] = field(default_factory=list)  # "id: why", the first hundred
    failures: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def line(self, price_in: float | None = None, price_out: float | None = None) -> str:
        """The cost line; prices are per million tokens, in whatever currency."""
        told = (
            f"{self.answered} answered, {self.kept} kept, {self.failures} failed; "
            f"{self.tokens_in} tokens in, {self.tokens_out} out, {self.seconds:.1f} s"
        )
        if price_in is None and price_out is None:
            return told
        cost = (self.tokens_in * (price_in or 0) + self.tokens_out * (price_out or 0)) / 1e6
        return f"{told}; cost {cost:.4f}"

    @classmethod
    def total(cls, parts: Sequence[Tally]) -> Tally:
        """What several processes' runs came to together."""
        sums = {
            name: sum(getattr(part, name) for part in parts)
            for name in ("answered", "kept", "failures", "tokens_in", "tokens_out")
        }
        failed = [failure for part in parts for failure in part.failed]
        return cls(**sums, failed=failed, seconds=max(part.seconds for part in parts))


def fingerprint(name: str, limit: int, prompt: str, question: Question) -> str:
    """What decides an answer, as 16 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps([name, limit, prompt, question.id]).encode())
    for picture in question.images:
        digest.update(picture.data if picture.data is not None else str(picture.path).encode())
        digest.update(str(picture.frame).encode())
    return digest.hexdigest()[:16]


def ask(
    benchmark: Benchmark,
    questions: Iterable[Question],
    who: Respondent,
    out: Path,
    *,
    limit: int = 512,
    progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """Asks every question that `out` has no answer to, and leaves one row for each question there, in their order.

    Args:
        benchmark: for its prompts.
        questions: read as they are needed.
        who: is asked.
        out: JSON lines; made, or continued.
        limit: of an answer's tokens, part of the fingerprint.
        progress: told after each answer.

    Raises:
        UniuggError: REQUEST_INVALID if `out` cannot be written, is no file of ours, or has another model's answers.
    """
    known = _read(out)
    others = {row.get("model") for row in known.values()} - {who.name}
    if others:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID,
            f"{out} holds answers of {', '.join(map(str, sorted(others)))}; name another file",
        )
    tally, started = Tally(), time.monotonic()
    order: list[str] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.open("a", encoding="utf-8")
    except OSError as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{out} cannot be written: {error.strerror}") from None
    with file, ThreadPoolExecutor(max_workers=max(1, who.at_once)) as pool:
        running: dict[Future[Reply], tuple[str, Question]] = {}

        def gather(until: int) -> None:
            while len(running) > until:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    key, question = running.pop(future)
                    _take(future, key, who.name, question, file, known, tally)
                    tally.seconds = time.monotonic() - started
                    if progress:
                        progress(tally)

        try:
            for question, prompt, key in _prompted(benchmark, questions, who, limit):
                order.append(key)
                if key in known:
                    tally.kept += 1
                    continue
                gather(2 * who.at_once - 1)
                running[pool.submit(who, prompt, question.images)] = (key, question)
            gather(0)
        except BaseException:
            for future in running:
                future.cancel()
            raise
    tally.seconds = time.monotonic() - started
    _rewrite(out, known, order)
    return tally


def join(parts: Sequence[Path], out: Path) -> None:
    """Writes the rows of shares, which took turns with the questions, to one file in the questions' order."""
    shares = [list(_read(part).values()) for part in parts]
    rows = [row for turn in zip_longest(*shares) for row in turn if row is not None]
    temporary = out.with_name(out.name + ".part")
    temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    temporary.replace(out)


def _prompted(
    benchmark: Benchmark, questions: Iterable[Question], who: Respondent, limit: int
) -> Iterator[tuple[Question, str, str]]:
    for question in questions:
        prompt = benchmark.prompt(question)
        yield question, prompt, fingerprint(who.name, limit, prompt, question)


def _take(
    future: Future[Reply],
    key: str,
    model: str,
    question: Question,
    file: Any,
    known: dict[str, dict[str, Any]],
    tally: Tally,
) -> None:
    try:
        reply = future.result()
    except (UniuggError, RuntimeError, OSError, ValueError) as error:  # of one question; the others go on
        tally.failures += 1
        if len(tally.failed) < 100:
            tally.failed.append(f"{question.id}: {error}")
        return
    row = {
        "id": question.id,
        "task": question.task,
        "question": question.question,
        "options": list(question.options),
        "answer": question.answer if isinstance(question.answer, str) else list(question.answer),
        "prediction": reply.text,
        "group": question.group,
        "tokens": [reply.tokens_in, reply.tokens_out],
        "model": model,
        "key": key,
    }
    known[key] = row
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()
    tally.answered += 1
    tally.tokens_in += reply.tokens_in
    tally.tokens_out += reply.tokens_out


def _read(out: Path) -> dict[str, dict[str, Any]]:
    """Rows by fingerprint; the file is cut where a torn line begins."""
    if not out.exists():
        return {}
    data = out.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(whole.decode("utf-8", "replace").split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                rows[row["key"]] = row
            except (ValueError, KeyError, TypeError):
                raise UniuggError(
                    ErrorCode.REQUEST_INVALID,
                    f"{out}, line {number}: no row of `uniugg eval answer`; name another file",
                ) from None
    if len(whole) < len(data):
        os.truncate(out, len(whole))
    return rows


def _rewrite(out: Path, known: dict[str, dict[str, Any]], order: list[str]) -> None:
    """The rows of this run in the questions' order, then those of questions it did not ask; replaced in one step.

    Other answers to the same questions (another number of frames, another prompt) would be scored twice: they go into a
    file of their own, ``<name>.other.jsonl``.
    """
    keys = [key for key in dict.fromkeys(order) if key in known]
    asked = {known[key]["id"] for key in keys}
    rest = [key for key in known if key not in set(order)]
    older = [key for key in rest if known[key]["id"] in asked]
    keys += [key for key in rest if known[key]["id"] not in asked]
    if older:
        with out.with_name(f"{out.stem}.other{out.suffix}").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(known[key], ensure_ascii=False) + "\n" for key in older)
    temporary = out.with_name(out.name + ".part")
    temporary.write_text("".join(json.dumps(known[key], ensure_ascii=False) + "\n" for key in keys), encoding="utf-8")
    temporary.replace(out)
