"""UniUGG as a whole: encoder, spatial decoder, Spatial-VAE, language model and denoiser in one module.

Parameter names begin with ``encoder.``, ``spatial.``, ``vae.``, ``language.`` or ``denoiser.``; that is the layout of a
checkpoint. Everything but the tokenizer's numbers comes from the configuration.

Shape letters: B batch, N tokens, D feature width, H W pixels, Q queries, E condition width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..cameras.rays import plucker_raymap
from ..config import ModelConfig
from ..layout import Layout, room_layout, surfaces_ahead
from ..pointmaps import canonical_map, patch_points, splat, transform_points
from ..prompts import Prompt
from ..tokenizer import SpatialTokenizer
from .decoder import SpatialDecoder, ViewOutput
from .denoiser import Denoiser, build_denoiser, hint_of
from .encoder import EncoderOutput, build_encoder
from .initial import fill
from .language import Language, Prefix
from .showing import Shown, show
from .vae import SpatialVAE

__all__ = ["PARTS", "Generated", "Seen", "Shown", "UniUGG"]

PARTS = ("encoder", "spatial", "vae", "language", "denoiser")
"""Prefixes of the parameter names, in the order data flows."""

CHEAP_ABOVE = 1_000_000_000  # parameters; ordinary initialisation of more takes minutes and double the memory


@dataclass(frozen=True)
class Seen:
    """What the model makes of pictures before anything is asked about them.

    Attributes:
        features: (B, N, D).
        grid: (h, w) of the N tokens.
        view: what the spatial decoder sees in each picture alone, in its own camera's frame; None where no part of the
            model reads it.
        placed: (B, H, W, 3) its points in the frame of the first picture of a question; None: it is the first.
        matrix: (B, 3, 3) calibrations; there where `view` is.
        layout: the room's surfaces, for models that ask how it goes on; None of imagined pictures.
    """

    features: Tensor
    grid: tuple[int, int]
    view: ViewOutput | None = None
    placed: Tensor | None = None
    matrix: Tensor | None = None
    layout: Layout | None = None

    @classmethod
    def joined(cls, several: Sequence[Seen]) -> Seen:
        """The pictures of several, of one size, as those of one."""
        views = [seen.view for seen in several if seen.view is not None]
        if not views:
            return cls(torch.cat([seen.features for seen in several]), several[0].grid)
        view = ViewOutput(
            torch.cat([view.points for view in views]),
            torch.cat([view.confidence for view in views]),
            None,
            states=torch.cat([view.states for view in views]),
        )
        placed = None
        if any(seen.placed is not None for seen in several):
            placed = torch.cat(
                [view.points if seen.placed is None else seen.placed for seen, view in zip(several, views)]
            )
        matrix = torch.cat([seen.matrix for seen in several])
        return cls(torch.cat([seen.features for seen in several]), several[0].grid, view, placed, matrix)


@dataclass(frozen=True)
class Generated:
    """What :meth:`UniUGG.generate` gives.

    Attributes:
        loss: (), to be minimised.
        estimate: (B, ...) of the target, a clean latent or standardised features.
        blind: (B,) bool, rows whose estimate says nothing of the target: the condition was dropped, or nearly
            everything was noise and the noise is what the model predicts.
        to_features: from rows of `estimate` to features (rows, N, D).
    """

    loss: Tensor
    estimate: Tensor
    blind: Tensor
    to_features: Callable[[Tensor], Tensor]


class UniUGG(nn.Module):
    """All networks of the paper.

    Args:
        config: sizes of every part.
        tokenizer: its control tokens are what prompts are made of; can be bound later with :meth:`bind`.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH if the tokenizer has more entries than the language model.
    """

    def __init__(self, config: ModelConfig, tokenizer: SpatialTokenizer | None = None) -> None:
        super().__init__()
        width = config.encoder.width
        diffuses = config.denoiser.kind == "unet"
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.spatial = SpatialDecoder(config.decoder, width, config.encoder.patch)
        self.vae = SpatialVAE(config.vae, width)
        self.language = Language(config.language, width, config.decoder.width, project=diffuses)
        self.denoiser = build_denoiser(
            config.denoiser, config.latent_shape, self.language.condition_width, config.language.width, width
        )
        if tokenizer is not None:
            self.bind(tokenizer)

    @classmethod
    def initialised(
        cls,
        config: ModelConfig,
        seed: int = 0,
        tokenizer: SpatialTokenizer | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> UniUGG:
        """Fresh weights, the same for the same `seed`; the global random state is left as it was.

        Above a thousand million parameters the weights are made up cheaply (:func:`~uniugg_core.models.initial.fill`),
        directly in `dtype`: such a model runs, but is no good start for training.
        """
        if sum(parameter.numel() for parameter in cls.on_meta(config).parameters()) > CHEAP_ABOVE:
            model = cls.on_meta(config)
            fill(model, seed, dtype)
            model.vae.set_statistics(std=torch.ones(config.encoder.width), latent_scale=1.0)
            model.language.revive()
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = cls(config).to(dtype)
        if tokenizer is not None:
            model.bind(tokenizer)
        return model.eval()

    @classmethod
    def on_meta(cls, config: ModelConfig) -> UniUGG:
        """The module without memory for its weights; assign them, then call ``language.revive()``."""
        with torch.device("meta"):
            return cls(config)

    @staticmethod
    def parameter_counts(config: ModelConfig) -> dict[str, int]:
        """Numbers of parameters by part, counted without allocating any; the parts add up to ``total``.

        ``language_model`` is the Qwen2 transformer alone (tied embeddings counted once), ``connectors`` what links it
        to pictures, rays and the denoiser.
        """
        model = UniUGG.on_meta(config)
        counts = {
            "encoder": _count(model.encoder),
            "spatial_decoder": _count(model.spatial),
            "spatial_vae": _count(model.vae),
            "language_model": _count(model.language.qwen),
            "connectors": _count(model.language) - _count(model.language.qwen),
            "denoiser": _count(model.denoiser),
        }
        return {**counts, "total": sum(counts.values())}

    def bind(self, tokenizer: SpatialTokenizer) -> None:
        """Makes the tokenizer's control tokens those of the prompts."""
        self.language.bind(tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.language.dtype

    def encode(self, image01: Tensor, matrix: Tensor | None = None) -> EncoderOutput:
        """Features of RGB pictures (B, 3, H, W) in [0, 1].

        Args:
            image01: the pictures.
            matrix: (B, 3, 3) their calibrations, zeros where one is unknown; for encoders that read them.
        """
        return self.encoder(self.encoder.normalise(image01).to(self.dtype), matrix=matrix)

    def see(self, features: Tensor, grid: tuple[int, int], matrix: Tensor, image01: Tensor | None = None) -> Seen:
        """Pictures by their features (B, N, D), real or imagined, and calibrations (B, 3, 3).

        Args:
            features: from :meth:`encode`, or imagined.
            grid: (h, w) of the N tokens.
            matrix: the calibrations.
            image01: (B, 3, H, W) in [0, 1], of real ones: their edges say how the room is turned.
        """
        goes_on = self.config.denoiser.hint or self.config.generation.keep_surfaces
        if not (self.config.language.points or self._previews or goes_on):
            return Seen(features, grid)
        seen = Seen(features.to(self.dtype), grid)
        view, matrix = self.alone(seen, matrix), matrix.float().to(seen.features.device)
        layout = room_layout(view.points, image01, matrix) if goes_on and image01 is not None else None
        return replace(seen, view=view, matrix=matrix, layout=layout)

    def alone(self, seen: Seen, matrix: Tensor) -> ViewOutput:
        """What each picture shows by itself, in its own camera's frame; `matrix` (B, 3, 3) are the calibrations."""
        if seen.view is not None:
            return seen.view
        return self.spatial.first(seen.features, seen.features, seen.grid, matrix.to(seen.features.device))

    def beside(self, first: Seen, seen: Seen, matrix: Tensor, poses: Sequence[np.ndarray | None] | None = None) -> Seen:
        """`seen` as a later picture of questions whose first pictures are `first`.

        Args:
            first: the first pictures.
            seen: the later ones, as many.
            matrix: (B, 3, 3) calibrations of the first ones.
            poses: first_from_later (4, 4) of those that are known, which say where a picture's own points are; where
                there is none, the spatial decoder says it.
        """
        if not self.config.language.placed:
            return seen
        poses = [None] * len(seen.features) if poses is None else poses
        known = [row for row, pose in enumerate(poses) if pose is not None]
        if len(known) < len(poses):
            matrix = matrix.to(seen.features.device)
            _, other = self.spatial(first.features, seen.features, seen.grid, matrix=matrix, with_descriptors=False)
            placed = other.points
        else:
            placed = seen.view.points.clone()
        if known:
            moves = torch.tensor(np.stack([poses[row] for row in known]), dtype=placed.dtype, device=placed.device)
            placed[known] = transform_points(moves, seen.view.points[known])
        return replace(seen, placed=placed)

    def tokens(self, seen: Seen) -> Tensor:
        """Picture tokens (B, N, W) for the language model."""
        placed = None if seen.placed is None else patch_points(seen.placed, self._patch)
        return self.language.embed_features(seen.features, self._patches(seen), placed)

    def show(
        self,
        seen: Seen,
        pictures: Sequence[Sequence[int]],
        prompts: Sequence[Sequence[Prompt]],
        poses: Sequence[Sequence[Tensor | None]] | None = None,
    ) -> Shown:
        """What the places and words of prompts are shown.

        Args:
            seen: the pictures of all talks.
            pictures: for each talk which of the B are its own.
            prompts: of each talk.
            poses: for each prompt target_from_reference (4, 4), if it is about a commanded pose, or None.
        """
        return show(self, seen, pictures, prompts, poses)

    def condition(self, seen: Seen, raymap: Tensor) -> Tensor:
        """The language model's condition (B, Q, E) of the views that rays (B, h, w, 6) ask for."""
        return self.language.condition(seen.features, raymap, self._patches(seen))

    def prefix(self, seen: Seen) -> Prefix:
        """What all conditions of one picture begin with, for ``language.condition_after``."""
        return self.language.prefix(seen.features, self._patches(seen))

    def preview(self, seen: Seen, target_from_reference: Tensor, matrix: Tensor) -> Tensor | None:
        """Where the target camera would see the pictures' latents: (B, C + 2, Lh, Lw), or None if nothing reads it.

        With ``denoiser.hint`` five more channels say how the room goes on, see :func:`hint_of`.

        Args:
            seen: the reference pictures.
            target_from_reference: (B, 4, 4).
            matrix: (B, 3, 3) of the target cameras.
        """
        if not self._previews:
            return None
        latent = self.vae.scaled(self.vae.encode(seen.features, seen.grid).mean.float())
        pose, points = target_from_reference.float(), seen.view.points
        preview = splat(transform_points(pose, points), latent, matrix.float())
        if not self.config.denoiser.hint:
            return preview
        ahead = self.surfaces(seen, pose, matrix, preview.shape[2:])
        return torch.cat([preview, hint_of(*ahead, preview)], dim=1)

    def surfaces(
        self, seen: Seen, target_from_reference: Tensor, matrix: Tensor, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """How far the room's surfaces are from the target camera, were they to go on as the pictures show them.

        Args:
            seen: the reference pictures; without a layout their points alone say how the room is turned.
            target_from_reference: (B, 4, 4).
            matrix: (B, 3, 3) of the target cameras.
            grid: (h, w) of what is looked at.

        Returns:
            distance (B, h, w) in metres, and the number (B, h, w) of the surface, see :func:`surfaces_ahead`.
        """
        layout = room_layout(seen.view.points) if seen.layout is None else seen.layout
        return surfaces_ahead(layout, target_from_reference.float(), matrix, seen.view.points.shape[1:3], grid)

    @property
    def _previews(self) -> bool:
        return self.config.denoiser.kind == "unet" and self.config.denoiser.preview

    @property
    def _patch(self) -> int:
        return self.config.encoder.patch

    def _patches(self, seen: Seen) -> Tensor | None:
        return patch_points(seen.view.points, self._patch) if self.config.language.points else None

    def raymap(
        self,
        target_from_reference: Tensor,
        matrix: Tensor,
        grid: tuple[int, int],
        reference_matrix: Tensor | None = None,
    ) -> Tensor:
        """Plücker rays (B, h, w, 6) of target views, see :func:`plucker_raymap`.

        Args:
            target_from_reference: (B, 4, 4).
            matrix: (B, 3, 3) of the target views.
            grid: (h, w).
            reference_matrix: (B, 3, 3) of the reference views; None: the same cameras.
        """
        patch, scale, fov = self.config.encoder.patch, self.config.language.translation_scale, self.canonical_fov
        linear_map = None
        if fov:
            size = (grid[0] * patch, grid[1] * patch)
            linear_map = canonical_map(matrix if reference_matrix is None else reference_matrix, size, fov)
        return plucker_raymap(target_from_reference, matrix, *grid, patch, scale, linear_map)

    @property
    def canonical_fov(self) -> float:
        """Degrees of the canonical camera that points and rays refer to; 0: there is none."""
        return self.config.decoder.canonical_fov

    def generate(
        self,
        seen: Seen,
        target: Tensor,
        raymap: Tensor,
        generator: torch.Generator,
        *,
        preview: Tensor | None = None,
        drop_condition: float = 0.1,
        pure_noise: float = 0.0,
    ) -> Generated:
        """A training step of generation: L_gen of UniUGG on the target's latent, or the regressor's error.

        Args:
            seen: the reference pictures, from the frozen encoder and decoder.
            target: features (B, N, D) of the frozen encoder.
            raymap: (B, h, w, 6) of the target view.
            generator: draws latents, steps, noise and dropped conditions.
            preview: from :meth:`preview`.
            drop_condition: share of the conditions replaced by the null condition, so that guidance can be used.
            pure_noise: share of the targets that are nothing but noise, as where sampling starts.
        """
        condition = self.condition(seen, raymap)
        if not isinstance(self.denoiser, Denoiser):
            predicted = self.denoiser(condition)
            loss = torch.nn.functional.mse_loss(predicted.float(), self.vae.standardise(target))
            return Generated(loss, predicted, torch.zeros(len(condition), dtype=torch.bool), self.vae.destandardise)
        with torch.no_grad():
            latent = self.vae.scaled(self.vae.encode(target, seen.grid).sample(generator).float())
        dropped_B = torch.rand(len(condition), generator=generator, device=generator.device) < drop_condition
        dropped_B = dropped_B.to(condition.device)
        condition = torch.where(dropped_B[:, None, None], self.language.null(condition), condition)
        denoised = self.denoiser.denoise(latent, condition, generator, preview, pure_noise=pure_noise)
        blind_B = dropped_B | (denoised.signal < self.denoiser.least_signal)
        return Generated(
            denoised.loss, denoised.clean, blind_B, lambda clean: self.vae.decode(self.vae.unscaled(clean))
        )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
