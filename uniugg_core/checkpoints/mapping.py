"""From a public layout's names to ours: rules, the sizes read off the tensors, and a strict check of the result.

A layout is a list of :class:`Rule`. Every tensor of a file is renamed by the first rule that matches, or dropped by a
rule that says so; a name that no rule knows refuses the file. Sizes come from the tensors' shapes, and the result is
compared with the network those sizes make.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..config import DecoderConfig, EncoderConfig
from ..errors import ErrorCode, UniuggError
from ..models.decoder import SpatialDecoder
from ..models.encoder import Encoder, build_encoder

__all__ = ["PublicCheckpoint", "Rule", "apply_rules", "check_exact", "infer_decoder", "infer_encoder", "load_into"]

_NAMED = 8  # offending tensors listed in a message before "and more"


@dataclass(frozen=True)
class Rule:
    """Renames the tensors whose whole name matches `pattern`.

    Attributes:
        pattern: regular expression for the public name.
        target: our name, with the pattern's groups as ``\\1``; a function of the match; or None to drop the tensor.
        change: what to do to the tensor.
    """

    pattern: str
    target: str | Callable[[re.Match[str]], str] | None
    change: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class PublicCheckpoint:
    """A public checkpoint under our names.

    Attributes:
        layout: "radio", "mast3r" or "uniugg".
        tensors: ``encoder.*`` and ``spatial.*``, in the file's number format.
        encoder: sizes of the encoder.
        decoder: sizes of the spatial decoder; None if the file has none.
        ignored: names in the file that were left out on purpose.
    """

    layout: str
    tensors: dict[str, Tensor] = field(repr=False)
    encoder: EncoderConfig
    decoder: DecoderConfig | None
    ignored: tuple[str, ...] = field(repr=False)

    def build_encoder(self, dtype: torch.dtype | None = torch.float32) -> Encoder:
        """The encoder with these weights, which it shares with :attr:`tensors` unless `dtype` changes them."""
        with torch.device("meta"):
            module = build_encoder(self.encoder)
        return _assign(module, self.tensors, "encoder.", dtype)

    def build_spatial(self, dtype: torch.dtype | None = torch.float32) -> SpatialDecoder:
        """The spatial decoder with these weights, shared as in :meth:`build_encoder`.

        Raises:
            UniuggError: CHECKPOINT_MISSING if the file had none.
        """
        if self.decoder is None:
            raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"a {self.layout} checkpoint has no spatial decoder")
        with torch.device("meta"):
            module = SpatialDecoder(self.decoder, self.encoder.width, self.encoder.patch)
        return _assign(module, self.tensors, "spatial.", dtype)


def apply_rules(
    state: Mapping[str, Tensor], rules: Sequence[Rule], layout: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Renames a public state dict.

    Two public names may lead to one of ours if the tensors are equal (a tensor stored twice).

    Returns:
        The renamed tensors, and the names dropped by a rule.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH naming tensors no rule knows, or two that should be equal and are not.
    """
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    renamed: dict[str, Tensor] = {}
    ignored: list[str] = []
    unknown: list[str] = []
    for key in state:
        match, rule = next(((m, rule) for pattern, rule in compiled if (m := pattern.fullmatch(key))), (None, None))
        if match is None or rule is None:
            unknown.append(f"{key} {tuple(state[key].shape)}")
            continue
        if rule.target is None:
            ignored.append(key)
            continue
        target = rule.target(match) if callable(rule.target) else match.expand(rule.target)
        tensor = state[key] if rule.change is None else rule.change(state[key])
        if target in renamed and not torch.equal(renamed[target], tensor):
            raise UniuggError(
                ErrorCode.CHECKPOINT_MISMATCH, f"{key} should be a copy of what became {target}, but differs from it"
            )
        renamed[target] = tensor
    if unknown:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"not of the {layout} layout: {_listed(unknown)}")
    return renamed, tuple(ignored)


def infer_encoder(
    tensors: Mapping[str, Tensor],
    *,
    kind: str,
    head_width: int = 64,
    summary_tokens: tuple[int, ...] = (0, 1, 2),
    image_mean: tuple[float, float, float],
    image_std: tuple[float, float, float],
) -> EncoderConfig:
    """The sizes of the encoder under ``encoder.*`` (our names).

    Shapes do not tell the number of heads, hence `head_width`; nor which prefix tokens are classes and which are
    registers, so the first four, or as many as the summary needs, count as classes.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH if a tensor the sizes are read from is missing or impossible.
    """
    width, patch_values = _shape(tensors, "encoder.patch_embed.weight", 2)
    config = {
        "kind": kind,
        "width": width,
        "depth": _depth(tensors, "encoder.blocks."),
        "heads": _divided("encoder.patch_embed.weight", width, head_width),
        "mlp_ratio": _shape(tensors, "encoder.blocks.0.mlp.fc1.weight", 2)[0] / width,
        "patch": _root("encoder.patch_embed.weight", _divided("encoder.patch_embed.weight", patch_values, 3)),
        "image_mean": image_mean,
        "image_std": image_std,
    }
    if kind == "radio":
        prefix = _shape(tensors, "encoder.prefix_tokens", 2)[0]
        classes = min(prefix, max(4, *(i + 1 for i in summary_tokens))) if summary_tokens else min(prefix, 4)
        config |= {
            "position_grid": _shape(tensors, "encoder.position_table", 3)[0],
            "cls_tokens": classes,
            "registers": prefix - classes,
            "summary_tokens": summary_tokens,
            "final_norm": "encoder.norm.weight" in tensors,
        }
    return EncoderConfig(**config)


def infer_decoder(
    tensors: Mapping[str, Tensor], *, patch: int, head_width: int = 64, hooks: tuple[int, int, int, int] | None = None
) -> DecoderConfig:
    """The sizes of the spatial decoder under ``spatial.*`` (our names).

    Args:
        tensors: under our names.
        patch: pixels per token side.
        head_width: width of an attention head.
        hooks: layers the dense heads read; by default the input and one half, three quarters and all of the depth.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH as :func:`infer_encoder`.
    """
    width = _shape(tensors, "spatial.embed.weight", 2)[0]
    depth = _depth(tensors, "spatial.blocks_a.")
    hidden, local_in = _shape(tensors, "spatial.head_a.descriptors.fc1.weight", 2)
    local_out = "spatial.head_a.descriptors.fc2.weight"
    reassembled = [_shape(tensors, f"spatial.head_a.dpt.reassemble.{i}.0.weight", 4)[0] for i in range(4)]
    rgb = "spatial.head_a.colors.0.weight" in tensors
    return DecoderConfig(
        projector="spatial.projector.0.weight" in tensors,
        width=width,
        depth=depth,
        heads=_divided("spatial.embed.weight", width, head_width),
        mlp_ratio=_shape(tensors, "spatial.blocks_a.0.mlp.fc1.weight", 2)[0] / width,
        dpt_hooks=hooks or (0, depth // 2, depth * 3 // 4, depth),
        dpt_widths=(reassembled[0], reassembled[1], reassembled[2], reassembled[3]),
        dpt_features=_shape(tensors, "spatial.head_a.dpt.lateral.0.weight", 4)[0],
        dpt_head_width=_shape(tensors, "spatial.head_a.points.0.weight", 4)[0],
        rgb=rgb,
        rgb_width=_shape(tensors, "spatial.head_a.colors.2.weight", 4)[0] if rgb else DecoderConfig.rgb_width,
        descriptor=_divided(local_out, _shape(tensors, local_out, 2)[0], patch * patch) - 1,
        local_mlp_ratio=hidden / local_in,
    )


def check_exact(
    tensors: Mapping[str, Tensor], module: nn.Module, prefix: str, *, fresh: Sequence[str] = ()
) -> tuple[str, ...]:
    """Compares the tensors under `prefix` with a module's, by name and shape.

    Args:
        tensors: any tensors; those without `prefix` are not looked at.
        module: may be on the meta device.
        prefix: such as ``"spatial."``.
        fresh: beginnings of the module's names that may be missing.

    Returns:
        The module's names that are missing and may be.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH naming what is missing, left over, or of another shape.
    """
    wanted = {prefix + key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items() if key.startswith(prefix)}
    may_miss = tuple(prefix + start for start in fresh)
    absent = [key for key in wanted if key not in found]
    left_fresh = tuple(key.removeprefix(prefix) for key in absent if may_miss and key.startswith(may_miss))
    missing = [f"{key} {wanted[key]}" for key in absent if not (may_miss and key.startswith(may_miss))]
    left_over = [f"{key} {shape}" for key, shape in found.items() if key not in wanted]
    wrong = [
        f"{key} {shape}, expected {wanted[key]}" for key, shape in found.items() if wanted.get(key, shape) != shape
    ]
    complaints = [
        f"{what}: {_listed(names)}"
        for what, names in (("missing", missing), ("left over", left_over), ("wrong shape", wrong))
        if names
    ]
    if complaints:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, "; ".join(complaints))
    return left_fresh


def load_into(
    module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, *, fresh: Sequence[str] = ()
) -> tuple[str, ...]:
    """Copies the tensors under `prefix` into a module, strictly but for `fresh`.

    A MASt3R checkpoint starts a UniUGG decoder with
    ``load_into(spatial, checkpoint.tensors, "spatial.", fresh=("projector.", "head_a.colors.", "head_b.colors."))``.

    Returns:
        The module's names that kept their own values.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH; the module is unchanged then.
    """
    left_fresh = check_exact(tensors, module, prefix, fresh=fresh)
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    module.load_state_dict(own, strict=False)
    return left_fresh


def _assign(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, dtype: torch.dtype | None) -> nn.Module:
    """Gives a module of the meta device its tensors without a copy in between."""
    check_exact(tensors, module, prefix)
    own = {
        key.removeprefix(prefix): value if dtype is None else value.to(dtype)
        for key, value in tensors.items()
        if key.startswith(prefix)
    }
    module.load_state_dict(own, strict=True, assign=True)
    return module.eval()


def _shape(tensors: Mapping[str, Tensor], key: str, dims: int) -> tuple[int, ...]:
    if key not in tensors:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"missing: {key}")
    shape = tuple(tensors[key].shape)
    if len(shape) != dims or 0 in shape:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{key} is {shape}, expected {dims} dimensions")
    return shape


def _depth(tensors: Iterable[str], prefix: str) -> int:
    numbers = {int(key.removeprefix(prefix).partition(".")[0]) for key in tensors if key.startswith(prefix)}
    if numbers != set(range(len(numbers))) or not numbers:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{prefix}* are {sorted(numbers)}, expected 0, 1, 2, ...")
    return len(numbers)


def _divided(key: str, value: int, by: int) -> int:
    if value % by:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{key} has {value} entries, expected a multiple of {by}")
    return value // by


def _root(key: str, value: int) -> int:
    root = math.isqrt(value)
    if root * root != value:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{key} has {value} entries per channel, expected a square")
    return root


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
