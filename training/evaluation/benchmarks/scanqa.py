"""ScanQA: questions about ScanNet scenes with several acceptable answers (arXiv 2112.10482); figures: val split.

Published: ``ScanQA_v1.0_<split>.json`` (scene_id, question_id, question, answers, object_ids). Pictures are frames of
the scene. Scoring as in ATR-DBI/ScanQA @ 422dde5, ``scripts/score.py``:

* EM: the answer equals one of the truths to the letter;
* BLEU-1 to 4, ROUGE-L and CIDEr by the COCO caption evaluation (:mod:`training.evaluation.captions`), times 100, each
  over all rows. Of a kind of question, BLEU is that of its own rows, and CIDEr the mean of what its rows contribute to
  the whole;
* left out: METEOR and SPICE (Java programs with large tables) and the F-value (it needs WordNet's lemmas);
* EM-R: refined match of cleaned answers, as LEO and others report, an empty answer being right; and corrected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

from ..captions import bleu_from_means, bleu_statistics, cider, rouge_l, tokenize
from ..cleaning import clean_answer, refined_match, refined_match_official
from .base import Measure, Question, Row, Total, rows_measure
from .frames import sample_frames

__all__ = ["BENCHMARK", "ScanQA", "kind_of"]

FRAMES = 16
# Words that a question of each kind has, tried in this order, case and all (the official qclass1)
_KINDS = (
    ("Place", ("Where",)),
    ("Number", ("How many",)),
    ("Color", ("What color", "What is the color")),
    ("Object nature", ("What shape", "What type", "What kind")),
    ("Object", ("What is",)),
)


def kind_of(question: str) -> str:
    """The kind of a question as the official script sorts them."""
    return next((kind for kind, words in _KINDS if any(word in question for word in words)), "Other")


class ScanQA:
    """The benchmark; see the module."""

    name = "scanqa"
    title = "ScanQA"
    tasks = ()

    def load(self, path: Path, split: str | None = None, *, frames: int = FRAMES) -> Iterator[Question]:
        """Questions of a split ("val" unless another is named), each with frames of its scene."""
        file = path if path.is_file() else path / f"ScanQA_v1.0_{split or 'val'}.json"
        if not file.is_file():
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path}: there is no {file.name}")
        for record in json.loads(file.read_text(encoding="utf-8")):
            yield Question(
                id=str(record["question_id"]),
                task=kind_of(record["question"]),
                images=sample_frames(path, record["scene_id"], frames),
                question=record["question"],
                options=(),
                answer=tuple(record.get("answers", ())) or ("",),
                group=record["scene_id"],
            )

    def prompt(self, question: Question) -> str:
        """The question; the authors fix no prompt for pictures, so this is ours."""
        return f"{question.question}\nAnswer the question using a single word or phrase."

    def measures(self, rows: Sequence[Row]) -> list[Measure]:
        """EM, EM-R, and the caption scores."""
        total = (Total("overall", rows=True),)
        cleaned = [clean_answer(row.prediction) for row in rows]
        truths = [[clean_answer(answer) for answer in row.answers] for row in rows]
        said = [tokenize(row.prediction) for row in rows]
        references = [[tokenize(answer) for answer in row.answers] for row in rows]
        exact = rows_measure("EM", rows, [row.prediction in row.answers for row in rows], total, "to the letter")
        refined = [refined_match_official(*pair)[1] for pair in zip(cleaned, truths)]
        corrected = [refined_match(*pair)[1] for pair in zip(cleaned, truths)]
        statistics = np.stack([bleu_statistics(*pair) for pair in zip(said, references)])
        bleu = [
            Measure(
                name=f"BLEU-{order}",
                tasks=exact.tasks,
                values=statistics,
                groups=exact.groups,
                totals=total,
                finish=partial(bleu_from_means, order),
            )
            for order in range(1, 5)
        ]
        return [
            exact,
            rows_measure("EM-R", rows, refined, total, "LEO: an empty answer is right"),
            rows_measure("EM-R corrected", rows, corrected, total, "no answer is wrong, any truth may match"),
            *bleu,
            rows_measure("ROUGE-L", rows, [rouge_l(*pair) for pair in zip(said, references)], total),
            rows_measure(
                "CIDEr",
                rows,
                list(cider(said, references)),
                total,
                "METEOR, SPICE (Java) and F-value (WordNet) are left out",
            ),
        ]


BENCHMARK = ScanQA()
