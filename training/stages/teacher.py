"""The semantic teacher of `tiny`: an encoder trained on the class maps of the rooms; `paper` has RADIO instead.

Every token learns which share of its pixels each class covers; the summary, which classes are in the picture at all.
The two linear heads are only needed here: the checkpoint's encoder is the teacher.

Shape letters: B batch, N tokens, D feature width, S summary width, L classes, P patch side, H W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..augment import color_jitter
from ..config import TrainConfig
from ..losses.semantics import class_shares
from ..pictures import class_sheet
from ..sources import class_count, open_source
from ..stream import Batch, Source
from .base import Stage
from .vision import Vision, to_unit, token_head

__all__ = ["TeacherStage"]


class TeacherStage(Stage):
    """See the module; settings are ``config.teacher``."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        encoder, self.classes = self.model_config.encoder, class_count(config.data)
        self.model = Vision(self.model_config, config.seed, spatial=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + 1)
            self.model.token_head = token_head(encoder.width, self.classes)
            if encoder.summary_width:
                self.model.scene_head = token_head(encoder.summary_width, self.classes)
        self.start_from()
        self.unused_parameters = True  # prefix tokens that are no part of the summary

    def source(self, split: str) -> Source:
        """Single pictures with class maps."""
        return open_source(self.config.data, self.model_config, split)

    def kinds(self) -> dict[str, float]:
        """Single pictures."""
        return {"single": 1.0}

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Soft cross-entropy of tokens, binary cross-entropy of the scene."""
        images = color_jitter(to_unit(batch["image"]), self.config.data.jitter, generator)
        return self._losses(images, batch["classes"], generator if self.config.teacher.student_cpe else None)

    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses, and how often a token's likeliest class is the one that covers most of it."""
        return self._losses(to_unit(batch["image"]), batch["classes"], None)

    def pictures(self, batch: Batch, generator: torch.Generator) -> dict[str, np.ndarray]:
        """Pictures, true classes, named classes."""
        images = to_unit(batch["image"])
        encoded = self.model.encode(images)
        named = self.model.token_head(encoded.features).argmax(-1).unflatten(1, encoded.grid)
        return {"classes": class_sheet(images, batch["classes"], named)}

    def _losses(self, images: Tensor, classes_BHW: Tensor, positions: torch.Generator | None) -> dict[str, Tensor]:
        own, encoded = self.config.teacher, self.model.encode(images, position_generator=positions)
        shares_BNL = class_shares(classes_BHW, self.model_config.encoder.patch, self.classes)
        logits_BNL = self.model.token_head(encoded.features).float()
        tokens = F.cross_entropy(logits_BNL.flatten(0, 1), shares_BNL.flatten(0, 1))
        accuracy = (logits_BNL.argmax(-1) == shares_BNL.argmax(-1)).float().mean()
        parts = {"loss": own.token_weight * tokens, "tokens": tokens, "accuracy": accuracy}
        if encoded.summary is not None:
            present_BL = (shares_BNL.amax(1) > 0).float()
            parts["scene"] = F.binary_cross_entropy_with_logits(
                self.model.scene_head(encoded.summary).float(), present_BL
            )
            parts["loss"] = parts["loss"] + own.scene_weight * parts["scene"]
        return parts
