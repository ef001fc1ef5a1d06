"""Parameter groups, the schedule, moving averages."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from training.config import EmaConfig, OptimizerConfig
from training.muon import Muon
from training.optim import (
    Average,
    build_optimizer,
    learning_rate,
    parameter_groups,
    set_learning_rate,
    trained_parameters,
)
from uniugg_core.errors import UniuggError


def net() -> nn.Module:
    return nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))})


class TestGroups:
    def test_no_decay_on_vectors(self) -> None:
        model = net()
        groups = parameter_groups(trained_parameters(model), OptimizerConfig(weight_decay=0.1))
        decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
            "a.weight": 0.1,
            "a.bias": 0.0,
            "b.0.weight": 0.1,
            "b.0.bias": 0.0,
            "b.1.weight": 0.0,
            "b.1.bias": 0.0,
        }

    def test_longest_prefix_wins(self) -> None:
        model = net()
        config = OptimizerConfig(lr=1.0, factors={"b.": 0.5, "b.1.": 0.1})
        optimizer = build_optimizer(trained_parameters(model), config)
        set_learning_rate(optimizer, 2.0)
        rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        assert [rate[id(p)] for p in model.parameters()] == [2.0, 2.0, 1.0, 1.0, 0.2, 0.2]

    def test_misspelt_factor(self) -> None:
        with pytest.raises(UniuggError, match="'c.'"):
            parameter_groups(trained_parameters(net()), OptimizerConfig(factors={"c.": 0.5}))

    def test_factor_of_a_frozen_part(self) -> None:
        model = net()
        model["b"].requires_grad_(False)
        names = [name for name, _ in model.named_parameters()]
        groups = parameter_groups(trained_parameters(model), OptimizerConfig(factors={"b.": 0.5}), names)
        assert sum(len(group["params"]) for group in groups) == 2

    def test_tables_are_no_matrices(self) -> None:
        model = nn.ModuleDict({"embed_tokens": nn.Embedding(4, 3), "a": nn.Linear(3, 2), "c": nn.Conv2d(1, 1, 3)})
        groups = parameter_groups(trained_parameters(model), OptimizerConfig(matrices="muon"))
        assert [p.shape for group in groups if group["part"] == "muon" for p in group["params"]] == [(2, 3)]
        assert sum(len(group["params"]) for group in groups) == 5

    def test_muon_and_adamw_are_what_each_is_alone(self) -> None:
        both, matrices, vectors = net(), net(), net()
        for other in (matrices, vectors):
            other.load_state_dict(both.state_dict())
        config = OptimizerConfig(lr=0.01, matrices="muon", weight_decay=0.1)
        mixed = build_optimizer(trained_parameters(both), config)
        alone = [
            Muon([{"params": [p for p in matrices.parameters() if p.dim() == 2], "weight_decay": 0.1}], 0.01),
            torch.optim.AdamW(
                [p for p in vectors.parameters() if p.dim() == 1], lr=0.01, betas=config.betas, weight_decay=0.0
            ),
        ]
        for step in range(3):
            for model in (both, matrices, vectors):
                for number, parameter in enumerate(model.parameters()):
                    draw = torch.Generator().manual_seed(10 * step + number)
                    parameter.grad = torch.randn(parameter.shape, generator=draw)
            for optimizer in (mixed, *alone):
                optimizer.step()
            mixed.load_state_dict(mixed.state_dict())  # what is loaded goes on
        for mine, matrix, vector in zip(both.parameters(), matrices.parameters(), vectors.parameters()):
            torch.testing.assert_close(mine, matrix if mine.dim() == 2 else vector)

    def test_nothing_to_train(self) -> None:
        with pytest.raises(UniuggError, match="frozen"):
            build_optimizer(trained_parameters(net().requires_grad_(False)), OptimizerConfig())


class TestSchedule:
    config = OptimizerConfig(lr=1.0, min_lr=0.1, warmup=0.1)

    def test_known_values(self) -> None:
        rates = [learning_rate(step, 100, self.config) for step in range(100)]
        assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
        assert rates[10] == pytest.approx(1.0)
        assert rates[55] == pytest.approx(0.55)
        assert rates[99] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 89 / 90)))
        assert max(rates) == rates[10] and all(a >= b for a, b in zip(rates[10:], rates[11:]))

    def test_never_rises_above_a_small_peak(self) -> None:
        config = OptimizerConfig(lr=1e-8, min_lr=1e-6)
        assert max(learning_rate(step, 10, config) for step in range(10)) <= 1e-8


class TestAverage:
    def test_formula(self) -> None:
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        average = Average(trained_parameters(model), EmaConfig(decay=0.5))
        nn.init.ones_(model.weight)
        average.update(1)  # decay min(0.5, 2 / 11)
        assert float(average.values["weight"]) == pytest.approx(9 / 11)
        average.update(100)
        assert float(average.values["weight"]) == pytest.approx(10 / 11)

    def test_applied_and_undone(self) -> None:
        model = net()
        average = Average(trained_parameters(model), EmaConfig(decay=0.9, prefixes=("a.",)))
        assert set(average.values) == {"a.weight", "a.bias"}
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)
        live = {name: p.clone() for name, p in model.named_parameters()}
        averaged = {name: value.clone() for name, value in average.values.items()}
        with average.applied():
            assert torch.equal(model["a"].weight, averaged["a.weight"])
            assert torch.equal(model["b"][0].weight, live["b.0.weight"])
        assert all(torch.equal(p, live[name]) for name, p in model.named_parameters())
        assert all(torch.equal(average.values[name], averaged[name]) for name in averaged)

    def test_off(self) -> None:
        average = Average(trained_parameters(net()), EmaConfig())
        average.update(1)
        assert average.values == {}

    def test_misspelt_prefix(self) -> None:
        with pytest.raises(UniuggError, match="ema.prefixes"):
            Average(trained_parameters(net()), EmaConfig(decay=0.9, prefixes=("c.",)))
