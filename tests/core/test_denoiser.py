"""Denoiser: the paper's size, samplers that reach a known answer, guidance, seeds, and the regressor."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from small_model import SMALL, refused
from torch import nn

from uniugg_core.config import preset
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.models.denoiser import HINTS, SCHEDULERS, Denoiser, Regressor, build_denoiser, hint_of, make_scheduler

LATENT, WIDTH = SMALL.latent_shape, SMALL.language.condition_width


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Denoiser(SMALL.denoiser, LATENT, WIDTH).eval()


class Oracle(nn.Module):
    """Knows the clean latent, so its noise prediction is exact."""

    def __init__(self, clean: torch.Tensor) -> None:
        super().__init__()
        self.config = SMALL.denoiser
        self.latent_shape = tuple(clean.shape[1:])
        self.clean = clean
        self.alphas = make_scheduler(self.config, "ddpm").alphas_cumprod

    def forward(self, noised, timestep, condition, preview=None):
        alpha = self.alphas[int(timestep)]
        return (noised - alpha.sqrt() * self.clean) / (1 - alpha).sqrt()


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sample(model, condition=None, null=None, seeds=(0,), **options) -> torch.Tensor:
    condition = draw(len(seeds), 16, WIDTH) if condition is None else condition
    null = torch.zeros_like(condition) if null is None else null
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    settings = {"steps": 3, "scheduler": "ddim", **options}
    with torch.no_grad():
        return Denoiser.sample(model, condition, null, generators, **settings)


def test_paper_size():
    config = preset("paper")
    with torch.device("meta"):
        unet = build_denoiser(config.denoiser, config.latent_shape, 768, 2048, 1024)
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_samplers_reach_the_clean_latent(scheduler, steps):
    clean = draw(1, *LATENT, seed=5)
    found = sample(Oracle(clean), scheduler=scheduler, steps=steps)
    assert (found - clean).abs().max() < 2e-3


def test_ddim_is_ddim(denoiser):
    from diffusers import DDIMScheduler

    reference = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )
    reference.set_timesteps(10)
    condition, latent = draw(1, 16, WIDTH), draw(*LATENT)[None]
    with torch.no_grad():
        for timestep in reference.timesteps:
            latent = reference.step(denoiser(latent, timestep, condition), timestep, latent).prev_sample
    assert torch.allclose(sample(denoiser, condition, steps=10), latent, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_same_seed_same_latent(denoiser, scheduler):
    first, again, other = (sample(denoiser, seeds=(seed,), scheduler=scheduler) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.1)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_members_of_a_batch_are_independent(denoiser, scheduler):
    condition = draw(2, 16, WIDTH)
    both = sample(denoiser, condition, seeds=(1, 2), scheduler=scheduler)
    alone = [sample(denoiser, condition[i : i + 1], seeds=(i + 1,), scheduler=scheduler) for i in range(2)]
    assert torch.allclose(both, torch.cat(alone), atol=1e-3)


class TestGuidance:
    def test_one_is_off_whatever_the_null_condition(self, denoiser):
        plain = sample(denoiser, guidance=1.0)
        assert torch.equal(plain, sample(denoiser, guidance=1.0, null=torch.full((1, 16, WIDTH), torch.nan)))

    def test_steering_away_from_the_condition_itself_changes_nothing(self, denoiser):
        condition = draw(1, 16, WIDTH)
        plain = sample(denoiser, condition, guidance=1.0)
        assert torch.allclose(plain, sample(denoiser, condition, condition, guidance=7.5), atol=1e-3)

    def test_zero_follows_the_null_condition(self, denoiser):
        condition, null = draw(1, 16, WIDTH), draw(1, 16, WIDTH, seed=9)
        assert torch.allclose(sample(denoiser, condition, null, guidance=0.0), sample(denoiser, null), atol=1e-3)

    def test_above_one_exaggerates(self, denoiser):
        condition, null = draw(1, 16, WIDTH), draw(1, 16, WIDTH, seed=9)
        with torch.no_grad():
            noised = draw(1, *LATENT)
            with_condition, without = denoiser(noised, 999, condition), denoiser(noised, 999, null)
        alpha = make_scheduler(SMALL.denoiser, "ddpm").alphas_cumprod[999]
        start = draw(*LATENT)[None]
        assert torch.equal(start, noised)
        predicted = without + 3.0 * (with_condition - without)
        expected = (start - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
        assert torch.allclose(sample(denoiser, condition, null, guidance=3.0, steps=1), expected, rtol=1e-3, atol=1e-2)


def test_any_grid(denoiser):
    assert sample(denoiser, grid=(7, 9)).shape == (1, 4, 7, 9)


def test_steps_are_announced_and_can_stop(denoiser):
    seen = []

    def stop_at_two(step: int) -> None:
        seen.append(step)
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(denoiser, steps=5, on_step=stop_at_two)
    assert seen == [1, 2]


def test_unknown_scheduler():
    assert "'pndm'" in refused(ErrorCode.REQUEST_INVALID, make_scheduler, SMALL.denoiser, "pndm")


class TestTraining:
    def test_noising_follows_the_schedule(self, denoiser):
        clean, noise = draw(2, *LATENT), draw(2, *LATENT, seed=1)
        noised = denoiser.add_noise(clean, noise, torch.tensor([0, 999]))
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        kept = torch.cumprod(1 - betas, 0)
        for i, step in enumerate((0, 999)):
            expected = kept[step].sqrt() * clean[i] + (1 - kept[step]).sqrt() * noise[i]
            assert torch.allclose(noised[i], expected, atol=1e-5)

    @pytest.mark.parametrize("prediction", ["epsilon", "sample"])
    def test_an_oracle_has_no_loss_and_its_estimate_is_the_latent(self, prediction):
        clean = draw(3, *LATENT)

        class BatchOracle(Denoiser):
            def forward(self, noised, timestep, condition, preview=None):
                alpha = make_scheduler(self.config, "ddpm").alphas_cumprod[timestep].view(-1, 1, 1, 1)
                return clean if prediction == "sample" else (noised - alpha.sqrt() * clean) / (1 - alpha).sqrt()

        oracle = BatchOracle(dataclasses.replace(SMALL.denoiser, prediction=prediction), LATENT, WIDTH)
        denoised = oracle.denoise(clean, draw(3, 16, WIDTH), torch.Generator().manual_seed(0))
        assert denoised.loss < 1e-6
        torch.testing.assert_close(denoised.clean, clean, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("prediction", ["epsilon", "sample"])
    @pytest.mark.parametrize("scheduler", SCHEDULERS)
    def test_every_scheduler_follows_the_prediction_to_the_latent(self, prediction, scheduler):
        clean = draw(1, *LATENT)

        class Oracle(Denoiser):
            def forward(self, noised, timestep, condition, preview=None):
                alpha = make_scheduler(self.config, "ddpm").alphas_cumprod[timestep]
                return clean if prediction == "sample" else (noised - alpha.sqrt() * clean) / (1 - alpha).sqrt()

        oracle = Oracle(dataclasses.replace(SMALL.denoiser, prediction=prediction), LATENT, WIDTH)
        condition = draw(1, 16, WIDTH)
        found = oracle.sample(condition, condition, [torch.Generator().manual_seed(0)], steps=8, scheduler=scheduler)
        torch.testing.assert_close(found, clean, rtol=1e-3, atol=1e-3)

    def test_a_laid_out_condition_stands_where_its_query_belongs(self):
        config = dataclasses.replace(SMALL.denoiser, condition_channels=3)
        denoiser = Denoiser(config, LATENT, WIDTH)
        condition, latent = draw(2, 16, WIDTH), draw(2, *LATENT)
        shown = denoiser._laid_out(condition, latent)
        up = LATENT[1] // 4
        assert shown.shape == (2, 3, *LATENT[1:])
        expected = denoiser.layout(condition)[:, 4 * 2 + 3]  # row 2, column 3 of 4 x 4 queries
        for row, column in ((2 * up, 3 * up), (3 * up - 1, 4 * up - 1)):
            torch.testing.assert_close(shown[:, :, row, column], expected)
        assert denoiser(latent, 5, condition).shape == latent.shape
        wide = draw(2, LATENT[0], 2 * up, 4 * up)
        assert denoiser(wide, 5, draw(2, 8, WIDTH)).shape == wide.shape

    def test_a_preview_is_needed_and_read_where_there_is_one(self):
        denoiser = Denoiser(dataclasses.replace(SMALL.denoiser, preview=True), LATENT, WIDTH)
        latent, condition = draw(2, *LATENT), draw(2, 16, WIDTH)
        previews = [draw(2, LATENT[0] + 2, *LATENT[1:], seed=seed) for seed in (1, 2)]
        with torch.no_grad():
            seen = [denoiser(latent, 5, condition, preview) for preview in previews]
            drawn = [
                denoiser.sample(
                    condition,
                    draw(2, 16, WIDTH, seed=9),
                    [torch.Generator().manual_seed(seed) for seed in (0, 1)],
                    steps=2,
                    scheduler="dpm++",
                    guidance=guidance,
                    preview=previews[0],
                )
                for guidance in (1.0, 2.0)
            ]
        assert seen[0].shape == latent.shape and not torch.allclose(*seen)
        assert not torch.allclose(*drawn)
        with pytest.raises(UniuggError) as caught:
            denoiser(latent, 5, condition)
        assert caught.value.code is ErrorCode.REQUEST_INVALID

    def test_a_hint_says_nothing_before_it_is_learnt(self):
        with_channels = dataclasses.replace(SMALL.denoiser, preview=True, condition_channels=8)
        plain = Denoiser(with_channels, LATENT, WIDTH)
        hinted = Denoiser(dataclasses.replace(with_channels, hint=True), LATENT, WIDTH)
        assert hinted.load_state_dict(plain.state_dict(), strict=False).missing_keys == ["hint.weight"]
        latent, condition, preview = draw(2, *LATENT), draw(2, 16, WIDTH), draw(2, LATENT[0] + 2, *LATENT[1:], seed=1)
        hints = [torch.cat([preview, draw(2, HINTS, *LATENT[1:], seed=seed)], 1) for seed in (2, 3)]
        with torch.no_grad():
            assert torch.equal(hinted(latent, 5, condition, hints[0]), plain(latent, 5, condition, preview))
            hinted.hint.weight.fill_(0.1)
            assert not torch.allclose(*(hinted(latent, 5, condition, hint) for hint in hints))

    def test_what_a_hint_says(self):
        preview = torch.zeros(1, LATENT[0] + 2, 2, 2)
        preview[:, -2] = math.log(2.0)
        distance = torch.tensor([[[4.0, torch.inf], [1.0, 1e9]]])
        said = hint_of(distance, torch.tensor([[[0, 3], [1, 4]]]), preview)[0]
        assert said.shape == (HINTS, 2, 2)
        torch.testing.assert_close(said[0].flatten().exp(), torch.tensor([4.0, 2.0, 1.0, 30.0]))
        torch.testing.assert_close(said[1].flatten().exp(), torch.tensor([2.0, 1.0, 0.5, 15.0]))
        assert said[2:].flatten(1).tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]  # floor, ceiling, wall

    @pytest.mark.parametrize("without", [{"preview": False}, {"condition_channels": 0}])
    def test_a_hint_needs_a_place(self, without):
        channels = {"preview": True, "condition_channels": 8, "hint": True, **without}
        refused(ErrorCode.CHECKPOINT_INVALID, SMALL.replace, **{f"denoiser__{k}": v for k, v in channels.items()})

    def test_loss_is_the_generators_and_trains_the_condition(self, denoiser):
        latent, condition = draw(2, *LATENT), draw(2, 16, WIDTH).requires_grad_()
        losses = [denoiser.denoise(latent, condition, torch.Generator().manual_seed(seed)).loss for seed in (0, 0, 1)]
        assert losses[0] == losses[1] != losses[2]
        losses[0].backward()
        assert condition.grad.abs().sum() > 0

    def test_of_pure_noise_nothing_of_the_latent_is_left(self):
        config = dataclasses.replace(SMALL.denoiser, prediction="sample")
        denoiser, condition = Denoiser(config, LATENT, WIDTH), draw(3, 16, WIDTH)

        def estimates(pure_noise):
            with torch.no_grad():
                return [
                    denoiser.denoise(
                        draw(3, *LATENT, seed=seed), condition, torch.Generator().manual_seed(0), pure_noise=pure_noise
                    )
                    for seed in (1, 2)
                ]

        for share, same in ((1.0, True), (0.0, False)):
            one, other = estimates(share)
            assert torch.equal(one.clean, other.clean) == same
            assert one.loss != other.loss


class TestRegressor:
    def test_shapes(self):
        config = dataclasses.replace(SMALL.denoiser, kind="regress")
        regressor = build_denoiser(config, LATENT, 32, 32, 24)
        assert isinstance(regressor, Regressor)
        states = draw(2, 16, 32)
        predicted = regressor(states)
        assert predicted.shape == (2, 16, 24)

    def test_two_layers_by_default(self):
        regressor = Regressor(dataclasses.replace(preset("paper").denoiser, kind="regress"), 2048, 1024)
        shapes = [tuple(layer.weight.shape) for layer in regressor.mlp if isinstance(layer, nn.Linear)]
        assert shapes == [(2048, 2048), (1024, 2048)]
