"""Stage 3: language model, transform queries and denoiser on frozen vision parts (UniUGG sections 3.3 and 3.4).

``L = L_vqa + lambda L_gen``, one kind of batch at a time: pairs train the way from a picture and a pose to the features
of the view from there; questions train the answers. Phase "align" trains only the language model's visual projector,
phase "ground" only where words look and the boxes of what they find, by the names of all that a picture shows.
Exercises without pictures (:mod:`..exercising`) may be mixed in, for models that start from nothing.

Shape letters: B batch, N tokens, D feature width, Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniugg_core.config import ModelConfig
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.folder import save_folder
from uniugg_core.models.decoder import ViewOutput
from uniugg_core.models.denoiser import Denoiser
from uniugg_core.models.grounding import Found
from uniugg_core.models.uniugg import Seen, Shown, UniUGG
from uniugg_core.prompts import Prompt, question_prompt
from uniugg_core.tokenizer import SpatialTokenizer

from ..boxing import box_loss
from ..config import TrainConfig
from ..data.mixture import Mixture, Part
from ..data.questions.drills import Drills
from ..data.questions.sight import plural, spoken_name
from ..data.questions.types import Question
from ..data.views import PairBatch
from ..data.world.classes import CLASSES
from ..exercising import exercise
from ..losses.semantics import class_shares
from ..mentions import Name, looked_for, named, where_things_are
from ..pictures import pair_sheet
from ..retelling import retell
from ..showing import look
from ..sources import open_source
from ..stream import Batch, Source
from ..supervision import point_errors, second_view, second_view_loss, swapped_where
from .base import Stage, freeze
from .vision import to_unit

__all__ = ["UnifiedStage", "imagine_features"]

FROZEN = ("encoder", "spatial", "vae")
_TEMPERATURE = 0.07  # of likenesses between picture tokens and words
_SAMPLER = "dpm++"  # few steps suffice for validation


def imagine_features(
    model: UniUGG,
    seen: Seen,
    raymap: Tensor,
    seeds: range | list[int],
    *,
    preview: Tensor | None = None,
    steps: int | None = None,
) -> Tensor:
    """Features (B, N, D) of the views that rays (B, h, w, 6) ask for, as the pipeline makes them.

    Args:
        model: whole model.
        seen: the reference pictures.
        raymap: of the target views.
        seeds: one a view.
        preview: from ``model.preview``.
        steps: denoising steps; None: the model's default.
    """
    condition = model.condition(seen, raymap)
    if not isinstance(model.denoiser, Denoiser):
        return model.vae.destandardise(model.denoiser(condition))
    latent = model.denoiser.sample(
        condition,
        model.language.null(condition),
        [torch.Generator().manual_seed(seed) for seed in seeds],
        steps=steps or model.config.generation.steps_for(1),
        scheduler=_SAMPLER,
        preview=preview,
    )
    return model.vae.decode(model.vae.unscaled(latent))


class UnifiedStage(Stage):
    """See the module; settings are ``config.unified``."""

    unused_parameters = True  # a question leaves the denoiser alone

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.own = own = config.unified
        if not config.model.start:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "stage 3 needs model.start, a checkpoint or run of stage 2")
        self.tokenizer = SpatialTokenizer.shipped() if own.tokenizer is None else SpatialTokenizer(own.tokenizer)
        self.model = UniUGG.initialised(self.model_config, config.seed, self.tokenizer)
        spare = () if self.model_config.vae.enabled else ("vae.",)
        self.start_from(*(f"{part}." for part in FROZEN), spare=spare)
        for part in FROZEN:
            freeze(getattr(self.model, part))
        if not self.model_config.vae.enabled:  # what a VAE measured says nothing about raw features
            self.model.vae.set_statistics(latent_scale=1.0)
        share = self.kinds()
        if own.phase in ("ground", "align"):
            freeze(self.model.language)
            freeze(self.model.denoiser)
            for part in self._learning():
                part.requires_grad_(True)
        elif "pair" not in share:
            freeze(self.model.denoiser)
        figures = {"pair": "error_second", "question": "answers", "names": "finding", "drill": "drill"}
        self.best_metric = next(figure for kind, figure in figures.items() if kind in share)

    def _learning(self) -> tuple[nn.Module, ...]:
        """What the phase trains of the language model, where that is not all of it."""
        language = self.model.language
        if self.own.phase == "align":
            return (language.projector,)
        if language.grounding is None or not self.own.finding_weight:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                "phase 'ground' needs a model with language.grounded, and unified.finding_weight above 0",
            )
        return (language.grounding,) if language.boxes is None else (language.grounding, language.boxes)

    def source(self, split: str) -> Source:
        """Pairs and questions, and exercises."""
        source = open_source(self.config.data, self.model_config, split)
        if not self.own.drill_share:
            return source
        seed, language = self.config.data.seed, self.model_config.language
        drills = Drills(split, seed, shown=language.grounded, situated=language.situated)
        return Mixture((Part(source, 1.0, ("pair", "question", "names")), Part(drills, 1.0, ("drill",))), seed)

    def kinds(self) -> dict[str, float]:
        """Shares of generation, of questions and of exercises; aligning is by answers alone, grounding by names."""
        if self.own.phase in ("ground", "align"):
            return {"names" if self.own.phase == "ground" else "question": 1.0}
        drill, pair = self.own.drill_share, self.own.generation_share
        shares = {"pair": (1 - drill) * pair, "question": (1 - drill) * (1 - pair), "drill": drill}
        return {kind: share for kind, share in shares.items() if share > 0}

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """L_gen of pairs, L_vqa of questions, or what words miss."""
        if batch["kind"] == "pair":
            return self._generation(batch, generator)
        if batch["kind"] == "drill":
            parts = self._drills(batch, generator)
            return {"loss": self.own.answer_weight * parts["drill"], **parts}
        parts = self._names(batch, generator) if batch["kind"] == "names" else self._answers(batch, generator)
        weights = {name: getattr(self.own, f"{name}_weight") for name in ("naming", "finding", "searching", "boxing")}
        weights["answers"] = self.own.answer_weight
        return {"loss": sum(weights[name] * part for name, part in parts.items() if name in weights), **parts}

    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Pairs: noise loss, errors of imagined views. Words: loss, share of answers right to the last token."""
        if batch["kind"] == "drill":
            return self._drills(batch, generator)
        if batch["kind"] == "names":
            return self._names(batch, generator)
        if batch["kind"] == "pair":
            figures, truth = self._generation(batch, generator), PairBatch.from_dict(batch)
            return {"generation": figures["generation"], **point_errors(self._imagined(truth), truth)}
        return self._answers(batch, generator)

    def pictures(self, batch: Batch, generator: torch.Generator) -> dict[str, np.ndarray]:
        """As stage 1, with the second view imagined."""
        if batch["kind"] != "pair":
            return {}
        truth = PairBatch.from_dict(batch)
        return {"pairs": pair_sheet(to_unit(truth.image), self._imagined(truth), truth)}

    def export(self, out: Path) -> None:
        """Writes the whole model as a folder that the pipeline loads."""
        config = ModelConfig.from_dict({**self.model_config.to_dict(), "trained": True})
        save_folder(out, self.model, self.tokenizer, dtype="bfloat16", config=config)

    # --- generation ---

    def _generation(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        own, model, truth = self.own, self.model, PairBatch.from_dict(batch)
        if self.training:
            truth = swapped_where((torch.rand(len(truth), generator=generator) < 0.5).to(truth.image.device), truth)
        features_B2ND, grid = self._features(truth)
        seen, preview = self._told(truth, features_B2ND, grid)
        raymap = self._rays(truth, grid)
        made = model.generate(
            seen,
            features_B2ND[:, 1],
            raymap,
            generator,
            preview=preview,
            drop_condition=own.drop_condition,
            pure_noise=own.pure_noise,
        )
        loss, parts = made.loss, {"generation": made.loss}
        rows = math.ceil(own.spatial_share * len(truth)) if own.spatial_weight and self.training else 0
        if rows:
            shown = truth.rows(slice(rows))
            view = second_view(model.spatial, seen.features[:rows], made.to_features(made.estimate[:rows]), grid, shown)
            counted_B = ~made.blind[:rows].to(shown.depth.device)
            parts["points"] = second_view_loss(
                view, shown, counted_B, generator, seen_share=own.seen_share, logarithmic=own.log_points
            )
            loss = loss + own.spatial_weight * parts["points"]
        return {"loss": own.generation_weight * loss, **parts}

    def _imagined(self, truth: PairBatch) -> tuple[ViewOutput, ViewOutput]:
        model, (features_B2ND, grid) = self.model, self._features(truth)
        seen, preview = self._told(truth, features_B2ND, grid)
        target = imagine_features(model, seen, self._rays(truth, grid), truth.index.tolist(), preview=preview)
        here = model.alone(seen, truth.intrinsics[:, 0])
        return here, second_view(model.spatial, seen.features, target, grid, truth)

    @torch.no_grad()
    def _told(self, truth: PairBatch, features_B2ND: Tensor, grid: tuple[int, int]) -> tuple[Seen, Tensor | None]:
        """The reference pictures, and what the target views would show of them."""
        seen = self.model.see(features_B2ND[:, 0], grid, truth.intrinsics[:, 0], to_unit(truth.image[:, 0]))
        return seen, self.model.preview(seen, truth.target_from_reference, truth.intrinsics[:, 1])

    def _rays(self, truth: PairBatch, grid: tuple[int, int]) -> Tensor:
        return self.model.raymap(truth.target_from_reference, truth.intrinsics[:, 1], grid, truth.intrinsics[:, 0])

    @torch.no_grad()
    def _features(self, truth: PairBatch) -> tuple[Tensor, tuple[int, int]]:
        encoded = self.model.encode(to_unit(truth.image).flatten(0, 1), truth.intrinsics.flatten(0, 1))
        return encoded.features.unflatten(0, truth.image.shape[:2]), encoded.grid

    # --- answers ---

    def _answers(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy of the answers' tokens, the share of answers whose every token is the likeliest, and naming."""
        model, truth, questions = self.model, PairBatch.from_dict(batch), batch["questions"]
        language = model.language
        features_B2ND, grid = self._features(truth)
        # the questions of a row are all about the same views
        talks = [(row, together[0].views) for row, together in enumerate(questions)]
        seen, numbers = look(model, features_B2ND, grid, truth, talks)
        tokens = model.tokens(seen)
        queries: list[list[Tensor | None]] = [[None] * len(together) for together in questions]
        commanded: list[list[Tensor | None]] = [[None] * len(together) for together in questions]
        posed = [
            (row, place)
            for row, together in enumerate(questions)
            for place, question in enumerate(together)
            if question.target_from_reference is not None
        ]
        if posed:
            poses = torch.tensor([questions[row][place].target_from_reference for row, place in posed])
            # a commanded view has the calibration of the picture it is asked about
            matrices = truth.intrinsics[[row for row, _ in posed], 0]
            made = language.embed_rays(model.raymap(poses.to(matrices), matrices, grid))
            for (row, place), query, pose in zip(posed, made, poses):
                queries[row][place], commanded[row][place] = query, pose
        prompts = [[self._prompt(question) for question in together] for together in questions]
        images = [[tokens[number] for number in own] for own in numbers]
        shown = model.show(seen, numbers, prompts, commanded)
        taught = self._retold(shown, questions, generator) if self.training else shown.prompts
        loss, right = language(language.collate(taught, images, queries, shown.parts))
        parts = {"answers": loss, "answers_right": right, **self._found(shown, truth, talks, questions, prompts)}
        classes_PHW = _classes(truth, talks)
        if self.own.naming_weight and classes_PHW is not None:
            parts["naming"] = self._naming(seen.features, classes_PHW)
        if self.own.searching_weight and shown.found is not None and classes_PHW is not None:
            parts["searching"] = self._searching(seen, classes_PHW, generator)
        return parts

    def _names(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """What the names of all that is in pictures find, each picture alone."""
        truth = PairBatch.from_dict(batch)
        features_B2ND, grid = self._features(truth)
        questions = [[question] for together in batch["questions"] for question in together]
        talks = [(number // 2, question.views) for number, (question,) in enumerate(questions)]
        seen, numbers = look(self.model, features_B2ND, grid, truth, talks)
        prompts = [[self._prompt(question) for question in together] for together in questions]
        parts = self._found(self.model.show(seen, numbers, prompts), truth, talks, questions, prompts)
        classes_PHW = _classes(truth, talks)
        if self.own.searching_weight and classes_PHW is not None:
            parts["searching"] = self._searching(seen, classes_PHW, generator)
        return parts

    def _found(
        self,
        shown: Shown,
        truth: PairBatch,
        talks: Sequence[tuple[int, tuple[int, ...]]],
        questions: Sequence[Sequence[Question]],
        prompts: Sequence[Sequence[Prompt]],
    ) -> dict[str, Tensor]:
        """What the words of questions miss: their things, and the boxes of those."""
        parts: dict[str, Tensor] = {}
        if shown.found is None or truth.instances is None:
            return parts
        marked = self.model_config.language.marks
        names = named(self.tokenizer, talks, questions, prompts, shown.found.starts, marked)
        if self.own.finding_weight:
            parts["finding"] = self._finding(shown.found, truth.instances, names)
        if self.own.boxing_weight and shown.things is not None:
            parts["boxing"] = box_loss(self.model.language.boxes, shown.things, names, truth)
        return parts

    def _drills(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """As :meth:`_answers`, of exercises."""
        questions = [question for together in batch["questions"] for question in together]
        lessons = exercise(self.model, self.tokenizer, questions, generator)
        loss, right = self.model.language(lessons)
        return {"drill": loss, "drill_right": right}

    def _naming(self, features_PND: Tensor, classes_PHW: Tensor) -> Tensor:
        """How badly picture tokens tell by their likeness to words of what class their pixels are."""
        language, words_LW = self.model.language, self._class_words()
        shares_PNL = class_shares(classes_PHW, self.model_config.encoder.patch, len(CLASSES))
        tokens_PNW = language.projector(features_PND.to(language.dtype)).float()
        likeness = F.normalize(tokens_PNW, dim=-1) @ F.normalize(words_LW, dim=-1).T
        return F.cross_entropy((likeness / _TEMPERATURE).flatten(0, 1), shares_PNL.flatten(0, 1))

    def _finding(self, found: Found, instances_B2HW: Tensor, names: Sequence[Name]) -> Tensor:
        """How far from what they name words look: names at their things' pixels, all others at nothing."""
        idle = torch.zeros(found.likely.shape[:2], dtype=torch.bool)
        for talk, together in enumerate(found.starts):
            for starts in together:
                for piece, begin in starts.items():
                    idle[talk, begin : begin + len(piece)] = True
        hits = []
        for name in names:
            idle[name.talk, name.first : name.last + 1] = False
            named_VHW = torch.isin(instances_B2HW[name.row, list(name.views)], instances_B2HW.new_tensor(name.ids))
            wanted = where_things_are(named_VHW, self.model_config.encoder.patch).to(found.likely)
            hits.append(-(wanted * found.likely[name.talk, name.last, : len(wanted)]).sum(-1))
        likely, nothing = found.likely, found.likely.shape[-1] - 1
        idle = idle.to(likely.device)
        lost = -likely[idle][..., nothing].mean() if idle.any() else likely.sum() * 0
        return torch.cat(hits).mean() + lost if hits else lost

    def _searching(self, seen: Seen, classes_PHW: Tensor, generator: torch.Generator) -> Tensor:
        """As :meth:`_finding`, of a name of every class, one thing's or several ones', in every picture."""
        language, things = self.model.language, CLASSES[1:]
        several = (torch.rand(len(things), generator=generator) < 0.25).tolist()
        spelled = [
            self.tokenizer.encode(" " + (plural(name) if many else spoken_name(name)))
            for name, many in zip(things, several)
        ]
        embedded = language.embed_tokens([token for name in spelled for token in name])
        names = embedded.split([len(name) for name in spelled])
        likely_LPX = language.grounding.of_names(names, seen.features, seen.view.states)
        shares_PNL = class_shares(classes_PHW, self.model_config.encoder.patch, len(CLASSES))
        wanted_LPX = looked_for(shares_PNL[..., 1:].permute(2, 0, 1)).to(likely_LPX)
        missed_LP, absent_LP = -(wanted_LPX * likely_LPX).sum(-1), wanted_LPX[..., -1] > 0
        return missed_LP[~absent_LP].mean() + missed_LP[absent_LP].mean()

    @torch.no_grad()
    def _class_words(self) -> Tensor:
        """(L, W), the mean word of each class."""
        spelled = [self.tokenizer.encode(spoken_name(name).removeprefix("the")) for name in CLASSES]
        return torch.stack([self.model.language.embed_tokens(word).mean(0) for word in spelled]).float()

    def _retold(
        self, shown: Shown, questions: Sequence[Sequence[Question]], generator: torch.Generator
    ) -> Sequence[Sequence[Prompt]]:
        """The prompts, some of them with the answer that follows from what is perceived."""
        share = self.own.retold_share
        if not share:
            return shown.prompts
        taught = [list(together) for together in shown.prompts]
        for talk, together in enumerate(questions):
            for place, question in enumerate(together):
                chosen = float(torch.rand((), generator=generator)) < share
                said = retell(shown, talk, place, question) if chosen else None
                if said is not None:
                    answer = (*self.tokenizer.encode(said), self.tokenizer.im_end)
                    taught[talk][place] = replace(taught[talk][place], answer=answer)
        return taught

    def _prompt(self, question: Question) -> Prompt:
        return question_prompt(
            self.tokenizer,
            question.text,
            images=len(question.views),
            history=getattr(question, "history", ()),  # rooms ask one question at a time
            with_queries=question.target_from_reference is not None,
            with_marks=self.model_config.language.marks,
            with_cameras=self.model_config.language.situated,
            answer=question.spoken,
        )


def _classes(truth: PairBatch, talks: Sequence[tuple[int, tuple[int, ...]]]) -> Tensor | None:
    """Class maps (P, H, W) of the pictures of all talks, in order; None where they are unknown."""
    if truth.classes is None:
        return None
    return truth.classes.flatten(0, 1)[[2 * row + view for row, views in talks for view in views]]
