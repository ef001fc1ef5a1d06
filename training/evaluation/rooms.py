"""Evaluation in rooms of the test split: imagined target views, answers, and what the spread of samples says.

Scene number i is pair number i of a stream with one pair a room, so N scenes are N rooms; the seed of the stream is
``--seed``. Nothing of the test split is ever trained on, whatever the seed. The same is measured on held-out pairs of
recorded frames when they are given instead of rooms. See :mod:`training.evaluation.geometry` for
the figures and :mod:`training.evaluation.baselines` for what is compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from uniugg_core.models.decoder import ViewOutput
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.pipeline import UniUGGPipeline
from uniugg_core.pointmaps import transform_points

from ..data.questions import QuestionMaker
from ..data.rooms import RoomsConfig, RoomsDataset
from ..data.views import PairBatch, ViewPair
from .answering import Answerer, Asked
from .baselines import filled_depth, lifted, moved_depth
from .geometry import MethodRecord, SceneTruth, measure, motion_size, recovered_pose, relative_errors, scene_truths
from .imagining import Imaginer, Sampling
from .pooled import (
    ANGLES,
    BASELINES,
    NETWORK,
    OURS,
    SURFACES,
    TOLD,
    SceneRecord,
    by_motion,
    part_figures,
    pose_figures,
    reference_figures,
)
from .sharing import Share
from .things import seen_things, thing_figures
from .uncertainty import relative_spread, risk_coverage
from .understanding import Scored, understanding_figures

__all__ = ["Case", "Evaluation", "Pairs", "RoomsEvaluation", "cases", "evaluate_rooms", "open_rooms"]

DRAWN = "drawn"  # several samples, which the uncertainty is taken from
Progress = Callable[[int, int], None]
Cloud = tuple[np.ndarray, np.ndarray]  # points (H, W, 3) in the target camera's frame, known (H, W)


@dataclass(frozen=True)
class RoomsEvaluation:
    """What is measured, and on how much."""

    scenes: int = 256  # rooms, one pair each
    seed: int = 0  # another seed draws other rooms
    imagine: bool = True  # False measures answers alone
    questions: int = 8  # asked about each scene; 0 leaves understanding out
    blind: bool = True  # ask them all again without the pictures
    samples: int = 4  # imagined for each scene that uncertainty is measured on; below 2 leaves it out
    spread_scenes: int = 64  # scenes that get so many samples
    batch: int = 16  # scenes at a time
    clouds: bool = True  # F-scores
    sampling: Sampling = field(default_factory=Sampling)
    rooms: dict[str, Any] = field(default_factory=dict)  # changes to RoomsConfig


class Pairs(Protocol):
    """Where scenes come from: pair number i, always the same one."""

    name: str

    def pair(self, index: int) -> ViewPair:
        """Pair number `index`."""
        ...

    def batch(self, kind: str, indices: Sequence[int]) -> dict[str, Any]:
        """Samples by number; rooms are made together then, which is faster."""
        ...


@dataclass(frozen=True)
class Case:
    """One scene with its predictions, for pictures. Clouds are in the target camera's frame."""

    pair: ViewPair
    truth: SceneTruth
    record: SceneRecord
    clouds: dict[str, Cloud]
    colors: np.ndarray  # (H, W, 3) uint8, of the imagined view
    reference: np.ndarray  # (H, W, 3), the predicted reference cloud in the reference camera's frame


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured."""

    report: dict[str, Any]  # ready for JSON once NaN-free, see `rooms_command`
    records: list[SceneRecord]
    said: list[Scored]


def open_rooms(size: int, settings: RoomsEvaluation) -> RoomsDataset:
    """The test rooms that `settings` describe, in pictures of `size` pixels."""
    options = {"size": size, "views": 6, "pairs": 1, "interleave": settings.batch, **settings.rooms}
    return RoomsDataset(RoomsConfig(**options), "test", seed=settings.seed)


def evaluate_rooms(
    pipeline: UniUGGPipeline,
    settings: RoomsEvaluation | None = None,
    *,
    source: Pairs | None = None,
    regression: UniUGG | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measures a model; under a launcher each process its share of the batches (:mod:`training.evaluation.sharing`).

    Args:
        pipeline: the model and its tokenizer.
        settings: what is measured.
        source: what it is measured on; None: rooms.
        regression: a model of the variant without diffusion, compared under the name "regression".
        progress: told (scenes done, scenes in all).

    Returns:
        The figures and what they were made of; the same for the same model and settings, but for ``seconds``, and the
        same on every process.
    """
    settings = settings or RoomsEvaluation()
    start = time.perf_counter()
    rooms = open_rooms(pipeline.config.image_size, settings) if source is None else source
    runner = _Runner(pipeline, settings, regression)
    share, done = Share(), []
    batches = share.of(range(0, settings.scenes, settings.batch))
    for number, first in enumerate(batches, start=1):
        numbers = range(first, min(first + settings.batch, settings.scenes))
        rooms.batch("pair", numbers)
        pairs = [rooms.pair(number) for number in numbers]
        records = [case.record for case in runner.scenes(pairs)] if settings.imagine else []
        done.append((first, records, runner.answers(pairs)))
        if progress is not None:
            progress(min(number * settings.batch * share.count, settings.scenes), settings.scenes)
    done = sorted(share.gathered(done), key=lambda part: part[0])
    records = [record for _, part, _ in done for record in part]
    said = [scored for _, _, part in done for scored in part]
    report = {"what": rooms.name, **_report(pipeline, settings, records, said)}
    return Evaluation({**report, "seconds": time.perf_counter() - start}, records, said)


def cases(
    pipeline: UniUGGPipeline,
    settings: RoomsEvaluation,
    numbers: list[int],
    regression: UniUGG | None = None,
    source: Pairs | None = None,
) -> list[Case]:
    """Scenes by number, once more, with all that a picture of them needs."""
    rooms = open_rooms(pipeline.config.image_size, settings) if source is None else source
    runner = _Runner(pipeline, settings, regression)
    return [case for number in numbers for case in runner.scenes([rooms.pair(number)])]


class _Runner:
    """Measures batches of pairs."""

    def __init__(self, pipeline: UniUGGPipeline, settings: RoomsEvaluation, regression: UniUGG | None) -> None:
        self.settings = settings
        self.model = pipeline.model
        self.imaginer = Imaginer(pipeline.model, settings.sampling)
        self.rival = None if regression is None else Imaginer(regression)
        self.answerer = Answerer(pipeline.model, pipeline.tokenizer)
        self.asker = QuestionMaker()
        self._encoded: tuple[list[int], Tensor, tuple[int, int]] | None = None

    # --- scenes ---

    def scenes(self, pairs: list[ViewPair]) -> Iterator[Case]:
        """Every pair's case."""
        batch = PairBatch.collate(pairs)
        truths = scene_truths(batch)
        observed, views = self._views(batch)
        motions, matrices = batch.target_from_reference.cpu(), batch.intrinsics[:, 1].cpu().numpy()
        moved = {
            name: [transform_points(motions, out.points.cpu().float()).numpy() for out in outs]
            for name, outs in views.items()
        }
        drawn = moved.pop(DRAWN, [])
        told = self.imaginer.cameras(*self._features(batch), batch)
        surfaces = moved.pop(SURFACES, None)
        here = observed.points.cpu().float().numpy()
        true_here = batch.points()[:, 0].cpu().numpy()
        for row, (pair, truth) in enumerate(zip(pairs, truths)):
            clouds = {name: (points[0][row], np.ones_like(truth.valid)) for name, points in moved.items()}
            pose = motions[row].numpy()
            known = (batch.depth[row, 0] > 0).cpu().numpy()
            unknown = np.where(known[..., None], true_here[row], np.nan)
            for suffix, cloud in (("", here[row]), ("_true", unknown)):
                depth = moved_depth(cloud, matrices[row], pose)
                clouds[f"moved{suffix}"] = lifted(depth, matrices[row])
                clouds[f"filled{suffix}"] = lifted(filled_depth(depth), matrices[row])
            if surfaces is not None:
                ahead = surfaces[0][row]
                clouds[SURFACES] = np.nan_to_num(ahead, posinf=0.0), np.isfinite(ahead).all(-1)
            methods = {name: self._measure(cloud, truth) for name, cloud in clouds.items()}
            reference = relative_errors(here[row], true_here[row], known)[known][::4]
            spread = None
            if drawn:
                pick = truth.pick
                spread = relative_spread(np.stack([points[row][pick] for points in drawn]))
            ours = views[OURS][0]
            sharp = (1 / ours.confidence[row].float()).cpu().numpy()[truth.pick]
            poses = {
                name: recovered_pose(clouds[name][0], matrices[row])
                for name in (OURS, "oracle", "regression")
                if name in clouds
            }
            if told is not None:  # what is left of the motion after the one that was told
                poses[TOLD] = motion_size(motions[row].double() @ told[row].cpu().double())
            things = []
            if batch.instances is not None and batch.classes is not None:
                maps = (part[row, 0].cpu().numpy() for part in (batch.instances, batch.classes))
                things = seen_things(here[row], true_here[row], known, *maps)
            colors = ours.colors[row] if ours.colors is not None else torch.full_like(ours.points[row], 0.5)
            yield Case(
                pair,
                truth,
                SceneRecord.of(truth, methods, reference, spread=spread, sharp=sharp, poses=poses, things=things),
                clouds,
                (colors.float().clamp(0, 1) * 255).round().byte().cpu().numpy(),
                here[row],
            )

    def _measure(self, cloud: Cloud, truth: SceneTruth) -> MethodRecord:
        return measure(*cloud, truth, clouds=self.settings.clouds)

    def _views(self, batch: PairBatch) -> tuple[ViewOutput, dict[str, list[ViewOutput]]]:
        """The reference views, and the target views for each way to get their features; drawn ones are several."""
        own, imaginer = self.settings, self.imaginer
        features, grid = self._features(batch)
        reference, target = features[:, 0], features[:, 1]
        told = imaginer.told(features, batch, grid)
        seeds = [own.seed * 1_000_003 + int(index) for index in batch.index]
        count = own.samples if own.samples > 1 and int(batch.index[0]) < own.spread_scenes else 1
        observed = imaginer.here(told, batch)

        def made(sample: int, samples: int) -> ViewOutput:
            features = imaginer.imagine(told, seeds, sample, grid, samples=samples)
            return imaginer.there(reference, features, grid, batch)

        single, drawn = made(0, 1), [made(sample, count) for sample in range(count)] if count > 1 else []
        views = {
            OURS: [imaginer.shown(single, observed, batch, told)],
            DRAWN: [imaginer.shown(view, observed, batch, told) for view in drawn],
            **({NETWORK: [single]} if self.model.config.generation.keep_observed else {}),
            "oracle": [imaginer.there(reference, target, grid, batch)],
            "oracle_vae": [imaginer.there(reference, imaginer.reconstructed(target, grid), grid, batch)],
        }
        if self.model.config.generation.keep_surfaces:
            views[SURFACES] = [imaginer.gone_on(told, batch)]
        if self.rival is not None:
            rival = self.rival
            theirs, their_grid = rival.encode(batch)
            their_told = rival.told(theirs, batch, their_grid)
            imagined = rival.imagine(their_told, seeds, 0, their_grid)
            their_view = rival.there(theirs[:, 0], imagined, their_grid, batch)
            views["regression"] = [rival.shown(their_view, rival.here(their_told, batch), batch, their_told)]
        return observed, views

    def _features(self, batch: PairBatch) -> tuple[Tensor, tuple[int, int]]:
        """Both pictures' features; remembered for the questions about the same pairs."""
        numbers = batch.index.tolist()
        if self._encoded is None or self._encoded[0] != numbers:
            self._encoded = (numbers, *self.imaginer.encode(batch))
        return self._encoded[1], self._encoded[2]

    # --- answers ---

    def answers(self, pairs: list[ViewPair]) -> list[Scored]:
        """Questions about the pairs with their answers."""
        own = self.settings
        if not own.questions:
            return []
        batch = PairBatch.collate(pairs)
        features, grid = self._features(batch)
        asked = [
            Asked(row, question)
            for row, pair in enumerate(pairs)
            for question in self.asker.ask(pair, own.questions, Random(f"evaluation/{own.seed}/{pair.index}"))
        ]
        said = self.answerer(features, grid, batch, asked)
        blind = self.answerer(features, grid, batch, asked, blind=True) if own.blind else [None] * len(asked)
        return [Scored(item.question, text, without) for item, text, without in zip(asked, said, blind)]


def _sampling(model: UniUGG, settings: RoomsEvaluation) -> dict[str, Any]:
    """How views are imagined: one, and several for their spread."""
    own, wish = model.config.generation, settings.sampling
    steps = {"steps": own.steps_for(1), "drawn_steps": own.steps_for(max(2, settings.samples))}
    return {**asdict(Imaginer(model, wish).sampling), **(steps if wish.steps is None else {})}


def _report(
    pipeline: UniUGGPipeline, settings: RoomsEvaluation, records: list[SceneRecord], said: list[Scored]
) -> dict[str, Any]:
    sampled = [record for record in records if record.spread is not None]
    errors = [record.methods[OURS].error for record in sampled]
    joined = np.concatenate(errors) if errors else np.zeros(0)
    doubts = {
        "spread": [record.spread for record in sampled],
        "confidence": [record.sharp for record in sampled],
    }
    return {
        "scenes": settings.scenes,
        "seed": settings.seed,
        "model": {
            "name": pipeline.config.name,
            "trained": pipeline.trained,
            "image_size": pipeline.config.image_size,
            "parameters": sum(parameter.numel() for parameter in pipeline.model.parameters()),
        },
        "sampling": _sampling(pipeline.model, settings),
        "unseen": part_figures(records, "unseen"),
        "seen": part_figures(records, "seen"),
        "all": part_figures(records, "all"),
        "reference": reference_figures(records),
        "things": thing_figures([thing for record in records for thing in record.things]),
        "pose": pose_figures(records),
        "by_angle": by_motion(records, lambda record: record.angle, ANGLES),
        "by_baseline": by_motion(records, lambda record: record.baseline, BASELINES),
        "vqa": understanding_figures(said) if said else None,
        "uncertainty": {
            "samples": settings.samples,
            "scenes": len(sampled),
            "median_spread": {part: _median_spread(sampled, part) for part in ("seen", "unseen")},
            **{
                name: risk_coverage(np.concatenate(values) if values else np.zeros(0), joined)
                for name, values in doubts.items()
            },
        }
        if sampled
        else None,
    }


def _median_spread(records: list[SceneRecord], part: str) -> float | None:
    spreads = [record.spread[record.part(part)] for record in records if record.spread is not None]
    joined = np.concatenate(spreads) if spreads else np.zeros(0)
    return float(np.median(joined)) if len(joined) else None
