from __future__ import annotations

import math
from pathlib import Path

import pytest
import safetensors.torch
import small_layouts as small
import torch
import torch.nn.functional as F
from rule_weights import RuleWeights, layout_shapes
from torch import Tensor

from uniugg_core import checkpoints
from uniugg_core.checkpoints import LAYOUTS, PublicCheckpoint, detect_layout, load_into, load_public, radio
from uniugg_core.config import CLIP_MEAN, preset
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.models.decoder import SpatialDecoder

EVERY = ["radio", "hf_radio", "mast3r", "uniugg"]
FRESH = ("projector.", "head_a.colors.", "head_b.colors.")


def read(layout: str, state: dict[str, Tensor] | None = None) -> PublicCheckpoint:
    state = small.state(layout) if state is None else state
    return LAYOUTS[detect_layout(state)].read(state, head_width=small.HEAD_WIDTH)


def refused(layout: str, state: dict[str, Tensor]) -> UniuggError:
    with pytest.raises(UniuggError) as caught:
        read(layout, state)
    assert caught.value.code == ErrorCode.CHECKPOINT_MISMATCH
    return caught.value


class TestEveryLayout:
    @pytest.mark.parametrize("layout", EVERY)
    def test_is_recognised(self, layout: str) -> None:
        assert detect_layout(small.state(layout)) == layout.removeprefix("hf_")

    @pytest.mark.parametrize("layout", EVERY)
    def test_every_value_arrives_once(self, layout: str) -> None:
        state = small.state(layout)
        found = read(layout, state)
        again = [name for name in state if ".scratch.layer_rn." in name]
        expected = sum(value.numel() for name, value in state.items() if name not in {*again, *found.ignored})
        assert sum(value.numel() for value in found.tensors.values()) == expected
        assert sum(float(value.double().sum()) for value in found.tensors.values()) == pytest.approx(
            sum(float(v.double().sum()) for k, v in state.items() if k not in {*again, *found.ignored})
        )

    @pytest.mark.parametrize("layout", EVERY)
    def test_networks_run(self, layout: str) -> None:
        found = read(layout)
        encoder = found.build_encoder()
        images = torch.rand(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            out = encoder(encoder.normalise(images))
            assert out.features.shape == (2, 15, small.ENCODER)
            if "radio" in layout:
                assert found.decoder is None
                return
            a, b = found.build_spatial()(out.features[:1], out.features[1:], out.grid)
        assert a.points.shape == (1, 48, 80, 3)
        assert b.descriptors.shape == (1, 48, 80, small.DESCRIPTOR)
        assert (a.colors is None) == (layout == "mast3r")

    @pytest.mark.parametrize("layout", EVERY)
    def test_a_missing_tensor_is_named(self, layout: str) -> None:
        state = small.state(layout)
        gone = next(name for name in state if name.endswith("blocks.2.mlp.fc2.bias"))
        del state[gone]
        expected = "blocks_a.2.mlp.fc2.bias" if gone.startswith("dec_") else "encoder.blocks.2.mlp.fc2.bias"
        assert expected in str(refused(layout, state))

    @pytest.mark.parametrize("layout", EVERY)
    def test_an_unknown_tensor_is_named_with_its_shape(self, layout: str) -> None:
        message = str(refused(layout, {**small.state(layout), "quantum.weight": torch.zeros(3, 4)}))
        assert "quantum.weight (3, 4)" in message

    @pytest.mark.parametrize("layout", EVERY)
    def test_another_shape_is_named_with_both(self, layout: str) -> None:
        state = small.state(layout)
        name = next(name for name in state if name.endswith("blocks.1.norm1.bias"))
        state[name] = torch.zeros(7)
        message = str(refused(layout, state))
        assert "(7,)" in message
        assert f"({small.ENCODER},)" in message or f"({small.DECODER},)" in message

    def test_a_hole_in_the_blocks_is_refused(self) -> None:
        state = {name: value for name, value in small.state("radio").items() if ".blocks.1." not in name}
        assert "0, 2, 3" in str(refused("radio", state))

    def test_other_files_are_of_no_layout(self) -> None:
        with pytest.raises(UniuggError, match="conv1.weight") as caught:
            detect_layout({"conv1.weight": torch.zeros(1)})
        assert caught.value.code == ErrorCode.CHECKPOINT_INVALID


class TestFullSize:
    """The published manifests, on tensors that take no memory."""

    def meta(self, layout: str) -> dict[str, Tensor]:
        return {name: torch.empty(shape, device="meta") for name, shape in layout_shapes(layout).items()}

    def test_uniugg_is_the_paper_preset(self) -> None:
        shapes = layout_shapes("uniugg")
        shapes = {name: shape for name, shape in shapes.items() if ".scratch.layer_rn." not in name}
        state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        state["encoder.summary_idxs"] = torch.tensor([0, 1, 2])
        found = LAYOUTS["uniugg"].read(state)
        assert found.encoder == preset("paper").encoder
        assert found.decoder == preset("paper").decoder

    def test_mast3r_has_its_published_size(self) -> None:
        state = {name: value for name, value in self.meta("mast3r").items() if ".scratch.layer_rn." not in name}
        found = LAYOUTS["mast3r"].read(state)
        assert sum(value.numel() for value in found.tensors.values()) + 768 == 688_638_856  # mask_token 768
        assert found.encoder.kind == "croco"
        assert (found.encoder.width, found.encoder.depth, found.encoder.heads) == (1024, 24, 16)
        assert found.encoder.image_mean == (0.5, 0.5, 0.5)
        assert found.decoder.rgb is False
        assert found.decoder.projector is False

    def test_radio_is_uniugg_under_another_prefix(self) -> None:
        state = {
            name.replace("encoder.model.", "base_model."): value
            for name, value in self.meta("uniugg").items()
            if name.startswith("encoder.model.")
        }
        assert LAYOUTS["radio"].read(state).encoder == preset("paper").encoder

    def test_rule_weights_are_made_one_at_a_time(self) -> None:
        weights = RuleWeights({"a.weight": (4, 3), "a.scratch.layer_rn.2.weight": (2, 2), "b.bias": (5,)})
        assert torch.equal(weights["a.weight"], weights["a.weight"])
        other = RuleWeights({"a.scratch.layer3_rn.weight": (2, 2)})
        assert torch.equal(weights["a.scratch.layer_rn.2.weight"], other["a.scratch.layer3_rn.weight"])
        assert weights["b.bias"].abs().max() < 0.1


class TestRadio:
    def test_sizes_are_read_off_the_shapes(self) -> None:
        encoder = read("radio").encoder
        assert (encoder.width, encoder.depth, encoder.heads, encoder.patch) == (small.ENCODER, small.DEPTH, 2, 16)
        assert (encoder.position_grid, encoder.cls_tokens, encoder.registers) == (small.TABLE, 4, 4)
        assert encoder.mlp_ratio == 4
        assert encoder.image_mean == CLIP_MEAN
        assert not encoder.final_norm

    def test_a_final_norm_is_used_if_there_is_one(self) -> None:
        state = small.state("radio") | {
            "base_model.norm.weight": torch.ones(32),
            "base_model.norm.bias": torch.ones(32),
        }
        found = read("radio", state)
        assert found.encoder.final_norm
        assert torch.equal(found.build_encoder().norm.bias, torch.ones(32))

    def test_position_table_is_row_major(self) -> None:
        state = small.state("radio")
        table = read("radio", state).tensors["encoder.position_table"]
        assert table.shape == (small.TABLE, small.TABLE, small.ENCODER)
        assert torch.equal(table[2, 5], state["base_model.patch_generator.pos_embed"][0, 2 * small.TABLE + 5])

    def test_position_table_takes_another_side(self) -> None:
        found = radio.read(small.state("radio"), head_width=small.HEAD_WIDTH, position_grid=11)
        before = read("radio").tensors["encoder.position_table"]
        after = found.tensors["encoder.position_table"]
        assert found.encoder.position_grid == 11
        assert after.shape == (11, 11, small.ENCODER)
        for corner, own in (((0, 0), (0, 0)), ((10, 0), (5, 0)), ((0, 10), (0, 5)), ((10, 10), (5, 5))):
            torch.testing.assert_close(after[corner], before[own])
        torch.testing.assert_close(after[4, 6], before[2, 3], rtol=1e-4, atol=1e-5)  # 11 - 1 = 2 (6 - 1)

    def test_summary_tokens_of_the_file(self) -> None:
        state = small.state("hf_radio") | {"radio_model.summary_idxs": torch.tensor([0, 2])}
        assert read("hf_radio", state).encoder.summary_tokens == (0, 2)

    def test_a_table_that_is_no_square_is_refused(self) -> None:
        state = small.state("radio") | {"base_model.patch_generator.pos_embed": torch.zeros(1, 35, 32)}
        assert "35" in str(refused("radio", state))


class TestSpectral:
    LAYER = "base_model.blocks.0.attn.proj"

    def reparametrised(self, state: dict[str, Tensor], layer: str, part: str, version: int) -> dict[str, Tensor]:
        """Moves a weight into its reparametrisation, with a scale of 1.5 and its own leading singular vectors."""
        state = dict(state)
        weight = state.pop(f"{layer}.weight", None)
        if weight is None:
            weight = state[f"{layer}.parametrizations.weight.original"]
        rows = weight if not part else weight.chunk(3)[int(part)]
        u, _, vh = torch.linalg.svd(rows)
        stem = f"{layer}.parametrizations.weight"
        inner = f"{stem}.0.parts.{part}" if part else f"{stem}.0"
        state |= {
            f"{stem}.original": weight,
            f"{inner}.scale": torch.tensor([[1.5]]),
            f"{inner}._u": u[:, 0],
            f"{inner}._v": vh[0],
        }
        if version == 2:
            state[f"{inner}._sn_version"] = torch.tensor(2)
        return state

    @pytest.mark.parametrize("version, singular", [(1, 1.5), (2, math.log(1 + math.exp(1.5)) + 0.05)])
    def test_largest_singular_value_becomes_the_scale(self, version: int, singular: float) -> None:
        plain = small.state("radio")
        found = read("radio", self.reparametrised(plain, self.LAYER, "", version))
        weight = found.tensors["encoder.blocks.0.attn.proj.weight"]
        assert float(torch.linalg.matrix_norm(weight, 2)) == pytest.approx(singular, rel=1e-4)
        original = plain[f"{self.LAYER}.weight"]
        torch.testing.assert_close(F.normalize(weight.flatten(), dim=0), F.normalize(original.flatten(), dim=0))

    def test_known_answer(self) -> None:
        """diag(2, 1) with u = v = e1 and scale 3: the factor is 3 / 2."""
        stem = "x.parametrizations.weight"
        folded = radio.fold_spectral(
            {
                f"{stem}.original": torch.diag(torch.tensor([2.0, 1.0])),
                f"{stem}.0.scale": torch.tensor(3.0),
                f"{stem}.0._u": torch.tensor([1.0, 0.0]),
                f"{stem}.0._v": torch.tensor([1.0, 0.0]),
                "x.bias": torch.zeros(2),
            }
        )
        assert set(folded) == {"x.weight", "x.bias"}
        torch.testing.assert_close(folded["x.weight"], torch.diag(torch.tensor([3.0, 1.5])))

    def test_thirds_of_qkv_have_their_own_and_a_missing_one_is_identity(self) -> None:
        layer, plain = "base_model.blocks.1.attn.qkv", small.state("radio")
        state = self.reparametrised(self.reparametrised(plain, layer, "0", 2), layer, "2", 2)
        q, k, v = read("radio", state).tensors["encoder.blocks.1.attn.qkv.weight"].chunk(3)
        expected = math.log(1 + math.exp(1.5)) + 0.05
        assert float(torch.linalg.matrix_norm(q, 2)) == pytest.approx(expected, rel=1e-4)
        assert float(torch.linalg.matrix_norm(v, 2)) == pytest.approx(expected, rel=1e-4)
        assert torch.equal(k, plain[f"{layer}.weight"].chunk(3)[1])

    @pytest.mark.parametrize("gone", ["original", "0.scale", "0._u", "0._v"])
    def test_half_a_reparametrisation_is_refused(self, gone: str) -> None:
        state = self.reparametrised(small.state("radio"), self.LAYER, "", 2)
        del state[f"{self.LAYER}.parametrizations.weight.{gone}"]
        assert self.LAYER in str(refused("radio", state))

    def test_vectors_of_another_length_are_refused(self) -> None:
        state = self.reparametrised(small.state("radio"), self.LAYER, "", 2)
        state[f"{self.LAYER}.parametrizations.weight.0._u"] = torch.ones(3)
        assert "(3,)" in str(refused("radio", state))


class TestDecoderLayouts:
    @pytest.mark.parametrize("layout", ["mast3r", "uniugg"])
    def test_sizes_are_read_off_the_shapes(self, layout: str) -> None:
        decoder = read(layout).decoder
        assert (decoder.width, decoder.depth, decoder.heads) == (small.DECODER, small.DEPTH, 3)
        assert decoder.dpt_widths == small.DPT
        assert decoder.dpt_hooks == (0, 2, 3, 4)
        assert (decoder.dpt_features, decoder.dpt_head_width) == (small.FUSION, small.POINTS)
        assert (decoder.descriptor, decoder.local_mlp_ratio) == (small.DESCRIPTOR, 2)
        assert decoder.projector == decoder.rgb == (layout == "uniugg")

    def test_names_lead_where_they_should(self) -> None:
        state = small.state("uniugg")
        tensors = read("uniugg", state).tensors
        pairs = {
            "fc2.weight": "spatial.projector.2.weight",
            "dec_blocks.1.norm_y.bias": "spatial.blocks_a.1.norm_context.bias",
            "dec_blocks2.3.cross_attn.projv.weight": "spatial.blocks_b.3.cross_attn.v.weight",
            "downstream_head2.dpt.scratch.layer3_rn.weight": "spatial.head_b.dpt.lateral.2.weight",
            "downstream_head1.dpt.scratch.refinenet4.resConfUnit2.conv1.bias": (
                "spatial.head_a.dpt.fusion.3.path_unit.conv1.bias"
            ),
            "downstream_head1.dpt.rgb_head.4.bias": "spatial.head_a.colors.4.bias",
            "downstream_head2.head_local_features.fc1.bias": "spatial.head_b.descriptors.fc1.bias",
        }
        for public, own in pairs.items():
            assert torch.equal(tensors[own], state[public]), public

    def test_teacher_and_remains_are_left_out(self) -> None:
        ignored = read("uniugg").ignored
        assert {"mask_token", "enc_norm.weight", "patch_embed.proj.weight", "encoder.summary_idxs"} <= set(ignored)
        assert any(name.startswith("radio_model_teacher.") for name in ignored)

    def test_second_branch_is_copied_if_absent(self) -> None:
        state = {name: value for name, value in small.state("mast3r").items() if not name.startswith("dec_blocks2.")}
        spatial = read("mast3r", state).build_spatial()
        one, two = spatial.blocks_a[2].mlp.fc1.weight, spatial.blocks_b[2].mlp.fc1.weight
        assert torch.equal(one, two)
        assert one.data_ptr() != two.data_ptr()  # or training would move both

    @pytest.mark.parametrize("kept", ["layer_rn.", "layer2_rn"])
    def test_either_name_of_the_lateral_layers_will_do(self, kept: str) -> None:
        state = small.state("mast3r")
        dropped = "layer_rn." if kept != "layer_rn." else "_rn.weight"
        fewer = {name: value for name, value in state.items() if dropped not in name or kept in name}
        assert len(fewer) == len(state) - 8
        assert read("mast3r", fewer).tensors.keys() == read("mast3r", state).tensors.keys()

    def test_two_lateral_layers_that_differ_are_refused(self) -> None:
        state = small.state("mast3r")
        state["downstream_head1.dpt.scratch.layer_rn.1.weight"] = torch.zeros(small.FUSION, small.DPT[1], 3, 3)
        assert "layer_rn.1" in str(refused("mast3r", state))

    def test_mast3r_starts_a_uniugg_decoder(self) -> None:
        mast3r, full = read("mast3r"), read("uniugg")
        decoder = SpatialDecoder(full.decoder, small.ENCODER, small.PATCH)
        own = decoder.projector[0].weight.detach().clone()
        fresh = load_into(decoder, mast3r.tensors, "spatial.", fresh=FRESH)
        assert {name.partition(".")[0] for name in fresh} == {"projector", "head_a", "head_b"}
        assert all("projector" in name or "colors" in name for name in fresh)
        assert torch.equal(decoder.projector[0].weight, own)
        assert torch.equal(decoder.embed.weight, mast3r.tensors["spatial.embed.weight"])

    def test_starting_is_strict_about_the_rest(self) -> None:
        mast3r = read("mast3r")
        decoder = SpatialDecoder(read("uniugg").decoder, small.ENCODER, small.PATCH)
        with pytest.raises(UniuggError, match="projector"):
            load_into(decoder, mast3r.tensors, "spatial.")
        before = decoder.embed.weight.detach().clone()
        del mast3r.tensors["spatial.norm.weight"]
        with pytest.raises(UniuggError, match="spatial.norm.weight"):
            load_into(decoder, mast3r.tensors, "spatial.", fresh=FRESH)
        assert torch.equal(decoder.embed.weight, before)


class TestLoadPublic:
    @pytest.mark.parametrize("layout", EVERY)
    def test_from_safetensors(self, layout: str, tmp_path: Path) -> None:
        state = {name: value.clone() for name, value in small.state(layout).items()}
        safetensors.torch.save_file(state, tmp_path / "model.safetensors")
        for path in (tmp_path / "model.safetensors", tmp_path):
            found = load_public(path, head_width=small.HEAD_WIDTH)
            assert found.tensors.keys() == read(layout).tensors.keys()

    def test_layout_can_be_told(self, tmp_path: Path) -> None:
        safetensors.torch.save_file({k: v.clone() for k, v in small.state("radio").items()}, tmp_path / "r.safetensors")
        assert load_public(tmp_path / "r.safetensors", "radio", head_width=16).layout == "radio"
        with pytest.raises(UniuggError, match="croissant"):
            load_public(tmp_path / "r.safetensors", "croissant")
        with pytest.raises(UniuggError) as caught:
            load_public(tmp_path / "r.safetensors", "mast3r", head_width=16)
        assert caught.value.code == ErrorCode.CHECKPOINT_MISMATCH

    def test_number_format_is_the_files_and_the_networks_is_asked_for(self) -> None:
        half = {
            name: value.half() if value.is_floating_point() else value for name, value in small.state("uniugg").items()
        }
        found = read("uniugg", half)
        assert {value.dtype for value in found.tensors.values()} == {torch.float16}
        assert found.build_encoder().patch_embed.weight.dtype == torch.float32
        assert found.build_encoder(torch.bfloat16).patch_embed.weight.dtype == torch.bfloat16

    def test_radio_has_no_decoder_to_build(self) -> None:
        with pytest.raises(UniuggError) as caught:
            read("radio").build_spatial()
        assert caught.value.code == ErrorCode.CHECKPOINT_MISSING

    def test_the_package_says_what_it_offers(self) -> None:
        assert all(hasattr(checkpoints, name) for name in checkpoints.__all__)
