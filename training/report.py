"""What a run says: a progress line, ``metrics.jsonl``, TensorBoard if it is installed, and how busy the machine is."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from .checkpoint import write_atomically

__all__ = ["Reporter", "Window", "measure_flops", "peak_flops"]

# Dense bf16 peaks of the makers' data sheets, TFLOP/s
_GPU_PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "A6000": 155.0, "L40": 181.0, "4090": 165.0}


class Window:
    """Sums of what the steps since the last line of the curve said.

    Args:
        state: from :meth:`state`, to go on where another process stopped.
    """

    def __init__(self, state: Mapping[str, list[float]] | None = None) -> None:
        self._sums = {name: list(pair) for name, pair in (state or {}).items()}

    def add(self, values: Mapping[str, float]) -> None:
        """Takes one step's values in; NaN says "not measured this time"."""
        for name, value in values.items():
            if not math.isnan(value):
                pair = self._sums.setdefault(name, [0.0, 0])
                pair[0] += value
                pair[1] += 1

    def take(self) -> dict[str, float]:
        """The means, and an empty window after."""
        means = {name: total / count for name, (total, count) in sorted(self._sums.items())}
        self._sums = {}
        return means

    def state(self) -> dict[str, list[float]]:
        """Exact sums and counts, ready for JSON."""
        return {name: list(pair) for name, pair in self._sums.items()}


class Reporter:
    """Writes the curve of one run; in processes other than the first it is silent.

    Args:
        out: the run's folder.
        steps: of the whole run, for the remaining time.
        stream: where progress lines go; None for nowhere.
        tensorboard: whether to write event files if the package is there.
        start_step: the step a resumed run goes on from; later lines of the old curve are dropped.
        active: False makes everything a no-op.
    """

    def __init__(
        self,
        out: Path,
        *,
        steps: int,
        stream: TextIO | None,
        tensorboard: bool,
        start_step: int = 0,
        active: bool = True,
    ) -> None:
        self._active, self._steps, self._stream = active, steps, stream
        self._terminal = bool(stream is not None and stream.isatty())
        self._path = out / "metrics.jsonl"
        self._board = None
        if not active:
            return
        out.mkdir(parents=True, exist_ok=True)
        self._drop_after(start_step)
        if tensorboard:
            with contextlib.suppress(ImportError):
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start_step + 1)

    def say(self, text: str) -> None:
        """One line for the reader."""
        if self._active and self._stream is not None:
            self._stream.write(f"\r\x1b[K{text}\n" if self._terminal else f"{text}\n")
            self._stream.flush()

    def line(self, step: int, event: str, values: Mapping[str, float], **facts: Any) -> None:
        """One line of the curve: `event` is "train" or "validate"."""
        if not self._active:
            return
        record = {"event": event, "step": step, **facts, **values}
        record = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in record.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{event}/{name}", value, step)

    def progress(self, step: int, loss: float, speed: float, remaining: float, mfu: float | None) -> None:
        """The line that shows how far the run is: one that changes on a terminal, a new one elsewhere."""
        if not self._active or self._stream is None:
            return
        busy = f"  {100 * mfu:.0f} % of peak" if mfu else ""
        text = (
            f"step {step}/{self._steps} ({100 * step / self._steps:.0f} %)  loss {loss:.4f}  "
            f"{speed:.1f} samples/s{busy}  {_duration(remaining)} left"
        )
        self._stream.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """RGB pictures (H, W, 3) uint8, as PNG files of the newest step and in TensorBoard."""
        if not self._active or not pictures:
            return
        from uniugg_core.images import save_image

        folder = self._path.parent / "pictures"
        folder.mkdir(exist_ok=True)
        for name, picture in pictures.items():
            save_image(folder / f"{name}.png", picture)
            if self._board is not None:
                self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flushes what is buffered."""
        if self._board is not None:
            self._board.close()
        if self._terminal and self._active and self._stream is not None:
            self._stream.write("\n")

    def _drop_after(self, step: int) -> None:
        """Cuts the curve back to `step`, so that a resumed run does not tell the steps after it twice."""
        if not self._path.exists():
            return
        lines = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a last line cut off by a kill
                if json.loads(line)["step"] <= step:
                    lines.append(line + "\n")
        write_atomically(self._path, "".join(lines))


def measure_flops(work: Any) -> float:
    """Floating-point operations of ``work()``, matrix products and convolutions, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def peak_flops(device: torch.device, given_tflops: float | None) -> float | None:
    """Peak of `device` in FLOP/s: as given, from the table of GPUs, or by a short matrix product on a CPU."""
    if given_tflops is not None:
        return given_tflops * 1e12
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return next((1e12 * peak for key, peak in _GPU_PEAKS.items() if key in name), None)
    if device.type != "cpu":
        return None
    size, best = 768, math.inf
    a, b = torch.ones(size, size), torch.ones(size, size)
    for _ in range(4):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def environment() -> dict[str, Any]:
    """Facts about the machine that explain a curve's speed."""
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
