"""The stages train on the data sets' formats as they do on rooms."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from formats import arkit, shards, talks
from formats.rendered import rendered
from micro import micro

from training.config import TrainConfig
from training.data.arkitscenes import READER, find
from training.data.pair_list import DEFAULT_NAME
from training.data.pairs import MiningConfig, mine
from training.loop import Trainer
from training.stages import build_stage
from training.stages.unified import UnifiedStage
from uniugg_core.folder import save_folder
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.tokenizer import SpatialTokenizer


def train(config: TrainConfig, out: Path):
    return Trainer(build_stage(config), config, out, log=None).run(resume=False)


def part(source: str, path: Path, **more) -> dict:
    return {"source": source, "path": str(path), **more}


def mixture(*parts: dict) -> dict:
    return {"workers": 0, "source": "mixture", "options": {"views": None, "pairs": None, "parts": list(parts)}}


def test_stage_1_on_recordings_and_shards(tmp_path):
    folder = tmp_path / "arkit"
    arkit.write_raw(folder, rendered())
    mine(READER, find(folder), MiningConfig(covisibility=(0.1, 1.0))).save(folder / DEFAULT_NAME)
    shards.write_shard(tmp_path / "laion" / "00000.tar", 4)
    data = mixture(part("arkitscenes", folder, kinds=["pair"]), part("laion", tmp_path / "laion"))
    train(micro("teacher"), tmp_path / "teacher")
    own = {"teacher": str(tmp_path / "teacher"), "single_share": 0.5}
    run = {"steps": 4, "validate_every": 4, "checkpoint_every": 4}
    outcome = train(micro("encoder", data=data, encoder=own, run=run), tmp_path / "run")
    assert outcome.stopped is None
    lines = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in lines


def test_stage_3_on_conversations_with_several_pictures(tmp_path):
    config = micro("unified", start=tmp_path / "start", unified={"phase": "align"})
    sizes = config.model.resolve()
    tokenizer = SpatialTokenizer.shipped()
    save_folder(tmp_path / "start", UniUGG.initialised(sizes, 0, tokenizer), tokenizer, dtype="float32", config=sizes)
    talks.write_spar(tmp_path / "spar")
    talks.write_emova(tmp_path / "emova")
    data = mixture(
        part("spar", tmp_path / "spar", options={"pictures": 3}),
        part("llava", tmp_path / "emova", options={"validation_share": 0.0}),
    )
    config = micro("unified", start=tmp_path / "start", unified={"phase": "align"}, data=data)
    stage = UnifiedStage(config)
    batch = {**stage.source("train").batch("question", range(6)), "kind": "question"}
    assert batch["image"].shape[1] == 3
    assert any(question.history for (question,) in batch["questions"])
    losses = stage.forward(batch, torch.Generator().manual_seed(0))
    losses["loss"].backward()
    assert math.isfinite(float(losses["loss"].detach()))
