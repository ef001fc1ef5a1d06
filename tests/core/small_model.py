"""A model of every part at toy sizes: 4 x 4 tokens from 32 pixels, ready in a fraction of a second."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from uniugg_core.config import (
    DecoderConfig,
    DenoiserConfig,
    EncoderConfig,
    GenerationConfig,
    LanguageConfig,
    ModelConfig,
    VAEConfig,
)
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.outputs import Observation
from uniugg_core.pipeline import UniUGGPipeline
from uniugg_core.tokenizer import SpatialTokenizer

SMALL = ModelConfig(
    name="small",
    image_size=32,
    encoder=EncoderConfig(width=32, depth=2, heads=2, patch=8, position_grid=8, stem=(8, 8)),
    decoder=DecoderConfig(
        width=32,
        depth=2,
        heads=2,
        dpt_hooks=(0, 1, 1, 2),
        dpt_widths=(8, 8, 8, 8),
        dpt_features=8,
        dpt_head_width=8,
        rgb_width=8,
        descriptor=4,
        local_mlp_ratio=0.25,
    ),
    vae=VAEConfig(widths=(32, 16), blocks=1, groups=8, vit_width=32, vit_heads=2, vit_depths=(1, 1)),
    language=LanguageConfig(
        vocab_size=2048, width=32, mlp_width=64, depth=3, heads=4, kv_heads=2, max_positions=600, condition_width=16
    ),
    denoiser=DenoiserConfig(widths=(16, 32), cross_attention=(True, False), layers=1, heads=2, groups=8),
    generation=GenerationConfig(
        scheduler="ddim", steps=3, max_new_tokens=8, max_question_tokens=64, max_images=4, drop_confidence_quantile=0.0
    ),
)
TOKENS = SMALL.grid**2


def model(config: ModelConfig = SMALL, seed: int = 0) -> UniUGG:
    return UniUGG.initialised(config, seed, SpatialTokenizer.shipped())


@functools.cache
def shared_model() -> UniUGG:
    """One model for tests that leave it as it is."""
    return model()


def pipeline(config: ModelConfig = SMALL, seed: int = 0) -> UniUGGPipeline:
    """A pipeline of its own, nothing remembered; the small model itself is shared."""
    built = shared_model() if config is SMALL and seed == 0 else model(config, seed)
    return UniUGGPipeline(built, SpatialTokenizer.shipped())


def picture(seed: int = 0, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def observation(seed: int = 0, **fields) -> Observation:
    return Observation(picture(seed), **fields)


def features(batch: int = 1, seed: int = 0, tokens: int = TOKENS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, tokens, SMALL.encoder.width, generator=generator)


def rays(batch: int = 1, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, SMALL.grid, SMALL.grid, 6, generator=generator)


def refused(code: ErrorCode, function, *args, **kwargs) -> str:
    """The message of the refusal that `function` must raise."""
    with pytest.raises(UniuggError) as caught:
        function(*args, **kwargs)
    assert caught.value.code is code, caught.value
    return caught.value.message
