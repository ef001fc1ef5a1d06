"""Inception-v3 as FID uses it: the network of 2015 with TensorFlow's padding habits, 2048 features a picture.

It loads the file that torchmetrics and torch-fidelity load (``pt_inception-2015-12-05-6726825d.pth``, Apache-2.0),
whose names the modules here have. It differs from torchvision's in three ways: average pooling leaves the padding out,
the last block pools by maximum, and the pictures go in as (x - 128) / 128.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["SIZE", "Inception", "folder_features", "load_inception", "resize"]

SIZE = 299
_PICTURES = (".jpg", ".jpeg", ".png")


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out, H', W')."""
        return functional.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """A block of parallel chains of convolutions, their results side by side.

    Args:
        chains: each a list of (name, layer); a tuple of two ends forks the chain, their results side by side.
        pool: "average" (without padding, then the chain "branch_pool"), "max" (the same with the maximum), or
            "reduce" (maximum with stride 2, no convolution after it).
    """

    def __init__(self, chains: list[list[tuple[str, ConvNorm]]], forks: dict[str, str], pool: str) -> None:
        super().__init__()
        self.chains = [[name for name, _ in chain] for chain in chains]
        self.forks, self.pool = forks, pool
        for chain in chains:
            for name, layer in chain:
                self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        results = []
        for chain in self.chains:
            value = x
            if chain == ["branch_pool"]:
                value = (
                    functional.max_pool2d(x, 3, 1, 1)
                    if self.pool == "max"
                    else functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
                )
            for name in chain:
                if name in self.forks:
                    value = torch.cat([self._modules[name](value), self._modules[self.forks[name]](value)], dim=1)
                elif name not in self.forks.values():
                    value = self._modules[name](value)
            results.append(value)
        if self.pool == "reduce":
            results.append(functional.max_pool2d(x, 3, 2))
        return torch.cat(results, dim=1)


def _block_a(channels: int, pooled: int) -> Branches:
    return Branches(
        [
            [("branch1x1", ConvNorm(channels, 64, 1))],
            [("branch5x5_1", ConvNorm(channels, 48, 1)), ("branch5x5_2", ConvNorm(48, 64, 5, padding=2))],
            [
                ("branch3x3dbl_1", ConvNorm(channels, 64, 1)),
                ("branch3x3dbl_2", ConvNorm(64, 96, 3, padding=1)),
                ("branch3x3dbl_3", ConvNorm(96, 96, 3, padding=1)),
            ],
            [("branch_pool", ConvNorm(channels, pooled, 1))],
        ],
        {},
        "average",
    )


def _block_b(channels: int) -> Branches:
    return Branches(
        [
            [("branch3x3", ConvNorm(channels, 384, 3, stride=2))],
            [
                ("branch3x3dbl_1", ConvNorm(channels, 64, 1)),
                ("branch3x3dbl_2", ConvNorm(64, 96, 3, padding=1)),
                ("branch3x3dbl_3", ConvNorm(96, 96, 3, stride=2)),
            ],
        ],
        {},
        "reduce",
    )


def _row(channels: int, out: int, size: int) -> ConvNorm:
    return ConvNorm(channels, out, (1, size), padding=(0, size // 2))


def _column(channels: int, out: int, size: int) -> ConvNorm:
    return ConvNorm(channels, out, (size, 1), padding=(size // 2, 0))


def _block_c(channels: int, inner: int) -> Branches:
    return Branches(
        [
            [("branch1x1", ConvNorm(channels, 192, 1))],
            [
                ("branch7x7_1", ConvNorm(channels, inner, 1)),
                ("branch7x7_2", _row(inner, inner, 7)),
                ("branch7x7_3", _column(inner, 192, 7)),
            ],
            [
                ("branch7x7dbl_1", ConvNorm(channels, inner, 1)),
                ("branch7x7dbl_2", _column(inner, inner, 7)),
                ("branch7x7dbl_3", _row(inner, inner, 7)),
                ("branch7x7dbl_4", _column(inner, inner, 7)),
                ("branch7x7dbl_5", _row(inner, 192, 7)),
            ],
            [("branch_pool", ConvNorm(channels, 192, 1))],
        ],
        {},
        "average",
    )


def _block_d(channels: int) -> Branches:
    return Branches(
        [
            [("branch3x3_1", ConvNorm(channels, 192, 1)), ("branch3x3_2", ConvNorm(192, 320, 3, stride=2))],
            [
                ("branch7x7x3_1", ConvNorm(channels, 192, 1)),
                ("branch7x7x3_2", _row(192, 192, 7)),
                ("branch7x7x3_3", _column(192, 192, 7)),
                ("branch7x7x3_4", ConvNorm(192, 192, 3, stride=2)),
            ],
        ],
        {},
        "reduce",
    )


def _block_e(channels: int, pool: str) -> Branches:
    return Branches(
        [
            [("branch1x1", ConvNorm(channels, 320, 1))],
            [
                ("branch3x3_1", ConvNorm(channels, 384, 1)),
                ("branch3x3_2a", _row(384, 384, 3)),
                ("branch3x3_2b", _column(384, 384, 3)),
            ],
            [
                ("branch3x3dbl_1", ConvNorm(channels, 448, 1)),
                ("branch3x3dbl_2", ConvNorm(448, 384, 3, padding=1)),
                ("branch3x3dbl_3a", _row(384, 384, 3)),
                ("branch3x3dbl_3b", _column(384, 384, 3)),
            ],
            [("branch_pool", ConvNorm(channels, 192, 1))],
        ],
        {"branch3x3_2a": "branch3x3_2b", "branch3x3dbl_3a": "branch3x3dbl_3b"},
        pool,
    )


class Inception(nn.Module):
    """The network up to its pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, padding=1)
        self.MaxPool_1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.MaxPool_2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_a(192, 32), _block_a(256, 64), _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b, self.Mixed_6c = _block_c(768, 128), _block_c(768, 160)
        self.Mixed_6d, self.Mixed_6e = _block_c(768, 160), _block_c(768, 192)
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b, self.Mixed_7c = _block_e(1280, "average"), _block_e(2048, "max")

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, 2048) of pictures (B, 3, 299, 299) with values from 0 to 255."""
        x = (pixels - 128) / 128
        for layer in self.children():
            x = layer(x)
        return x.mean(dim=(2, 3))


def load_inception(path: Path, *, device: str = "cpu") -> Inception:
    """The network with the weights of a local file.

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_INVALID, CHECKPOINT_MISMATCH.
    """
    if not path.is_file():
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"there is no file {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch says of a file that is no checkpoint
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path}: {error}") from None
    with torch.device("meta"):
        network = Inception()
    wanted = network.state_dict()
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    # Files of early PyTorch lack the counters of batch normalisation, which nothing reads
    for name in wanted:
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros((), dtype=torch.long))
    wrong = sorted(
        name
        for name in wanted.keys() | state.keys()
        if name not in wanted or name not in state or wanted[name].shape != state[name].shape
    )
    if wrong:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{path}: {len(wrong)} tensors do not fit, as {wrong[0]}")
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval().to(device)


def resize(pictures: Tensor, how: str) -> Tensor:
    """(B, 3, H, W) values 0 to 255 to (B, 3, 299, 299): "antialiased" as torchmetrics, "tensorflow" as the original."""
    if how == "antialiased":
        size = (SIZE, SIZE)
        return functional.interpolate(pictures, size=size, mode="bilinear", align_corners=False, antialias=True)
    for axis in (3, 2):
        pictures = _tensorflow_axis(pictures, axis)
    return pictures


def folder_features(network: Inception, folder: Path, *, resize: str = "antialiased", batch: int = 16) -> np.ndarray:
    """Features (n, 2048) float64 of every PNG and JPEG in a folder, in the order of their names.

    Raises:
        UniuggError: IMAGE_MISSING for an empty folder, IMAGE_UNDECODABLE.
    """
    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for images in _batches(folder, batch):
            pictures = [_resized(image, resize, device) for image in images]
            parts.append(network(torch.stack(pictures)).double().cpu().numpy())
    return np.concatenate(parts)


def _resized(image: np.ndarray, how: str, device: torch.device) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float()
    return resize(pixels, how)[0]


def _batches(folder: Path, size: int) -> Iterator[list[np.ndarray]]:
    from uniugg_core.images import load_image

    files = sorted(file for file in folder.glob("*") if file.suffix.lower() in _PICTURES)
    if not files:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{folder}: no PNG or JPEG there")
    for start in range(0, len(files), size):
        yield [load_image(file) for file in files[start : start + size]]


def _tensorflow_axis(x: Tensor, axis: int) -> Tensor:
    """Linear interpolation whose first sample is the first pixel: what TensorFlow 1 calls bilinear resizing."""
    size = x.shape[axis]
    place = torch.arange(SIZE, dtype=torch.float32, device=x.device) * torch.tensor(size / SIZE, dtype=torch.float32)
    low = place.long()
    high = (low + 1).clamp_max(size - 1)
    weight = (place - low).reshape([-1 if index == axis else 1 for index in range(4)])
    first = x.index_select(axis, low)
    return first + (x.index_select(axis, high) - first) * weight
