"""Stage 1: encoder and spatial decoder, on pairs with known geometry and under a semantic teacher (UniUGG section 3.1).

Geometry batch: ``L_conf + 0.075 L_match + 10 L_tokens + 10 L_summary + L_rgb``. Single pictures: the two distillation
terms. Every pair is decoded in both orders; each picture is encoded once.

Shape letters: B batch, H W pixels, N tokens, D feature width, K correspondences.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.models.decoder import ViewOutput
from uniugg_core.models.encoder import EncoderOutput

from ..augment import color_jitter
from ..checkpoint import load_start, read_start
from ..config import TrainConfig
from ..data.views import PairBatch
from ..losses.matching import draw_correspondences, matching_loss, reciprocal_matches
from ..losses.semantics import balanced_class_loss, cells_in_order, class_shares, distillation_loss, random_tokens
from ..losses.things import SAID, thing_loss, token_things
from ..pictures import pair_sheet
from ..sources import class_count, open_source
from ..stream import Batch, Source
from ..supervision import SpatialWeights, alone_loss, decoded_alone, point_errors, spatial_loss, swapped_where
from .base import Stage, freeze
from .vision import Vision, freeze_unread, load_lpips, to_unit, token_head

__all__ = ["EncoderStage"]

_HEADS = ("token_head.", "state_head.", "thing_head.")


class EncoderStage(Stage):
    """See the module; settings are ``config.encoder``."""

    best_metric = "error"

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.own = own = config.encoder
        if own.matching_weight and not self.model_config.decoder.descriptor:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                "encoder.matching_weight is for pixels that are described: set it to 0, or the model's "
                "decoder.descriptor above",
            )
        self.model = Vision(self.model_config, config.seed)
        self._add_heads()
        self.start_from(*(() if own.train_encoder else ("encoder.",)), anew=_HEADS)  # a teacher's says no cells
        if not own.train_encoder:
            freeze(self.model.encoder)
        self.teacher = self._load_teacher(own.teacher) if own.teacher is not None else None
        self.lpips = load_lpips(own.rgb_lpips if own.rgb_weight else 0.0, self.notes)
        freeze_unread(self.model.spatial, colors=own.rgb_weight > 0, descriptors=own.matching_weight > 0)
        self.unused_parameters = own.single_share > 0

    def _add_heads(self) -> None:
        """What tokens say in training alone."""
        own, model, widths = self.own, self.model, (self.model_config.encoder.width, self.model_config.decoder.width)
        if (own.thing_weight or own.state_class_weight) and not own.alone_share:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                "encoder.thing_weight and encoder.state_class_weight are for pictures decoded alone: set "
                "encoder.alone_share",
            )
        patch = self.model_config.encoder.patch
        if own.class_cells < 1 or patch % own.class_cells:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"encoder.class_cells is {own.class_cells}, expected a divisor of the patch's {patch} pixels",
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed + 1)
            if own.class_weight or own.state_class_weight:
                self.classes = class_count(self.config.data)
            if own.class_weight:
                model.token_head = token_head(widths[0], self.classes * own.class_cells**2)
            if own.state_class_weight:
                model.state_head = token_head(widths[1], self.classes * own.class_cells**2)
            if own.thing_weight:
                model.thing_head = token_head(widths[1], SAID)

    def _load_teacher(self, folder: str) -> Vision:
        teacher = Vision(self.model_config, self.config.seed, spatial=False)
        missing, _ = load_start(teacher, read_start(folder), folder)
        missing = [name for name in missing if not name.startswith("encoder.calibration.")]  # it looks without
        if missing:
            raise UniuggError(
                ErrorCode.CHECKPOINT_MISMATCH, f"teacher {folder} lacks {missing[0]} and {len(missing) - 1} more"
            )
        return freeze(teacher)

    def source(self, split: str) -> Source:
        """Pairs and single pictures."""
        return open_source(self.config.data, self.model_config, split)

    def kinds(self) -> dict[str, float]:
        """Pairs, and single pictures where they have a share."""
        share = self.own.single_share if self.teacher is not None else 0.0
        return {"pair": 1.0 - share, "single": share} if share else {"pair": 1.0}

    # --- losses ---

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a pair batch or a batch of single pictures."""
        own = self.own
        images_B3HW = to_unit(batch["image"]).flatten(0, -4)
        images_B3HW = color_jitter(images_B3HW, self.config.data.jitter, generator)
        matrices_B33 = self._matrices(batch)
        if matrices_B33 is not None:
            known_B = torch.rand(len(matrices_B33), generator=generator) >= own.drop_calibration
            matrices_B33 = matrices_B33 * known_B.to(matrices_B33)[:, None, None]
        positions = generator if own.student_cpe else None
        encoded = self.model.encode(images_B3HW, matrices_B33, position_generator=positions)
        loss, parts = self._distillation(images_B3HW, encoded, generator)
        if own.class_weight:
            parts["classes"], _ = self._classes(batch, encoded)
            loss = loss + own.class_weight * parts["classes"]
        if batch["kind"] == "pair":
            geometry, more = self._geometry(batch, images_B3HW, encoded, generator)
            loss, parts = loss + geometry, parts | more
        return {"loss": loss, **parts}

    @staticmethod
    def _matrices(batch: Batch) -> Tensor | None:
        """Calibrations of all pictures; None for single ones, whose camera nobody knows."""
        return batch["intrinsics"].flatten(0, 1) if batch["kind"] == "pair" else None

    def _geometry(
        self, batch: Batch, images: Tensor, encoded: EncoderOutput, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        own, truth = self.own, PairBatch.from_dict(batch)
        decoded = math.ceil(own.geometry_share * len(truth))
        truth = truth.rows(slice(decoded))
        colors_B23HW = images.unflatten(0, (-1, 2))[:decoded]
        features_B2ND = encoded.features.unflatten(0, (-1, 2))[:decoded]
        if own.symmetric:
            truth = truth.symmetrised()
            colors_B23HW, features_B2ND = (torch.cat([x, x.flip(1)]) for x in (colors_B23HW, features_B2ND))
        else:
            swap_B = (torch.rand(len(features_B2ND), generator=generator) < 0.5).to(images.device)
            truth = swapped_where(swap_B, truth)
            colors_B23HW, features_B2ND = (
                torch.where(swap_B.view(-1, *[1] * (x.dim() - 1)), x.flip(1), x) for x in (colors_B23HW, features_B2ND)
            )
        weights = SpatialWeights.of(own)
        count = int(own.alone_share * len(truth))  # less than all
        together = truth.rows(slice(count, None))
        outputs = self.model.spatial(
            features_B2ND[count:, 0],
            features_B2ND[count:, 1],
            encoded.grid,
            matrix=together.intrinsics[:, 0],
            with_descriptors=own.matching_weight > 0,
        )
        loss, parts = spatial_loss(outputs, together, colors_B23HW[count:], weights, self.lpips)
        if own.matching_weight:
            parts["matching"] = self._matching(outputs, together, generator)
            loss = loss + own.matching_weight * parts["matching"]
        if count:
            some, colors = truth.rows(slice(count)), colors_B23HW[:count]
            alone, more, views = alone_loss(
                self.model.spatial, features_B2ND[:count], encoded.grid, some, colors, weights, self.lpips
            )
            loss, parts = torch.lerp(loss, alone, count / len(truth)), parts | more
            states_PNE = torch.stack([view.states for view in views], dim=1).flatten(0, 1)
            if own.thing_weight:
                more = self._things(states_PNE, some)
                loss, parts = loss + own.thing_weight * more["things"], parts | more
            if own.state_class_weight:
                said, maps = self.model.state_head(states_PNE), some.classes.flatten(0, 1)
                parts["classes_alone"], _ = self._classes_said(said, maps, encoded.grid)
                loss = loss + own.state_class_weight * parts["classes_alone"]
        return loss, parts

    def _things(self, states_PNE: Tensor, truth: PairBatch) -> dict[str, Tensor]:
        """What tokens of pictures decoded alone say of the things they show."""
        if truth.instances is None or truth.classes is None or truth.boxes is None:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"encoder.thing_weight is for data with maps of things and scene graphs; {self.config.data.source!r} "
                "has none",
            )
        return thing_loss(self.model.thing_head(states_PNE), token_things(truth, self.model_config.encoder.patch))

    def _matching(self, outputs: tuple[ViewOutput, ViewOutput], truth: PairBatch, generator: torch.Generator) -> Tensor:
        own, rows = self.own, []
        height, width = truth.depth.shape[-2:]
        with torch.no_grad():
            points, valid, target_from_reference = truth.points_in_reference(), truth.valid, truth.target_from_reference
            for number in range(len(truth)):
                matches = reciprocal_matches(
                    points[number, 0],
                    valid[number, 0],
                    points[number, 1],
                    valid[number, 1],
                    *truth.intrinsics[number],
                    target_from_reference[number],
                )
                count, share = min(own.correspondences, height * width), own.negative_share
                pixels = (height * width, height * width)
                rows.append(draw_correspondences(matches, pixels, count, negative_share=share, generator=generator))
        index1_BK, index2_BK, positive_BK = (torch.stack(part) for part in zip(*rows))
        (descriptors1, confidence1), (descriptors2, confidence2) = (
            view.described(index) for view, index in zip(outputs, (index1_BK, index2_BK))
        )
        return matching_loss(
            descriptors1,
            descriptors2,
            (confidence1 + confidence2) / 2,
            positive_BK,
            temperature=own.temperature,
            alpha=own.matching_alpha,
        )

    def _distillation(
        self, images: Tensor, encoded: EncoderOutput, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        own, zero = self.own, encoded.features.sum() * 0.0
        if self.teacher is None or not own.train_encoder:
            return zero, {}
        looked_at = math.ceil(own.teacher_share * len(images))
        with torch.no_grad():
            wanted = self.teacher.encode(images[:looked_at], position_generator=generator if own.teacher_cpe else None)
        student, teacher = random_tokens(
            encoded.features[:looked_at].float(), wanted.features.float(), share=own.token_share, generator=generator
        )
        parts = {"tokens": distillation_loss(student, teacher)}
        loss = zero + own.token_weight * parts["tokens"]
        if own.summary_weight and encoded.summary is not None:
            parts["summary"] = distillation_loss(encoded.summary[:looked_at].float(), wanted.summary.float())
            loss = loss + own.summary_weight * parts["summary"]
        return loss, parts

    def _classes(self, batch: Batch, encoded: EncoderOutput) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of the classes of the cells of all pictures' tokens."""
        classes = batch["classes"]
        maps_PHW = classes.flatten(0, 1) if batch["kind"] == "pair" else classes
        return self._classes_said(self.model.token_head(encoded.features), maps_PHW, encoded.grid)

    def _classes_said(self, said_PNX: Tensor, maps_PHW: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        cells = self.own.class_cells
        shares_PML = class_shares(maps_PHW, self.model_config.encoder.patch // cells, self.classes)
        return balanced_class_loss(cells_in_order(said_PNX, grid, cells), shares_PML)

    # --- figures ---

    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Point errors of pairs in their own order, similarity to the teacher."""
        images = to_unit(batch["image"]).flatten(0, -4)
        encoded = self.model.encode(images, self._matrices(batch))
        figures: dict[str, Tensor] = {}
        if self.teacher is not None:
            wanted = self.teacher.encode(images).features
            figures["teacher_cosine"] = F.cosine_similarity(encoded.features.float(), wanted.float(), dim=-1).mean()
        if self.own.class_weight:
            figures["classes"], figures["class_accuracy"] = self._classes(batch, encoded)
        if batch["kind"] != "pair":
            return figures
        truth = PairBatch.from_dict(batch)
        outputs = self._decode(encoded, truth)
        colors = [view.colors for view in outputs if view.colors is not None]
        if colors:
            figures["rgb_l1"] = (torch.stack(colors, 1) - images.unflatten(0, (-1, 2)).movedim(2, -1)).abs().mean()
        if self.own.alone_share:
            apart = truth.apart()
            alone = decoded_alone(self.model.spatial, encoded.features.unflatten(0, (-1, 2)), encoded.grid, apart)
            figures["error_alone"] = point_errors(alone, apart)["error"]
            states_PNE = torch.stack([view.states for view in alone], dim=1).flatten(0, 1)
            if self.own.thing_weight:
                figures |= self._things(states_PNE, truth)
            if self.own.state_class_weight:
                said, maps = self.model.state_head(states_PNE), truth.classes.flatten(0, 1)
                figures["classes_alone"], figures["class_accuracy_alone"] = self._classes_said(said, maps, encoded.grid)
        return {**figures, **point_errors(outputs, truth)}

    def pictures(self, batch: Batch, generator: torch.Generator) -> dict[str, np.ndarray]:
        """Per pair: both pictures, their predicted colours, true and predicted depth, confidence."""
        if batch["kind"] != "pair":
            return {}
        images = to_unit(batch["image"])
        truth = PairBatch.from_dict(batch)
        outputs = self._decode(self.model.encode(images.flatten(0, 1), self._matrices(batch)), truth)
        return {"pairs": pair_sheet(images, outputs, truth)}

    def _decode(self, encoded: EncoderOutput, truth: PairBatch) -> tuple[ViewOutput, ViewOutput]:
        features = encoded.features.unflatten(0, (-1, 2))
        matrix = truth.intrinsics[:, 0]
        return self.model.spatial(features[:, 0], features[:, 1], encoded.grid, matrix=matrix, with_descriptors=False)
