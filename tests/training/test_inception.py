from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.evaluation.inception import SIZE, Inception, folder_features, load_inception, resize
from uniugg_core.errors import ErrorCode, UniuggError

# torch-fidelity 0.4.0 with the weights and the picture below: features 0, 1, 319, 320, 1000, 2047, and their mean
GOLDEN = [0.0659256, 0.0432506, 0.0, 0.616613, 0.0, 0.0411107]
GOLDEN_MEAN = 0.20857902


def rule_state() -> dict[str, torch.Tensor]:
    """Weights by a rule, so that another implementation can be given the same."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Inception().state_dict().items()}
    state = {}
    for name in sorted(shapes):
        noise = torch.randn(shapes[name], generator=generator)
        if name.endswith("conv.weight"):
            noise *= 1.4 / noise[0].numel() ** 0.5
        elif name.endswith("running_var"):
            noise = noise.abs() + 0.5
        else:
            noise = 0.1 * noise + (1.0 if name.endswith("bn.weight") else 0.0)
        if not name.endswith("num_batches_tracked"):
            state[name] = noise
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    # the classifier is in the public file, and not needed
    torch.save(rule_state() | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, path)
    return path


def picture() -> torch.Tensor:
    y, x, c = torch.meshgrid(torch.arange(40.0), torch.arange(52.0), torch.arange(3.0), indexing="ij")
    return torch.floor(127.5 + 127 * torch.sin(0.3 * y + 0.2 * x * (c + 1))).permute(2, 0, 1)[None]


def test_the_size_is_that_of_the_public_network() -> None:
    with torch.device("meta"):
        network = Inception()
    assert sum(value.numel() for value in network.parameters()) == 21_785_568
    assert len({name.split(".")[0] for name in network.state_dict()}) == 16


def test_features_are_those_of_torch_fidelity(weights: Path) -> None:
    features = load_inception(weights)(resize(picture(), "tensorflow"))[0].double()
    assert features.shape == (2048,)
    np.testing.assert_allclose(features[[0, 1, 319, 320, 1000, 2047]].numpy(), GOLDEN, rtol=1e-3, atol=1e-4)
    assert float(features.mean()) == pytest.approx(GOLDEN_MEAN, rel=1e-4)


def test_resizing_like_tensorflow_begins_at_the_first_pixel() -> None:
    ramp = torch.arange(10.0).reshape(1, 1, 1, 10).expand(1, 3, 10, 10)
    grown = resize(ramp, "tensorflow")[0, 0, 0]
    torch.testing.assert_close(grown, (torch.arange(SIZE) * 10 / SIZE).clamp_max(9), rtol=0, atol=1e-5)
    assert resize(ramp, "antialiased").shape == (1, 3, SIZE, SIZE)


def test_weights_are_checked(tmp_path: Path) -> None:
    def code(path: Path) -> ErrorCode:
        with pytest.raises(UniuggError) as caught:
            load_inception(path)
        return caught.value.code

    assert code(tmp_path / "none.pth") == ErrorCode.CHECKPOINT_MISSING
    (tmp_path / "bad.pth").write_bytes(b"no checkpoint")
    assert code(tmp_path / "bad.pth") == ErrorCode.CHECKPOINT_INVALID
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "other.pth")
    assert code(tmp_path / "other.pth") == ErrorCode.CHECKPOINT_MISMATCH


def test_folders_of_pictures(weights: Path, tmp_path: Path) -> None:
    network = load_inception(weights)
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20 + index, 30, 3), 60 * index, np.uint8))
    features = folder_features(network, tmp_path, batch=2)
    assert features.shape == (2, 2048) and features.dtype == np.float64
    assert not np.allclose(features[0], features[1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UniuggError, match="no PNG or JPEG"):
        folder_features(network, tmp_path / "empty")
