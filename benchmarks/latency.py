"""Milliseconds of every stage of ``imagine`` and ``answer``, by model size, number format and threads."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from uniugg_core.cameras import parse_motion
from uniugg_core.outputs import Observation
from uniugg_core.pipeline import UniUGGPipeline
from uniugg_core.precision import fast_bf16
from uniugg_ros.demo.recorded import read_pictures, sample_bag

from .harness import Row, row

__all__ = ["pipeline_rows", "variants"]

QUESTION = "How far away is the table?"
TOKENS = 16
MOTION = "yaw right 30, forward 0.5"


def variants(paper: bool) -> list[tuple[str, str, int]]:
    """What is measured: preset, number format, threads."""
    threads = sorted({1, min(2, torch.get_num_threads())})
    formats = ["float32", *(["bfloat16"] if fast_bf16(torch.device("cpu")) else [])]
    chosen = [("tiny", kind, count) for kind in formats for count in threads]
    return chosen + ([("paper", "bfloat16", max(threads))] if paper else [])


def pipeline_rows(preset: str, dtype: str, threads: int, n: int) -> Iterator[Row]:
    """Builds the model, an untrained one if none of the size ships, and measures both jobs."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # what a number costs depends on how it goes on, so a trained one is measured where there is one
        small = preset == "tiny"
        pipeline = UniUGGPipeline.default(dtype=dtype) if small else UniUGGPipeline.from_preset(preset, dtype=dtype)
        yield from _rows(pipeline, f"{preset} {dtype} {threads} thr", n)
    finally:
        torch.set_num_threads(before)


def _rows(pipeline: UniUGGPipeline, variant: str, n: int) -> Iterator[Row]:
    picture = read_pictures(sample_bag())[8]
    observation, pose = Observation(picture.image, picture.camera), parse_motion(MOTION)
    generation = pipeline.config.generation
    stages: dict[str, list[float]] = {}
    for number in range(n + 1):
        for name, milliseconds in _imagine(pipeline, observation, pose).items():
            if number:  # the first is a warm-up
                stages.setdefault(f"imagine / {name}", []).append(milliseconds)
        for name, milliseconds in _answer(pipeline, observation).items():
            if number:
                stages.setdefault(f"answer / {name}", []).append(milliseconds)
    denoise = stages["imagine / denoise"]
    stages["imagine / denoise, one step"] = [value / generation.steps for value in denoise]
    for name in sorted(stages, key=lambda name: (name.startswith("answer"), "wall" in name)):
        yield row(name, variant, stages[name])


def _imagine(pipeline: UniUGGPipeline, observation: Observation, pose: object) -> dict[str, float]:
    pipeline.forget()  # the encoding of the picture must count
    start = time.perf_counter()
    scene = pipeline.imagine(observation, pose, seed=0)
    return {**scene.timings, "wall": 1000 * (time.perf_counter() - start)}


def _answer(pipeline: UniUGGPipeline, observation: Observation) -> dict[str, float]:
    pipeline.forget()
    start = time.perf_counter()
    answer = pipeline.answer([observation], QUESTION, max_new_tokens=TOKENS)
    wall = 1000 * (time.perf_counter() - start)
    per_token = answer.timings.get("generate", 0.0) / max(answer.tokens, 1)
    return {**answer.timings, "generate, one token": per_token, "wall": wall}
