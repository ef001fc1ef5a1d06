"""AdamW and Muon with their parameter groups, the learning-rate schedule, and moving averages of weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from uniugg_core.errors import ErrorCode, UniuggError

from .config import EmaConfig, OptimizerConfig
from .muon import Muon

__all__ = [
    "AdamWAndMuon",
    "Average",
    "build_optimizer",
    "learning_rate",
    "parameter_groups",
    "set_learning_rate",
    "trained_parameters",
]


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters of `model` that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def parameter_groups(
    parameters: Mapping[str, nn.Parameter], config: OptimizerConfig, known: Iterable[str] = ()
) -> list[dict]:
    """Groups by optimiser, learning-rate factor (longest matching prefix) and weight decay (not of vectors).

    Args:
        parameters: what is trained, by name.
        config: rates.
        known: names of the frozen parameters; a factor may be about them.

    Raises:
        UniuggError: REQUEST_INVALID if a factor's prefix matches no name: a misspelt one would be silent.
    """
    names = [*parameters, *known]
    for prefix in config.factors:
        if not any(name.startswith(prefix) for name in names):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"optimizer.factors: no parameter begins with {prefix!r}")
    groups: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        matching = [prefix for prefix in config.factors if name.startswith(prefix)]
        factor = config.factors[max(matching, key=len)] if matching else 1.0
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        part = "muon" if config.matrices == "muon" and _is_matrix(name, parameter) else "adamw"
        groups.setdefault((part, factor, decay), []).append(parameter)
    return [
        {"params": members, "lr": config.lr * factor, "weight_decay": decay, "factor": factor, "part": part}
        for (part, factor, decay), members in groups.items()
    ]


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether it maps vectors to vectors; the rows of a table (of tokens, of positions) each stand for themselves."""
    return parameter.dim() == 2 and not any(table in name for table in ("embed_tokens", "lm_head", "position"))


class AdamWAndMuon(torch.optim.Optimizer):
    """AdamW and Muon as one, each for its groups; state and groups are shared with theirs.

    Muon (Jordan et al. 2024) makes the update of a matrix orthogonal, so that no direction is left behind; scaled to
    AdamW's size (Liu et al., arXiv 2502.16982) it takes AdamW's learning rate.

    Args:
        groups: from :func:`parameter_groups`.
        config: rates.
    """

    def __init__(self, groups: list[dict], config: OptimizerConfig) -> None:
        by_part = {part: [g for g in groups if g["part"] == part] for part in ("adamw", "muon")}
        self.parts: dict[str, torch.optim.Optimizer] = {}
        if by_part["adamw"]:
            self.parts["adamw"] = torch.optim.AdamW(
                by_part["adamw"], lr=config.lr, betas=config.betas, eps=config.eps, fused=config.fused
            )
        if by_part["muon"]:
            self.parts["muon"] = Muon(by_part["muon"], lr=config.lr)
        super().__init__([group for part in self.parts.values() for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        for name, part in self.parts.items():
            part.state = self.state
            part.param_groups = [group for group in self.param_groups if group["part"] == name]

    def load_state_dict(self, state_dict: dict) -> None:
        """As torch's, and the parts go on with what was loaded."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Both parts' updates."""
        for part in self.parts.values():
            part.step()


def build_optimizer(
    parameters: Mapping[str, nn.Parameter], config: OptimizerConfig, known: Iterable[str] = ()
) -> torch.optim.Optimizer:
    """The configured optimiser over :func:`parameter_groups`.

    Raises:
        UniuggError: REQUEST_INVALID if nothing is to be trained.
    """
    if not parameters:
        raise UniuggError(ErrorCode.REQUEST_INVALID, "every parameter is frozen: there is nothing to train")
    groups = parameter_groups(parameters, config, known)
    if config.matrices == "muon":
        return AdamWAndMuon(groups, config)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=config.fused)


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Rate of update number `step` (from 0) of `steps`: a straight climb, then half a cosine down to ``min_lr``."""
    warm = config.warmup * steps
    if step < warm:
        return config.lr * (step + 1) / (warm + 1)
    share = (step - warm) / max(1.0, steps - warm)
    low = min(config.min_lr, config.lr)
    return low + (config.lr - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group `rate` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


class Average:
    """Exponential moving average of some parameters: ``a <- d a + (1 - d) w`` after every update.

    Early on the decay is ``(1 + n) / (10 + n)`` at most, so that the random start is soon forgotten.

    Args:
        parameters: what is averaged, by name.
        config: decay and which names.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], config: EmaConfig) -> None:
        self.decay = config.decay
        self._live = {
            name: parameter
            for name, parameter in parameters.items()
            if config.decay and name.startswith(config.prefixes)
        }
        if config.decay and not self._live:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"ema.prefixes {config.prefixes} match no trained parameter")
        self.values = {name: parameter.detach().clone() for name, parameter in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the weights after update number `step` (from 1) in."""
        if not self.values:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), [p.detach() for p in self._live.values()], 1 - decay)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Takes a saved average over.

        Raises:
            UniuggError: CHECKPOINT_MISMATCH.
        """
        if set(values) != set(self.values):
            odd = sorted(set(values) ^ set(self.values))[:3]
            raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"the saved average has other parameters: {odd}")
        for name, value in values.items():
            self.values[name].copy_(value)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._live.items():
            held = self.values[name].clone()
            self.values[name].copy_(parameter)
            parameter.copy_(held)
