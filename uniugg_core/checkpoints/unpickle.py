"""Reading tensors from files, without ever running what a file says.

Public checkpoints come as safetensors or as torch's zip format, whose structure is a pickle. The latter is read by
torch's weights-only unpickler, which builds tensors and plain containers and nothing else, widened by the few harmless
classes that public checkpoints carry beside their tensors (:data:`PLAIN`, :data:`INERT`). Any other name in the pickle
refuses the file before anything is built. Only conversion comes here; at run time only safetensors are read.
"""

from __future__ import annotations

import argparse
import pickle
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..errors import ErrorCode, UniuggError
from ..weights import read_weights

__all__ = ["INERT", "PLAIN", "Inert", "read_file", "read_safetensors", "read_torch"]


class Inert:
    """Stands where a pickle names a class that carries no weights; takes any arguments and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


_NUMPY_SCALAR = np.float64(0).__reduce__()[0]  # its module was renamed in NumPy 2; files have either name

#: What is rebuilt for real: options of the training command, and NumPy numbers among them.
PLAIN: tuple[Any, ...] = (
    argparse.Namespace,
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "float32", "float64")),
)

#: Names replaced by :class:`Inert`; the named classes are never imported.
INERT: tuple[str, ...] = (
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
)

#: Where training programs put the tensors, best first: averaged weights are the published ones.
_WRAPPERS = ("state_dict_ema", "state_dict", "model")


def read_torch(path: str | Path, *, inert: Sequence[str] = ()) -> Any:
    """The object of a torch zip file (``.pth``, ``.pt``, ``.pth.tar``); nothing in it executes.

    Args:
        path: the file.
        inert: further names, such as ``"somewhere.Options"``, to replace by :class:`Inert` instead of refusing them.

    Raises:
        UniuggError: CHECKPOINT_MISSING; CHECKPOINT_UNSAFE for a forbidden name (given in the message), a TorchScript
            archive or a format older than torch 1.6; CHECKPOINT_INVALID for anything unreadable.
    """
    path = Path(path)
    if not path.is_file():
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no file at {path}")
    _refuse_other_formats(path)
    allowed = [*PLAIN, *((Inert, name) for name in (*INERT, *inert))]
    try:
        with torch.serialization.safe_globals(allowed):
            forbidden = torch.serialization.get_unsafe_globals_in_checkpoint(path)
            if not forbidden:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        detail = str(error).partition("WeightsUnpickler error: ")[2].partition("\n")[0]
        raise UniuggError(
            ErrorCode.CHECKPOINT_UNSAFE,
            f"the pickle in {path} asks for more than tensors and plain containers, nothing was run: "
            f"{detail or 'it is damaged or forged'}",
        ) from None
    except Exception as error:  # a damaged archive surfaces as almost any type
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} is not readable: {first_line}") from error
    raise UniuggError(
        ErrorCode.CHECKPOINT_UNSAFE,
        f"the pickle in {path} names {', '.join(sorted(forbidden))}; refused, nothing was run. "
        "A class that carries no weights can be declared inert",
    )


def _refuse_other_formats(path: Path) -> None:
    """Turns away everything but torch's zip format, saying what it is."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
        if "constants.pkl" in names:
            raise UniuggError(ErrorCode.CHECKPOINT_UNSAFE, f"{path} is a TorchScript archive, which carries code")
        if "data.pkl" not in names:
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} is a zip archive, but not one of torch.save")
        return
    with path.open("rb") as file:
        start = file.read(2)
    if tarfile.is_tarfile(path):
        kind = "a tar archive of torch 0.1"
    elif start[:1] == b"\x80" and start[1:] and start[1] <= pickle.HIGHEST_PROTOCOL:
        kind = "a bare pickle (torch before 1.6)"
    else:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} is neither safetensors nor torch's zip format")
    raise UniuggError(
        ErrorCode.CHECKPOINT_UNSAFE,
        f"{path} is {kind}, which is not read; save it again with a current torch.save, or as safetensors",
    )


def read_file(path: str | Path, *, inert: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of one checkpoint file, or of a folder of safetensors, under their own names.

    In a training program's file the tensors are looked for under ``state_dict_ema``, ``state_dict`` and ``model``, in
    this order; a ``module.`` in front of every name (data-parallel training) is taken off.

    Raises:
        UniuggError: as :func:`read_torch`; CHECKPOINT_INVALID if there are no tensors.
    """
    path = Path(path)
    if path.is_dir():
        return read_weights(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    state = read_torch(path, inert=inert)
    for wrapper in _WRAPPERS:
        inner = state.get(wrapper) if isinstance(state, Mapping) else None
        if isinstance(inner, Mapping) and inner:
            state = inner
            break
    pairs = state.items() if isinstance(state, Mapping) else ()
    tensors = {key: value for key, value in pairs if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"no tensors in {path}")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a single safetensors file.

    Raises:
        UniuggError: CHECKPOINT_MISSING or CHECKPOINT_INVALID.
    """
    path = Path(path)
    if not path.is_file():
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no file at {path}")
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path} is no safetensors file: {error}") from error
