"""Checkpoint folders: what is kept, what counts as whole, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from training import checkpoint as files
from training.checkpoint import Checkpoints, Progress
from uniugg_core.config import preset
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.weights import write_weights


def save(out: Path, step: int, *, best: bool = False, keep: int = 2, average: bool = False) -> Path:
    tensors = {"w": torch.full((2,), float(step))}
    progress = Progress(step=step, best=1.0 / step)
    return Checkpoints(out, keep).save(
        progress,
        preset("tiny"),
        tensors,
        {"w|step": torch.tensor(1.0)},
        {"w": -tensors["w"]} if average else None,
        best=best,
    )


def code_of(call: object) -> ErrorCode:
    with pytest.raises(UniuggError) as caught:
        call()
    return caught.value.code


def test_newest_and_best_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step, best=step == 2)
    run = Checkpoints(tmp_path)
    assert run.steps() == [2, 4, 5]
    assert run.last().name == "step-00000005" and run.best().name == "step-00000002"


def test_half_written_ones_do_not_count(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "checkpoints" / "step-00000009").mkdir()
    left = tmp_path / "checkpoints" / ".unfinished-00000002"
    left.mkdir()
    assert Checkpoints(tmp_path).steps() == [1]
    save(tmp_path, 3)
    assert not left.exists()


def test_a_step_may_be_written_again(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 1)
    assert Checkpoints(tmp_path).steps() == [1]


def test_a_start_is_a_run_or_a_checkpoint(tmp_path: Path) -> None:
    first = save(tmp_path, 1, best=True, average=True)
    save(tmp_path, 2)
    assert files.read_start(tmp_path)["w"].tolist() == [-1, -1]  # the best, averaged
    assert files.read_start(tmp_path, average=False)["w"].tolist() == [1, 1]
    assert files.read_start(first, average=False)["w"].tolist() == [1, 1]
    assert code_of(lambda: files.read_start(tmp_path / "nothing")) == ErrorCode.CHECKPOINT_MISSING


def test_a_start_may_be_one_part_alone(tmp_path: Path) -> None:
    write_weights(tmp_path, {"language.w": torch.ones(1), "denoiser.w": torch.zeros(1)})
    assert set(files.read_start(tmp_path)) == {"language.w", "denoiser.w"}
    assert set(files.read_start(f"{tmp_path}:language")) == {"language.w"}
    assert code_of(lambda: files.read_start(f"{tmp_path}:lang")) == ErrorCode.CHECKPOINT_MISMATCH
    assert code_of(lambda: files.read_start(f"{tmp_path}/no:language")) == ErrorCode.CHECKPOINT_MISSING


def test_broken_files(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    (folder / "model.safetensors").write_bytes(b"short")
    assert code_of(lambda: files.read_start(tmp_path)) == ErrorCode.CHECKPOINT_INVALID
    (folder / "progress.json").write_text('{"step": 1, "colour": 2}')
    assert code_of(lambda: Checkpoints.read_progress(folder)) == ErrorCode.CHECKPOINT_INVALID


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(UniuggError, match="step 1 not written, there is none before it"):
        save(tmp_path, 1)


class TestTensors:
    def test_tied_ones_are_stored_once(self) -> None:
        model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
        model["b"].weight = model["a"].weight
        assert list(files.model_tensors(model)) == ["a.weight"]
        missing, left = files.load_start(model, {"a.weight": torch.ones(2, 2)}, "x")
        assert (missing, left) == ([], []) and model["b"].weight.eq(1).all()

    def test_missing_and_left_over(self) -> None:
        model = nn.Linear(2, 2)
        missing, left = files.load_start(model, {"weight": torch.ones(2, 2), "other": torch.ones(1)}, "x")
        assert (missing, left) == (["bias"], ["other"])

    @pytest.mark.parametrize("tensors", [{"weight": torch.ones(3, 2)}, {"other": torch.ones(1)}])
    def test_misfits(self, tensors: dict) -> None:
        assert code_of(lambda: files.load_start(nn.Linear(2, 2), tensors, "x")) == ErrorCode.CHECKPOINT_MISMATCH

    def test_optimizer_round_trip_keeps_the_memory_format(self) -> None:
        def pair() -> tuple[nn.Module, torch.optim.Optimizer]:
            model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
            return model, torch.optim.AdamW(model.parameters(), fused=True)

        (model, optimizer), (other, fresh) = pair(), pair()
        model(torch.rand(1, 3, 4, 4)).sum().backward()
        optimizer.step()
        names = {p: n for n, p in model.named_parameters()}
        state = files.optimizer_tensors(optimizer, names)
        assert set(state) == {f"{n}|{what}" for n in ("weight", "bias") for what in ("step", "exp_avg", "exp_avg_sq")}
        files.load_optimizer(fresh, {p: n for n, p in other.named_parameters()}, state)
        got, wanted = fresh.state[other.weight]["exp_avg"], optimizer.state[model.weight]["exp_avg"]
        assert torch.equal(got, wanted) and got.is_contiguous(memory_format=torch.channels_last)
        state["extra|exp_avg"] = torch.ones(1)
        assert code_of(lambda: files.load_optimizer(fresh, {}, state)) == ErrorCode.CHECKPOINT_MISMATCH
