"""Sizes of every network part, as frozen dataclasses, and the presets ``tiny`` and ``paper``.

A model is its configuration: no width, depth, patch or image size stands in a forward pass. ``paper`` has the sizes of
UniUGG (arXiv 2508.11952); ``tiny`` runs the same code on a CPU. A configuration travels as ``config.json``; unknown
names in it are an error, so that a misspelt field is never ignored.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ErrorCode, UniuggError

__all__ = [
    "PRESETS",
    "DecoderConfig",
    "DenoiserConfig",
    "EncoderConfig",
    "GenerationConfig",
    "LanguageConfig",
    "ModelConfig",
    "VAEConfig",
    "preset",
]

CLIP_MEAN = (0.4815, 0.4578, 0.4082)
CLIP_STD = (0.2686, 0.2613, 0.2758)


@dataclass(frozen=True)
class EncoderConfig:
    """Image encoder: a pre-norm ViT, of RADIOv2.5-L's kind or of MASt3R's (CroCo) kind."""

    kind: str = "radio"  # "radio": learned positions, prefix tokens; "croco": 2-D RoPE, final norm
    width: int = 1024
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    patch: int = 16
    position_grid: int = 128  # side of the learned position table, in patches (radio)
    cls_tokens: int = 4  # one per teacher (radio)
    registers: int = 4  # (radio)
    summary_tokens: tuple[int, ...] = (0, 1, 2)  # CLS tokens concatenated into the summary (radio)
    rope_base: float = 100.0  # (croco)
    stem: tuple[int, ...] = ()  # widths of convolutions that see pixels beside the linear patches; () for none
    stem_units: tuple[int, ...] = ()  # residual convolutions behind each of those; () for none
    calibrated: bool = False  # reads every patch's viewing ray beside its pixels, where the calibration is known
    final_norm: bool = False  # LayerNorm after the last block (radio checkpoints that carry one; croco always has it)
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD

    @property
    def prefix_tokens(self) -> int:
        """Tokens in front of the patch tokens."""
        return self.cls_tokens + self.registers if self.kind == "radio" else 0

    @property
    def summary_width(self) -> int:
        """Length of the summary vector; 0 when the encoder has none."""
        return self.width * len(self.summary_tokens) if self.kind == "radio" else 0


@dataclass(frozen=True)
class DecoderConfig:
    """Spatial decoder: projector, two cross-attending branches, and per view a DPT and a local-feature head."""

    projector: bool = True  # two-layer GELU MLP in front (UniUGG); off for a plain MASt3R
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    rope_base: float = 100.0
    dpt_hooks: tuple[int, int, int, int] = (0, 6, 9, 12)  # into [projector output, block 1, ..., block depth]
    dpt_widths: tuple[int, int, int, int] = (96, 192, 384, 768)
    dpt_features: int = 256
    dpt_head_width: int = 128
    rgb: bool = True
    rgb_width: int = 32
    descriptor: int = 24  # numbers that describe a pixel, for matching; 0: none do
    canonical_fov: float = 0.0  # degrees; points are predicted as if every picture were taken so, and set right with
    # the calibration; 0: metric points straight from the picture, whatever took it
    own_frames: bool = False  # a view from a commanded pose is decoded in its own camera's frame and placed by that
    # pose; False: in the reference camera's frame, as in the paper
    registered: bool = False  # where the second of two real pictures was taken is told by landmarks that both show, and
    # its own points are placed there; without enough of them, and if False, its points in the reference's frame tell it
    local_mlp_ratio: float = 4.0  # hidden width of the local-feature MLP over its input width


@dataclass(frozen=True)
class VAEConfig:
    """Spatial-VAE: encoder features to a 4-channel latent and back."""

    enabled: bool = True  # off: diffusion on the standardised features themselves (ablation d')
    arch: str = "conv"  # "conv" or "vit"
    widths: tuple[int, int] = (512, 256)  # at the token grid, at the latent grid (conv)
    blocks: int = 2  # residual blocks a level (conv)
    latent_channels: int = 4
    up: int = 2  # latent side over token side, 1 or 2
    groups: int = 32
    vit_width: int = 768
    vit_heads: int = 12
    vit_depths: tuple[int, int] = (4, 8)  # encoder, decoder


@dataclass(frozen=True)
class LanguageConfig:
    """Qwen2-shaped language model with its visual projector, transform queries and condition read-out."""

    vocab_size: int = 151936
    width: int = 2048
    mlp_width: int = 11008
    depth: int = 36
    heads: int = 16
    kv_heads: int = 2
    rope_theta: float = 1e6
    rms_eps: float = 1e-6
    max_positions: int = 32768
    tie_embeddings: bool = True
    condition_width: int = 768  # width of the condition, the denoiser's cross-attention width
    bidirectional_queries: bool = False
    translation_scale: float = 1.0  # ray moments are multiplied by it; 1 for metric data
    points: bool = False  # picture tokens also carry the points that the spatial decoder sees in their patches
    placed: bool = False  # ... and where the first picture's camera would have them; needs `points`
    waves: bool = (
        False  # points, too, as waves of their coordinates, so that near numbers are told apart; needs `points`
    )
    marks: bool = False  # places that a question names as "(x, y)" are shown to it; needs `points`
    grounded: bool = False  # words look for what they name in the pictures before they are read, and what they find is
    # shown behind them as marks are; needs `placed` and `marks`
    situated: bool = False  # what is shown of a place also says where it lies from the first one that the question
    # names and where another camera has it, of a thing that is found so by the box that a head sees in it, and later
    # pictures come with their cameras' poses; needs `grounded`
    focused: bool = False  # words look by the spatial decoder's states, too, and of what they find in several places
    # the one where they look most is shown, not a mean of all; needs `grounded`
    reaching: bool = False  # a gap is told by how far two boxes reach towards each other; needs `situated`


@dataclass(frozen=True)
class DenoiserConfig:
    """Latent generator: an SD-1.5-shaped U-Net, or the direct regressor of ablation d."""

    kind: str = "unet"  # "unet" or "regress"
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    cross_attention: tuple[bool, ...] = (True, True, True, False)  # per level
    layers: int = 2
    heads: int = 8
    groups: int = 32
    condition_channels: int = 0  # of the condition, laid out beside the latent; 0: it acts by cross-attention alone
    preview: bool = False  # beside the noise stands the reference's latent, moved to where the target would see it
    hint: bool = False  # ... and how far the room's surfaces would be, were they to go on; needs `preview` and
    # `condition_channels`
    regress_depth: int = 2  # layers of the regressor's MLP (kind "regress")
    train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    prediction: str = "epsilon"  # what the U-Net predicts: "epsilon" (the noise) or "sample" (the clean latent)


@dataclass(frozen=True)
class GenerationConfig:
    """Defaults of a request; every one can be given with the call."""

    scheduler: str = "ddim"  # "ddim", "dpm++" or "ddpm"
    steps: int = 50
    single_steps: int = 0  # steps of a request for one sample: few give the mean of what may be there, blurred but
    # nearest to it; 0: as many as for several samples, which are to differ
    guidance: float = 1.0
    max_new_tokens: int = 64
    number_draws: int = 0  # each number in an answer is the median of this many drawn ones; 0: the likeliest
    max_question_tokens: int = 1024  # a longer question is refused
    max_images: int = 32  # pictures of one question
    keep_observed: bool = False  # an imagined view shows the reference's own points where it sees them, and what it
    # imagines beside them is fitted to them
    keep_surfaces: bool = False  # ... and where that is at about the distance of the room's surfaces, put onto them;
    # needs `keep_observed`
    drop_confidence_quantile: float = 0.05  # points below this quantile of a view's confidence are left out

    def steps_for(self, samples: int) -> int:
        """Denoising steps of a request for so many samples."""
        return self.single_steps if samples == 1 and self.single_steps else self.steps


@dataclass(frozen=True)
class ModelConfig:
    """The whole model."""

    name: str = "paper"
    image_size: int = 224  # side of the square crop that generation and answers work on
    trained: bool = False  # whether the weights beside it come from training; set by the trainer
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)

    def __post_init__(self) -> None:
        encoder, decoder = self.encoder, self.decoder
        _require(encoder.kind in ("radio", "croco"), "encoder.kind", encoder.kind, "'radio' or 'croco'")
        _require(self.vae.arch in ("conv", "vit"), "vae.arch", self.vae.arch, "'conv' or 'vit'")
        _require(self.vae.up in (1, 2), "vae.up", self.vae.up, "1 or 2")
        _require(self.denoiser.kind in ("unet", "regress"), "denoiser.kind", self.denoiser.kind, "'unet' or 'regress'")
        _require(
            self.image_size > 0 and self.image_size % encoder.patch == 0,
            "image_size",
            self.image_size,
            f"a multiple of the patch size {encoder.patch}",
        )
        _require(
            not encoder.stem or 2 ** (len(encoder.stem) + 1) == encoder.patch,
            "encoder.stem",
            encoder.stem,
            f"none, or widths whose halvings and one more make a patch of {encoder.patch}",
        )
        _require(
            len(encoder.stem_units) in (0, len(encoder.stem)),
            "encoder.stem_units",
            encoder.stem_units,
            "none, or one for each of encoder.stem",
        )
        _require(encoder.width % encoder.heads == 0, "encoder.heads", encoder.heads, f"a divisor of {encoder.width}")
        _require(decoder.width % decoder.heads == 0, "decoder.heads", decoder.heads, f"a divisor of {decoder.width}")
        language = self.language
        for name in ("placed", "waves", "marks"):
            _require(language.points or not getattr(language, name), f"language.{name}", True, "False without points")
        for name in ("placed", "marks"):
            needed = getattr(language, name) or not language.grounded
            _require(needed, "language.grounded", True, f"False without {name}")
        for name, needed in (("situated", "grounded"), ("focused", "grounded"), ("reaching", "situated")):
            fits = getattr(language, needed) or not getattr(language, name)
            _require(fits, f"language.{name}", True, f"False without {needed}")
        for name, heads in (("heads", language.heads), ("kv_heads", language.kv_heads)):
            whole = language.width if name == "heads" else language.heads
            _require(heads > 0 and whole % heads == 0, f"language.{name}", heads, f"a divisor of {whole}")
        _require(
            all(0 <= hook <= decoder.depth for hook in decoder.dpt_hooks),
            "decoder.dpt_hooks",
            decoder.dpt_hooks,
            f"layer numbers from 0 to {decoder.depth}",
        )
        fov = decoder.canonical_fov
        _require(fov == 0 or 1 <= fov <= 170, "decoder.canonical_fov", fov, "0, or degrees from 1 to 170")
        _require(
            len(self.denoiser.widths) == len(self.denoiser.cross_attention),
            "denoiser.cross_attention",
            self.denoiser.cross_attention,
            f"one entry for each of {len(self.denoiser.widths)} levels",
        )
        _require(
            self.denoiser.prediction in ("epsilon", "sample"),
            "denoiser.prediction",
            self.denoiser.prediction,
            "'epsilon' or 'sample'",
        )
        _require(
            not self.denoiser.hint or (self.denoiser.preview and self.denoiser.condition_channels > 0),
            "denoiser.hint",
            True,
            "False without preview or condition_channels",
        )
        _require(
            self.generation.keep_observed or not self.generation.keep_surfaces,
            "generation.keep_surfaces",
            True,
            "False without keep_observed",
        )
        _require(encoder.patch % 8 == 0, "encoder.patch", encoder.patch, "a multiple of 8")

    @property
    def grid(self) -> int:
        """Tokens along one side of the square crop."""
        return self.image_size // self.encoder.patch

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the denoiser works on."""
        if not self.vae.enabled:
            return self.encoder.width, self.grid, self.grid
        side = self.grid * self.vae.up
        return self.vae.latent_channels, side, side

    def replace(self, **changes: Any) -> ModelConfig:
        """A copy with fields changed; dotted names reach into parts, with ``__`` for the dot.

        >>> preset("tiny").replace(encoder__depth=2).encoder.depth
        2
        """
        parts: dict[str, dict[str, Any]] = {}
        own: dict[str, Any] = {}
        for name, value in changes.items():
            head, _, tail = name.partition("__")
            if tail:
                parts.setdefault(head, {})[tail] = value
            else:
                own[name] = value
        for head, inner in parts.items():
            own[head] = dataclasses.replace(getattr(self, head), **inner)
        return dataclasses.replace(self, **own)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelConfig:
        """The inverse of :meth:`to_dict`.

        Raises:
            UniuggError: CHECKPOINT_INVALID, naming an unknown field or a value of the wrong type.
        """
        return _from_dict(cls, data, "config")

    def save(self, path: str | Path) -> None:
        """Writes ``config.json``-style text to `path`."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> ModelConfig:
        """Reads what :meth:`save` wrote.

        Raises:
            UniuggError: CHECKPOINT_MISSING or CHECKPOINT_INVALID.
        """
        try:
            data = json.loads(Path(path).read_text())
        except FileNotFoundError:
            raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no configuration at {path}") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} is not a configuration: {error}") from error
        return cls.from_dict(data)


def _require(good: bool, name: str, value: Any, wanted: str) -> None:
    if not good:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"config.{name} is {value!r}, expected {wanted}")


def _from_dict(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{where} is {type(data).__name__}, expected an object")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{where} has unknown fields {unknown}")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _from_dict(hint, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = typing.get_args(hint)
        if inner[-1] is not Ellipsis and len(inner) != len(value):
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{where} has {len(value)} entries, expected {len(inner)}")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_convert(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value)))
    if origin in (typing.Union, types.UnionType) and value is None:
        return None
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if hint in (int, bool, str) and type(value) is hint:
        return value
    raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{where} is {value!r}, expected {getattr(hint, '__name__', hint)}")


def _paper() -> ModelConfig:
    return ModelConfig()


def _tiny() -> ModelConfig:
    """29.9 M parameters (half precision fits in 60 MB), sized to learn within CPU hours: 10 x 10 tokens of 160 pixels.

    It leaves the paper where little training is to be had, and spares the networks what geometry already knows:

    * Small things are found sooner by convolutions, so a stem of them, with residual units where it is coarse, stands
      beside the linear patches.
    * No picture alone says how far away anything is, so the camera's calibration is used: the encoder reads it, and
      points and rays live in a canonical camera's frame.
    * Points are decoded in the frame of the camera that sees them; where that camera stands was commanded, or
      landmarks that two pictures share tell it.
    * What the reference shows is moved to where the target would see it, and the denoiser starts from that preview.
      Beside it stands how far walls, floor and ceiling would be, were they to go on as they are seen to.
      It predicts the clean latent, and gets the condition laid out beside it as well as by cross-attention. A single
      view is one step from noise, the mean of what may be there; several are drawn in four.
    * What the reference sees stays where it was seen, in the imagined view too, and the rest is fitted to it and to the
      room's surfaces; where the network agrees, it has a say.
    * The language model reads the decoder's points beside the encoder's features, of all pictures in the first one's
      frame too, and is shown the places that a question names by their coordinates, and things by their names, each
      where it looks most by features and the decoder's states together. What geometry says of these it is told as
      well, in numbers and as these are written: lengths, how they lie to each other and to other cameras, and how far
      things are apart by how far boxes reach that a head sees in what was found. A number that it is unsure of is the
      median of what it might say, not digit by likeliest digit.
    """
    return ModelConfig(
        name="tiny",
        image_size=160,
        encoder=EncoderConfig(
            width=256,
            depth=6,
            heads=4,
            patch=16,
            position_grid=16,
            stem=(32, 64, 128),
            stem_units=(0, 2, 3),
            calibrated=True,
        ),
        decoder=DecoderConfig(
            width=192,
            depth=6,
            heads=6,
            dpt_hooks=(0, 2, 4, 6),
            dpt_widths=(32, 48, 64, 96),
            dpt_features=32,
            dpt_head_width=16,
            rgb_width=16,
            descriptor=8,
            canonical_fov=60.0,
            own_frames=True,
            registered=True,
            local_mlp_ratio=0.125,  # descriptors only serve training and matching
        ),
        vae=VAEConfig(widths=(192, 96), blocks=1, groups=16, vit_width=192, vit_heads=6, vit_depths=(2, 4)),
        language=LanguageConfig(
            vocab_size=2048,
            width=256,
            mlp_width=704,
            depth=6,
            heads=4,
            kv_heads=2,
            max_positions=8192,
            condition_width=192,
            points=True,
            placed=True,
            waves=True,
            marks=True,
            grounded=True,
            situated=True,
            focused=True,
            reaching=True,
        ),
        denoiser=DenoiserConfig(
            widths=(64, 128, 144),
            cross_attention=(True, True, False),
            layers=1,
            heads=4,
            groups=16,
            condition_channels=32,
            preview=True,
            hint=True,
            prediction="sample",
        ),
        generation=GenerationConfig(
            scheduler="dpm++",
            steps=4,
            single_steps=1,
            max_new_tokens=64,
            number_draws=32,
            max_question_tokens=256,
            keep_observed=True,
            keep_surfaces=True,
        ),
    )


PRESETS = {"tiny": _tiny, "paper": _paper}


def preset(name: str) -> ModelConfig:
    """The configuration called `name`.

    Raises:
        UniuggError: CHECKPOINT_MISSING if there is no such preset.
    """
    if name not in PRESETS:
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no preset {name!r}; there are {sorted(PRESETS)}")
    return PRESETS[name]()
