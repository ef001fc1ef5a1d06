"""LPIPS with AlexNet (Zhang et al. 2018) from local files: the numbers of the `lpips` package, without its downloads.

The backbone's weights are torchvision's ``alexnet-owt-7be5be79.pth``; the weights of the five layers come with the
`lpips` package.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["AlexLpips", "load_lpips_alex"]

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_TAPS = (1, 4, 7, 9, 11)  # layers of AlexNet's features whose outputs are compared, each after its ReLU
_WIDTHS = (64, 192, 384, 256, 256)
_TINY = 1e-10


class AlexLpips(nn.Module):
    """Distances (B,) of pictures (B, 3, H, W) in [-1, 1] to others."""

    def __init__(self) -> None:
        super().__init__()

        def conv(*sizes: int, **options: int) -> list[nn.Module]:
            return [nn.Conv2d(*sizes, **options), nn.ReLU()]

        self.features = nn.Sequential(
            *conv(3, 64, 11, stride=4, padding=2),
            nn.MaxPool2d(3, 2),
            *conv(64, 192, 5, padding=2),
            nn.MaxPool2d(3, 2),
            *conv(192, 384, 3, padding=1),
            *conv(384, 256, 3, padding=1),
            *conv(256, 256, 3, padding=1),
        )
        self.weights = nn.ParameterList(torch.zeros(width) for width in _WIDTHS)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B,)."""
        distance = torch.zeros(len(first), device=first.device)
        for one, other, weight in zip(self._layers(first), self._layers(second), self.weights):
            squares = (one - other).square()
            distance = distance + (squares * weight[:, None, None]).sum(1).mean((1, 2))
        return distance

    def _layers(self, pictures: Tensor) -> list[Tensor]:
        x, found = (pictures - self.shift) / self.scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _TAPS:
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + _TINY))
        return found


def load_lpips_alex(backbone: Path, *, device: str = "cpu") -> AlexLpips:
    """The network with the weights of a local file.

    Args:
        backbone: torchvision's AlexNet.
        device: where it runs.

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_INVALID or CHECKPOINT_MISMATCH.
    """
    package = importlib.util.find_spec("lpips")
    if package is None or not package.submodule_search_locations:
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, "the package lpips is not installed: pip install -e .[train]")
    layers = Path(package.submodule_search_locations[0]) / "weights" / "v0.1" / "alex.pth"
    network = AlexLpips()
    state = {name: value for name, value in _read(backbone).items() if name.startswith("features.")}
    state |= {f"weights.{name[3]}": value.flatten() for name, value in _read(layers).items() if name.startswith("lin")}
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items() if name not in ("shift", "scale")}
    wrong = sorted(
        name
        for name in wanted.keys() | state.keys()
        if name not in wanted or name not in state or wanted[name] != state[name].shape
    )
    if wrong:
        raise UniuggError(ErrorCode.CHECKPOINT_MISMATCH, f"{backbone}: {len(wrong)} tensors do not fit, as {wrong[0]}")
    network.load_state_dict(state, strict=False)
    return network.requires_grad_(False).eval().to(device)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"there is no file {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch says of a file that is no checkpoint
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{path}: {error}") from None
