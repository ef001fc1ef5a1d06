"""Stage 2: Spatial-VAE on frozen features, and the spatial decoder tuned to its reconstructions (UniUGG section 3.2).

``L_vae = L_s + L_mse + gamma L_KL``: L_mse is the mean over standardised features, L_KL the mean over latent numbers,
summed over the two views, L_s is stage 1's spatial loss through the decoder. Features are standardised with statistics
that are taken before the first step; the latent's scale is measured after the last.

Shape letters: B batch, N tokens, D feature width.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.models.decoder import ViewOutput

from ..config import TrainConfig
from ..data.views import PairBatch
from ..pictures import pair_sheet
from ..sources import open_source
from ..stream import Batch, Source
from ..supervision import SpatialWeights, alone_loss, point_errors, second_view, spatial_loss, swapped_where
from .base import Fetch, Stage, freeze
from .vision import Vision, freeze_unread, load_lpips, to_unit

__all__ = ["VAEStage"]

_CHUNK = 16  # pairs encoded at a time while measuring statistics


class VAEStage(Stage):
    """See the module; settings are ``config.vae``."""

    best_metric = "error_second"

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.own = own = config.vae
        if not config.model.start:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "stage 2 needs model.start, a checkpoint or run of stage 1")
        self.model = Vision(self.model_config, config.seed, vae=True)
        self.start_from("encoder.", "spatial.")
        freeze(self.model.encoder)
        if not own.finetune_decoder:
            freeze(self.model.spatial)
        else:
            freeze_unread(self.model.spatial, colors=own.rgb_weight > 0, descriptors=False)
        self._spatial = own.spatial_weight > 0 and (own.finetune_decoder or own.spatial_to_vae)
        self.lpips = load_lpips(own.rgb_lpips if own.rgb_weight and self._spatial else 0.0, self.notes)
        self.unused_parameters = not self._spatial

    def source(self, split: str) -> Source:
        """Pairs."""
        return open_source(self.config.data, self.model_config, split)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """L_vae of a batch of pairs, each in a random order."""
        own, vae, truth = self.own, self.model.vae, PairBatch.from_dict(batch)
        truth = swapped_where((torch.rand(len(truth), generator=generator) < 0.5).to(truth.image.device), truth)
        images_B23HW = to_unit(truth.image)
        features_B2ND, grid = self._features(images_B23HW, truth.intrinsics)
        flat = features_B2ND.flatten(0, 1)
        posterior = vae.encode(flat, grid)
        rebuilt = vae.decode(posterior.sample(generator))
        parts = {"features": F.mse_loss(vae.standardise(rebuilt), vae.standardise(flat))}
        loss = own.feature_weight * parts["features"]
        if self.model_config.vae.enabled:
            parts["kl"] = 2 * posterior.kl()  # the sum over both views
            loss = loss + own.kl_weight * parts["kl"]
        if self._spatial:
            rebuilt_B2ND = (rebuilt if own.spatial_to_vae else rebuilt.detach()).unflatten(0, (-1, 2))
            real_B = (torch.rand(len(truth), generator=generator) < own.real_reference).to(rebuilt.device)
            shown = list(rebuilt_B2ND.unbind(1))
            real = 1 if self.model_config.decoder.own_frames else 0  # what is imagined is decoded as the other one
            shown[real] = torch.where(real_B[:, None, None], features_B2ND[:, real].float(), shown[real])
            count = int(own.alone_share * len(truth))  # less than all
            together = truth.rows(slice(count, None))
            outputs = self._decode(*(features[count:] for features in shown), grid, together)
            weights = SpatialWeights.of(own)
            spatial, more = spatial_loss(outputs, together, images_B23HW[count:], weights, self.lpips)
            parts |= more
            if count:
                some, colors = truth.rows(slice(count)), images_B23HW[:count]
                features = features_B2ND[:count].float()
                alone, more, _ = alone_loss(self.model.spatial, features, grid, some, colors, weights, self.lpips)
                spatial, parts = torch.lerp(spatial, alone, count / len(truth)), parts | more
            loss = loss + own.spatial_weight * spatial
        return {"loss": loss, **parts}

    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Errors with a real reference and a reconstructed second view, beside those of two real views (``real_*``)."""
        truth, vae = PairBatch.from_dict(batch), self.model.vae
        features_B2ND, grid = self._features(to_unit(truth.image), truth.intrinsics)
        second = features_B2ND[:, 1]
        posterior = vae.encode(second, grid)
        rebuilt = vae.decode(posterior.mean)
        figures = point_errors(self._shown(features_B2ND[:, 0], rebuilt, grid, truth), truth)
        oracle = point_errors(self._shown(features_B2ND[:, 0], second, grid, truth), truth)
        return {
            **figures,
            **{f"real_{name}": value for name, value in oracle.items()},
            "features": F.mse_loss(vae.standardise(rebuilt), vae.standardise(second)),
            "cosine": F.cosine_similarity(vae.standardise(rebuilt), vae.standardise(second), dim=-1).mean(),
            "kl": posterior.kl(),
        }

    def pictures(self, batch: Batch, generator: torch.Generator) -> dict[str, np.ndarray]:
        """As stage 1, with the second view reconstructed."""
        truth = PairBatch.from_dict(batch)
        images = to_unit(truth.image)
        features, grid = self._features(images, truth.intrinsics)
        rebuilt = self.model.vae.decode(self.model.vae.encode(features[:, 1], grid).mean)
        return {"pairs": pair_sheet(images, self._shown(features[:, 0], rebuilt, grid, truth), truth)}

    def _shown(
        self, reference: Tensor, second: Tensor, grid: tuple[int, int], truth: PairBatch
    ) -> tuple[ViewOutput, ViewOutput]:
        """Both views as an imagination shows them: the second one's pose is known."""
        here = self.model.spatial.first(reference, reference, grid, truth.intrinsics[:, 0])
        return here, second_view(self.model.spatial, reference, second, grid, truth)

    def _decode(
        self, reference: Tensor, second: Tensor, grid: tuple[int, int], truth: PairBatch
    ) -> tuple[ViewOutput, ViewOutput]:
        matrix = truth.intrinsics[:, 0]
        return self.model.spatial(reference, second, grid, matrix=matrix, with_descriptors=False)

    # --- statistics ---

    def begin(self, fetch: Fetch) -> None:
        """Mean and standard deviation of every channel, over ``statistics_samples`` training pairs."""
        if not self.own.statistics_samples:
            return
        total = square = None
        count = 0
        for features in self._over(fetch, self.own.statistics_samples):
            flat = features.flatten(0, -2).double()
            first, second = flat.sum(0), flat.square().sum(0)
            total, square = (first, second) if total is None else (total + first, square + second)
            count += len(flat)
        mean = total / count
        std = (square / count - mean.square()).clamp(min=0).sqrt()
        self.model.vae.set_statistics(mean=mean.float(), std=std.float())

    def settle(self, fetch: Fetch) -> None:
        """One over the standard deviation of the posterior means, over ``scale_samples`` training pairs."""
        if not self.own.scale_samples:
            return
        total = square = 0.0
        count = 0
        with torch.no_grad():
            for features in self._over(fetch, self.own.scale_samples):
                side = self.model_config.grid
                latent = self.model.vae.encode(features.flatten(0, 1), (side, side)).mean.double()
                total, square, count = total + latent.sum(), square + latent.square().sum(), count + latent.numel()
        deviation = (square / count - (total / count) ** 2).clamp(min=1e-12).sqrt()
        self.model.vae.set_statistics(latent_scale=float(1 / deviation))

    def _over(self, fetch: Fetch, samples: int) -> list[Tensor]:
        batches = (fetch("pair", first, min(_CHUNK, samples - first)) for first in range(0, samples, _CHUNK))
        return [self._features(to_unit(batch["image"]), batch["intrinsics"])[0] for batch in batches]

    @torch.no_grad()
    def _features(self, images_B23HW: Tensor, matrices_B233: Tensor) -> tuple[Tensor, tuple[int, int]]:
        encoded = self.model.encode(images_B23HW.flatten(0, 1), matrices_B233.flatten(0, 1))
        return encoded.features.unflatten(0, (-1, 2)), encoded.grid
