"""Checkpoints of a run: written whole or not at all, read without pickle.

    OUT/train.json                      the settings
    OUT/metrics.jsonl                   the curve
    OUT/checkpoints/step-00000500/      model, optimizer and ema .safetensors, config.json, progress.json
    OUT/checkpoints/best.json           which of them validated best

A checkpoint is written into a hidden folder, flushed to the disk, and renamed: a kill at any moment, or a full disk,
leaves the ones before it untouched.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from uniugg_core.config import ModelConfig
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.weights import read_weights, write_weights

__all__ = [
    "Checkpoints",
    "Progress",
    "load_optimizer",
    "load_start",
    "model_tensors",
    "optimizer_tensors",
    "read_start",
    "weights_folder",
    "write_atomically",
]

WEIGHTS, AVERAGE, OPTIMIZER = "model", "ema", "optimizer"  # stems of safetensors files
_PREFIX, _UNFINISHED = "step-", ".unfinished-"
_PART = re.compile(r"(.+):([a-z_]+)")


@dataclass
class Progress:
    """Where a run stands; with the weights and the optimiser's state it determines everything that follows.

    There is no state of random generators in it, because none survives a step: what a step draws is a function of the
    seed and the step's number, what a sample holds a function of the seed and the sample's number.
    """

    step: int = 0  # updates done
    batches: int = 0  # micro-batches a process has taken
    samples: int = 0  # number of the next sample, over all processes: the data position
    seconds: float = 0.0  # time spent training, over all resumptions
    window: dict[str, list[float]] = field(default_factory=dict)  # sums and counts since the last line of the curve
    best: float | None = None  # best validation so far
    best_step: int | None = None


class Checkpoints:
    """The checkpoint folder of one run.

    Args:
        out: the run's folder.
        keep: how many of the newest are kept, besides the best.
    """

    def __init__(self, out: str | Path, keep: int = 2) -> None:
        self.folder = Path(out) / "checkpoints"
        self.keep = keep

    def save(
        self,
        progress: Progress,
        config: ModelConfig,
        weights: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        average: Mapping[str, Tensor] | None = None,
        *,
        best: bool = False,
    ) -> Path:
        """Writes one checkpoint atomically, then deletes those that are neither new nor best.

        Raises:
            UniuggError: INTERNAL if the disk refuses; earlier checkpoints are as they were.
        """
        final = self.folder / f"{_PREFIX}{progress.step:08d}"
        unfinished = self.folder / f"{_UNFINISHED}{progress.step:08d}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _write(weights, unfinished, WEIGHTS)
            _write(optimizer, unfinished, OPTIMIZER)
            if average:
                _write(average, unfinished, AVERAGE)
            config.save(unfinished / "config.json")
            (unfinished / "progress.json").write_text(json.dumps(dataclasses.asdict(progress), indent=2) + "\n")
            for path in unfinished.iterdir():
                _flush(path)
            if final.exists():  # the same step again, after a resume from an older one
                shutil.rmtree(final)
            os.replace(unfinished, final)
            _flush(self.folder)
            if best:
                write_atomically(self.folder / "best.json", json.dumps({"folder": final.name, "value": progress.best}))
        except (OSError, SafetensorError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise self._refused(progress.step, error) from error
        self._prune()
        return final

    def steps(self) -> list[int]:
        """Numbers of the complete checkpoints, ascending."""
        names = (path.name for path in self.folder.glob(f"{_PREFIX}*") if (path / "progress.json").is_file())
        return sorted(int(name.removeprefix(_PREFIX)) for name in names)

    def last(self) -> Path | None:
        """The newest complete checkpoint."""
        steps = self.steps()
        return self.folder / f"{_PREFIX}{steps[-1]:08d}" if steps else None

    def best(self) -> Path | None:
        """The checkpoint that validated best, or None before the first validation."""
        try:
            folder = self.folder / str(json.loads((self.folder / "best.json").read_text())["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return folder if folder.is_dir() else None

    @staticmethod
    def read_progress(folder: Path) -> Progress:
        """Where the run stood.

        Raises:
            UniuggError: CHECKPOINT_INVALID.
        """
        try:
            return Progress(**json.loads((folder / "progress.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder}/progress.json: {error}") from error

    def _prune(self) -> None:
        best, kept = self.best(), self.steps()[-self.keep :]
        for step in self.steps():
            folder = self.folder / f"{_PREFIX}{step:08d}"
            if step not in kept and folder != best:
                shutil.rmtree(folder, ignore_errors=True)
        for path in self.folder.glob(f"{_UNFINISHED}*"):  # left by a kill
            shutil.rmtree(path, ignore_errors=True)

    def _refused(self, step: int, error: Exception) -> UniuggError:
        steps = self.steps()
        good = f"the last good one is of step {steps[-1]}" if steps else "there is none before it"
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC or "No space left" in str(error)
        why = f"the disk of {self.folder} is full" if full else f"{self.folder} cannot be written: {error}"
        remedy = "free space and go on with --resume" if steps else "free space and start again"
        return UniuggError(ErrorCode.INTERNAL, f"checkpoint of step {step} not written, {good}: {why}; {remedy}")


# --- tensors ----------------------------------------------------------------------------------------------------------


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state of `model` by name, every tensor once: of tied ones the first name stays."""
    tensors: dict[str, Tensor] = {}
    seen: set[tuple[int, tuple[int, ...]]] = set()
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        tensors[name] = tensor
    return tensors


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, Tensor]:
    """The optimiser's state as ``<parameter name>|<what>`` tensors."""
    return {
        f"{names[parameter]}|{what}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for what, value in state.items()
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], tensors: Mapping[str, Tensor]
) -> None:
    """The inverse of :func:`optimizer_tensors`.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH if the state belongs to other parameters.
    """
    by_name = {name: parameter for parameter, name in names.items()}
    for key, value in tensors.items():
        name, _, what = key.rpartition("|")
        parameter = by_name.get(name)
        if parameter is None or (value.dim() and value.shape != parameter.shape):
            raise UniuggError(
                ErrorCode.CHECKPOINT_MISMATCH, f"{key} of shape {tuple(value.shape)} fits no trained parameter"
            )
        if value.dim():  # the parameter's own memory format, or the fused kernel refuses it
            optimizer.state[parameter][what] = torch.empty_like(parameter).copy_(value)
        else:
            optimizer.state[parameter][what] = value.clone()


def weights_folder(path: str | Path) -> Path:
    """The folder with weights that `path` means: the best (else the last) checkpoint of a run, or `path` itself."""
    run = Checkpoints(path)
    return run.best() or run.last() or Path(path)


def read_start(path: str | Path, *, average: bool = True) -> dict[str, Tensor]:
    """The tensors of a run, a checkpoint or a model folder; with `average` their moving averages where it has some.

    Args:
        path: the folder, or ``FOLDER:PART`` for those of one part only, "runs/words:language".
        average: see above.

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_UNSAFE or CHECKPOINT_INVALID; CHECKPOINT_MISMATCH if there is
            nothing of the part.
    """
    named = _PART.fullmatch(str(path))
    if named and not Path(path).exists():
        whole = read_start(named[1], average=average)
        tensors = {name: tensor for name, tensor in whole.items() if name.startswith(f"{named[2]}.")}
        if not tensors:
            raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{named[1]} has nothing of a part {named[2]!r}")
        return tensors
    folder = weights_folder(path)
    tensors = read_weights(folder, WEIGHTS)
    if average and (folder / f"{AVERAGE}.safetensors").is_file():
        tensors.update(read_weights(folder, AVERAGE))
    return tensors


def load_start(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> tuple[list[str], list[str]]:
    """Copies the tensors that `model` has a place for.

    Returns:
        names in `model` that got nothing, and names in `tensors` that found no place; for the run's log.

    Raises:
        UniuggError: CHECKPOINT_MISMATCH if a shape differs, or nothing fits.
    """
    own = model.state_dict()
    common = [name for name in tensors if name in own]
    for name in common:
        if tensors[name].shape != own[name].shape:
            raise UniuggError(
                ErrorCode.CHECKPOINT_MISMATCH,
                f"{where}: {name} has shape {tuple(tensors[name].shape)}, the model wants {tuple(own[name].shape)}",
            )
    if not common:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{where} has no tensor that this model knows")
    with torch.no_grad():
        for name in common:
            own[name].copy_(tensors[name])
    kept = set(model_tensors(model))
    return sorted(kept - set(common)), sorted(set(tensors) - set(own))


# --- files ------------------------------------------------------------------------------------------------------------


def write_atomically(path: Path, text: str) -> None:
    """Replaces a small text file so that a reader sees the old or the new one, never a part."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    _flush(part)
    os.replace(part, path)


def _write(tensors: Mapping[str, Tensor], folder: Path, stem: str) -> None:
    # clones, so that views of one storage do not count as shared
    write_weights(folder, {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}, stem)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
