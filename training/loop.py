"""The training loop: one for every stage, the same on a CPU, a GPU, many GPUs and many nodes (``torchrun``).

A step draws its randomness from (seed, step) and its samples from their numbers, so a run that was killed and resumed
repeats what it would have done; on a CPU bit by bit.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.precision import fast_bf16

from . import checkpoint as files
from .config import TrainConfig
from .interruptions import StopSignal, out_of_memory
from .optim import Average, build_optimizer, learning_rate, set_learning_rate, trained_parameters
from .report import Reporter, Window, environment, measure_flops, peak_flops
from .stages.base import Stage
from .stream import Batch, Source, stream

__all__ = ["Outcome", "Trainer", "step_generator"]

_VALIDATION = 2**31  # the "step" whose randomness validation uses, always the same


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int  # updates done
    stopped: str | None  # name of the signal that ended it early, or None
    checkpoint: Path | None  # the last one
    metrics: dict[str, float]  # of the last validation


def step_generator(seed: int, *position: int) -> torch.Generator:
    """The generator of one place in a run, e.g. (step, micro-batch, process): equal places draw equal numbers."""
    state = np.random.SeedSequence([seed, *position]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


class Trainer:
    """Trains one stage.

    Args:
        stage: what to train.
        config: the run.
        out: folder for curve and checkpoints.
        log: where progress lines go; None for nowhere.
    """

    def __init__(self, stage: Stage, config: TrainConfig, out: str | Path, log: TextIO | None = sys.stderr) -> None:
        run = config.run
        if run.threads:
            torch.set_num_threads(run.threads)
        if run.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False
            torch.backends.cudnn.benchmark = False
        # a process may train several stages in turn, each with its own precision
        AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
        on_cpu = run.device == "cpu" or not torch.accelerator.is_available()
        device = torch.device("cpu") if on_cpu else torch.accelerator.current_accelerator()
        self.half = run.precision == "bf16" or (run.precision == "auto" and fast_bf16(device))
        self.accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision="bf16" if self.half else "no",
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=stage.unused_parameters)],
        )
        self.stage, self.config, self.out, self.log = stage, config, Path(out), log
        self.checkpoints = files.Checkpoints(out, run.keep)
        self.progress = files.Progress()
        self._check_every = run.check_every or (1 if self.accelerator.device.type == "cpu" else run.log_every)
        self._unread: list[dict[str, Tensor]] = []  # values of steps that nobody has looked at yet
        self._sources: dict[str, Source] = {}
        self._flops: dict[str, float] = {}  # of a micro-batch, by kind
        self._peak: float | None = None
        self._work = self._busy = 0.0  # FLOP and seconds since the last line of the curve
        self._busy_samples = 0
        self._saved: int | None = None  # step of the last checkpoint this process wrote
        self.stop = StopSignal()

    def run(self, *, resume: bool = False) -> Outcome:
        """Trains to the configured number of steps, or until SIGINT or SIGTERM.

        Args:
            resume: go on from the last checkpoint in the folder, if there is one.

        Raises:
            UniuggError: REQUEST_INVALID (nothing to train, or the folder holds a run and `resume` is False),
                NON_FINITE, OUT_OF_MEMORY, CHECKPOINT_*, INTERNAL (disk full). Checkpoints that were complete stay in
                every case.
        """
        self._prepare(resume)
        try:
            with self.stop.listening(), self._attention():
                metrics = self._train()
        except (MemoryError, RuntimeError) as error:
            explained = out_of_memory(error, self._where())
            if explained is None:
                raise
            raise explained from error
        finally:
            self.reporter.close()
        return Outcome(self.progress.step, self.stop.name, self.checkpoints.last(), metrics)

    @contextlib.contextmanager
    def _attention(self) -> Iterator[None]:
        """On a CPU in half precision plain matrix products: the fused kernel's backward pass is three times slower."""
        if self.accelerator.device.type != "cpu" or not self.half:
            yield
            return
        before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # the name says CUDA, the CPU obeys it too
        try:
            with sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)

    # --- before the first step ---

    def _prepare(self, resume: bool) -> None:
        run, stage = self.config.run, self.stage
        if run.channels_last:
            stage.to(memory_format=torch.channels_last)
        stage.to(self.accelerator.device)
        self.parameters = trained_parameters(stage.model)
        known = [name for name, _ in stage.model.named_parameters()]
        optimizer = build_optimizer(self.parameters, self.config.optimizer, known)
        self.average = Average(self.parameters, self.config.ema)
        folder = self.checkpoints.last() if resume else None
        if folder is not None:
            self._restore(folder, optimizer)
        elif self.checkpoints.last() is not None:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID, f"{self.out} already holds a run: add --resume, or choose another folder"
            )
        else:
            self.window = Window()
        self.reporter = Reporter(
            self.out,
            steps=run.steps,
            stream=self.log,
            tensorboard=run.tensorboard,
            start_step=self.progress.step,
            active=self.accelerator.is_main_process,
        )
        if self.accelerator.is_main_process:
            self.config.save(self.out / "train.json")
        count = sum(parameter.numel() for parameter in self.parameters.values())
        facts = ", ".join(f"{name} {value}" for name, value in environment().items())
        self.reporter.say(
            f"{self.config.stage}: {count / 1e6:.2f} M parameters learn, "
            f"step {self.progress.step} of {run.steps} in {'bf16' if self.half else 'fp32'}; {facts}"
        )
        for note in stage.notes:
            self.reporter.say(note)
        if self.half and not fast_bf16(self.accelerator.device):
            self.reporter.say("this processor only emulates bf16: run.precision=auto or fp32 is many times faster")
        if folder is None:
            stage.begin(self._fetch)
        if run.compile:
            for part in stage.compiled_parts():
                part.compile()
        self._peak = peak_flops(self.accelerator.device, run.peak_tflops)
        self.wrapped, self.optimizer = self.accelerator.prepare(stage, optimizer)

    def _restore(self, folder: Path, optimizer: torch.optim.Optimizer) -> None:
        missing, left = files.load_start(self.stage.model, files.read_weights(folder, files.WEIGHTS), str(folder))
        if missing or left:
            raise UniuggError(
                ErrorCode.CHECKPOINT_MISMATCH,
                f"{folder} is of another model: missing {missing[:3]}, left over {left[:3]}",
            )
        names = {parameter: name for name, parameter in self.parameters.items()}
        files.load_optimizer(optimizer, names, files.read_weights(folder, files.OPTIMIZER))
        if self.average.values:
            self.average.load(files.read_weights(folder, files.AVERAGE))
        self.progress = files.Checkpoints.read_progress(folder)
        self.window = Window(self.progress.window)

    # --- the steps ---

    def _train(self) -> dict[str, float]:
        run, progress = self.config.run, self.progress
        metrics: dict[str, float] = {}
        batches = self._open(
            self._source("train"), self.stage.kinds(), progress.batches, progress.samples, self.config.data.workers
        )
        self.wrapped.train()
        while progress.step < run.steps and not self.stop.asked(self.accelerator):
            self._step(batches)
            step, last = progress.step, progress.step == run.steps
            if step % run.log_every == 0 or last:
                self._log()
            better = False
            if run.validate_every and (step % run.validate_every == 0 or last):
                metrics, better = self._validate()
            if run.pictures_every and (step % run.pictures_every == 0 or last):
                self._pictures()
            if last or better:  # either may be what the next stage starts from
                self.stage.settle(self._fetch)
            if step % run.checkpoint_every == 0 or last or better:
                self._save(best=better)
        # Also on resuming a finished run: the kill may have come between its last checkpoint and this.
        if progress.step >= run.steps and self.accelerator.is_main_process and not (self.out / "model").exists():
            with self.average.applied():
                self.stage.export(self.out / "model")
        if self.stop.name is not None and progress.step < run.steps:
            self._save()
            self.reporter.say(f"stopped by {self.stop.name} after step {progress.step}; --resume goes on from here")
        return metrics

    def _step(self, batches: Iterator[Batch]) -> None:
        run, progress = self.config.run, self.progress
        start = time.perf_counter()
        set_learning_rate(self.optimizer, learning_rate(progress.step, run.steps, self.config.optimizer))
        several = len(self.stage.kinds()) > 1
        for micro in range(run.accumulate):
            batch = self._on_device(next(batches))
            kind, position = batch["kind"], (progress.step, micro, self.accelerator.process_index)
            if kind not in self._flops:
                self._flops[kind] = self._measure(batch, position)
                start = time.perf_counter()  # the measurement is no part of the speed
            last = micro + 1 == run.accumulate
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                terms = self.wrapped(batch, self._randomness(position))
                self.accelerator.backward(terms["loss"] / run.accumulate)
            self._unread.append({f"{kind}/{name}" if several else name: v.detach() for name, v in terms.items()})
            progress.batches += 1
            progress.samples += run.batch_size * self.accelerator.num_processes
            self._work += self._flops[kind]
            self._busy_samples += run.batch_size * self.accelerator.num_processes
        clip = self.config.optimizer.clip
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), math.inf if clip is None else clip)
        self._unread.append({"gradient": norm.detach()})
        if (progress.step + 1) % self._check_every == 0:
            self._read()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        self.average.update(progress.step)
        self._busy += time.perf_counter() - start

    def _read(self) -> None:
        """Looks at the values of the steps since the last look.

        Raises:
            UniuggError: NON_FINITE, before the weights of this step are saved.
        """
        for values in self._unread:
            numbers = {name: float(value) for name, value in values.items()}
            bad = [f"{name} is {number}" for name, number in numbers.items() if not math.isfinite(number)]
            # figures may be undefined in a batch (no valid pixel); what is minimised and its gradient may not
            fatal = [text for text in bad if text.split(" ")[0].split("/")[-1] in ("loss", "gradient")]
            if fatal:
                raise UniuggError(
                    ErrorCode.NON_FINITE,
                    f"{', '.join(bad)} {self._where()}. A lower optimizer.lr, optimizer.clip=1 or run.precision=fp32 "
                    "may help",
                )
            self.window.add(numbers)
        self._unread.clear()

    def _where(self) -> str:
        last = self.checkpoints.last()
        kept = f"{last.name} is kept" if last else "there is no checkpoint yet"
        size = self.config.run.batch_size
        return f"after step {self.progress.step}, near sample {self.progress.samples}, run.batch_size={size}; {kept}"

    def _measure(self, batch: Batch, position: tuple[int, ...]) -> float:
        """FLOPs of a micro-batch with its backward pass; leaves no trace."""

        def work() -> None:
            with self.accelerator.autocast():
                loss = self.stage(batch, self._randomness(position))["loss"]
            loss.backward()

        if self.config.run.compile:  # counting would compile a second time
            return 0.0
        held = [parameter.grad for parameter in self.parameters.values()]
        flops = measure_flops(work)
        for parameter, gradient in zip(self.parameters.values(), held):
            parameter.grad = gradient
        return flops

    def _randomness(self, position: tuple[int, ...]) -> torch.Generator:
        # third-party modules with dropout know only the global generator
        generator = step_generator(self.config.seed, *position)
        torch.manual_seed(generator.initial_seed())
        return generator

    # --- now and then ---

    def _log(self) -> None:
        self._read()
        run, step = self.config.run, self.progress.step
        means = self.window.take()
        if self.accelerator.num_processes > 1:
            names = sorted(means)
            table = torch.tensor([means[name] for name in names], device=self.accelerator.device)
            means = dict(zip(names, self.accelerator.reduce(table, "mean").tolist()))
        speed = self._busy_samples / max(self._busy, 1e-9)
        mfu = self._work / self._busy / self._peak if self._peak and self._work and self._busy else None
        self.progress.seconds += self._busy
        left = (run.steps - step) * run.accumulate * run.batch_size * self.accelerator.num_processes / max(speed, 1e-9)
        facts = {"lr": learning_rate(step - 1, run.steps, self.config.optimizer), "samples_per_s": speed}
        if mfu is not None:
            facts["mfu"] = mfu
        self.reporter.line(
            step, "train", {**means, **facts}, samples=self.progress.samples, seconds=self.progress.seconds
        )
        shown = [value for name, value in means.items() if name.split("/")[-1] == "loss"]
        self.reporter.progress(step, sum(shown) / max(len(shown), 1), speed, left, mfu)
        self._work, self._busy, self._busy_samples = 0.0, 0.0, 0

    def _validate(self) -> tuple[dict[str, float], bool]:
        """Means over the validation samples under the averaged weights, and whether they are the best so far."""
        metrics = self.evaluate(self.config.run.validation_samples)
        self.reporter.line(self.progress.step, "validate", metrics)
        text = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.reporter.say(f"validation at step {self.progress.step}: {text}")
        value = metrics.get(self.stage.best_metric, math.nan)
        better = math.isfinite(value) and (self.progress.best is None or value < self.progress.best)
        if better:
            self.progress.best, self.progress.best_step = value, self.progress.step
        return metrics, better

    @torch.no_grad()
    def evaluate(self, samples: int) -> dict[str, float]:
        """Means of the stage's validation figures over the first `samples` validation samples of every kind."""
        run, world = self.config.run, self.accelerator.num_processes
        source, window = self._source("validation"), Window()
        count = max(1, samples // (run.batch_size * world))
        self.stage.eval()
        with self.average.applied(), self.accelerator.autocast():
            for kind in self.stage.kinds():
                batches = self._open(source, {kind: 1.0}, 0, 0, workers=0)
                for number in range(count):
                    figures = self.stage.validate(
                        self._on_device(next(batches)),
                        self._randomness((_VALIDATION, number, self.accelerator.process_index)),
                    )
                    window.add({name: float(value) for name, value in figures.items()})
        self.stage.train()
        means = window.take()
        if world > 1:
            table = torch.tensor(list(means.values()), device=self.accelerator.device)
            means = dict(zip(means, self.accelerator.reduce(table, "mean").tolist()))
        return means

    @torch.no_grad()
    def _pictures(self) -> None:
        if self.accelerator.is_main_process:
            kind = next(iter(self.stage.kinds()))
            batch = self._on_device(next(self._open(self._source("validation"), {kind: 1.0}, 0, 0, workers=0)))
            self.stage.eval()
            with self.average.applied(), self.accelerator.autocast():
                pictures = self.stage.pictures(batch, self._randomness((_VALIDATION, 0, 0)))
            self.stage.train()
            self.reporter.pictures(self.progress.step, pictures)

    def _save(self, *, best: bool = False) -> None:
        self._read()
        if self._saved == self.progress.step:
            return
        self.progress.window = self.window.state()
        if self.accelerator.is_main_process:
            names = {parameter: name for name, parameter in self.parameters.items()}
            self.checkpoints.save(
                self.progress,
                self.stage.model_config,
                files.model_tensors(self.stage.model),
                files.optimizer_tensors(self.optimizer.optimizer, names),
                self.average.values,
                best=best,
            )
        self._saved = self.progress.step
        self.accelerator.wait_for_everyone()

    # --- data ---

    def _source(self, split: str) -> Source:
        """One a split: a source may hold a renderer."""
        if split not in self._sources:
            self._sources[split] = self.stage.source(split)
        return self._sources[split]

    def _fetch(self, kind: str, first: int, count: int) -> Batch:
        return self._on_device(self._source("train").batch(kind, range(first, first + count)))

    def _open(self, source: Source, shares: dict[str, float], batch: int, sample: int, workers: int) -> Iterator[Batch]:
        data = self.config.data
        return stream(
            source,
            shares,
            seed=self.config.seed,
            batch=batch,
            sample=sample,
            size=self.config.run.batch_size,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            workers=workers,
            prefetch=data.prefetch,
            start_method=data.start_method,
            pin=self.accelerator.device.type == "cuda",
        )

    def _on_device(self, batch: Batch) -> Batch:
        device = self.accelerator.device
        return {n: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for n, v in batch.items()}
