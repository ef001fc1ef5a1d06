"""The training loop on a model of 41 numbers: resume, signals, and ends that nobody planned."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
import torch
from trivial_stage import LineStage, settings

from training import checkpoint as files
from training import loop
from training.loop import Trainer, step_generator
from uniugg_core.errors import ErrorCode, UniuggError

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("seconds", "samples_per_s", "mfu")  # what may differ between equal runs


def curve(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def train(out: Path, *, steps: int = 12, resume: bool = False, **run: object) -> LineStage:
    config = settings(steps, **run)
    stage = LineStage(config)
    Trainer(stage, config, out, log=None).run(resume=resume)
    return stage


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps in one go."""
    out = tmp_path_factory.mktemp("whole")
    train(out)
    return out


class TestCurve:
    def test_loss_falls_and_lines_are_complete(self, tmp_path: Path) -> None:
        train(tmp_path, steps=60)
        lines = [line for line in curve(tmp_path) if line["event"] == "train"]
        assert [line["step"] for line in lines] == list(range(3, 61, 3))
        losses = [line["loss"] for line in lines]
        assert sum(losses[-3:]) < 0.5 * sum(losses[:3])
        assert lines[-1]["samples"] == 60 * 4

    @pytest.mark.parametrize(
        "precision, fast, half", [("auto", True, True), ("auto", False, False), ("bf16", False, True)]
    )
    def test_half_precision_is_taken_where_it_is_fast(
        self, precision: str, fast: bool, half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "fast_bf16", lambda device: fast)
        config, log = settings(3, precision=precision, device="cpu"), StringIO()
        Trainer(LineStage(config), config, tmp_path, log=log).run()
        said = log.getvalue()
        assert ("in bf16" in said) is half and ("in fp32" in said) is not half
        assert ("only emulates bf16" in said) is (half and not fast)

    def test_every_sample_is_taken_once(self, tmp_path: Path) -> None:
        stage = train(tmp_path, steps=5, accumulate=2)
        own = stage.seen[4:]  # the first micro-batch runs twice, once to count its FLOPs
        assert own == list(range(40))

    def test_accumulating_equals_a_larger_batch(self, tmp_path: Path) -> None:
        def final(name: str, **run: object) -> torch.Tensor:
            config = settings(1, **run)
            stage = LineStage(config)
            stage.forward = lambda batch, generator: {"loss": stage.model(batch["x"]).square().mean()}
            Trainer(stage, config, tmp_path / name, log=None).run()
            return stage.model[0].weight.detach()

        torch.testing.assert_close(final("a", batch_size=8), final("b", batch_size=4, accumulate=2))


class TestResume:
    @pytest.mark.parametrize("matrices", ["adamw", "muon"])
    def test_second_half_equals_that_of_one_run(self, whole: Path, tmp_path: Path, matrices: str) -> None:
        config = settings(12, matrices=matrices)
        if matrices == "muon":
            whole, tmp_path = tmp_path / "whole", tmp_path / "half"
            train(whole, matrices=matrices)
        stage = LineStage(config)
        trainer = Trainer(stage, config, tmp_path, log=None)
        forward = stage.forward

        def stop_at_seven(*arguments: object) -> dict:
            if trainer.progress.step == 7:
                raise KeyboardInterrupt
            return forward(*arguments)

        stage.forward = stop_at_seven
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        train(tmp_path, resume=True, matrices=matrices)
        assert curve(tmp_path) == curve(whole)
        ours, theirs = files.Checkpoints(tmp_path).last(), files.Checkpoints(whole).last()
        for name in ("model", "ema", "optimizer"):
            mine, other = files.read_weights(ours, name), files.read_weights(theirs, name)
            assert mine.keys() == other.keys()
            assert all(torch.equal(mine[key], other[key]) for key in mine), name

    def test_kill_at_a_random_moment(self, tmp_path: Path) -> None:
        steps = 400
        reference, killed = tmp_path / "reference", tmp_path / "killed"
        train(reference, steps=steps)
        command = [
            sys.executable,
            str(ROOT / "tests/training/trivial_stage.py"),
            str(killed),
            str(steps),
            "--pause",
            "0.005",
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        begin = time.monotonic()
        while not (killed / "checkpoints").exists() and process.poll() is None and time.monotonic() - begin < 60:
            time.sleep(0.05)
        time.sleep(random.uniform(0.0, 1.0))
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        train(killed, steps=steps, resume=True)
        assert curve(killed) == curve(reference)

    def test_needs_the_flag(self, whole: Path) -> None:
        with pytest.raises(UniuggError, match="--resume"):
            train(whole)

    def test_resuming_a_finished_run_changes_nothing(self, whole: Path) -> None:
        before = curve(whole)
        train(whole, resume=True)
        assert curve(whole) == before

    def test_another_model_is_refused(self, whole: Path, tmp_path: Path) -> None:
        config = settings(12)
        stage = LineStage(config)
        stage.model.append(torch.nn.Linear(1, 1))
        with pytest.raises(UniuggError) as caught:
            Trainer(stage, config, whole, log=None).run(resume=True)
        assert caught.value.code == ErrorCode.CHECKPOINT_MISMATCH


class TestEnds:
    def test_signal_saves_and_stops(self, whole: Path, tmp_path: Path) -> None:
        config = settings(12)
        stage = LineStage(config)
        trainer = Trainer(stage, config, tmp_path, log=None)
        forward = stage.forward

        def with_signal(*arguments: object) -> dict:
            if trainer.progress.step == 6 and stage.training:
                os.kill(os.getpid(), signal.SIGTERM)
            return forward(*arguments)

        stage.forward = with_signal
        outcome = trainer.run()
        assert (outcome.step, outcome.stopped) == (7, "SIGTERM")
        assert outcome.checkpoint is not None and outcome.checkpoint.name == "step-00000007"
        train(tmp_path, resume=True)
        assert curve(tmp_path) == curve(whole)

    def test_nan_stops_and_keeps_the_last_checkpoint(self, tmp_path: Path) -> None:
        config = settings(12)
        with pytest.raises(UniuggError) as caught:
            Trainer(LineStage(config, first_bad=24), config, tmp_path, log=None).run()
        assert caught.value.code == ErrorCode.NON_FINITE
        assert "loss" in str(caught.value) and "step-00000005" in str(caught.value)
        kept = files.read_start(tmp_path)
        assert all(torch.isfinite(tensor).all() for tensor in kept.values())

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
    def test_out_of_memory_says_what_to_change(self, tmp_path: Path, error: Exception) -> None:
        config = settings(12)
        stage = LineStage(config)

        def explode(*_: object) -> dict:
            raise error

        stage.forward = explode
        with pytest.raises(UniuggError, match="Halve run.batch_size") as caught:
            Trainer(stage, config, tmp_path, log=None).run()
        assert caught.value.code == ErrorCode.OUT_OF_MEMORY

    def test_full_disk_keeps_the_last_checkpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = settings(12, validate_every=0)
        trainer = Trainer(LineStage(config), config, tmp_path, log=None)
        real = files.write_weights

        def full(folder: Path, tensors: dict, stem: str) -> None:
            if trainer.progress.step == 8 and stem == files.OPTIMIZER:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(folder, tensors, stem)

        monkeypatch.setattr(files, "write_weights", full)
        with pytest.raises(UniuggError, match="disk .* is full.*--resume"):
            trainer.run()
        monkeypatch.undo()
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]
        train(tmp_path, validate_every=0, resume=True)
        assert files.Checkpoints(tmp_path).steps()[-1] == 12

    def test_crash_in_the_stage_comes_through(self, tmp_path: Path) -> None:
        config = settings(12)
        stage = LineStage(config)
        stage.forward = lambda *_: (_ for _ in ()).throw(RuntimeError("a bug"))
        with pytest.raises(RuntimeError, match="a bug"):
            Trainer(stage, config, tmp_path, log=None).run()


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path: Path) -> None:
    program = str(ROOT / "tests/training/trivial_stage.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29613"]
    for command, out, batch in ((torchrun, "two", 4), ([sys.executable], "one", 8)):
        options = [str(tmp_path / out), "12", "--noise", "0", "--batch", str(batch)]
        subprocess.run([*command, program, *options], cwd=ROOT, env=environment, check=True, timeout=240)
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert [line["samples"] for line in two if line["event"] == "train"] == [24, 48, 72, 96]
    for mine, other in zip(two, one):
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_generators_differ_by_place_and_repeat() -> None:
    def draw(*position: int) -> float:
        return torch.rand((), generator=step_generator(3, *position)).item()

    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**31, 0, 0)]
    assert len({draw(*place) for place in places}) == len(places)
    assert draw(1, 0, 0) == draw(1, 0, 0)
