from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from transposition import transpose_tokens, transpose_weights

from uniugg_core.cameras import Camera
from uniugg_core.config import EncoderConfig, preset
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.models.encoder import RadioEncoder, build_encoder, patch_views, random_position_windows

RADIO = EncoderConfig(
    width=32, depth=2, heads=2, patch=8, position_grid=10, cls_tokens=3, registers=2, summary_tokens=(0, 2)
)
CROCO = dataclasses.replace(RADIO, kind="croco", image_mean=(0.5,) * 3, image_std=(0.5,) * 3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(config: EncoderConfig) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_encoder(config).eval()
        with torch.no_grad():  # large enough for a misplaced position to show
            for name, value in encoder.named_parameters():
                if name in ("position_table", "prefix_tokens"):
                    value.normal_()
                elif value.dim() == 1:
                    value.add_(0.2 * torch.randn_like(value))
    return encoder


class TestShapes:
    def test_paper_has_the_published_number_of_parameters(self) -> None:
        with torch.device("meta"):
            encoder = build_encoder(preset("paper").encoder)
        assert sum(p.numel() for p in encoder.parameters()) == 319_881_216
        assert sum(p.numel() for p in encoder.blocks.parameters()) == 302_309_376
        assert not list(encoder.buffers())

    @pytest.mark.parametrize("config", [RADIO, CROCO], ids=["radio", "croco"])
    @pytest.mark.parametrize("grid", [(1, 1), (3, 5), (7, 4), (12, 9)])
    def test_any_grid(self, config: EncoderConfig, grid: tuple[int, int]) -> None:
        image = torch.randn(2, 3, grid[0] * 8, grid[1] * 8, generator=seeded())
        with torch.inference_mode():
            out = make(config)(image)
        assert out.grid == grid
        assert out.features.shape == (2, grid[0] * grid[1], 32)
        assert out.features.isfinite().all()
        if config.kind == "radio":
            assert out.summary is not None
            assert out.summary.shape == (2, config.summary_width) == (2, 64)
        else:
            assert out.summary is None

    @pytest.mark.parametrize("shape", [(1, 3, 20, 16), (1, 3, 16, 20), (3, 16, 16), (1, 4, 16, 16), (1, 3, 0, 16)])
    def test_refuses_other_shapes(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(UniuggError) as caught:
            make(RADIO)(torch.zeros(shape))
        assert caught.value.code == ErrorCode.IMAGE_MALFORMED

    def test_refuses_an_unknown_kind(self) -> None:
        with pytest.raises(UniuggError, match="swin"):
            build_encoder(dataclasses.replace(RADIO, kind="swin"))

    def test_normalisation(self) -> None:
        encoder = make(RADIO)
        mean = torch.tensor(RADIO.image_mean)[None, :, None, None].expand(1, 3, 8, 8)
        assert encoder.normalise(mean).abs().max() == 0
        white = encoder.normalise(torch.ones(1, 3, 1, 1)).flatten()
        torch.testing.assert_close(white, torch.tensor([1.9304, 2.0750, 2.1457]), rtol=1e-4, atol=1e-4)
        half = make(CROCO).normalise(torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3))
        assert torch.equal(half[0, 1, 0], torch.tensor([-1.0, 0.0, 1.0]))


class TestRadio:
    def test_summary_and_features_come_from_the_right_tokens(self) -> None:
        """Without blocks, the summary is the chosen prefix tokens, and the features are patches plus positions."""
        encoder = make(dataclasses.replace(RADIO, depth=0))
        image = torch.randn(1, 3, 80, 80, generator=seeded())
        out = encoder(image)
        expected = torch.cat([encoder.prefix_tokens[0], encoder.prefix_tokens[2]])
        assert torch.equal(out.summary[0], expected)
        positions = encoder.position_table.flatten(0, 1)
        torch.testing.assert_close(out.features[0] - positions, encoder.patch_embed(image)[0], atol=1e-5, rtol=1e-5)

    def test_positions_of_the_table_itself(self) -> None:
        encoder = make(RADIO)
        assert torch.equal(encoder.position_window((10, 10)), encoder.position_table)
        assert torch.equal(encoder.position_window((7, 10)), encoder.position_table[:7])
        assert torch.equal(encoder.position_window((10, 7)), encoder.position_table[:, :7])

    @pytest.mark.parametrize("grid", [(24, 32), (32, 24), (5, 3), (1, 4)])
    def test_other_grids_see_the_top_left_of_a_resized_square(self, grid: tuple[int, int]) -> None:
        encoder = make(RADIO)
        side = max(grid)
        table = encoder.position_table.permute(2, 0, 1)[None]
        square = F.interpolate(table, (side, side), mode="bilinear", align_corners=True)[0].permute(1, 2, 0)
        torch.testing.assert_close(encoder.position_window(grid), square[: grid[0], : grid[1]])

    def test_window_spans_the_table_along_the_longer_side_only(self) -> None:
        """On a ramp, the 24 x 32 window ends at the last column, and at 23/31 of the rows."""
        encoder = make(dataclasses.replace(RADIO, width=2, heads=1))
        rows, columns = torch.meshgrid(torch.arange(10.0), torch.arange(10.0), indexing="ij")
        with torch.no_grad():
            encoder.position_table.copy_(torch.stack([rows, columns], dim=-1))
        window = encoder.position_window((24, 32))
        torch.testing.assert_close(window[-1, -1], torch.tensor([9 * 23 / 31, 9.0]))
        torch.testing.assert_close(window[0, 0], torch.zeros(2))

    def test_final_norm_is_optional(self) -> None:
        plain, normed = build_encoder(RADIO), build_encoder(dataclasses.replace(RADIO, final_norm=True))
        assert set(normed.state_dict()) - set(plain.state_dict()) == {"norm.weight", "norm.bias"}
        out = normed(torch.randn(1, 3, 16, 16, generator=seeded())).features
        torch.testing.assert_close(out.mean(-1), torch.zeros(1, 4), atol=1e-5, rtol=0)

    def test_a_batch_is_independent_pictures(self) -> None:
        encoder = make(RADIO)
        images = torch.randn(3, 3, 24, 40, generator=seeded())
        with torch.inference_mode():
            together = encoder(images).features
            alone = encoder(images[1:2]).features
        torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


class TestRandomPositions:
    def ramp(self) -> torch.Tensor:
        """A table whose entry at (row, column) is (row, column), so that a window shows where it was taken."""
        rows, columns = torch.meshgrid(torch.arange(11.0), torch.arange(11.0), indexing="ij")
        return torch.stack([rows, columns], dim=-1) + 1  # from 1, so that zero means "no positions"

    def test_the_generator_decides_all(self) -> None:
        before = torch.random.get_rng_state()
        one = random_position_windows(self.ramp(), 4, (5, 7), seeded(3))
        again = random_position_windows(self.ramp(), 4, (5, 7), seeded(3))
        other = random_position_windows(self.ramp(), 4, (5, 7), seeded(4))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_crops_have_the_stated_sizes(self) -> None:
        windows = random_position_windows(self.ramp(), 4000, (5, 7), seeded()) - 1
        kept = windows[:, 0, 0, 0] >= 0
        assert 0.87 < kept.float().mean() < 0.93  # one in ten sees no positions
        assert torch.equal(windows[~kept], torch.full_like(windows[~kept], -1))
        windows = windows[kept]
        assert windows.min() > -1e-4
        assert windows.max() < 10 + 1e-4
        height = (windows[:, -1, 0, 0] - windows[:, 0, 0, 0]) / 10
        width = (windows[:, 0, -1, 1] - windows[:, 0, 0, 1]) / 10
        free = (height < 0.999) & (width < 0.999)
        aspect = (width / height)[free].log() / 2
        scale = (width * height)[free].sqrt()
        limit = torch.tensor(4 / 3).log()
        assert aspect.abs().max() < limit + 1e-3
        assert aspect.max() > 0.9 * limit
        assert aspect.min() < -0.9 * limit
        assert scale.min() > 0.1**0.5 - 1e-3
        assert scale.min() < 0.34
        assert height.max() <= 1.0001

    def test_rows_vary_down_and_columns_across(self) -> None:
        windows = random_position_windows(self.ramp(), 50, (5, 7), seeded())
        assert (windows[..., 0].diff(dim=2).abs() < 1e-4).all()
        assert (windows[..., 1].diff(dim=1).abs() < 1e-4).all()
        steps = windows[..., 0].diff(dim=1)
        torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), rtol=1e-3, atol=1e-4)

    def test_training_is_asked_for_by_the_generator_alone(self) -> None:
        encoder = make(RADIO)
        assert isinstance(encoder, RadioEncoder)
        image = torch.randn(2, 3, 24, 16, generator=seeded())
        with torch.no_grad():
            inference = encoder.eval()(image).features
            assert torch.equal(encoder.train()(image).features, inference)
            random = encoder(image, position_generator=seeded(5)).features
            assert not torch.allclose(random, inference)
            assert torch.equal(encoder.eval()(image, position_generator=seeded(5)).features, random)

    def test_the_table_learns_from_a_crop(self) -> None:
        encoder = make(RADIO)
        image = torch.randn(2, 3, 24, 16, generator=seeded())
        encoder(image, position_generator=seeded(1)).features.sum().backward()
        assert encoder.position_table.grad.abs().sum() > 0


@pytest.mark.parametrize("config", [RADIO, CROCO], ids=["radio", "croco"])
def test_rows_and_columns_are_never_mixed_up(config: EncoderConfig) -> None:
    encoder = make(config)
    image = torch.randn(1, 3, 24, 56, generator=seeded())
    with torch.no_grad():
        upright = encoder(image)
        transpose_weights(encoder, rotary=config.kind == "croco")
        lying = encoder(image.transpose(2, 3))
    assert lying.grid == (7, 3)
    torch.testing.assert_close(lying.features, transpose_tokens(upright.features, (3, 7)), rtol=1e-4, atol=1e-4)
    if upright.summary is not None:
        torch.testing.assert_close(lying.summary, upright.summary, rtol=1e-4, atol=1e-4)


def test_croco_knows_where_its_tokens_are() -> None:
    """The same patches in reverse order must not give the same features in reverse order."""
    encoder = make(CROCO)
    image = torch.randn(1, 3, 8, 40, generator=seeded())
    backwards = torch.arange(40).view(5, 8).flip(0).flatten()
    with torch.inference_mode():
        straight = encoder(image).features
        turned = encoder(image[..., backwards]).features.flip(1)
    assert not torch.allclose(straight, turned, atol=1e-2)


def test_bfloat16_stays_close() -> None:
    encoder = make(RADIO)
    image = torch.randn(1, 3, 24, 40, generator=seeded())
    with torch.inference_mode():
        exact = encoder(image).features
        rounded = encoder.bfloat16()(image.bfloat16()).features
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("config", [RADIO, CROCO], ids=["radio", "croco"])
def test_exports_as_one_graph(config: EncoderConfig) -> None:
    encoder = make(config)
    image = torch.randn(1, 3, 24, 40, generator=seeded())
    encoder(image)  # a table cached before must not end up in the graph
    with torch.no_grad():
        program = torch.export.export(Features(encoder), (image,), strict=False)
        torch.testing.assert_close(program.module()(image), encoder(image).features)
    assert not program.constants


class Features(torch.nn.Module):
    """An encoder whose output is one tensor."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.encoder(image).features


class TestCalibration:
    def test_views_of_patches_are_the_cameras_rays(self) -> None:
        camera = Camera(32, 24, [[20.0, 0, 15.0], [0, 22.0, 12.5], [0, 0, 1]])
        rays = torch.from_numpy(camera.rays())
        views = patch_views(torch.from_numpy(camera.matrix.copy())[None], (3, 4), 8)[0].unflatten(0, (3, 4))
        # the centre of a patch of 8 lies between its middle pixels
        middle = rays[3::8, 3::8, :2] / rays[3::8, 3::8, 2:]
        after = rays[4::8, 4::8, :2] / rays[4::8, 4::8, 2:]
        torch.testing.assert_close(views[..., :2], ((middle + after) / 2).float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(views[..., 2], torch.full((3, 4), 40 / 32).log())

    @pytest.mark.parametrize("kind", ["radio", "croco"])
    def test_a_fresh_one_sees_what_it_saw_without(self, kind: str) -> None:
        plain = make(dataclasses.replace(RADIO, kind=kind))
        told = build_encoder(dataclasses.replace(RADIO, kind=kind, calibrated=True)).eval()
        missing, unexpected = told.load_state_dict(plain.state_dict(), strict=False)
        assert sorted(missing) == ["calibration.bias", "calibration.weight"] and not unexpected
        image, matrix = torch.randn(2, 3, 24, 16, generator=seeded()), torch.eye(3).expand(2, 3, 3) * 20
        with torch.inference_mode():
            assert torch.equal(told(image, matrix=matrix).features, plain(image).features)

    @pytest.mark.parametrize("kind", ["radio", "croco"])
    def test_a_fresh_stem_adds_nothing_and_one_that_learns_adds_where_it_looks(self, kind: str) -> None:
        plain = make(dataclasses.replace(RADIO, kind=kind))
        stemmed = build_encoder(dataclasses.replace(RADIO, kind=kind, stem=(4, 8))).eval()
        missing, unexpected = stemmed.load_state_dict(plain.state_dict(), strict=False)
        assert {name.split(".")[0] for name in missing} == {"stem"} and not unexpected
        image = torch.randn(2, 3, 24, 16, generator=seeded())
        with torch.inference_mode():
            assert torch.equal(stemmed(image).features, plain(image).features)
            stemmed.stem.halvings[-1].weight.normal_(generator=seeded())
            other = image.clone()
            other[:, :, :8, 8:] += 1
            change = (stemmed.stem(other) - stemmed.stem(image)).abs().amax(-1)
        # a cell of 8 pixels sees 7 more to its left and top, and none to its right and bottom
        assert change.shape == (2, 6) and (change[:, [1, 3]] > 0).all() and (change[:, [0, 2, 4, 5]] == 0).all()

    def test_units_of_the_stem_begin_as_nothing_and_see_their_neighbours(self) -> None:
        stemmed = dataclasses.replace(RADIO, stem=(8, 8))
        without = make(stemmed)
        encoder = build_encoder(dataclasses.replace(stemmed, stem_units=(0, 2))).eval()
        missing, unexpected = encoder.load_state_dict(without.state_dict(), strict=False)
        assert len(missing) == 12 and all(name.startswith("stem.units.1.") for name in missing) and not unexpected
        image = torch.randn(1, 3, 64, 64, generator=seeded())
        with torch.no_grad():
            torch.nn.init.normal_(encoder.stem.halvings[-1].weight, std=0.1)
            before = encoder.stem(image)
            assert encoder(image).features.shape == (1, 64, 32)
            for unit in encoder.stem.units[1]:
                torch.nn.init.normal_(unit.widen.weight, generator=seeded(1))
            assert not torch.allclose(encoder.stem(image), before)
            other = image.clone()
            other[..., :8, :8] += 1.0
            changed = (encoder.stem(other) - encoder.stem(image)).abs().amax(-1).unflatten(1, (8, 8))[0] > 0
        assert changed[0, 0] and not changed[3:].any() and not changed[:, 3:].any()

    def test_unknown_calibrations_are_no_calibration_row_by_row(self) -> None:
        encoder = make(dataclasses.replace(RADIO, calibrated=True))
        with torch.no_grad():
            encoder.calibration.weight.normal_()
        image = torch.randn(2, 3, 24, 16, generator=seeded())
        matrix = torch.stack([torch.tensor([[20.0, 0, 8], [0, 20, 12], [0, 0, 1]]), torch.zeros(3, 3)])
        with torch.inference_mode():
            told, untold = encoder(image, matrix=matrix).features, encoder(image).features
            wide = encoder(image, matrix=matrix * torch.tensor([0.5, 0.5, 1.0])[:, None]).features
        assert torch.equal(told[1], untold[1]) and told.isfinite().all()
        assert not torch.allclose(told[0], untold[0], atol=1e-2)
        assert not torch.allclose(told[0], wide[0], atol=1e-2), "another lens, other features"
