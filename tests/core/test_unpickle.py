from __future__ import annotations

import argparse
import os
import pathlib
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uniugg_core.checkpoints.unpickle import Inert, read_file, read_safetensors, read_torch
from uniugg_core.errors import ErrorCode, UniuggError

MARKER = "UNIUGG_PICKLE_RAN"


class Attack:
    """Unpickles by calling `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


class Options:
    """A class of somebody's training program."""

    def __init__(self) -> None:
        self.rate = 1e-4


def code_of(path: Path) -> ErrorCode:
    with pytest.raises(UniuggError) as caught:
        read_torch(path)
    return caught.value.code


class TestMalice:
    @pytest.mark.parametrize(
        "function, arguments",
        [
            (os.system, ("touch {marker}",)),
            (os.mkdir, ("{marker}",)),
            (eval, ("__import__('pathlib').Path('{marker}').touch()",)),
            (exec, ("open('{marker}', 'w').close()",)),
            (open, ("{marker}", "w")),
            (pathlib.Path.touch, (pathlib.PurePosixPath("{marker}"),)),
            (getattr, ("{marker}", "lower")),
            (torch.load, ("{marker}",)),
        ],
        ids=["system", "mkdir", "eval", "exec", "open", "method", "getattr", "load"],
    )
    @pytest.mark.parametrize("beside", ["args", "model"])
    def test_is_refused_and_nothing_runs(
        self, function: Any, arguments: tuple, beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        filled = [value.format(marker=MARKER) if isinstance(value, str) else value for value in arguments]
        torch.save({"model": {"a": torch.ones(2)}, beside: Attack(function, *filled)}, tmp_path / "bad.pth")
        assert code_of(tmp_path / "bad.pth") == ErrorCode.CHECKPOINT_UNSAFE
        assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]

    def test_every_forbidden_name_is_given(self, tmp_path: Path) -> None:
        torch.save({"args": Attack(os.system, "true"), "more": Attack(eval, "1")}, tmp_path / "bad.pth")
        with pytest.raises(UniuggError, match=r"builtins\.eval, posix\.system"):
            read_torch(tmp_path / "bad.pth")

    def test_forged_instructions_are_refused(self, tmp_path: Path) -> None:
        """A pickle that calls through an opcode which tensors never need."""
        with zipfile.ZipFile(tmp_path / "bad.pth", "w") as archive:
            archive.writestr("bad/data.pkl", f"(S'touch {tmp_path / MARKER}'\nios\nsystem\n.")
            archive.writestr("bad/version", "3\n")
        assert code_of(tmp_path / "bad.pth") == ErrorCode.CHECKPOINT_UNSAFE
        assert not (tmp_path / MARKER).exists()

    def test_calling_it_inert_does_not_run_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        torch.save({"args": Attack(os.system, f"touch {MARKER}")}, tmp_path / "bad.pth")
        found: Any = None
        try:
            found = read_torch(tmp_path / "bad.pth", inert=("posix.system",))
        except UniuggError as error:
            assert error.code == ErrorCode.CHECKPOINT_UNSAFE
        assert not (tmp_path / MARKER).exists()
        assert found is None or isinstance(found["args"], Inert)

    def test_a_pickle_of_another_format_is_unsafe(self, tmp_path: Path) -> None:
        (tmp_path / "bare.pth").write_bytes(pickle.dumps(Attack(os.system, f"touch {tmp_path / MARKER}")))
        torch.save({"a": torch.ones(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
        assert code_of(tmp_path / "bare.pth") == ErrorCode.CHECKPOINT_UNSAFE
        assert code_of(tmp_path / "old.pth") == ErrorCode.CHECKPOINT_UNSAFE
        assert not (tmp_path / MARKER).exists()

    def test_a_tar_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        (tmp_path / "pickle").write_bytes(pickle.dumps(1))
        with tarfile.open(tmp_path / "weights.pth.tar", "w") as archive:
            archive.add(tmp_path / "pickle", "pickle")
        with pytest.raises(UniuggError, match=r"tar archive.*save it again") as caught:
            read_torch(tmp_path / "weights.pth.tar")
        assert caught.value.code == ErrorCode.CHECKPOINT_UNSAFE

    def test_torchscript_is_refused(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "scripted.pt", "w") as archive:
            archive.writestr("scripted/data.pkl", b"\x80\x02.")
            archive.writestr("scripted/constants.pkl", b"\x80\x02.")
        assert code_of(tmp_path / "scripted.pt") == ErrorCode.CHECKPOINT_UNSAFE


class TestHarmless:
    def test_what_public_checkpoints_carry(self, tmp_path: Path) -> None:
        options = argparse.Namespace(lr=1e-4, names=["a", "b"], nested=argparse.Namespace(on=True))
        content = {
            "args": options,
            "epoch": 7,
            "best": np.float64(0.25),
            "where": pathlib.PosixPath("/somewhere/else"),
            "model": {"a": torch.arange(3.0)},
        }
        torch.save(content, tmp_path / "good.pth.tar")
        found = read_torch(tmp_path / "good.pth.tar")
        assert found["args"] == options
        assert found["best"] == 0.25
        assert isinstance(found["where"], Inert)
        assert torch.equal(found["model"]["a"], torch.arange(3.0))

    def test_a_class_can_be_declared_inert(self, tmp_path: Path) -> None:
        torch.save({"model": {"a": torch.ones(1)}, "options": Options()}, tmp_path / "m.pth")
        assert code_of(tmp_path / "m.pth") == ErrorCode.CHECKPOINT_UNSAFE
        name = f"{Options.__module__}.Options"
        found = read_torch(tmp_path / "m.pth", inert=(name,))
        assert isinstance(found["options"], Inert)
        assert not hasattr(found["options"], "rate")


class TestDamage:
    def test_missing(self, tmp_path: Path) -> None:
        assert code_of(tmp_path / "none.pth") == ErrorCode.CHECKPOINT_MISSING
        with pytest.raises(UniuggError) as caught:
            read_safetensors(tmp_path / "none.safetensors")
        assert caught.value.code == ErrorCode.CHECKPOINT_MISSING

    @pytest.mark.parametrize("content", [b"", b"\x80", b"hello, this is no checkpoint"])
    def test_junk(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "junk.pth").write_bytes(content)
        assert code_of(tmp_path / "junk.pth") == ErrorCode.CHECKPOINT_INVALID

    @pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{", b"x" * 64])
    def test_junk_safetensors(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "junk.safetensors").write_bytes(content)
        with pytest.raises(UniuggError) as caught:
            read_safetensors(tmp_path / "junk.safetensors")
        assert caught.value.code == ErrorCode.CHECKPOINT_INVALID

    def test_truncated(self, tmp_path: Path) -> None:
        torch.save({"model": {"a": torch.ones(1000)}}, tmp_path / "whole.pth")
        (tmp_path / "part.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:1500])
        assert code_of(tmp_path / "part.pth") == ErrorCode.CHECKPOINT_INVALID

    def test_some_other_zip(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
            archive.writestr("readme.txt", "hello")
        assert code_of(tmp_path / "other.pth") == ErrorCode.CHECKPOINT_INVALID


class TestReadFile:
    def test_averaged_weights_are_preferred(self, tmp_path: Path) -> None:
        content = {"state_dict": {"a": torch.zeros(1)}, "state_dict_ema": {"a": torch.ones(1)}, "arch": "vit"}
        torch.save(content, tmp_path / "m.pth")
        assert read_file(tmp_path / "m.pth")["a"] == 1

    def test_missing_averages_are_passed_over(self, tmp_path: Path) -> None:
        torch.save({"state_dict": {"a": torch.zeros(1)}, "state_dict_ema": None}, tmp_path / "m.pth")
        assert read_file(tmp_path / "m.pth")["a"] == 0

    def test_data_parallel_prefix_is_taken_off(self, tmp_path: Path) -> None:
        torch.save({"module.a": torch.zeros(1), "module.b": torch.ones(1)}, tmp_path / "m.pth")
        assert set(read_file(tmp_path / "m.pth")) == {"a", "b"}

    @pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.ones(1)])
    def test_no_tensors(self, content: Any, tmp_path: Path) -> None:
        torch.save(content, tmp_path / "m.pth")
        with pytest.raises(UniuggError) as caught:
            read_file(tmp_path / "m.pth")
        assert caught.value.code == ErrorCode.CHECKPOINT_INVALID
