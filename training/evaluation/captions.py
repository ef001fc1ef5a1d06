"""BLEU, ROUGE-L and CIDEr of short answers, as the COCO caption evaluation computes them.

The definitions and their constants are those of salaniz/pycocoevalcap (BSD), which ScanQA scores with: BLEU over the
whole corpus with the nearest reference length and its two tiny constants, ROUGE-L with beta 1.2 and the best precision
and recall each from any reference, CIDEr-D (n to 4, sigma 6, times 10, document frequencies from the references).

That package cuts words with a Java program (Stanford's PTBTokenizer); :func:`tokenize` does in Python what it does to
plain English answers. METEOR is left out: it needs Java and a 60 MB table of paraphrases.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

__all__ = ["BLEU_STATISTICS", "bleu_from_means", "bleu_statistics", "cider", "rouge_l", "tokenize"]

_ORDERS = 4
BLEU_STATISTICS = 2 * _ORDERS + 2
_SMALL, _TINY = 1e-9, 1e-15
_BETA = 1.2
_SIGMA = 6.0

# What PTBTokenizer's wrapper throws away. Brackets are not: they come out as -lrb-, which its list has in capitals.
_DROPPED = {"''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";"}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "{": "-lcb-", "}": "-rcb-"}
_TOKEN = re.compile(
    r"n't\b|'(?:s|re|ve|ll|d|m)\b|o'clock\b|etc\.|no\.(?=\s*\d)|[^\W\d_](?:\.[^\W\d_])+\.?|\d+(?:[.,:/]\d+)+"
    r"|\w+(?:[-/]\w+)*|\.\.\.|--|\S"
)
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))\b")
_SPLIT_WORDS = {"cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "gimme": "gim me"}


def tokenize(text: str) -> str:
    """Lower-case words with blanks between, punctuation dropped: "It's brown." becomes "it 's brown".

    Agrees with PTBTokenizer on answers of plain words, numbers and ordinary punctuation; markup, addresses and emoji
    may be cut otherwise.
    """
    text = text.lower().replace("\n", " ").replace("’", "'")
    text = _CLITIC.sub(r" \1", text)
    words = [_SPLIT_WORDS.get(word, word) for word in _TOKEN.findall(text)]
    return " ".join(_BRACKETS.get(word, word) for word in words if word not in _DROPPED)


def bleu_statistics(candidate: str, references: Sequence[str]) -> np.ndarray:
    """(10,) of one answer: guesses of 1 to 4 words, how many of them are right, its length, the reference's length."""
    words = candidate.split()
    counted = _ngrams(words)
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        for ngram, count in _ngrams(reference.split()).items():
            most[ngram] = max(most[ngram], count)
    guesses = [max(0, len(words) - order + 1) for order in range(1, _ORDERS + 1)]
    right = [0] * _ORDERS
    for ngram, count in counted.items():
        right[len(ngram) - 1] += min(most[ngram], count)
    lengths = [len(reference.split()) for reference in references]
    nearest = min((abs(length - len(words)), length) for length in lengths)[1]
    return np.array([*guesses, *right, len(words), nearest], dtype=np.float64)


def bleu_from_means(order: int, means: np.ndarray, units: float) -> float:
    """BLEU of `order` (1 to 4) of a corpus.

    Args:
        order: of the longest n-grams.
        means: (10,) mean of :func:`bleu_statistics` over the corpus.
        units: answers in the corpus; with it the two tiny constants weigh what they weigh in the original.
    """
    sums = means * units
    product = 1.0
    for index in range(order):
        product *= (sums[_ORDERS + index] + _TINY) / (sums[index] + _SMALL)
    bleu = product ** (1 / order)
    ratio = (sums[2 * _ORDERS] + _TINY) / (sums[2 * _ORDERS + 1] + _SMALL)
    return float(bleu * math.exp(1 - 1 / ratio)) if ratio < 1 else float(bleu)


def rouge_l(candidate: str, references: Sequence[str]) -> float:
    """ROUGE-L of one answer in [0, 1]."""
    words = candidate.split(" ")
    precision = recall = 0.0
    for reference in references:
        others = reference.split(" ")
        common = _longest_common(words, others)
        precision = max(precision, common / len(words))
        recall = max(recall, common / len(others))
    if not precision or not recall:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """CIDEr-D of every answer of a corpus, (N,); the corpus's figure is their mean.

    Documents are the questions: how rare words are is counted in the references of the corpus given, so the figure of a
    part is not that of the same answers within the whole.
    """
    frequency: Counter[tuple[str, ...]] = Counter()
    cooked = [[_ngrams(reference.split()) for reference in group] for group in references]
    for group in cooked:
        frequency.update({ngram for counts in group for ngram in counts})
    documents = math.log(float(len(cooked))) if cooked else 0.0

    def vector(counts: Counter[tuple[str, ...]]) -> tuple[dict[tuple[str, ...], float], list[float], int]:
        weights = {ngram: count * (documents - math.log(max(1.0, frequency[ngram]))) for ngram, count in counts.items()}
        norms = [0.0] * _ORDERS
        for ngram, weight in weights.items():
            norms[len(ngram) - 1] += weight**2
        # the length is that in pairs of words, as in the original
        return weights, [math.sqrt(norm) for norm in norms], sum(n for ngram, n in counts.items() if len(ngram) == 2)

    scores = []
    for candidate, group in zip(candidates, cooked):
        said, said_norms, said_length = vector(_ngrams(candidate.split()))
        total = np.zeros(_ORDERS)
        for counts in group:
            true, true_norms, true_length = vector(counts)
            dots = [0.0] * _ORDERS
            for ngram, weight in said.items():
                dots[len(ngram) - 1] += min(weight, true.get(ngram, 0.0)) * true.get(ngram, 0.0)
            penalty = math.e ** (-((said_length - true_length) ** 2) / (2 * _SIGMA**2))
            for index in range(_ORDERS):
                norm = said_norms[index] * true_norms[index]
                total[index] += (dots[index] / norm if norm else dots[index]) * penalty
        scores.append(float(np.mean(total)) / len(group) * 10.0)
    return np.array(scores)


def _ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(words[start : start + order])
        for order in range(1, _ORDERS + 1)
        for start in range(len(words) - order + 1)
    )


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for index, other in enumerate(second, start=1):
            diagonal, row[index] = row[index], (diagonal + 1 if word == other else max(row[index], row[index - 1]))
    return row[-1]
