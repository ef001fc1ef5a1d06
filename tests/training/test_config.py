"""Settings: strict names, the forms a value may come in, files that change other files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from training.config import TrainConfig
from uniugg_core.errors import ErrorCode, UniuggError

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"


def refused(*arguments: object) -> str:
    with pytest.raises(UniuggError) as caught:
        TrainConfig.load(*arguments)
    assert caught.value.code == ErrorCode.REQUEST_INVALID
    return str(caught.value)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_round_trip(tmp_path: Path) -> None:
    config = TrainConfig.from_dict({"optimizer": {"betas": [0.8, 0.9]}, "data": {"options": {"views": 3}}})
    config.save(tmp_path / "train.json")
    assert TrainConfig.load(tmp_path / "train.json") == config


def test_yaml_numbers_without_a_dot(tmp_path: Path) -> None:
    """YAML 1.1 takes 1e-4 for text."""
    path = write(tmp_path / "a.yaml", "optimizer: {lr: 1e-4, clip: null, betas: [0.9, 1e-1]}")
    optimizer = TrainConfig.load(path).optimizer
    assert (optimizer.lr, optimizer.clip, optimizer.betas) == (1e-4, None, (0.9, 0.1))


def test_changes_from_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "run: {steps: 5}\nmodel: {change: {encoder: {depth: 3}}}")
    config = TrainConfig.load(
        path, ["optimizer.lr=3e-4", "run.steps=7", "model.change.encoder.heads=8", "model.start=runs/x"]
    )
    assert (config.optimizer.lr, config.run.steps, config.model.start) == (3e-4, 7, ("runs/x",))
    assert config.model.change == {"encoder": {"depth": 3, "heads": 8}}
    assert (config.model.resolve().encoder.depth, config.model.resolve().encoder.heads) == (3, 8)


def test_a_file_may_change_another(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "run: {steps: 5, batch_size: 3}")
    path = write(tmp_path / "a.yaml", "base: base.yaml\nrun: {steps: 6}")
    assert (TrainConfig.load(path).run.steps, TrainConfig.load(path).run.batch_size) == (6, 3)
    assert "leads back" in refused(write(tmp_path / "loop.yaml", "base: loop.yaml"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("optimiser: {lr: 1}", "optimiser"),
        ("optimizer: {learning_rate: 1}", "learning_rate"),
        ("run: {steps: many}", "run.steps"),
        ("run: {steps: 1.5}", "run.steps"),
        ("run: {steps: 0}", "run.steps"),
        ("run: {compile: 1}", "run.compile"),
        ("run: {precision: fp8}", "run.precision"),
        ("optimizer: {lr: .nan}", "optimizer.lr"),
        ("optimizer: {betas: [0.9]}", "optimizer.betas"),
        ("optimizer: [1]", "optimizer"),
        ("vae: {log_unit: 0}", "vae.log_unit"),
        ("stage: sleep", "stage"),
        ("- 1", "named settings"),
        ("a: [", "no training configuration"),
    ],
)
def test_refusals_name_the_setting(tmp_path: Path, text: str, named: str) -> None:
    assert named in refused(write(tmp_path / "a.yaml", text))


def test_refused_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "")
    assert "NAME=VALUE" in refused(path, ["optimizer.lr"])
    assert "no training configuration" in refused(tmp_path / "missing.yaml")


def test_an_empty_mapping_empties(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "model: {preset: tiny, change: {encoder: {stem: []}}}")
    kept = TrainConfig.load(path, ["model.change={encoder: {depth: 3}}"]).model.change
    assert kept == {"encoder": {"stem": [], "depth": 3}}
    assert TrainConfig.load(path, ["model.change={}"]).model.change == {}


def test_model_changes_are_strict_too() -> None:
    config = TrainConfig.from_dict({"model": {"change": {"encoder": {"depht": 3}}}})
    with pytest.raises(UniuggError, match="depht"):
        config.model.resolve()


FILES = sorted(path for path in CONFIGS.rglob("*.yaml") if "stage" in (yaml.safe_load(path.read_text()) or {}))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_shipped_files_are_valid(path: Path) -> None:
    config = TrainConfig.load(path)
    assert config.model.resolve().name == path.relative_to(CONFIGS).parts[0]


def test_there_are_files_for_every_stage() -> None:
    for preset in ("tiny", "paper"):
        stages = {TrainConfig.load(path).stage for path in FILES if path.is_relative_to(CONFIGS / preset)}
        assert stages >= {"encoder", "vae", "unified"}
