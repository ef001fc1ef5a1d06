"""Answers: a prompt over real or imagined pictures, continued token by token.

1. Encode the pictures; imagine the last one from elsewhere if the question asks for that.
2. Assemble the prompt and run the language model, one token a step.
3. Read the quantity out of the finished text and, if asked, look up where the answer rests.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .cameras import inverse_rigid
from .errors import ErrorCode, UniuggError
from .evidence import attention_to, strongest_patches
from .models.uniugg import Seen
from .outputs import Answer, AnswerToken, Evidence
from .prompts import question_prompt
from .requests import AnswerRequest
from .run import Run
from .sight import Picture, Sight
from .tokenizer import SpatialTokenizer, TextStream
from .values import conclusion, parse_value

__all__ = ["AnswerStream", "answer_steps"]

EVIDENCE_PLACES = 3


class AnswerStream:
    """An answer in the making: iterate for :class:`AnswerToken`, then read :attr:`answer`.

    Work happens while iterating, in the iterating thread. The texts of all tokens joined are the answer's text. A
    cancelled, failed or closed stream has no answer.
    """

    def __init__(self, steps: Generator[AnswerToken, None, Answer]) -> None:
        self._steps = steps
        self._answer: Answer | None = None

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> AnswerToken:
        try:
            return next(self._steps)
        except StopIteration as end:
            if end.value is not None:
                self._answer = end.value
            raise StopIteration from None

    @property
    def answer(self) -> Answer:
        """The whole answer; finishes the iteration if that has not happened.

        Raises:
            UniuggError: CANCELLED if the stream was closed before its end; and whatever ended it.
        """
        for _ in self:
            pass
        if self._answer is None:
            raise UniuggError(ErrorCode.CANCELLED, "the answer was stopped before its end")
        return self._answer

    def close(self) -> None:
        """Stops early and frees the attention cache."""
        self._steps.close()


@torch.inference_mode()
def answer_steps(
    sight: Sight, tokenizer: SpatialTokenizer, request: AnswerRequest, run: Run
) -> Generator[AnswerToken, None, Answer]:
    """Does the work of a checked question; yields each token, returns the answer.

    Raises:
        UniuggError: CANCELLED, NON_FINITE.
    """
    language = sight.model.language
    pictures = [sight.look(observation, run) for observation in request.observations]
    shown = [picture.encoded.seen for picture in pictures]
    if request.imagine is not None:
        last = pictures[-1]
        condition = sight.condition(last, request.imagine.target, run)
        imagined = sight.imagine(last, condition, request.imagine, 0, run)
        shown[-1] = sight.model.see(imagined, last.grid, last.matrix)
    poses = [sight.between(pictures[0], picture) for picture in pictures[1:]]
    if request.imagine is not None and poses and poses[-1] is not None:
        poses[-1] = poses[-1] @ inverse_rigid(request.imagine.target)
    later = [([pose], seen) for pose, seen in zip(poses, shown[1:])]
    shown[1:] = [sight.model.beside(shown[0], seen, pictures[0].matrix, pose) for pose, seen in later]
    prompt = question_prompt(
        tokenizer,
        request.question,
        images=len(shown),
        history=request.history,
        with_marks=sight.model.config.language.marks,
        with_cameras=sight.model.config.language.situated,
    )
    seen = Seen.joined(shown)
    tokens_BNW = sight.model.tokens(seen)
    told = sight.model.show(seen, [range(len(shown))], [[prompt]])
    embeddings, places = language.assemble(told.prompts[0][0], list(tokens_BNW), shown=told.parts[0][0])

    text = TextStream(tokenizer)
    tokens: list[AnswerToken] = []
    stop_logprob: float | None = None
    draws = sight.model.config.generation.number_draws
    generation = language.generate(embeddings, request.max_new_tokens, number_draws=draws)
    for number in range(1, request.max_new_tokens + 1):
        stage = "prefill" if number == 1 else "generate"
        run.report(stage, step=number, steps=request.max_new_tokens)
        with run.stage(stage):
            token, logprob = next(generation)
        if not math.isfinite(logprob):
            raise UniuggError(ErrorCode.NON_FINITE, f"the language model's scores at token {number} are not finite")
        if token in tokenizer.stop_ids:
            stop_logprob = logprob
            break
        tokens.append(AnswerToken(text.push(token), token, logprob))
        yield tokens[-1]
    generation.close()

    evidence: tuple[Evidence, ...] = ()
    if request.with_evidence and tokens:
        run.report("evidence")
        with run.stage("evidence"):
            whole = torch.cat([embeddings, language.embed_tokens([token.token_id for token in tokens])])
            attention = attention_to(language, whole, len(embeddings) - 1, len(tokens))
            dreamt = None if request.imagine is None else (shown[-1].features, request.imagine.target)
            evidence = _evidence(sight, pictures, dreamt, attention, places)
    logprobs = tuple(token.logprob for token in tokens)
    said = "".join(token.text for token in tokens)
    value, unit = parse_value(conclusion(said))
    return Answer(
        text=said,
        # An answer of no words is as sure as the token that ended it.
        confidence=math.exp(sum(logprobs) / len(logprobs) if logprobs else stop_logprob or 0.0),
        logprobs=logprobs,
        value=value,
        unit=unit,
        tokens=len(tokens),
        truncated=stop_logprob is None,
        evidence=evidence,
        timings=run.finished(),
        seed=None if request.imagine is None else request.imagine.seed,
    )


def _evidence(
    sight: Sight,
    pictures: list[Picture],
    dreamt: tuple[Tensor, np.ndarray] | None,
    attention: Tensor,
    places: list[slice],
) -> tuple[Evidence, ...]:
    """The strongest patches as pixels of the original pictures and as points in their cameras' frames.

    `dreamt` has the features of the view that took the last picture's place, and its pose.
    """
    found = []
    patch = sight.model.config.encoder.patch
    pointmaps: dict[int, np.ndarray] = {}
    for index, token, weight in strongest_patches(attention, places, EVIDENCE_PLACES):
        picture = pictures[index]
        imagined = dreamt if index == len(pictures) - 1 else None
        row, column = divmod(token, picture.grid[1])
        pixel = np.array([(column + 0.5) * patch - 0.5, (row + 0.5) * patch - 0.5])
        if index not in pointmaps:
            view = sight.here(picture) if imagined is None else sight.there(picture, *imagined)
            pointmaps[index] = view.points[0].cpu().numpy()
        point = pointmaps[index][int(pixel[1]), int(pixel[0])]
        u, v = pixel if imagined is not None else picture.crop.source_pixels(pixel)
        place = Evidence(image_index=index, u=float(u), v=float(v), weight=weight)
        if np.isfinite(point).all():
            place = replace(place, point=(float(point[0]), float(point[1]), float(point[2])))
        found.append(place)
    return tuple(found)
