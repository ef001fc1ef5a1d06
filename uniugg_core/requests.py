"""Checks of what a caller asks for, apart from doing it: each returns the request with every default filled in."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .cameras import check_rigid
from .config import ModelConfig
from .errors import ErrorCode, UniuggError
from .outputs import Observation, Turn

if TYPE_CHECKING:
    import torch

    from .tokenizer import SpatialTokenizer

__all__ = [
    "AnswerRequest",
    "ImagineRequest",
    "check_answer_inputs",
    "check_imagine_inputs",
    "check_observation",
    "sample_seed",
]

MAX_SAMPLES = 64
MAX_GUIDANCE = 100.0
MAX_SEED = 2**63 - 1
_CHARACTERS_PER_TOKEN = 16  # a longer text cannot fit, so it is not even tokenised
_SCHEDULERS = ("ddim", "dpm++", "ddpm")


@dataclass(frozen=True)
class ImagineRequest:
    """A checked request for a view from elsewhere; `target` is target_from_reference (4, 4) float64."""

    target: np.ndarray
    steps: int
    scheduler: str
    guidance: float
    samples: int
    seed: int
    drop_quantile: float


@dataclass(frozen=True)
class AnswerRequest:
    """A checked question; `imagine` is set when it is about a view from elsewhere."""

    observations: tuple[Observation, ...]
    question: str
    history: tuple[Turn, ...]
    max_new_tokens: int
    with_evidence: bool
    imagine: ImagineRequest | None


def check_observation(observation: Any, name: str = "observation") -> Observation:
    """The observation, if it is one (it checked itself when it was made).

    Raises:
        UniuggError: IMAGE_MISSING for None, REQUEST_INVALID for anything else.
    """
    if observation is None:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{name} is None, expected a picture")
    if not isinstance(observation, Observation):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} is {type(observation).__name__}, expected an Observation")
    return observation


def check_imagine_inputs(
    config: ModelConfig,
    target_from_reference: Any,
    *,
    steps: int | None = None,
    scheduler: str | None = None,
    guidance: float | None = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    seed: int | None = None,
    drop_quantile: float | None = None,
) -> ImagineRequest:
    """A request for an imagined view with the configuration's defaults.

    The seed is, in this order: the one given; drawn from `generator`; drawn from the system.

    Raises:
        UniuggError: POSE_INVALID, or REQUEST_INVALID naming the value and its range.
    """
    defaults = config.generation
    target = check_rigid(target_from_reference, "target_from_reference")
    scheduler = defaults.scheduler if scheduler is None else scheduler
    if scheduler not in _SCHEDULERS:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"scheduler is {scheduler!r}, expected one of {list(_SCHEDULERS)}")
    guidance = _real("guidance", defaults.guidance if guidance is None else guidance, 0.0, MAX_GUIDANCE)
    if config.denoiser.kind != "unet" and guidance != 1.0:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"guidance is {guidance}, but the model has no diffusion; leave it 1"
        )
    if seed is None:
        seed = _draw_seed(generator)
    drop = defaults.drop_confidence_quantile if drop_quantile is None else drop_quantile
    drop = _real("drop_quantile", drop, 0.0, 1.0)
    if drop == 1.0:
        raise UniuggError(ErrorCode.REQUEST_INVALID, "drop_quantile is 1, which would drop every point")
    samples = _whole("samples", samples, 1, MAX_SAMPLES)
    return ImagineRequest(
        target=target,
        steps=_whole("steps", defaults.steps_for(samples) if steps is None else steps, 1, config.denoiser.train_steps),
        scheduler=scheduler,
        guidance=guidance,
        samples=samples,
        seed=_whole("seed", seed, 0, MAX_SEED),
        drop_quantile=drop,
    )


def check_answer_inputs(
    config: ModelConfig,
    tokenizer: SpatialTokenizer,
    observations: Sequence[Observation],
    question: Any,
    history: Sequence[Turn] = (),
    *,
    max_new_tokens: int | None = None,
    with_evidence: bool = False,
    imagine_from: Any = None,
    seed: int | None = None,
) -> AnswerRequest:
    """A question with the configuration's defaults.

    Raises:
        UniuggError: IMAGE_MISSING without a picture, TOO_MANY_IMAGES, QUESTION_EMPTY, QUESTION_TOO_LONG (the question
            alone, or all of it with pictures and history), POSE_INVALID, REQUEST_INVALID.
    """
    defaults = config.generation
    if isinstance(observations, Observation):
        observations = (observations,)
    pictures = tuple(check_observation(item, f"observations[{i}]") for i, item in enumerate(observations))
    if not pictures:
        raise UniuggError(ErrorCode.IMAGE_MISSING, "the question came without a picture")
    if len(pictures) > defaults.max_images:
        raise UniuggError(
            ErrorCode.TOO_MANY_IMAGES, f"{len(pictures)} pictures, at most {defaults.max_images} are taken"
        )
    words = _check_text(question, "the question", defaults.max_question_tokens, tokenizer)
    turns = tuple(history)
    for number, turn in enumerate(turns):
        if not isinstance(turn, Turn):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"history[{number}] is {type(turn).__name__}, expected a Turn")
        for text in (turn.question, turn.answer):
            words += len(text) if len(text) > config.language.max_positions else len(tokenizer.encode(text))
    limit = config.language.max_positions
    new_tokens = defaults.max_new_tokens if max_new_tokens is None else max_new_tokens
    new_tokens = _whole("max_new_tokens", new_tokens, 1, limit)
    template = 16 * (len(pictures) + len(turns) + 1)  # generous, for control tokens and "Frame 12:"
    total = len(pictures) * config.grid**2 + words + template + new_tokens
    if total > limit:
        raise UniuggError(
            ErrorCode.QUESTION_TOO_LONG,
            f"{len(pictures)} pictures, {len(turns)} earlier turns, the question and {new_tokens} new tokens "
            f"need {total} places, the model has {limit}",
        )
    imagine = None if imagine_from is None else check_imagine_inputs(config, imagine_from, seed=seed)
    return AnswerRequest(pictures, question, turns, new_tokens, bool(with_evidence), imagine)


def sample_seed(seed: int, sample: int) -> int:
    """The seed of one of several samples; it does not depend on how many there are."""
    return int(np.random.SeedSequence([seed, sample]).generate_state(1, np.uint64)[0] >> 1)


def _check_text(text: Any, name: str, limit: int, tokenizer: SpatialTokenizer) -> int:
    if not isinstance(text, str):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} is {type(text).__name__}, expected text")
    if not text.strip():
        raise UniuggError(ErrorCode.QUESTION_EMPTY, f"{name} is empty")
    too_long = len(text) > limit * _CHARACTERS_PER_TOKEN
    count = len(text) if too_long else len(tokenizer.encode(text))
    if too_long or count > limit:
        unit = "characters" if too_long else "tokens"
        raise UniuggError(ErrorCode.QUESTION_TOO_LONG, f"{name} has {count} {unit}, the limit is {limit} tokens")
    return count


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} is {value!r}, expected a whole number {low} to {high}")
    return int(value)


def _real(name: str, value: Any, low: float, high: float) -> float:
    good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} is {value!r}, expected a number {low} to {high}")
    return float(value)


def _draw_seed(generator: torch.Generator | None) -> int:
    if generator is None:
        return secrets.randbelow(2**31)
    import torch

    return int(torch.randint(2**31, (), generator=generator, device=generator.device))
