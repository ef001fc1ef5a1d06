"""The curve, the progress line, FLOP counts and contact sheets."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from training.pictures import depth_colors, tile
from training.report import Reporter, Window, measure_flops, peak_flops


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def reporter(out: Path, stream: io.StringIO | None = None, **options: object) -> Reporter:
    return Reporter(out, steps=100, stream=stream, **{"tensorboard": False, **options})


class TestWindow:
    def test_means_skip_what_was_not_measured(self) -> None:
        window = Window()
        for value in (1.0, math.nan, 4.0):
            window.add({"a": value})
        window.add({"b": 2.0})
        assert window.take() == {"a": 2.5, "b": 2.0}
        assert window.take() == {}

    def test_state_goes_through_json_exactly(self) -> None:
        window = Window()
        for value in (0.1, 0.2, 1 / 3):
            window.add({"a": value})
        copy = Window(json.loads(json.dumps(window.state())))
        copy.add({"a": 1e-17})
        window.add({"a": 1e-17})
        assert copy.take() == window.take()


class TestReporter:
    def test_resumed_curve_has_no_step_twice(self, tmp_path: Path) -> None:
        first = reporter(tmp_path)
        for step in (1, 2, 3):
            first.line(step, "train", {"loss": 1.0 / step, "odd": math.nan})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"event": "train", "st')  # cut off by a kill
        reporter(tmp_path, start_step=2).line(3, "train", {"loss": 0.5})
        lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 0.5), (3, 0.5)]
        assert lines[0]["odd"] is None

    def test_progress_line(self, tmp_path: Path) -> None:
        stream = io.StringIO()
        reporter(tmp_path, stream).progress(25, 1.5, 12.34, 3725.0, 0.31)
        assert stream.getvalue() == "step 25/100 (25 %)  loss 1.5000  12.3 samples/s  31 % of peak  1 h 02 min left\n"

    def test_progress_stays_on_its_line_on_a_terminal(self, tmp_path: Path) -> None:
        stream = Terminal()
        one = reporter(tmp_path, stream)
        one.progress(25, 1.5, 12.0, 5.0, None)
        one.say("hello")
        assert "\n" not in stream.getvalue().split("hello")[0]

    def test_other_processes_are_silent(self, tmp_path: Path) -> None:
        stream = io.StringIO()
        other = reporter(tmp_path / "x", stream, active=False)
        other.line(1, "train", {"loss": 1.0})
        other.say("hello")
        other.progress(1, 1.0, 1.0, 1.0, None)
        other.pictures(1, {"a": np.zeros((2, 2, 3), np.uint8)})
        assert stream.getvalue() == "" and not (tmp_path / "x").exists()

    def test_tensorboard(self, tmp_path: Path) -> None:
        pytest.importorskip("tensorboard")
        one = reporter(tmp_path, tensorboard=True)
        one.line(1, "train", {"loss": 1.0})
        one.pictures(1, {"a": np.zeros((4, 4, 3), np.uint8)})
        one.close()
        assert list((tmp_path / "tensorboard").iterdir()) and (tmp_path / "pictures" / "a.png").is_file()


def test_flops_of_a_product() -> None:
    a, b = torch.rand(8, 16, requires_grad=True), torch.rand(16, 4, requires_grad=True)
    assert measure_flops(lambda: a @ b) == 2 * 8 * 16 * 4
    assert measure_flops(lambda: (a @ b).sum().backward()) == 3 * 2 * 8 * 16 * 4


def test_peak() -> None:
    assert peak_flops(torch.device("cpu"), 2.5) == 2.5e12
    measured = peak_flops(torch.device("cpu"), None)
    assert measured is not None and 1e8 < measured < 1e14


def test_depth_colours() -> None:
    depth = torch.tensor([[1.0, 10.0, 0.0, float("nan")]])
    colors = depth_colors(depth, 1.0, 10.0)
    assert colors[0, 0, 0] > colors[2, 0, 0] and colors[2, 0, 1] > colors[0, 0, 1]  # near red, far blue
    assert not colors[:, 0, 2:].any()


def test_tile() -> None:
    white, black = torch.ones(3, 2, 4), torch.zeros(3, 2, 4)
    sheet = tile([[white, black], [black, white]])
    assert sheet.shape == (4, 8, 3) and sheet.dtype == np.uint8
    assert sheet[0, 0].tolist() == [255] * 3 and sheet[0, 4].tolist() == [0] * 3
