"""Checkpoint folders: bit-equal round trips, whole or not at all, and a coded refusal for everything else."""

from __future__ import annotations

import hashlib
import json

import pytest
import safetensors.torch
import torch
from small_model import SMALL, model, refused, shared_model

from uniugg_core import folder as folder_module
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.folder import load_folder, load_parts, resolve_device, resolve_dtype, save_folder
from uniugg_core.tokenizer import SpatialTokenizer
from uniugg_core.weights import read_weights, verify_sums, weight_files, write_weights

TOKENIZER = SpatialTokenizer.shipped()


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "checkpoint"
    save_folder(folder, shared_model(), TOKENIZER)
    return folder


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def rewrite(saved, change) -> None:
    """Changes the weights file and drops the sums."""
    tensors = safetensors.torch.load_file(saved / "model.safetensors")
    safetensors.torch.save_file(change(tensors), saved / "model.safetensors")
    (saved / "SHA256SUMS").unlink()


class TestRoundTrip:
    def test_bit_equal(self, saved):
        loaded, tokenizer = load_folder(saved)
        assert same(loaded.state_dict(), shared_model().state_dict())
        assert loaded.config == SMALL
        assert tokenizer.encode("a chair") == TOKENIZER.encode("a chair")
        assert not loaded.training

    def test_a_loaded_model_computes_the_same(self, saved):
        image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        rays = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            results = [
                built.language.condition(built.encode(image).features, rays)
                for built in (shared_model(), load_folder(saved)[0])
            ]
        assert torch.equal(*results)

    def test_a_loaded_model_can_be_trained(self, saved):
        loaded, _ = load_folder(saved)
        head, embedding = loaded.language.qwen.lm_head.weight, loaded.language.qwen.model.embed_tokens.weight
        assert head is embedding  # tied, not two copies that drift apart
        assert all(parameter.requires_grad and not parameter.is_inference() for parameter in loaded.parameters())

    def test_the_files(self, saved):
        assert {path.name for path in saved.iterdir()} == {
            "config.json",
            "model.safetensors",
            "tokenizer",
            "README.md",
            "SHA256SUMS",
        }
        with safetensors.safe_open(saved / "model.safetensors", framework="pt") as file:
            names = set(file.keys())
        assert "language.qwen.lm_head.weight" not in names  # stored once
        assert {name.partition(".")[0] for name in names} == {"encoder", "spatial", "vae", "language", "denoiser"}
        assert "random" in (saved / "README.md").read_text()

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_half_precision(self, tmp_path, dtype):
        folder = tmp_path / "half"
        save_folder(folder, shared_model(), TOKENIZER, dtype=dtype)
        stored = read_weights(folder)
        assert stored["encoder.position_table"].dtype == resolve_dtype(dtype)
        assert stored["vae.feature_mean"].dtype == torch.float32
        assert load_folder(folder)[0].dtype == torch.float32
        kept, _ = load_folder(folder, dtype=dtype)
        assert kept.dtype == resolve_dtype(dtype)
        assert torch.equal(kept.encoder.position_table, shared_model().encoder.position_table.to(kept.dtype))

    def test_shards(self, tmp_path, saved):
        tensors = read_weights(saved)
        folder = tmp_path / "sharded"
        folder.mkdir()
        write_weights(folder, tensors, max_shard_bytes=200_000)
        assert len(weight_files(folder)) > 3
        assert all(file.stat().st_size < 300_000 for file in weight_files(folder)[1:])
        assert same(read_weights(folder), tensors)

    def test_written_config_can_differ_in_what_is_no_size(self, tmp_path):
        save_folder(tmp_path / "x", shared_model(), TOKENIZER, config=SMALL.replace(trained=True))
        assert load_folder(tmp_path / "x")[0].config.trained


class TestWhole:
    def test_replacing_keeps_strangers_and_drops_stale_shards(self, saved):
        (saved / "metrics.csv").write_text("loss")
        (saved / "model-00002-of-00002.safetensors").write_text("stale")
        save_folder(saved, model(seed=9), TOKENIZER)
        assert (saved / "metrics.csv").read_text() == "loss"
        assert not (saved / "model-00002-of-00002.safetensors").exists()
        assert same(load_folder(saved)[0].state_dict(), model(seed=9).state_dict())
        assert [path.name for path in saved.parent.iterdir()] == [saved.name]

    def test_a_failure_leaves_the_old_checkpoint(self, saved, monkeypatch):
        def full(*args, **kwargs):
            raise OSError("No space left on device")

        monkeypatch.setattr(folder_module, "write_sums", full)
        message = refused(ErrorCode.CHECKPOINT_INVALID, save_folder, saved, model(seed=9), TOKENIZER)
        assert "No space left" in message
        monkeypatch.undo()
        assert same(load_folder(saved)[0].state_dict(), shared_model().state_dict())
        assert [path.name for path in saved.parent.iterdir()] == [saved.name]

    def test_somebody_elses_folder_is_not_touched(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("years of work")
        refused(ErrorCode.CHECKPOINT_INVALID, save_folder, tmp_path, shared_model(), TOKENIZER)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


class TestSums:
    def test_are_those_of_sha256sum(self, saved):
        lines = dict(reversed(line.split("  ")) for line in (saved / "SHA256SUMS").read_text().splitlines())
        assert lines["config.json"] == hashlib.sha256((saved / "config.json").read_bytes()).hexdigest()
        assert {"model.safetensors", "tokenizer/vocab.json", "README.md"} <= set(lines)
        assert verify_sums(saved)

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer/merges.txt"])
    def test_a_changed_file_is_noticed(self, saved, name):
        data = bytearray((saved / name).read_bytes())
        data[-2] ^= 1
        (saved / name).write_bytes(data)
        assert name.rpartition("/")[2] in refused(ErrorCode.CHECKPOINT_INVALID, load_folder, saved)
        if name == "model.safetensors":
            load_folder(saved, verify=False)

    def test_a_missing_file_is_noticed(self, saved):
        (saved / "README.md").unlink()
        assert "README.md" in refused(ErrorCode.CHECKPOINT_INVALID, load_folder, saved)

    def test_only_files_inside_are_read(self, saved):
        (saved / "SHA256SUMS").write_text(f"{'0' * 64}  ../../etc/passwd\n")
        assert "outside" in refused(ErrorCode.CHECKPOINT_INVALID, load_folder, saved)

    def test_are_optional(self, saved):
        (saved / "SHA256SUMS").unlink()
        assert not verify_sums(saved)
        load_folder(saved)


class TestRefusals:
    def test_nothing_there(self, tmp_path):
        refused(ErrorCode.CHECKPOINT_MISSING, load_folder, tmp_path / "nowhere")
        refused(ErrorCode.CHECKPOINT_MISSING, load_folder, tmp_path)

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "model.pt", "model.pkl", "model.ckpt"])
    def test_pickles_are_never_opened(self, saved, name):
        (saved / "model.safetensors").rename(saved / name)
        assert name in refused(ErrorCode.CHECKPOINT_UNSAFE, load_folder, saved)
        assert "convert" in refused(ErrorCode.CHECKPOINT_UNSAFE, load_folder, saved / name)

    def test_a_plain_file(self, saved):
        refused(ErrorCode.CHECKPOINT_INVALID, load_folder, saved / "config.json")

    @pytest.mark.parametrize("keep", [0, 7, 1000])
    def test_truncated(self, saved, keep):
        data = (saved / "model.safetensors").read_bytes()
        (saved / "model.safetensors").write_bytes(data[:keep])
        refused(ErrorCode.CHECKPOINT_INVALID, load_folder, saved)
        refused(ErrorCode.CHECKPOINT_INVALID, lambda: load_folder(saved, verify=False))

    def test_missing_left_over_and_misshapen_tensors_are_named(self, saved):
        def damage(tensors):
            del tensors["encoder.prefix_tokens"]
            tensors["encoder.extra"] = torch.zeros(2)
            tensors["language.view_query"] = torch.zeros(7)
            return tensors

        rewrite(saved, damage)
        message = refused(ErrorCode.CHECKPOINT_MISMATCH, load_folder, saved)
        for part in (
            "missing: encoder.prefix_tokens (8, 32)",
            "left over: encoder.extra (2,)",
            "view_query (7,)",
            "(32,)",
        ):
            assert part in message

    def test_other_sizes_in_the_config(self, saved):
        (saved / "SHA256SUMS").unlink()
        SMALL.replace(language__width=64).save(saved / "config.json")
        refused(ErrorCode.CHECKPOINT_MISMATCH, load_folder, saved)

    @pytest.mark.parametrize(
        ("part", "field", "value"),
        [("language", "heads", 3), ("language", "kv_heads", 0), ("vae", "groups", 7), ("denoiser", "groups", 5)],
    )
    def test_config_of_an_impossible_model(self, saved, part, field, value):
        (saved / "SHA256SUMS").unlink()
        sizes = json.loads((saved / "config.json").read_text())
        sizes[part][field] = value
        (saved / "config.json").write_text(json.dumps(sizes))
        assert "config" in refused(ErrorCode.CHECKPOINT_INVALID, load_folder, saved)

    def test_overwriting_the_file_does_not_reach_a_loaded_model(self, saved):
        loaded, _ = load_folder(saved)
        size = (saved / "model.safetensors").stat().st_size
        (saved / "model.safetensors").write_bytes(bytes(size))  # in place, as cp does
        assert same(loaded.state_dict(), shared_model().state_dict())

    @pytest.mark.parametrize("text", ["", "[]", '{"name": 3}', '{"nmae": "x"}'])
    def test_bad_config(self, saved, text):
        (saved / "SHA256SUMS").unlink()
        (saved / "config.json").write_text(text)
        refused(ErrorCode.CHECKPOINT_INVALID, load_folder, saved)

    @pytest.mark.parametrize(
        "index",
        ["", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../x.safetensors"}}', '{"weight_map": {"a": "x.bin"}}'],
    )
    def test_bad_shard_index(self, tmp_path, index):
        (tmp_path / "model.safetensors.index.json").write_text(index)
        refused(ErrorCode.CHECKPOINT_INVALID, weight_files, tmp_path)

    def test_missing_shard(self, tmp_path):
        index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "00001-of" in refused(ErrorCode.CHECKPOINT_MISSING, weight_files, tmp_path)

    def test_missing_tokenizer(self, saved):
        (saved / "SHA256SUMS").unlink()
        (saved / "tokenizer" / "tokenizer_config.json").unlink()
        refused(ErrorCode.CHECKPOINT_MISSING, load_folder, saved)

    def test_unknown_dtype_and_device(self, saved):
        assert "'int8'" in refused(ErrorCode.REQUEST_INVALID, lambda: load_folder(saved, dtype="int8"))
        refused(ErrorCode.REQUEST_INVALID, resolve_device, "gpu of my dreams")
        if not torch.cuda.is_available():
            refused(ErrorCode.REQUEST_INVALID, lambda: load_folder(saved, device="cuda"))


class TestParts:
    @pytest.fixture
    def partial(self, saved):
        """Encoder and spatial decoder only, as the converter of public checkpoints writes."""
        rewrite(saved, lambda t: {key: value for key, value in t.items() if key.startswith(("encoder.", "spatial."))})
        return saved

    def test_are_copied_and_the_rest_kept(self, partial):
        built = model(seed=9)
        before = {key: value.clone() for key, value in built.state_dict().items()}
        assert load_parts(built, partial, ["spatial", "encoder"]) == ("encoder", "spatial")
        for key, value in built.state_dict().items():
            source = shared_model().state_dict() if key.startswith(("encoder.", "spatial.")) else before
            assert torch.equal(value, source[key]), key

    def test_every_part_of_a_whole_model(self, saved):
        built = model(seed=9)
        load_parts(built, saved)
        assert same(built.state_dict(), shared_model().state_dict())

    def test_are_no_whole_model(self, partial):
        message = refused(ErrorCode.CHECKPOINT_MISMATCH, load_folder, partial)
        assert "['encoder', 'spatial'] only" in message and "'vae'" in message

    def test_an_absent_part(self, partial):
        assert "vae" in refused(ErrorCode.CHECKPOINT_MISSING, load_parts, model(), partial, ["encoder", "vae"])

    def test_an_unknown_part(self, partial):
        assert "'brain'" in refused(ErrorCode.REQUEST_INVALID, load_parts, model(), partial, ["brain"])

    def test_a_misfit_changes_nothing(self, partial):
        def damage(tensors):
            tensors["spatial.norm.weight"] = torch.zeros(5)
            return tensors

        tensors = safetensors.torch.load_file(partial / "model.safetensors")
        safetensors.torch.save_file(damage(tensors), partial / "model.safetensors")
        built = model(seed=9)
        with pytest.raises(UniuggError, match="spatial.norm.weight"):
            load_parts(built, partial, ["encoder", "spatial"])
        assert same(built.state_dict(), model(seed=9).state_dict())
