"""``uniugg train`` from end to end on the micro model: train, kill, resume; refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from micro import micro

from training import cli

ROOT = Path(__file__).resolve().parents[2]


def arguments(config: Path, out: Path, *more: str) -> list[str]:
    return ["encoder", "--config", str(config), "--out", str(out), "--set", "data.workers=1", *more]


def curve(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_s", "mfu")} for line in lines]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "train.json"
    micro("encoder", run={"steps": 8, "checkpoint_every": 3, "validate_every": 0, "threads": 1}).save(path)
    return path


def test_killed_and_resumed_with_workers(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Stage 1 with its data in another process: the curve is that of one run, bit by bit."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert cli.main(arguments(config, whole, "--quiet")) == 0
    assert capsys.readouterr().out.strip() == str(whole / "checkpoints" / "step-00000008")
    command = [sys.executable, "-m", "training.cli", *arguments(config, killed)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=dict(os.environ), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while (
        not (killed / "checkpoints" / "step-00000003").exists()
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (killed / "checkpoints" / "step-00000003").exists()
    assert cli.main(arguments(config, killed, "--resume", "--quiet")) == 0
    assert curve(killed) == curve(whole)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "run.stepz=3"], "stepz"),
        (["--set", "model.start=nowhere"], "nowhere"),
        (["--set", "data.source=moon"], "moon"),
    ],
)
def test_refusals(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str], said: str) -> None:
    assert cli.main(arguments(config, tmp_path, *more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") or "\nerror: " in error
    assert said in error


def test_help_needs_no_torch() -> None:
    code = "import sys, training.cli as c; c.configure(c.argparse.ArgumentParser()); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
