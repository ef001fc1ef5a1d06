"""Spatial-VAE: the sizes of the paper's, both architectures on any grid, the posterior's algebra, standardisation."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SMALL, refused

from uniugg_core.config import preset
from uniugg_core.errors import ErrorCode
from uniugg_core.models.vae import Posterior, SpatialVAE

WIDTH = SMALL.encoder.width


def vae(**changes) -> SpatialVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpatialVAE(dataclasses.replace(SMALL.vae, **changes), WIDTH).eval()


def features(grid: tuple[int, int], batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, grid[0] * grid[1], WIDTH, generator=torch.Generator().manual_seed(1))


def test_paper_sizes():
    with torch.device("meta"):
        paper = SpatialVAE(preset("paper").vae, 1024)
    assert sum(p.numel() for p in paper.encoder.parameters()) == 14_581_000
    assert sum(p.numel() for p in paper.decoder.parameters()) == 19_294_976


@pytest.mark.parametrize("arch", ["conv", "vit"])
@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (7, 2)])
@torch.no_grad()
def test_shapes_on_any_grid(arch, up, grid):
    coder = vae(arch=arch, up=up)
    z = features(grid)
    posterior = coder.encode(z, grid)
    assert posterior.mean.shape == posterior.logvar.shape == (2, 4, grid[0] * up, grid[1] * up)
    back = coder.decode(posterior.mean)
    assert back.shape == z.shape
    assert torch.isfinite(back).all()


@pytest.mark.parametrize("arch", ["conv", "vit"])
@torch.no_grad()
def test_the_latent_keeps_its_place(arch):
    """A feature moved within the grid moves the same part of the latent, rows and columns not mixed up."""
    coder = vae(arch=arch)
    grid = (3, 5)
    z = features(grid, batch=64)  # over many draws, for one random network smears one draw any way it likes
    moved = z.clone()
    moved[:, 1 * 5 + 4] += 5 * features((1, 1), batch=64)[:, 0]  # row 1, column 4
    change = (coder.encode(moved, grid).mean - coder.encode(z, grid).mean).square().mean(dim=(0, 1))
    by_token = torch.nn.functional.avg_pool2d(change[None], 2)[0]
    assert divmod(int(by_token.argmax()), 5) == (1, 4)


def test_log_variance_is_clamped():
    coder = vae()
    with torch.no_grad():
        coder.encoder.out.bias[:4] = 0.0
        coder.encoder.out.bias[4:] = torch.tensor([-1e4, 1e4, 0.0, 0.0])
        logvar = coder.encode(features((4, 4)), (4, 4)).logvar
    assert (logvar[:, 0] == -30).all() and (logvar[:, 1] == 20).all()


class TestPosterior:
    def test_kl_known_values(self):
        zeros = torch.zeros(2, 4, 3, 3)
        assert Posterior(zeros, zeros).kl() == 0
        assert Posterior(zeros + 2.0, zeros).kl() == pytest.approx(2.0)  # m^2 / 2
        assert Posterior(zeros, zeros + 1.0).kl() == pytest.approx(0.5 * (2.718281828 - 2.0))

    def test_kl_does_not_depend_on_the_grid(self):
        small, large = torch.full((1, 4, 2, 2), 0.3), torch.full((3, 4, 8, 6), 0.3)
        assert Posterior(small, small).kl() == pytest.approx(float(Posterior(large, large).kl()), rel=1e-6)

    def test_sample_has_mean_and_deviation(self):
        mean, logvar = torch.full((1, 4, 100, 100), 3.0), torch.full((1, 4, 100, 100), 2 * 0.6931472)
        draw = Posterior(mean, logvar).sample(torch.Generator().manual_seed(0))
        assert draw.mean() == pytest.approx(3.0, abs=0.05)
        assert draw.std() == pytest.approx(2.0, abs=0.05)

    def test_sample_is_the_generators(self):
        zeros = torch.zeros(1, 4, 2, 2)
        draws = [Posterior(zeros, zeros).sample(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
        assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


class TestStandardisation:
    @given(st.integers(0, 2**31))
    @settings(max_examples=10, deadline=None)
    def test_inverse(self, seed):
        generator = torch.Generator().manual_seed(seed)
        coder = vae()
        coder.set_statistics(
            mean=torch.randn(WIDTH, generator=generator), std=torch.rand(WIDTH, generator=generator) * 10 + 0.01
        )
        z = torch.randn(1, 5, WIDTH, generator=generator) * 7
        assert torch.allclose(coder.destandardise(coder.standardise(z)), z, atol=1e-4)

    def test_training_features_become_unit(self):
        z = features((20, 20), batch=4) * 6 + 2
        coder = vae()
        coder.set_statistics(mean=z.mean(dim=(0, 1)), std=z.std(dim=(0, 1)))
        unit = coder.standardise(z)
        assert unit.mean(dim=(0, 1)).abs().max() < 1e-4
        assert (unit.std(dim=(0, 1)) - 1).abs().max() < 1e-3

    def test_statistics_are_part_of_the_checkpoint(self):
        assert {"feature_mean", "feature_std", "latent_scale"} <= set(vae().state_dict())

    def test_scale(self):
        coder = vae()
        coder.set_statistics(latent_scale=0.25)
        latent = torch.randn(1, 4, 2, 2)
        assert torch.equal(coder.scaled(latent), latent * 0.25)
        assert torch.allclose(coder.unscaled(coder.scaled(latent)), latent)


def test_without_vae_the_latent_is_the_feature_map():
    coder = vae(enabled=False)
    z = features((3, 5))
    coder.set_statistics(mean=z.mean(dim=(0, 1)), std=z.std(dim=(0, 1)))
    posterior = coder.encode(z, (3, 5))
    assert posterior.mean.shape == (2, WIDTH, 3, 5)
    assert torch.allclose(posterior.mean[0, :, 1, 2], coder.standardise(z)[0, 7])
    assert torch.allclose(coder.decode(posterior.mean), z, atol=1e-5)
    assert not list(coder.parameters())


def test_misfits_are_refused():
    coder = vae()
    assert "(2, 16, 32)" in refused(ErrorCode.REQUEST_INVALID, coder.encode, features((4, 4)), (4, 5))
    refused(ErrorCode.REQUEST_INVALID, coder.encode, torch.zeros(1, 16, WIDTH + 1), (4, 4))
    refused(ErrorCode.REQUEST_INVALID, coder.decode, torch.zeros(1, 4, 3, 4))  # 3 is no multiple of up
    refused(ErrorCode.REQUEST_INVALID, coder.decode, torch.zeros(1, 5, 4, 4))


def test_half_precision_keeps_statistics_useful():
    coder = vae()
    coder.set_statistics(mean=torch.full((WIDTH,), 100.0), std=torch.full((WIDTH,), 0.01))
    half = vae()
    half.load_state_dict(coder.state_dict())
    for parameter in half.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    z = 100 + 0.01 * features((4, 4))
    with torch.no_grad():
        mean = half.encode(z, (4, 4)).mean
        assert mean.dtype == torch.bfloat16
        assert (mean.float() - coder.encode(z, (4, 4)).mean).abs().max() < 0.05
