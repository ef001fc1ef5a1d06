"""Many imaginations at once: the way of :meth:`UniUGGPipeline.imagine`, over batches of pairs.

Shape letters: B pairs, 2 views, N tokens, D feature width, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uniugg_core.cameras import Camera
from uniugg_core.models.decoder import ViewOutput
from uniugg_core.models.denoiser import Denoiser
from uniugg_core.models.showing import cameras_of
from uniugg_core.models.uniugg import Seen, UniUGG
from uniugg_core.observed import keep_observed
from uniugg_core.pointmaps import inverse_transform, transform_points, unproject
from uniugg_core.requests import sample_seed

from ..data.views import PairBatch
from ..showing import look
from ..supervision import second_view

__all__ = ["Imaginer", "Sampling", "Told"]


@dataclass(frozen=True)
class Sampling:
    """How target views are drawn; None takes the model's own default."""

    steps: int | None = None
    scheduler: str | None = None
    guidance: float | None = None


@dataclass(frozen=True)
class Told:
    """The reference pictures, and what the denoiser is told of the target views.

    Attributes:
        seen: the reference pictures.
        condition: (B, Q, E).
        preview: (B, C + 2, Lh, Lw), None without one.
    """

    seen: Seen
    condition: Tensor
    preview: Tensor | None


class Imaginer:
    """A model and how it is asked.

    Args:
        model: in evaluation mode; used as it is, on its device and in its type.
        sampling: of the denoiser.
    """

    def __init__(self, model: UniUGG, sampling: Sampling | None = None) -> None:
        own, wish = model.config.generation, sampling or Sampling()
        self.model = model
        self.sampling = Sampling(
            wish.steps,
            wish.scheduler or own.scheduler,
            own.guidance if wish.guidance is None else wish.guidance,
        )

    @torch.inference_mode()
    def encode(self, batch: PairBatch) -> tuple[Tensor, tuple[int, int]]:
        """Features (B, 2, N, D) of both views, and their grid."""
        device = self.model.device
        encoded = self.model.encode(batch.image01().flatten(0, 1).to(device), batch.intrinsics.flatten(0, 1).to(device))
        return encoded.features.unflatten(0, (-1, 2)), encoded.grid

    @torch.inference_mode()
    def rays(self, batch: PairBatch, grid: tuple[int, int]) -> Tensor:
        """Rays (B, h, w, 6) of the target views."""
        poses, matrices = batch.target_from_reference.cpu().double(), batch.intrinsics[:, 1].cpu().double()
        own = batch.intrinsics[:, 0].cpu().double()
        return self.model.raymap(poses, matrices, grid, own).float().to(self.model.device)

    @torch.inference_mode()
    def told(self, features_B2ND: Tensor, batch: PairBatch, grid: tuple[int, int]) -> Told:
        """What the denoiser is told about the target views; from the features of both pictures it takes the first."""
        model = self.model
        image01 = batch.image01()[:, 0].to(model.device)
        seen = model.see(features_B2ND[:, 0], grid, batch.intrinsics[:, 0].to(model.device), image01)
        pose, matrix = batch.target_from_reference.to(model.device), batch.intrinsics[:, 1].to(model.device)
        return Told(seen, model.condition(seen, self.rays(batch, grid)), model.preview(seen, pose, matrix))

    @torch.inference_mode()
    def imagine(
        self, told: Told, seeds: Sequence[int], sample: int, grid: tuple[int, int], *, samples: int = 1
    ) -> Tensor:
        """Features (B, N, D) of the target views; the pipeline's for the same seed and sample number of so many."""
        model, denoiser = self.model, self.model.denoiser
        if not isinstance(denoiser, Denoiser):
            return model.vae.destandardise(denoiser(told.condition)).to(model.dtype)
        up = model.vae.config.up if model.config.vae.enabled else 1
        latent = denoiser.sample(
            told.condition,
            model.language.null(told.condition),
            [torch.Generator().manual_seed(sample_seed(seed, sample)) for seed in seeds],
            steps=self.sampling.steps or model.config.generation.steps_for(samples),
            scheduler=self.sampling.scheduler,
            guidance=self.sampling.guidance,
            grid=(grid[0] * up, grid[1] * up),
            preview=told.preview,
        )
        return model.vae.decode(model.vae.unscaled(latent)).to(model.dtype)

    @torch.inference_mode()
    def reconstructed(self, target_BND: Tensor, grid: tuple[int, int]) -> Tensor:
        """The true target features through the Spatial-VAE (posterior mean), what the denoiser could reach at best."""
        vae = self.model.vae
        return vae.decode(vae.encode(target_BND, grid).mean).to(self.model.dtype)

    @torch.inference_mode()
    def cameras(self, features_B2ND: Tensor, grid: tuple[int, int], batch: PairBatch) -> Tensor | None:
        """Where the second pictures were taken, first_from_second (B, 4, 4), as questions about both are told it.

        None for models that do not tell it.
        """
        if not self.model.config.language.placed:
            return None
        seen, pictures = look(self.model, features_B2ND, grid, batch, [(row, (0, 1)) for row in range(len(batch))])
        return cameras_of(self.model, seen, pictures)[[later for _, later in pictures]]

    @torch.inference_mode()
    def here(self, told: Told, batch: PairBatch) -> ViewOutput:
        """The reference views, each alone, in their cameras' frames."""
        return self.model.alone(told.seen, batch.intrinsics[:, 0])

    @torch.inference_mode()
    def there(self, reference_BND: Tensor, target_BND: Tensor, grid: tuple[int, int], batch: PairBatch) -> ViewOutput:
        """The target views as the networks imagine them, in the reference cameras' frames."""
        return second_view(self.model.spatial, reference_BND, target_BND, grid, batch.to(reference_BND.device))

    @torch.inference_mode()
    def surfaces(self, told: Told, batch: PairBatch) -> Tensor:
        """(B, H, W) metres from the target cameras to the rooms' surfaces, infinite where there is none."""
        pose, matrix = (part.to(self.model.device) for part in (batch.target_from_reference, batch.intrinsics[:, 1]))
        return self.model.surfaces(told.seen, pose, matrix, tuple(batch.depth.shape[-2:]))[0]

    @torch.inference_mode()
    def gone_on(self, told: Told, batch: PairBatch) -> ViewOutput:
        """The rooms' surfaces themselves as views from the target cameras, infinite where there is none."""
        distance = self.surfaces(told, batch)
        rays = unproject(torch.ones_like(distance), batch.intrinsics[:, 1].to(distance))
        points = rays / rays.norm(dim=-1, keepdim=True) * distance[..., None]
        back = inverse_transform(batch.target_from_reference.to(distance))
        return ViewOutput(transform_points(back, points), torch.ones_like(distance), None)

    @torch.inference_mode()
    def shown(self, there: ViewOutput, here: ViewOutput, batch: PairBatch, told: Told) -> ViewOutput:
        """The target views as the pipeline shows them: with what the reference has seen, where the model keeps that."""
        own = self.model.config.generation
        if not own.keep_observed:
            return there
        surfaces = self.surfaces(told, batch).cpu().numpy() if own.keep_surfaces else [None] * len(batch)
        rows = []
        for row in range(len(batch)):
            height, width = there.points.shape[1:3]
            rows.append(
                keep_observed(
                    _row(there, row),
                    _row(here, row),
                    batch.image[row, 0].permute(1, 2, 0).cpu().numpy(),
                    batch.target_from_reference[row].cpu().numpy(),
                    Camera(width, height, batch.intrinsics[row, 1].double().cpu().numpy()),
                    surfaces[row],
                )
            )
        colors = None if there.colors is None else torch.cat([row.colors for row in rows])
        return ViewOutput(torch.cat([row.points for row in rows]), torch.cat([row.confidence for row in rows]), colors)


def _row(view: ViewOutput, row: int) -> ViewOutput:
    colors = None if view.colors is None else view.colors[row : row + 1]
    return ViewOutput(view.points[row : row + 1], view.confidence[row : row + 1], colors)
