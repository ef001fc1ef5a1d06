"""What a training run is: typed, frozen settings, read from YAML with strict names and changed by ``--set a.b=value``.

A run is described completely by one :class:`TrainConfig`; it is written beside the checkpoints as ``train.json``. The
comment at a field says what happens when it is changed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uniugg_core.config import ModelConfig, preset

from .typed import build, merged, parse_change, read_nested, refuse

__all__ = [
    "DataConfig",
    "EmaConfig",
    "EncoderStageConfig",
    "ModelChoice",
    "OptimizerConfig",
    "RunConfig",
    "TeacherStageConfig",
    "TrainConfig",
    "UnifiedStageConfig",
    "VAEStageConfig",
]

STAGES = ("teacher", "encoder", "vae", "unified")
PHASES = ("ground", "align", "joint", "final")


@dataclass(frozen=True)
class ModelChoice:
    """Which sizes are trained and what the weights start from."""

    preset: str = "tiny"  # sizes to begin with: "tiny" or "paper"
    change: dict[str, Any] = field(default_factory=dict)  # nested changes to the preset, e.g. {encoder: {depth: 4}}
    start: tuple[str, ...] = ()  # runs or checkpoint folders whose tensors are taken where names agree; later ones win;
    # "FOLDER:PART" takes one part alone: "runs/words:language"
    start_ema: bool = True  # take the averaged weights of `start` where it has them

    def resolve(self) -> ModelConfig:
        """The sizes.

        Raises:
            UniuggError: CHECKPOINT_MISSING (no such preset) or CHECKPOINT_INVALID (unknown field, wrong type).
        """
        return ModelConfig.from_dict(merged(preset(self.preset).to_dict(), self.change))


@dataclass(frozen=True)
class DataConfig:
    """Where samples come from: sample i of a split is a pure function of (source, seed, i)."""

    source: str = "rooms"  # name in the registry of training.data
    path: str | None = None  # folder of recorded data, for sources that read one
    seed: int = 0  # another seed is another world
    workers: int = 1  # processes that make samples; 0 makes them between the steps
    prefetch: int = 4  # batches each worker keeps ready
    start_method: str = "forkserver"  # "fork" breaks OpenGL contexts and threads of the parent
    curriculum: int = 0  # samples over which the difficulty rises from `easiest` to 1; 0 starts at 1
    easiest: float = 0.0  # difficulty of the first sample, 0 (small motion, tidy rooms) to 1
    jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.1)  # brightness, contrast, saturation, hue; stage 1
    options: dict[str, Any] = field(default_factory=dict)  # passed on to the source


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and a half cosine. Defaults: stage 1 of the released trainer."""

    matrices: str = "adamw"  # "muon": matrices learn by orthogonal updates of AdamW's size, all else by AdamW
    lr: float = 1e-4  # peak learning rate of groups without a factor of their own
    min_lr: float = 1e-6  # where the cosine ends
    warmup: float = 0.03  # share of all steps that the rate climbs
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.05  # only on tensors of two or more axes; 0 on biases and norms
    clip: float | None = None  # longest gradient (2-norm); null leaves it alone, as stage 1 of the paper did
    factors: dict[str, float] = field(default_factory=dict)  # learning-rate factor by prefix of the parameter name
    fused: bool = True  # one kernel for all tensors; False is slower and bit-different


@dataclass(frozen=True)
class EmaConfig:
    """Moving average of weights; the average is what validation and the exported model use."""

    decay: float = 0.0  # 0 switches it off; 0.9999 for long runs, 0.999 for tens of thousands of steps
    prefixes: tuple[str, ...] = ("",)  # which parameters; "denoiser." for stage 3


@dataclass(frozen=True)
class RunConfig:
    """How long, how large, how precise, how often."""

    steps: int = 1000  # updates of the weights in the whole run; the cosine ends there
    batch_size: int = 16  # samples a process and micro-batch
    accumulate: int = 1  # micro-batches summed before an update
    precision: str = "fp32"  # "fp32", "bf16" (autocast; weights and optimiser stay float32), or "auto": what is faster
    device: str = "auto"  # "auto" takes a GPU if there is one; "cpu" forbids it
    threads: int = 0  # processor threads of the main process; 0 leaves torch's default
    compile: bool = False  # torch.compile on the trained parts: minutes at the start, faster steps on a GPU
    channels_last: bool = True  # convolutions on channels-last memory: up to twice as fast on a CPU
    deterministic: bool = True  # bit-equal repetition on the same machine; costs speed on a GPU
    log_every: int = 20  # steps a line of the curve stands for
    check_every: int = 0  # steps between looks at whether the loss is finite; 0: every step on CPU, else log_every
    validate_every: int = 1000  # steps; 0 never
    validation_samples: int = 64  # always the same ones
    pictures_every: int = 1000  # steps; 0 never
    checkpoint_every: int = 500  # steps
    keep: int = 2  # newest checkpoints kept, besides the best
    peak_tflops: float | None = None  # what MFU refers to; null measures a CPU and looks a GPU up
    tensorboard: bool = True  # curves and pictures, if tensorboard is installed; metrics.jsonl is always written


@dataclass(frozen=True)
class TeacherStageConfig:
    """The semantic teacher of `tiny`: an encoder trained to name what every token shows."""

    token_weight: float = 1.0  # cross-entropy against the share of each class in a token's pixels
    scene_weight: float = 1.0  # binary cross-entropy of "this class is in the picture", read from the summary
    student_cpe: bool = True  # random crops of the position table


@dataclass(frozen=True)
class EncoderStageConfig:
    """Stage 1: encoder and spatial decoder. Weights as in the released trainer."""

    teacher: str | None = None  # checkpoint folder of the frozen teacher; null leaves distillation out
    single_share: float = 0.0  # share of batches that are single pictures and only distil
    symmetric: bool = True  # decode (1, 2) and (2, 1); False decodes one order, chosen at random
    geometry_share: float = 1.0  # share of a batch's pairs that are decoded, which is most of the work; what pictures
    # mean is learnt from all of them
    alone_share: float = 0.0  # share of the pairs decoded as two pictures that each stand alone, in its own camera's
    # frame; for models with decoder.own_frames, which look at a picture that way
    alpha: float = 0.2  # reward of confidence in the pointmap loss
    log_points: bool = False  # errors between logarithmic points, not in units of the scene's scale
    log_unit: float = 1.0  # metres: much farther away errors count as shares of the distance, much nearer as lengths
    normal_weight: float = 0.0  # how far surfaces are turned: the mean distance of unit normals
    balance: float = (
        0.0  # how much pixels of small things count more: by their thing's share of the picture to the power
    )
    # of minus this, where the data says which pixel is which thing; 0 counts all pixels alike
    plain_weight: float = 0.0  # of the pointmap loss without confidence, which would let go of what is hard
    matching_weight: float = 0.075  # 0 skips the descriptors
    correspondences: int = 8192  # rows of InfoNCE per pair, true and false together
    negative_share: float = 0.5  # share of them that are random negatives
    temperature: float = 0.05
    matching_alpha: float = 10.0  # reward of descriptor confidence
    token_weight: float = 10.0  # distillation of features
    teacher_share: float = 1.0  # share of each batch's pictures that the teacher looks at; a fifth of the work
    token_share: float = 1 / 3  # share of tokens distilled, drawn anew for every picture
    summary_weight: float = 10.0  # distillation of the summary
    class_weight: float = 0.0  # cross-entropy of every token's classes, rare ones weighed up, on data with class maps:
    # what a small encoder is taught itself once its teacher has nothing more to say
    class_cells: int = 1  # of how many cells along its side a token says that; a divisor of the patch
    state_class_weight: float = 0.0  # the same by the decoder's states of pictures decoded alone
    thing_weight: float = 0.0  # what every token of a picture decoded alone says of the thing it shows most of: how far
    # away it is, and its box; on data with maps of things and a scene graph
    rgb_weight: float = 1.0  # colour loss; the published command had it off, stage 2 needs it on
    rgb_l1: float = 1.0
    rgb_ssim: float = 0.5
    rgb_lpips: float = 0.2  # needs the lpips package and its weights; left out with a note where they are missing
    student_cpe: bool = True  # random crops of the position table in the student
    teacher_cpe: bool = False  # also in the teacher, as the released trainer had it by accident
    drop_calibration: float = 0.1  # share of pictures whose calibration a calibrated encoder is not told
    train_encoder: bool = True  # False: ablation (a), a frozen semantic encoder


@dataclass(frozen=True)
class VAEStageConfig:
    """Stage 2: Spatial-VAE on frozen features, tuned together with the spatial decoder."""

    feature_weight: float = 1.0  # mean squared error of standardised features
    spatial_weight: float = 1.0  # L_s: confidence-weighted regression and colours through the decoder
    kl_weight: float = 1e-4  # gamma; mean over latent numbers, summed over both views
    alpha: float = 0.2
    log_points: bool = False  # as in stage 1
    log_unit: float = 1.0  # as in stage 1
    normal_weight: float = 0.0  # as in stage 1
    balance: float = 0.0  # as in stage 1
    plain_weight: float = 0.0  # as in stage 1
    rgb_weight: float = 1.0
    rgb_l1: float = 1.0
    rgb_ssim: float = 0.5
    rgb_lpips: float = 0.2
    real_reference: float = 0.5  # share of pairs decoded with the true features of the view that is not imagined; 0 as
    # in the figure
    alone_share: float = 0.0  # share of the pairs whose true features are decoded alone, as in stage 1
    finetune_decoder: bool = True  # False: ablation (c)
    spatial_to_vae: bool = True  # whether L_s also trains the VAE
    statistics_samples: int = 1024  # pairs over which features are standardised at the start; 0: as `start` has it
    scale_samples: int = 1024  # pairs over which the latent's scale is measured at the end; 0: as `start` has it


@dataclass(frozen=True)
class UnifiedStageConfig:
    """Stage 3: language model, queries and denoiser on frozen vision parts."""

    phase: str = "joint"  # "ground" (where words look, and boxes of what they find, by rooms' names; for models with
    # language.grounded), "align" (visual projector on answers), "joint", or "final" (few generation batches)
    generation_share: float = 0.5  # share of micro-batches that generate; the rest answer questions
    drill_share: float = 0.0  # share of micro-batches that are exercises without pictures, taken off both
    retold_share: float = 0.0  # share of questions about pictures that are taught what follows from what the model
    # itself perceives, where that can be told, and not what is true; for models with language.situated
    generation_weight: float = 1.0  # lambda
    answer_weight: float = 1.0
    naming_weight: float = 0.0  # cross-entropy of the class that a picture token is likest to, by its words, on data
    # with class maps: words then find what they name
    finding_weight: float = 0.0  # cross-entropy of where the words of a question look, on data with instance maps; for
    # models with language.grounded
    boxing_weight: float = 0.0  # misses of the boxes of what the words of questions name, where boxes are known; for
    # models with language.situated
    searching_weight: float = 0.0  # as finding_weight, of the names of all classes in all pictures, on data with class
    # maps: a question names two or three things, a picture shows ten
    drop_condition: float = 0.1  # share of conditions replaced by the learned null sequence
    pure_noise: float = 0.0  # share of the pairs whose target is nothing but noise: what a single denoising step gives,
    # the mean of all that may be there, is learnt most then; for models that predict the latent
    spatial_weight: float = 0.0  # pointmap loss of what the denoiser's estimate decodes to, through the frozen decoder
    spatial_share: float = 1.0  # share of each batch that it is computed for; all: a pair costs 1.6 times as much
    seen_share: float = 1.0  # share of the pixels it counts among those whose surface the reference sees too
    log_points: bool = False  # as in stage 1
    tokenizer: str | None = None  # folder in Qwen2's layout; null: the one that ships


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    stage: str = "encoder"  # "teacher", "encoder", "vae" or "unified"
    seed: int = 0  # of weights and of everything drawn in a step; data has its own
    model: ModelChoice = field(default_factory=ModelChoice)
    data: DataConfig = field(default_factory=DataConfig)
    run: RunConfig = field(default_factory=RunConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    teacher: TeacherStageConfig = field(default_factory=TeacherStageConfig)
    encoder: EncoderStageConfig = field(default_factory=EncoderStageConfig)
    vae: VAEStageConfig = field(default_factory=VAEStageConfig)
    unified: UnifiedStageConfig = field(default_factory=UnifiedStageConfig)

    def __post_init__(self) -> None:
        run = self.run
        for name in ("seen_share", "drill_share", "retold_share", "pure_noise"):
            share = getattr(self.unified, name)
            _require(0 <= share <= 1, f"unified.{name}", share, "a share, 0 to 1")
        decoded = self.encoder.geometry_share
        _require(0 < decoded <= 1, "encoder.geometry_share", decoded, "above 0 and at most 1")
        for name, own in (("encoder", self.encoder), ("vae", self.vae)):
            _require(0 <= own.alone_share < 1, f"{name}.alone_share", own.alone_share, "at least 0 and less than 1")
            _require(own.log_unit > 0, f"{name}.log_unit", own.log_unit, "above 0")
        _require(self.stage in STAGES, "stage", self.stage, f"one of {STAGES}")
        _require(run.precision in ("fp32", "bf16", "auto"), "run.precision", run.precision, "'fp32', 'bf16' or 'auto'")
        _require(run.device in ("auto", "cpu"), "run.device", run.device, "'auto' or 'cpu'")
        _require(self.unified.phase in PHASES, "unified.phase", self.unified.phase, f"one of {PHASES}")
        _require(0 <= self.ema.decay < 1, "ema.decay", self.ema.decay, "at least 0 and less than 1")
        _require(0 <= self.optimizer.warmup <= 1, "optimizer.warmup", self.optimizer.warmup, "a share, 0 to 1")
        matrices = self.optimizer.matrices
        _require(matrices in ("adamw", "muon"), "optimizer.matrices", matrices, "'adamw' or 'muon'")
        for name in ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every", "keep"):
            _require(getattr(run, name) > 0, f"run.{name}", getattr(run, name), "above 0")
        for name in ("validate_every", "pictures_every", "validation_samples", "check_every", "threads"):
            _require(getattr(run, name) >= 0, f"run.{name}", getattr(run, name), "0 or more")

    @classmethod
    def load(cls, path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
        """Reads YAML (or JSON) and applies `changes` like ``optimizer.lr=1e-4`` on top; ``name={}`` empties a mapping.

        A file may name another one with ``base: file`` (relative to itself), whose settings it changes.

        Raises:
            UniuggError: REQUEST_INVALID, naming the file, the field and what was expected.
        """
        data = read_nested(Path(path))
        for change in changes:
            data = merged(data, parse_change(change), emptying=True)
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainConfig:
        """The inverse of :meth:`to_dict`.

        Raises:
            UniuggError: REQUEST_INVALID for an unknown field or a value of the wrong type.
        """
        return build(cls, data, "config")

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return dataclasses.asdict(self)

    def save(self, path: str | Path) -> None:
        """Writes the settings as JSON, which :meth:`load` reads as well."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n")


def _require(good: bool, name: str, value: Any, wanted: str) -> None:
    if not good:
        raise refuse(f"config.{name} is {value!r}, expected {wanted}")
