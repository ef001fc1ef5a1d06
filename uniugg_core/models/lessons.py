"""What a language model is taught from: a batch of questions with their wanted answers.

Shape letters: B rows, P and T tokens of a sequence, S questions, W model width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["IGNORED", "Lessons"]

IGNORED = -100  # label of tokens that the loss leaves out


@dataclass(frozen=True)
class Lessons:
    """Questions with their answers, ready for :meth:`.language.Language.forward`.

    Attributes:
        starts: (B, P, W), what the questions of a row begin with alike, padded on the right.
        lengths: (B,), how much of it is no padding.
        rows: (S,), the row of each of the S questions.
        asked: for each question the rest of its prompt, and its answer: (T, W).
        labels: for each question the token at each place that the loss counts, :data:`IGNORED` elsewhere: (T,).
    """

    starts: Tensor
    lengths: Tensor
    rows: Tensor
    asked: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
