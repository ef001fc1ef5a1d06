from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import pytest
import small_layouts as small
import torch

from uniugg_core.checkpoints import convert, load_encoder, load_public, load_spatial
from uniugg_core.config import ModelConfig
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.weights import write_weights

FILES = {"config.json", "model.safetensors", "README.md", "SHA256SUMS"}


def public_file(folder: Path, layout: str) -> Path:
    path = folder / f"{layout}.pth"
    torch.save({"model": small.state(layout), "args": argparse.Namespace(lr=1e-4)}, path)
    return path


@pytest.mark.parametrize("layout", ["radio", "mast3r", "uniugg"])
def test_the_folder_gives_the_same_network(layout: str, tmp_path: Path) -> None:
    source = public_file(tmp_path, layout)
    result = convert(source, tmp_path / "out", head_width=small.HEAD_WIDTH)
    assert {path.name for path in result.folder.iterdir()} == FILES
    direct = load_public(source, head_width=small.HEAD_WIDTH)
    encoder = load_encoder(tmp_path / "out")
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = direct.build_encoder()(image)
        found = encoder(image)
        assert torch.equal(found.features, expected.features)
        if layout == "radio":
            with pytest.raises(UniuggError) as caught:
                load_spatial(tmp_path / "out")
            assert caught.value.code == ErrorCode.CHECKPOINT_MISSING
        else:
            pair = (found.features, found.features, found.grid)
            assert torch.equal(load_spatial(tmp_path / "out")(*pair)[1].points, direct.build_spatial()(*pair)[1].points)
    config = ModelConfig.load(tmp_path / "out" / "config.json")
    assert config.encoder == direct.encoder
    assert not config.trained  # the parts are, the model is not


def test_the_card_says_where_it_comes_from(tmp_path: Path) -> None:
    source = public_file(tmp_path, "uniugg")
    result = convert(source, tmp_path / "out", head_width=small.HEAD_WIDTH)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert result.sources == (("uniugg.pth", digest),)
    card = (tmp_path / "out" / "README.md").read_text()
    assert digest in card
    assert "uniugg.pth" in card
    assert "licence" in card
    assert str(tmp_path) not in card


def test_numbers_can_be_stored_shorter(tmp_path: Path) -> None:
    convert(public_file(tmp_path, "radio"), tmp_path / "out", head_width=16, dtype=torch.bfloat16)
    assert load_encoder(tmp_path / "out", dtype=torch.bfloat16).patch_embed.weight.dtype == torch.bfloat16
    assert load_encoder(tmp_path / "out").patch_embed.weight.dtype == torch.float32


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    convert(public_file(tmp_path, "radio"), tmp_path / "out", head_width=16)
    path = tmp_path / "out" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UniuggError) as caught:
        load_encoder(tmp_path / "out")
    assert caught.value.code == ErrorCode.CHECKPOINT_INVALID
    load_encoder(tmp_path / "out", verify=False)


def test_a_folder_of_shards_is_a_source_too(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    state = {name: value.clone() for name, value in small.state("hf_radio").items()}
    write_weights(tmp_path / "public", state, max_shard_bytes=100_000)
    result = convert(tmp_path / "public", tmp_path / "out", head_width=16)
    assert len(result.sources) > 1
    assert all(digest in (tmp_path / "out" / "README.md").read_text() for _, digest in result.sources)


def test_progress_is_told_in_order(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    convert(public_file(tmp_path, "radio"), tmp_path / "out", head_width=16, progress=lambda *step: told.append(step))
    assert [done for _, done in told] == sorted(done for _, done in told)
    assert told[-1] == ("done", 1.0)


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    with pytest.raises(UniuggError, match="exists"):
        convert(public_file(tmp_path, "radio"), tmp_path / "out", head_width=16)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert convert(public_file(tmp_path, "radio"), tmp_path / "out", head_width=16).layout == "radio"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["encoder"]["kind"] == "radio"


def test_nothing_remains_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = public_file(tmp_path, "radio")

    def full_disk(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(UniuggError, match="no space"):
        convert(source, tmp_path / "out", head_width=16)
    assert [path.name for path in tmp_path.iterdir()] == ["radio.pth"]
