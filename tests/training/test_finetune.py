"""From a trained model through all three stages on recorded frames, on the micro model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from micro import MODEL

from training import cli
from training.config import ModelChoice
from training.data.drives import RoomsConfig
from training.data.rooms import RoomsDataset
from training.finetune import STAGES, Finetune, run_finetune
from uniugg_core.errors import UniuggError
from uniugg_core.folder import load_folder, save_folder
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.tokenizer import SpatialTokenizer

SHIPPED = Path(__file__).resolve().parents[2] / "training" / "configs" / "tiny" / "finetune"
RUN = {"steps": 2, "batch_size": 2, "log_every": 1, "validate_every": 0, "pictures_every": 0, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of a drive through a room, as a plain folder."""
    folder = tmp_path_factory.mktemp("frames")
    drive = RoomsDataset(RoomsConfig(size=48, views=12, pairs=2), "train", seed=3).drive(0)
    names = [f"{number:03d}" for number in range(12)]
    for name in ("color", "depth"):
        (folder / name).mkdir()
    for name, image, depth in zip(names, drive.image, drive.depth):
        cv2.imwrite(str(folder / "color" / f"{name}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / "depth" / f"{name}.png"), (depth * 1000).round().astype(np.uint16))
    (folder / "frames.txt").write_text("\n".join(names) + "\n")
    np.savetxt(folder / "K.txt", drive.intrinsics)
    np.savetxt(folder / "poses.txt", drive.world_from_camera.reshape(-1, 16))
    return folder


@pytest.fixture(scope="module")
def plan(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Finetune:
    root = tmp_path_factory.mktemp("finetune")
    for stage in STAGES:
        settings = yaml.safe_load((SHIPPED / f"{stage}.yaml").read_text())
        (root / f"{stage}.yaml").write_text(yaml.safe_dump({**settings, "run": {}}))
    base = yaml.safe_load((SHIPPED / "base.yaml").read_text())
    base = {**base, "base": "", "run": {**RUN, "device": "cpu", "tensorboard": False, "peak_tflops": 0.1}}
    base.pop("base")
    base["data"] = {"source": "bags", "workers": 0, "options": {"questions": 2}}
    (root / "base.yaml").write_text(yaml.safe_dump(base))
    tokenizer, sizes = SpatialTokenizer.shipped(), ModelChoice(change=MODEL).resolve()
    model = UniUGG.initialised(sizes, 0, tokenizer)
    model.vae.set_statistics(std=torch.full((sizes.encoder.width,), 0.7), latent_scale=1.3)
    save_folder(root / "model", model, tokenizer, dtype="float32", config=sizes)
    return Finetune(root, frames, root / "model", root / "out", held_out=6, scenes=3)


def test_all_stages_run_and_both_ends_are_measured(plan: Finetune) -> None:
    said: list[str] = []
    assert run_finetune(plan, say=said.append) is None
    assert said == ["measuring before", "encoder: 2 steps", "vae: 2 steps", "unified: 2 steps", "measuring after"]
    before, after = (json.loads((plan.out / f"{name}.json").read_text()) for name in ("before", "after"))
    assert before["what"] == after["what"] == "bags" and before["scenes"] == after["scenes"] <= 3
    assert before["unseen"] != after["unseen"]
    shown = [sorted(path.name for path in (plan.out / name).iterdir()) for name in ("before", "after")]
    assert shown[0] == shown[1] and shown[0]
    table = (plan.out / "finetune.md").read_text()
    assert "unseen: error" in table and f"{after['unseen']['methods']['imagined']['error']:.3f}" in table

    started, ended = (load_folder(path)[0].state_dict() for path in (plan.model, plan.out / "unified" / "model"))
    for part in ("encoder.", "spatial.", "vae.decoder.", "language.", "denoiser."):
        names = [name for name in started if name.startswith(part)]
        assert any(not torch.equal(started[name], ended[name].float()) for name in names), part
        moved = max(float((started[name] - ended[name].float()).abs().max()) for name in names)
        assert moved < 0.1, part  # it went on from the model; fresh weights would be nowhere near
    for name in ("vae.feature_std", "vae.latent_scale"):
        assert torch.equal(started[name], ended[name]), name


def test_what_is_done_is_not_done_again(plan: Finetune, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_finetune(plan) is None
    stamps = {path: path.stat().st_mtime_ns for path in plan.out.rglob("*.safetensors")}
    arguments = ["finetune", "--data", str(plan.data), "--model", str(plan.model), "--out", str(plan.out)]
    configs = plan.configs.parent / "configs"
    configs.mkdir(exist_ok=True)
    (configs / "finetune").symlink_to(plan.configs)
    assert cli.main([*arguments, "--held-out", "6", "--configs", str(configs)]) == 0
    assert "| held-out frames | before | after |" in capsys.readouterr().out
    assert stamps == {path: path.stat().st_mtime_ns for path in plan.out.rglob("*.safetensors")}


def test_frames_and_model_are_needed(plan: Finetune, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["finetune", "--out", str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err
    missing = ["finetune", "--data", str(plan.data), "--model", str(tmp_path / "none"), "--out", str(tmp_path)]
    assert cli.main(missing) == 2
    assert "none" in capsys.readouterr().err


def test_a_change_for_a_stage_that_is_none_is_refused(plan: Finetune) -> None:
    changed = replace(plan, changes=("vae:run.steps=5", "run.batch_size=3"))
    assert (changed.settings("encoder").run.steps, changed.settings("encoder").run.batch_size) == (2, 3)
    with pytest.raises(UniuggError, match="no run or stage 'vea'"):
        replace(plan, changes=("vea:run.steps=5",)).settings("encoder")
