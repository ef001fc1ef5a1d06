from __future__ import annotations

import dataclasses

import pytest
import torch
from transposition import transpose_tokens, transpose_weights

from uniugg_core.cameras import motion
from uniugg_core.config import DecoderConfig, preset
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.models.decoder import SpatialDecoder
from uniugg_core.models.heads import DPT, LocalFeatures
from uniugg_core.pointmaps import project, transform_points

SMALL = DecoderConfig(
    width=32,
    depth=4,
    heads=2,
    dpt_hooks=(0, 2, 3, 4),
    dpt_widths=(6, 8, 10, 12),
    dpt_features=16,
    dpt_head_width=8,
    rgb_width=6,
    descriptor=5,
    local_mlp_ratio=1.0,
)
ENCODER_WIDTH = 24
FIELDS = ("points", "confidence", "colors", "descriptors", "descriptor_confidence")


def make(config: DecoderConfig = SMALL, patch: int = 8) -> SpatialDecoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpatialDecoder(config, ENCODER_WIDTH, patch).eval()


def features(grid: tuple[int, int], batch: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, two = torch.randn(2, batch, grid[0] * grid[1], ENCODER_WIDTH, generator=generator)
    return one, two


def test_paper_has_the_published_number_of_parameters() -> None:
    config = preset("paper")
    with torch.device("meta"):
        decoder = SpatialDecoder(config.decoder, config.encoder.width, config.encoder.patch)

    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(decoder) == 388_302_478
    assert count(decoder.projector) == 2_099_200
    assert count(decoder.blocks_a) == count(decoder.blocks_b) == 12 * 9_453_312
    assert count(decoder.head_a) == count(decoder.head_b) == 79_267_527
    assert count(decoder.head_a.dpt) + count(decoder.head_a.points) == 20_201_668
    assert count(decoder.head_a.colors) == 332_035
    assert count(decoder.head_a.descriptors) == 58_733_824
    assert not list(decoder.buffers())


def test_names_read_as_documented() -> None:
    names = set(make().state_dict())
    assert {"projector.0.weight", "projector.2.bias", "embed.weight", "norm.bias"} <= names
    parts = {name.split(".")[0] for name in names}
    assert parts == {"projector", "embed", "blocks_a", "blocks_b", "norm", "head_a", "head_b"}


class TestOutputs:
    @pytest.mark.parametrize("patch", [8, 16, 24])
    @pytest.mark.parametrize("grid", [(1, 1), (2, 3), (7, 7), (3, 4), (5, 9)])
    def test_every_grid_and_patch(self, grid: tuple[int, int], patch: int) -> None:
        height, width = grid[0] * patch, grid[1] * patch
        with torch.inference_mode():
            views = make(patch=patch)(*features(grid, batch=2), grid)
        for view in views:
            assert view.points.shape == (2, height, width, 3)
            assert view.confidence.shape == (2, height, width)
            assert view.colors.shape == (2, height, width, 3)
            assert view.descriptors.shape == (2, height, width, 5)
            assert view.descriptor_confidence.shape == (2, height, width)

    def test_ranges(self) -> None:
        grid = (3, 5)
        with torch.inference_mode():
            view, _ = make()(*features(grid), grid)
        assert all(getattr(view, name).isfinite().all() for name in FIELDS)
        assert (view.confidence > 1).all()
        assert (view.descriptor_confidence > 0).all()
        assert 0 <= view.colors.min() <= view.colors.max() <= 1
        torch.testing.assert_close(view.descriptors.norm(dim=-1), torch.ones(1, 24, 40))

    def test_points_are_an_exponential_of_the_raw_head(self) -> None:
        decoder, grid = make(), (2, 3)
        one, two = features(grid)
        with torch.inference_mode():
            layers, _ = decoder.tokens(one, two, grid)
            raw, _, local = decoder.head_a(layers, grid, with_descriptors=True)
            view, _ = decoder(one, two, grid)
        vector = raw[0, :3, 5, 11]
        expected = vector / vector.norm() * (vector.norm().exp() - 1)
        torch.testing.assert_close(view.points[0, 5, 11], expected)
        torch.testing.assert_close(view.confidence[0, 5, 11], 1 + raw[0, 3, 5, 11].exp())
        torch.testing.assert_close(view.descriptor_confidence[0, 5, 11], local[0, 5, 5, 11].exp())

    def test_chosen_pixels_are_described_as_in_the_maps(self) -> None:
        grid = (2, 3)
        with torch.inference_mode():
            view, _ = make()(*features(grid, batch=2), grid)
        pixels = torch.tensor([[0, 5 * 24 + 11, 383], [7, 7, 200]])
        descriptors, confidence = view.described(pixels)
        for row in range(2):
            torch.testing.assert_close(descriptors[row], view.descriptors[row].flatten(0, 1)[pixels[row]])
            torch.testing.assert_close(confidence[row], view.descriptor_confidence[row].flatten()[pixels[row]])
        with pytest.raises(UniuggError) as refusal:
            dataclasses.replace(view, local=None).described(pixels)
        assert refusal.value.code is ErrorCode.REQUEST_INVALID

    def test_optional_parts(self) -> None:
        grid = (2, 3)
        plain = make(dataclasses.replace(SMALL, rgb=False, projector=False))
        assert not any("colors" in name or "projector" in name for name in plain.state_dict())
        view, _ = plain(*features(grid), grid, with_descriptors=False)
        assert view.colors is None
        assert view.descriptors is None
        assert view.descriptor_confidence is None
        one, two = features(grid)
        assert torch.equal(plain.tokens(one, two, grid)[0][0], one)  # no projector: the heads see the features

    def test_descriptors_can_be_left_out_without_touching_the_rest(self) -> None:
        decoder, grid = make(), (2, 3)
        with torch.inference_mode():
            with_them, _ = decoder(*features(grid), grid)
            without, _ = decoder(*features(grid), grid, with_descriptors=False)
        assert torch.equal(with_them.points, without.points)
        assert torch.equal(with_them.colors, without.colors)

    def test_a_decoder_that_describes_no_pixels_has_nothing_for_it(self) -> None:
        bare, full, grid = make(dataclasses.replace(SMALL, descriptor=0)), make(), (2, 3)
        kept = {name: value for name, value in full.state_dict().items() if "descriptors" not in name}
        assert len(kept) < len(full.state_dict())
        bare.load_state_dict(kept)
        with torch.inference_mode():
            (view, _), (wanted, _) = bare(*features(grid), grid), full(*features(grid), grid)
        assert view.descriptors is view.descriptor_confidence is None
        assert torch.equal(view.points, wanted.points)
        with pytest.raises(UniuggError) as caught:
            view.described(torch.zeros(1, 1, dtype=torch.long))
        assert caught.value.code == ErrorCode.REQUEST_INVALID

    @pytest.mark.parametrize(
        "reference, target",
        [((1, 5, 24), (1, 6, 24)), ((1, 6, 24), (1, 6, 23)), ((2, 6, 24), (1, 6, 24)), ((6, 24), (6, 24))],
    )
    def test_refuses_other_shapes(self, reference: tuple[int, ...], target: tuple[int, ...]) -> None:
        with pytest.raises(UniuggError) as caught:
            make()(torch.zeros(reference), torch.zeros(target), (2, 3))
        assert caught.value.code == ErrorCode.REQUEST_INVALID

    def test_bfloat16_network_gives_float32_values(self) -> None:
        decoder, grid = make(), (3, 4)
        one, two = features(grid)
        with torch.inference_mode():
            exact, _ = decoder(one, two, grid)
            rounded, _ = decoder.bfloat16()(one.bfloat16(), two.bfloat16(), grid)
        for name in FIELDS:
            assert getattr(rounded, name).dtype == torch.float32
        assert (rounded.points - exact.points).abs().max() < 0.1 * exact.points.abs().max()


class TestBranches:
    def swapped(self, decoder: SpatialDecoder) -> SpatialDecoder:
        names = {"blocks_a": "blocks_b", "blocks_b": "blocks_a", "head_a": "head_b", "head_b": "head_a"}
        state = {}
        for name, value in decoder.state_dict().items():
            first, _, rest = name.partition(".")
            state[f"{names.get(first, first)}.{rest}"] = value
        other = make()
        other.load_state_dict(state)
        return other

    def test_swapping_views_and_weights_swaps_outputs(self) -> None:
        """Holds only if both branches read the same snapshot of the layer before."""
        decoder, grid = make(), (3, 4)
        one, two = features(grid)
        with torch.inference_mode():
            a, b = decoder(one, two, grid)
            d, c = self.swapped(decoder)(two, one, grid)
        for name in FIELDS:
            torch.testing.assert_close(getattr(a, name), getattr(c, name), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(getattr(b, name), getattr(d, name), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(a.points, b.points, atol=1e-3)

    def test_each_view_listens_to_the_other(self) -> None:
        decoder, grid = make(), (2, 3)
        one, two = features(grid)
        with torch.inference_mode():
            before, _ = decoder(one, two, grid)
            after, _ = decoder(one, two + 1, grid)
        assert not torch.allclose(before.points, after.points, atol=1e-5)

    def test_layers_are_what_the_hooks_count(self) -> None:
        decoder, grid = make(), (2, 3)
        one, two = features(grid)
        with torch.inference_mode():
            layers, _ = decoder.tokens(one, two, grid)
        assert len(layers) == SMALL.depth + 1
        assert torch.equal(layers[0], decoder.projector(one))
        assert [layer.shape[-1] for layer in layers] == [ENCODER_WIDTH] + [SMALL.width] * SMALL.depth
        torch.testing.assert_close(layers[-1].mean(-1), torch.zeros(1, 6), atol=1e-5, rtol=0)  # normalised


class TestHeads:
    @pytest.mark.parametrize("grid", [(14, 14), (7, 5), (1, 2), (4, 3)])
    def test_trunk_is_eight_times_the_grid(self, grid: tuple[int, int]) -> None:
        trunk = DPT((4, 5, 5, 5), (3, 3, 3, 3), 6)
        tokens = [torch.randn(2, grid[0] * grid[1], width) for width in (4, 5, 5, 5)]
        assert trunk(tokens, grid).shape == (2, 6, 8 * grid[0], 8 * grid[1])

    def test_odd_grid_keeps_the_top_left_of_the_coarsest_path(self) -> None:
        """7 tokens halve to 4 and double to 8; the eighth row and column must not reach the result."""
        trunk, grid = DPT((4, 4, 4, 4), (3, 3, 3, 3), 5), (7, 6)
        tokens = [torch.randn(1, 42, 4, generator=torch.Generator().manual_seed(i)) for i in range(4)]
        seen = {}

        def spoil_last_row(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            seen["shape"] = tuple(output.shape[2:])
            output = output.clone()
            output[:, :, 7:] = 1e6
            return output

        with torch.inference_mode():
            before = trunk(tokens, grid)
            trunk.fusion[3].register_forward_hook(spoil_last_row)
            after = trunk(tokens, grid)
        assert seen["shape"] == (8, 6)
        assert torch.equal(before, after)

    def test_local_features_unfold_rows_before_columns(self) -> None:
        """Output c P P + y P + x of a token's MLP is channel c of the token's pixel (y, x)."""
        head, grid = LocalFeatures(4, 1.0, channels=3, patch=2), (2, 3)
        with torch.no_grad():
            head.fc2.weight.zero_()
            head.fc2.bias.copy_(torch.arange(12.0))
            pixels = head(torch.zeros(1, 6, 4), grid)
        assert pixels.shape == (1, 3, 4, 6)
        for channel in range(3):
            block = torch.arange(4.0).view(2, 2) + 4 * channel
            assert torch.equal(pixels[0, channel], block.repeat(2, 3))


@pytest.mark.parametrize("grid", [(3, 7), (6, 4)])
@pytest.mark.parametrize("patch", [8, 16])
def test_rows_and_columns_are_never_mixed_up(grid: tuple[int, int], patch: int) -> None:
    decoder = make(patch=patch)
    one, two = features(grid)
    with torch.no_grad():
        upright = decoder(one, two, grid)
        transpose_weights(decoder, rotary=True)
        lying = decoder(transpose_tokens(one, grid), transpose_tokens(two, grid), grid[::-1])
    for before, after in zip(upright, lying):
        for name in FIELDS:
            torch.testing.assert_close(
                getattr(after, name), getattr(before, name).transpose(1, 2), rtol=1e-4, atol=1e-4, msg=name
            )


class Maps(torch.nn.Module):
    """A decoder whose outputs are plain tensors."""

    def __init__(self, decoder: SpatialDecoder, grid: tuple[int, int]) -> None:
        super().__init__()
        self.decoder, self.grid = decoder, grid

    def forward(self, one: torch.Tensor, two: torch.Tensor) -> tuple[torch.Tensor, ...]:
        a, b = self.decoder(one, two, self.grid)
        return a.points, a.colors, b.descriptors, b.confidence


def test_exports_as_one_graph() -> None:
    maps, pair = Maps(make(), (3, 5)), features((3, 5))
    with torch.no_grad():
        expected = maps(*pair)
        program = torch.export.export(maps, pair, strict=False)
        torch.testing.assert_close(program.module()(*pair), expected)
    assert not program.constants


class TestPosed:
    """A view whose pose is known: on its rays, in the reference's frame."""

    GRID = (4, 6)
    MATRIX = torch.tensor([[[40.0, 0.0, 23.5], [0.0, 40.0, 15.5], [0.0, 0.0, 1.0]]])
    OTHER = torch.tensor([[[60.0, 0.0, 20.0], [0.0, 60.0, 17.0], [0.0, 0.0, 1.0]]])
    POSE = torch.tensor(motion(yaw=0.4, pitch=-0.1, right=0.5, forward=0.3)).float()[None]

    @pytest.mark.parametrize("fov", [0.0, 60.0])
    @pytest.mark.parametrize("own", [False, True])
    def test_points_are_seen_at_their_pixels(self, own: bool, fov: float) -> None:
        decoder = make(dataclasses.replace(SMALL, own_frames=own, canonical_fov=fov))
        reference, target = features(self.GRID)
        with torch.no_grad():
            given = {"target_from_reference": self.POSE, "matrix": self.MATRIX, "target_matrix": self.OTHER}
            view = decoder.posed(reference, target, self.GRID, **given)
            there = transform_points(self.POSE, view.points)
            pixel, depth = project(there, self.OTHER)
            if own:  # as far away as the view alone says
                expected = decoder(target, reference, self.GRID, matrix=self.OTHER)[0]
                distance = expected.points.norm(dim=-1)
            else:
                expected = decoder(reference, target, self.GRID, matrix=self.MATRIX)[1]
                distance = transform_points(self.POSE, expected.points).norm(dim=-1)
        v, u = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
        assert (depth > 0).all()
        torch.testing.assert_close(pixel, torch.stack([u, v], -1)[None], atol=0.05, rtol=0)
        torch.testing.assert_close(there.norm(dim=-1), distance, rtol=1e-3, atol=1e-4)
        assert torch.equal(view.colors, expected.colors)

    def test_first_is_the_first_of_both(self) -> None:
        decoder = make()
        one, two = features(self.GRID)
        with torch.no_grad():
            alone, both = decoder.first(one, two, self.GRID), decoder(one, two, self.GRID)[0]
        assert torch.equal(alone.points, both.points) and torch.equal(alone.confidence, both.confidence)
        assert alone.local is None
