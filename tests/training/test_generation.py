"""Generated views and their scores: the folder's layout, resuming, other systems, LPIPS against its own package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import save_micro

from training.data.rooms import RoomsConfig, RoomsDataset
from training.evaluation.generated import generate_views, score_views
from training.evaluation.perceptual import load_lpips_alex
from uniugg_core import cli
from uniugg_core._compat import ensure_torchvision
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import load_image, save_image
from uniugg_core.pipeline import UniUGGPipeline
from uniugg_core.scene import Scene

SIZE, COUNT = 32, 4
FEATURES = {
    "mean": lambda image: image.reshape(-1, 3).mean(0),
    "inception": lambda image: image[::8, ::8].ravel() / 255,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_micro(tmp_path_factory.mktemp("model") / "micro")


@pytest.fixture(scope="module")
def source() -> RoomsDataset:
    return RoomsDataset(RoomsConfig(size=SIZE, views=6, pairs=1, interleave=1), "test", seed=5)


@pytest.fixture(scope="module")
def out(model: Path, source: RoomsDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate_views(UniUGGPipeline.from_pretrained(model), source, COUNT, folder, scenes=True, steps=2)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.iterdir())


def test_the_folder_has_every_pair_in_every_form(out: Path, source: RoomsDataset) -> None:
    wanted = [f"{number:06d}" for number in range(COUNT)]
    for name in ("input", "real", "projected", "direct", "scenes"):
        assert names(out / name) == wanted
    entry = json.loads((out / "pairs.json").read_text())["pairs"][2]
    pair = source.pair(2)
    np.testing.assert_allclose(entry["target_from_reference"], pair.target_from_reference)
    assert np.array_equal(load_image(out / "real" / "000002.png"), pair.target.image)


def test_it_goes_on_where_it_was_and_refuses_other_pairs(out: Path, model: Path, source: RoomsDataset) -> None:
    pipeline = UniUGGPipeline.from_pretrained(model)
    before = (out / "direct" / "000001.png").stat().st_mtime_ns
    (out / "direct" / "000003.png").unlink()
    done: list[int] = []
    generate_views(pipeline, source, COUNT, out, steps=2, scenes=True, progress=lambda n, _: done.append(n))
    assert (out / "direct" / "000003.png").is_file() and done == [1, 2, 3, 4]
    assert (out / "direct" / "000001.png").stat().st_mtime_ns == before
    other = RoomsDataset(source.config, "test", seed=6)
    with pytest.raises(UniuggError) as refusal:
        generate_views(pipeline, other, COUNT, out, steps=2)
    assert refusal.value.code is ErrorCode.REQUEST_INVALID


def test_real_views_are_perfect_and_clouds_of_others_are_drawn_alike(
    out: Path, source: RoomsDataset, tmp_path: Path
) -> None:
    clouds = tmp_path / "true_clouds"
    clouds.mkdir()
    for number in range(COUNT):
        pair = source.pair(number)
        view, size = pair.target, SIZE
        v, u = np.mgrid[:size, :size].astype(float)
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(view.intrinsics).T
        points = (rays * view.depth[..., None]).reshape(-1, 3)
        inverse = np.linalg.inv(pair.target_from_reference)
        Scene.from_arrays(points @ inverse[:3, :3].T + inverse[:3, 3], view.image.reshape(-1, 3)).save(
            clouds / f"{number:06d}.ply"
        )
    report = score_views(out, [out / "real", out / "projected", clouds], features=FEATURES)
    real, ours, true = (report["outputs"][name] for name in ("real", "projected", "true_clouds"))
    assert (
        real["psnr"] == 100 and real["ssim"] == pytest.approx(1) and real["frechet_mean"] == pytest.approx(0, abs=1e-6)
    )
    assert real["fid"] == pytest.approx(0, abs=1e-6) and "kid_mean" in real and real["lpips"] is None
    assert true["psnr"] > 18 > ours["psnr"] + 4 and true["ssim"] > ours["ssim"] + 0.2
    assert 0 <= true["black"] < 0.05


def test_what_is_missing_or_of_another_size_is_named(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save_image(other / "000000.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UniuggError, match="8x8") as refusal:
        score_views(out, [other], features=FEATURES)
    assert refusal.value.code is ErrorCode.IMAGE_MALFORMED
    save_image(other / "000000.png", np.zeros((SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UniuggError, match="000001") as refusal:
        score_views(out, [other], features=FEATURES)
    assert refusal.value.code is ErrorCode.IMAGE_MISSING


def test_lpips_is_that_of_its_package(tmp_path: Path) -> None:
    ensure_torchvision()
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    state = {}
    for name, tensor in theirs.net.state_dict().items():  # slice1.0.weight -> features.0.weight
        state["features." + name.partition(".")[2]] = tensor
    torch.save(state, tmp_path / "alexnet.pth")
    ours = load_lpips_alex(tmp_path / "alexnet.pth")
    one, other = torch.rand(2, 2, 3, 64, 48) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(ours(one, other), theirs(one, other).flatten(), rtol=1e-5, atol=1e-7)
        assert ours(one, one).abs().max() == 0
    with pytest.raises(UniuggError) as refusal:
        load_lpips_alex(tmp_path / "none.pth")
    assert refusal.value.code is ErrorCode.CHECKPOINT_MISSING
    del state["features.0.bias"]
    torch.save(state, tmp_path / "alexnet.pth")
    with pytest.raises(UniuggError) as refusal:
        load_lpips_alex(tmp_path / "alexnet.pth")
    assert refusal.value.code is ErrorCode.CHECKPOINT_MISMATCH


def test_the_commands(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    line = ["eval", "generate", out, "--pairs", "3", "--steps", "2", "--model", str(model), "--option", "views=4"]
    assert cli.main(line) == 0
    score = [
        "eval",
        "generation",
        out,
        "--model",
        str(model),
        "--subsets",
        "4",
        "--json",
        str(tmp_path / "figures.json"),
    ]
    assert cli.main(score) == 0
    text = capsys.readouterr().out
    assert "3 pairs of rooms" in text and "frechet_micro_encoder" in text and "fid" not in text
    assert set(json.loads((tmp_path / "figures.json").read_text())["outputs"]) == {"projected", "direct"}
    assert cli.main(["eval", "generation", str(tmp_path)]) == 2
