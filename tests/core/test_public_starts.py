"""Local Qwen2.5 and Stable Diffusion 1.x folders, made in their true layouts by their own libraries."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import safetensors.torch
import torch
from small_model import SMALL, refused

from uniugg_core.checkpoints.qwen2 import load_qwen2, read_qwen2
from uniugg_core.checkpoints.sd15 import load_sd15, read_sd15
from uniugg_core.config import DenoiserConfig, LanguageConfig
from uniugg_core.errors import ErrorCode
from uniugg_core.models.denoiser import Denoiser
from uniugg_core.models.language import Language
from uniugg_core.models.qwen import build_qwen
from uniugg_core.tokenizer import SHIPPED_TOKENIZER

SIZES = dataclasses.replace(SMALL.language, vocab_size=2112, rope_theta=5e5, max_positions=128)
UNET = SMALL.denoiser


def seeded(build, *args):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return build(*args).eval()


@pytest.fixture(scope="module")
def qwen():
    return seeded(build_qwen, SIZES)


@pytest.fixture
def qwen_folder(qwen, tmp_path):
    qwen.save_pretrained(tmp_path / "qwen")
    shutil.copytree(
        SHIPPED_TOKENIZER, tmp_path / "qwen", dirs_exist_ok=True, ignore=shutil.ignore_patterns("config.json")
    )
    return tmp_path / "qwen"


def edit(path, **changes):
    data = json.loads(path.read_text())
    data.update(changes)
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))


class TestQwen2:
    def test_sizes_and_weights(self, qwen, qwen_folder):
        config, tensors = read_qwen2(qwen_folder, SMALL.language)
        assert config == SIZES
        language = Language(config, 32, 32)
        load_qwen2(language, qwen_folder)
        ids = torch.arange(12)[None]
        with torch.no_grad():
            assert torch.equal(language.qwen(input_ids=ids).logits, qwen(input_ids=ids).logits)
        assert all(key.startswith("language.qwen.") for key in tensors)

    def test_shards(self, qwen, qwen_folder, tmp_path):
        qwen.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
        assert (tmp_path / "sharded" / "model.safetensors.index.json").is_file()
        _, whole = read_qwen2(qwen_folder)
        _, sharded = read_qwen2(tmp_path / "sharded")
        assert whole.keys() == sharded.keys() and all(torch.equal(whole[key], sharded[key]) for key in whole)

    def test_untied_head(self, tmp_path):
        sizes = dataclasses.replace(SIZES, tie_embeddings=False)
        seeded(build_qwen, sizes).save_pretrained(tmp_path / "untied")
        config, tensors = read_qwen2(tmp_path / "untied", SMALL.language)
        assert config == sizes
        assert not torch.equal(
            tensors["language.qwen.lm_head.weight"], tensors["language.qwen.model.embed_tokens.weight"]
        )

    def test_the_older_place_of_the_rotary_base(self, qwen_folder):
        edit(qwen_folder / "config.json", rope_parameters=..., rope_theta=1234.0)
        assert read_qwen2(qwen_folder)[0].rope_theta == 1234.0

    def test_rows_are_added_for_control_tokens(self, qwen_folder, tmp_path):
        sizes = dataclasses.replace(SIZES, vocab_size=2040)
        model = seeded(build_qwen, sizes)
        model.save_pretrained(qwen_folder)
        config, tensors = read_qwen2(qwen_folder)
        table = tensors["language.qwen.model.embed_tokens.weight"]
        assert config.vocab_size == len(table) == 2048
        assert torch.equal(table[:2040], model.model.embed_tokens.weight)
        assert torch.allclose(table[2040:], table[:2040].mean(dim=0), atol=1e-6)

    def test_dtype(self, qwen_folder):
        _, tensors = read_qwen2(qwen_folder, dtype=torch.bfloat16)
        assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}

    @pytest.mark.parametrize(
        "change",
        [
            {"model_type": "llama"},
            {"hidden_act": "gelu"},
            {"use_sliding_window": True},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}},
            {"num_hidden_layers": ...},
        ],
    )
    def test_other_models_are_refused(self, qwen_folder, change):
        edit(qwen_folder / "config.json", **change)
        refused(ErrorCode.CHECKPOINT_INVALID, read_qwen2, qwen_folder)

    def test_other_sizes_are_named(self, qwen_folder):
        language = Language(dataclasses.replace(SIZES, mlp_width=96), 32, 32)
        message = refused(ErrorCode.CHECKPOINT_MISMATCH, load_qwen2, language, qwen_folder)
        assert "mlp" in message and "96" in message

    def test_pickles_are_refused(self, qwen_folder):
        (qwen_folder / "model.safetensors").rename(qwen_folder / "pytorch_model.bin")
        refused(ErrorCode.CHECKPOINT_UNSAFE, read_qwen2, qwen_folder)

    def test_missing(self, tmp_path, qwen_folder):
        refused(ErrorCode.CHECKPOINT_MISSING, read_qwen2, tmp_path / "nowhere")
        (qwen_folder / "config.json").unlink()
        refused(ErrorCode.CHECKPOINT_MISSING, read_qwen2, qwen_folder)


@pytest.fixture(scope="module")
def denoiser():
    return seeded(Denoiser, UNET, SMALL.latent_shape, 16)


@pytest.fixture
def sd_folder(denoiser, tmp_path):
    from diffusers import PNDMScheduler

    denoiser.unet.save_pretrained(tmp_path / "sd" / "unet")
    PNDMScheduler(beta_start=0.001, beta_end=0.02, beta_schedule="scaled_linear").save_pretrained(
        tmp_path / "sd" / "scheduler"
    )
    return tmp_path / "sd"


class TestStableDiffusion:
    def test_sizes_schedule_and_weights(self, denoiser, sd_folder):
        start = read_sd15(sd_folder)
        assert start.config == dataclasses.replace(UNET, beta_start=0.001, beta_end=0.02)
        assert (start.latent_channels, start.condition_width) == (4, 16)
        fresh = Denoiser(UNET, SMALL.latent_shape, 16)
        load_sd15(fresh, sd_folder)
        assert all(torch.equal(value, fresh.state_dict()[key]) for key, value in denoiser.state_dict().items())

    def test_the_unets_own_folder(self, sd_folder):
        assert read_sd15(sd_folder / "unet").config == dataclasses.replace(UNET)

    def test_half_precision_file(self, sd_folder):
        unet = sd_folder / "unet"
        tensors = safetensors.torch.load_file(unet / "diffusion_pytorch_model.safetensors")
        (unet / "diffusion_pytorch_model.safetensors").unlink()
        halves = {key: value.half() for key, value in tensors.items()}
        safetensors.torch.save_file(halves, unet / "diffusion_pytorch_model.fp16.safetensors")
        assert read_sd15(sd_folder, dtype=torch.float32).tensors["denoiser.unet.conv_in.weight"].dtype == torch.float32

    def test_shards(self, denoiser, sd_folder, tmp_path):
        denoiser.unet.save_pretrained(tmp_path / "sharded", max_shard_size="50KB")
        assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
        assert read_sd15(tmp_path / "sharded").tensors.keys() == read_sd15(sd_folder).tensors.keys()

    def test_published_defaults(self, sd_folder):
        """The published config.json of 1.5 says less than diffusers writes today."""
        needed = ("block_out_channels", "down_block_types", "layers_per_block", "attention_head_dim")
        kept = {"_class_name", "in_channels", "out_channels", "cross_attention_dim", "norm_num_groups", *needed}
        path = sd_folder / "unet" / "config.json"
        path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key in kept}))
        assert read_sd15(sd_folder / "unet").config == UNET

    @pytest.mark.parametrize(
        "change",
        [
            {"_class_name": "UNet2DModel"},
            {"use_linear_projection": True},
            {"addition_embed_type": "text_time"},
            {"attention_head_dim": [5, 10]},
            {"down_block_types": ["AttnDownBlock2D", "DownBlock2D"]},
            {"cross_attention_dim": ...},
        ],
    )
    def test_other_unets_are_refused(self, sd_folder, change):
        edit(sd_folder / "unet" / "config.json", **change)
        refused(ErrorCode.CHECKPOINT_INVALID, read_sd15, sd_folder)

    def test_other_sizes_are_named(self, sd_folder):
        other = Denoiser(UNET, (4, 8, 8), 24)
        assert "to_k" in refused(ErrorCode.CHECKPOINT_MISMATCH, load_sd15, other, sd_folder)

    def test_pickles_are_refused(self, sd_folder):
        weights = sd_folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_suffix(".bin"))
        refused(ErrorCode.CHECKPOINT_UNSAFE, read_sd15, sd_folder)


def test_defaults_are_the_published_models():
    assert LanguageConfig().width == 2048 and DenoiserConfig().widths == (320, 640, 1280, 1280)
