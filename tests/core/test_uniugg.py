"""The whole model: its parameter counts, reproducible fresh weights, and the generation loss of every variant."""

from __future__ import annotations

import math

import pytest
import torch
from small_model import SMALL, features, model, rays

from uniugg_core.config import preset
from uniugg_core.models import uniugg
from uniugg_core.models.uniugg import PARTS, Seen, UniUGG
from uniugg_core.tokenizer import SpatialTokenizer

VARIANTS = {
    "diffusion": {},
    "vit vae": {"vae__arch": "vit", "vae__up": 1},
    "no vae": {"vae__enabled": False},
    "regression": {"denoiser__kind": "regress"},
    "croco encoder": {"encoder__kind": "croco"},
    "bidirectional": {"language__bidirectional_queries": True},
}


class TestCounts:
    def test_paper_has_the_published_sizes(self):
        counts = UniUGG.parameter_counts(preset("paper"))
        assert counts["encoder"] == 319_881_216
        assert counts["spatial_decoder"] == 388_302_478
        assert counts["spatial_vae"] == 14_581_000 + 19_294_976
        assert counts["language_model"] == 3_085_938_688
        assert counts["denoiser"] == 859_520_964

    def test_tiny_fits(self):
        counts = UniUGG.parameter_counts(preset("tiny"))
        assert counts["total"] <= 30_000_000
        assert counts["total"] * 2 < 59.8e6  # bytes in half precision; header and tokenizer need the rest of 60 MB

    def test_total_is_the_sum_and_the_module(self):
        counts = UniUGG.parameter_counts(SMALL)
        assert counts.pop("total") == sum(counts.values()) == sum(p.numel() for p in model().parameters())


def test_names_begin_with_the_parts():
    assert {name.partition(".")[0] for name in model().state_dict()} == set(PARTS)


class TestInitialisation:
    def test_same_seed_same_weights(self):
        first, again, other = model(seed=3).state_dict(), model(seed=3).state_dict(), model(seed=4).state_dict()
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["encoder.position_table"], other["encoder.position_table"])

    def test_global_random_state_is_left_alone(self):
        torch.manual_seed(11)
        expected = torch.rand(3)
        torch.manual_seed(11)
        model(seed=3)
        assert torch.equal(torch.rand(3), expected)

    def test_cheap_weights_of_large_models_run(self, monkeypatch):
        monkeypatch.setattr(uniugg, "CHEAP_ABOVE", 0)
        tokenizer = SpatialTokenizer.shipped()
        made, again = (UniUGG.initialised(SMALL, 0, tokenizer, torch.bfloat16) for _ in range(2))
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in made.state_dict().items())
        assert made.dtype == torch.bfloat16
        assert made.language.qwen.lm_head.weight is made.language.qwen.model.embed_tokens.weight
        with torch.no_grad():
            z = made.encode(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
            condition = made.language.condition(z.features, rays())
        assert z.features.dtype == torch.bfloat16
        assert 0.01 < z.features.float().std() < 100
        assert torch.isfinite(condition).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_generation_loss(variant):
    built = model(SMALL.replace(**VARIANTS[variant])).train()
    reference, target = features(2), features(2, seed=5)

    def loss(seed: int) -> torch.Tensor:
        made = built.generate(Seen(reference, (4, 4)), target, rays(2), torch.Generator().manual_seed(seed))
        assert made.to_features(made.estimate[:1]).shape == target[:1].shape and made.blind.shape == (2,)
        return made.loss

    value = loss(0)
    assert math.isfinite(value.item()) and torch.equal(value, loss(0))
    value.backward()
    touched = {name.partition(".")[0] for name, p in built.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"language", "denoiser"}  # encoder, VAE and spatial decoder are frozen in this stage


def test_dropping_every_condition_trains_the_null_condition_alone():
    built = model()
    generator = torch.Generator().manual_seed(0)
    made = built.generate(Seen(features(2), (4, 4)), features(2, seed=5), rays(2), generator, drop_condition=1.0)
    made.loss.backward()
    assert made.blind.all()
    assert built.language.null_condition.grad.abs().sum() > 0
    assert not built.language.projector[0].weight.grad.any()
