"""Denoiser: noise to the latent of the target view, under the language model's condition (UniUGG section 3.3).

The network is diffusers' ``UNet2DConditionModel`` in SD-1.5's shape at any width; the samplers are diffusers' too. The
condition acts by cross-attention. There is one query per target patch, so a small model may also get it laid out beside
the latent (``condition_channels``), which spares it learning which query belongs where, and a ``preview`` of the
target: the reference's latent, moved to where its points would be seen (:func:`~uniugg_core.pointmaps.splat`), and
beside it a ``hint`` of how the room goes on where the reference saw nothing (:func:`hint_of`). The ``regress`` kind is
the paper's ablation without diffusion: an MLP from the condition straight to standardised features.

Shape letters: B batch, Q queries (one per target patch), E condition width, C latent channels, Lh Lw latent grid, D
feature width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._compat import ensure_torchvision
from ..config import DenoiserConfig
from ..errors import ErrorCode, UniuggError

__all__ = ["HINTS", "SCHEDULERS", "Denoised", "Denoiser", "Regressor", "build_denoiser", "hint_of", "make_scheduler"]

HINTS = 5
"""Channels of :func:`hint_of`."""
_FARTHEST = 3.0  # natural logarithm of how much farther than the preview's surface one of the room may be said to be
_REACH = 30.0  # metres; what is farther is there

SCHEDULERS = ("ddim", "dpm++", "ddpm")
_ORDERS = {"ddim": 1, "dpm++": 2}


def hint_of(distance: Tensor, number: Tensor, preview: Tensor) -> Tensor:
    """How a room goes on, as the denoiser is told: (B, 5, h, w).

    The logarithm of the distance, and of its ratio to the preview's; whether the surface is the floor, the ceiling or a
    wall. Where there is none: the preview's distance, and none of the three.

    Args:
        distance: (B, h, w) in metres, infinite where there is none, from :func:`~uniugg_core.layout.surfaces_ahead`.
        number: (B, h, w) of the surface.
        preview: (B, C + 2, h, w), from :func:`~uniugg_core.pointmaps.splat`.
    """
    there, known = distance.isfinite(), preview[:, -2]
    logarithm = torch.where(there, distance.clamp(max=_REACH).clamp(min=1e-2).log(), known)
    kinds = [there & (number == 0), there & (number == 1), there & (number > 1)]
    ratio = (logarithm - known).clamp(-_FARTHEST, _FARTHEST)
    return torch.stack([logarithm, ratio, *(kind.to(known) for kind in kinds)], 1)


def make_scheduler(config: DenoiserConfig, name: str) -> Any:
    """A fresh diffusers scheduler over the training schedule.

    "ddim" is deterministic (eta 0), "dpm++" the second-order multistep solver for few steps, "ddpm" the ancestral
    sampler; "ddpm" also adds the noise in training. DDIM is the first-order DPM-Solver++ (Lu et al. 2022) and runs as
    such: diffusers' own DDIM class stops short of the clean latent where the steps do not divide the schedule. Steps
    are spaced from the last training step down ("trailing"), and the last one lands on the clean latent, so that a
    few steps suffice.

    Raises:
        UniuggError: REQUEST_INVALID for an unknown name.
    """
    ensure_torchvision()
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

    schedule = {
        "num_train_timesteps": config.train_steps,
        "beta_start": config.beta_start,
        "beta_end": config.beta_end,
        "beta_schedule": config.beta_schedule,
        "prediction_type": config.prediction,
        "timestep_spacing": "trailing",
    }
    if name in _ORDERS:
        return DPMSolverMultistepScheduler(**schedule, algorithm_type="dpmsolver++", solver_order=_ORDERS[name])
    if name == "ddpm":
        return DDPMScheduler(**schedule, clip_sample=False)
    raise UniuggError(ErrorCode.REQUEST_INVALID, f"scheduler is {name!r}, expected one of {list(SCHEDULERS)}")


@dataclass(frozen=True)
class Denoised:
    """What one training step of the denoiser gives.

    Attributes:
        loss: () mean squared error of what the U-Net predicts.
        clean: (B, C, Lh, Lw) scaled latent that follows from the prediction.
        signal: (B,) share of the latent's variance that the noised input had left, 0 to 1.
    """

    loss: Tensor
    clean: Tensor
    signal: Tensor


class Denoiser(nn.Module):
    """SD-1.5-shaped U-Net that predicts the noise in a scaled latent, or the latent itself.

    Args:
        config: sizes and noise schedule.
        latent_shape: (C, Lh, Lw) of the square crop; other grids work as well.
        condition_width: E.
    """

    def __init__(self, config: DenoiserConfig, latent_shape: tuple[int, int, int], condition_width: int) -> None:
        super().__init__()
        ensure_torchvision()
        from diffusers import UNet2DConditionModel

        self.config = config
        self.latent_shape = latent_shape
        crossed = config.cross_attention
        self.unet = UNet2DConditionModel(
            sample_size=latent_shape[1],
            in_channels=latent_shape[0] + config.condition_channels + (latent_shape[0] + 2) * config.preview,
            out_channels=latent_shape[0],
            down_block_types=tuple("CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in crossed),
            up_block_types=tuple("CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in reversed(crossed)),
            block_out_channels=config.widths,
            layers_per_block=config.layers,
            cross_attention_dim=condition_width,
            attention_head_dim=config.heads,  # diffusers' name; it counts heads
            norm_num_groups=config.groups,
        )
        self.layout = nn.Linear(condition_width, config.condition_channels) if config.condition_channels else None
        self.hint = None
        if config.hint:
            self.hint = nn.Conv2d(HINTS, config.condition_channels, 1, bias=False)
            nn.init.zeros_(self.hint.weight)  # a model that did without goes on as it was
        self._training_schedule: Any = None

    def forward(
        self, noised: Tensor, timestep: Tensor | int, condition: Tensor, preview: Tensor | None = None
    ) -> Tensor:
        """The U-Net's prediction (B, C, Lh, Lw) for a noised scaled latent.

        Args:
            noised: (B, C, Lh, Lw).
            timestep: training steps (B,) or one for all, 0 to ``train_steps - 1``.
            condition: (B, Q, E).
            preview: (B, C + 2, Lh, Lw), for denoisers that start from one; (B, C + 2 + 5, Lh, Lw) for those that are
                told how the room goes on.

        Raises:
            UniuggError: REQUEST_INVALID if it starts from a preview and there is none.
        """
        noised, condition = noised.to(self.unet.dtype), condition.to(self.unet.dtype)
        if self.config.preview:
            if preview is None:
                raise UniuggError(ErrorCode.REQUEST_INVALID, "this denoiser starts from a preview of the target view")
            preview = preview.to(noised)
            shown = self.latent_shape[0] + 2
            noised = torch.cat([noised, preview[:, :shown]], dim=1)
        if self.layout is not None:
            beside = self._laid_out(condition, noised)
            if self.hint is not None:
                beside = beside + self.hint(preview[:, shown:])
            noised = torch.cat([noised, beside], dim=1)
        return self.unet(noised, timestep, encoder_hidden_states=condition).sample

    @property
    def least_signal(self) -> float:
        """Share of signal below which :attr:`Denoised.clean` is mostly amplified error."""
        return 0.5 if self.config.prediction == "epsilon" else 0.0

    def _laid_out(self, condition: Tensor, latent: Tensor) -> Tensor:
        """The condition (B, Q, E), one query a token in raster order, as a map of the latent's size."""
        rows, columns = latent.shape[2:]
        up = math.isqrt(rows * columns // condition.shape[1])
        shown = self.layout(condition).transpose(1, 2).unflatten(2, (rows // up, columns // up))
        return torch.nn.functional.interpolate(shown, (rows, columns), mode="nearest")

    def add_noise(self, latent: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """The scaled latent (B, C, Lh, Lw) after `timestep` (B,) steps of noising."""
        if self._training_schedule is None:
            self._training_schedule = make_scheduler(self.config, "ddpm")
        return self._training_schedule.add_noise(latent, noise, timestep)

    def denoise(
        self,
        latent: Tensor,
        condition: Tensor,
        generator: torch.Generator,
        preview: Tensor | None = None,
        *,
        pure_noise: float = 0.0,
    ) -> Denoised:
        """Noises clean latents to uniform random steps and takes the noise out again (UniUGG's L_gen).

        Args:
            latent: (B, C, Lh, Lw), scaled, clean.
            condition: (B, Q, E).
            generator: draws steps and noise on its own device.
            preview: as for :meth:`forward`.
            pure_noise: share of them that are nothing but noise, as where sampling starts.
        """
        batch = latent.shape[0]
        steps = torch.randint(self.config.train_steps, (batch,), generator=generator, device=generator.device)
        noise = torch.randn(latent.shape, generator=generator, device=generator.device).to(latent)
        pure_B = torch.zeros(batch, dtype=torch.bool, device=generator.device)
        if pure_noise:
            pure_B = torch.rand(batch, generator=generator, device=generator.device) < pure_noise
            steps = torch.where(pure_B, self.config.train_steps - 1, steps)
        steps = steps.to(latent.device)
        # the last step leaves a trace of the latent, and sampling starts without one
        noised = torch.where(pure_B.to(latent.device)[:, None, None, None], noise, self.add_noise(latent, noise, steps))
        predicted = self(noised, steps, condition, preview).float()
        signal_B = self._training_schedule.alphas_cumprod.to(latent.device)[steps]
        if self.config.prediction == "sample":
            return Denoised(torch.nn.functional.mse_loss(predicted, latent.float()), predicted, signal_B)
        share = signal_B[:, None, None, None]
        clean = (noised - (1 - share).sqrt() * predicted) / share.sqrt()
        return Denoised(torch.nn.functional.mse_loss(predicted, noise.float()), clean, signal_B)

    def sample(
        self,
        condition: Tensor,
        null_condition: Tensor,
        generators: Sequence[torch.Generator],
        *,
        steps: int,
        scheduler: str,
        guidance: float = 1.0,
        grid: tuple[int, int] | None = None,
        preview: Tensor | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Scaled latents (B, C, Lh, Lw) in float32 from noise.

        Args:
            condition: (B, Q, E).
            null_condition: (B, Q, E), what guidance steers away from; unused at guidance 1.
            generators: one for each of the batch; noise is drawn on their device, so CPU generators give every device
                the same start.
            steps: denoising steps.
            scheduler: one of :data:`SCHEDULERS`.
            guidance: classifier-free guidance scale; 1 is off and costs one network pass a step instead of two.
            grid: (Lh, Lw); None: of the square crop.
            preview: as for :meth:`forward`; guidance does not touch it.
            on_step: called with 1, 2, ... before each step; may raise to stop.
        """
        sampler = make_scheduler(self.config, scheduler)
        sampler.set_timesteps(steps, device=condition.device)
        channels, *square = self.latent_shape
        shape = (channels, *(grid or square))
        start = [torch.randn(shape, generator=generator, device=generator.device) for generator in generators]
        latent = torch.stack(start).to(condition.device, torch.float32) * sampler.init_noise_sigma
        guided = guidance != 1.0
        both = torch.cat([condition, null_condition]) if guided else condition
        if guided and preview is not None:
            preview = torch.cat([preview, preview])
        extra = {"generator": list(generators)} if scheduler == "ddpm" else {}
        for number, timestep in enumerate(sampler.timesteps, start=1):
            if on_step is not None:
                on_step(number)
            noised = sampler.scale_model_input(latent, timestep)
            # The U-Net may run in half precision; the sampler's sums stay in float32.
            predicted = self(torch.cat([noised, noised]) if guided else noised, timestep, both, preview).float()
            if guided:
                with_condition, without = predicted.chunk(2)
                predicted = without + guidance * (with_condition - without)
            latent = sampler.step(predicted, timestep, latent, **extra).prev_sample
        return latent


class Regressor(nn.Module):
    """Standardised features of the target view straight from the query states, an MLP (ablation without diffusion).

    Args:
        config: ``regress_depth`` layers.
        query_width: width of the language model's states.
        feature_width: D.
    """

    def __init__(self, config: DenoiserConfig, query_width: int, feature_width: int) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for _ in range(config.regress_depth - 1):
            layers += [nn.Linear(query_width, query_width), nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(query_width, feature_width))

    def forward(self, states: Tensor) -> Tensor:
        """(B, Q, query width) -> standardised features (B, Q, D)."""
        return self.mlp(states.to(self.mlp[0].weight.dtype))


def build_denoiser(
    config: DenoiserConfig,
    latent_shape: tuple[int, int, int],
    condition_width: int,
    query_width: int,
    feature_width: int,
) -> Denoiser | Regressor:
    """The latent generator that `config` describes, with fresh weights."""
    if config.kind == "regress":
        return Regressor(config, query_width, feature_width)
    return Denoiser(config, latent_shape, condition_width)
