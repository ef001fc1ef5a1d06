"""Pictures and conversations in their true formats, as sources of the trainer: numbers mean samples."""

from __future__ import annotations

import gzip
import json
import pickle
import tarfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from formats import arkit, prepared, scannet, shards, talks
from formats.rendered import rendered

from training.config import DataConfig
from training.data.arkitscenes import READER
from training.data.conversations import ConversationConfig, Conversations
from training.data.images import FolderPictures
from training.data.instructions import JsonRecords, LlavaRecords, SparRecords, find_llava, find_spar
from training.data.iphone_depth import DepthFile
from training.data.mixture import Mixture, Part
from training.data.pair_list import DEFAULT_NAME, PairList
from training.data.shards import Shard, ShardPictures
from training.data.single import SingleConfig, SinglePictures
from training.sources import open_source
from training.stream import stream
from uniugg_core.config import preset
from uniugg_core.errors import UniuggError

MODEL = preset("tiny")


def equal(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, b[name], rtol=0, atol=0)
        else:
            assert value == b[name]


class TestShards:
    def test_members_captions_and_facts(self, tmp_path):
        shard = Shard(shards.write_shard(tmp_path / "00012.tar", 3))
        assert [sample.key for sample in shard.samples] == ["000120000", "000120001", "000120002"]
        assert shard.caption(1) == "caption 1"
        assert shard.about(2)["url"] == "http://example.com/2"
        assert shard.picture(0) == shards.picture(0)

    @pytest.mark.parametrize("name", ["00000.tar.gz", "00000.tgz"])
    def test_whole_shards_may_be_compressed(self, tmp_path, name):
        shard = Shard(shards.write_shard(tmp_path / name, 2))
        assert shard.picture(1) == shards.picture(1)

    def test_members_may_be_compressed_and_lie_in_folders(self, tmp_path):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            shards.add(tar, "x/1.txt.gz", gzip.compress(b"hello"))
            shards.add(tar, "x/1.png", shards.picture(1, ending=".png"))
            shards.add(tar, "y/1.cls", b"3")
        shard = Shard(tmp_path / "a.tar")
        assert [sample.key for sample in shard.samples] == ["x/1", "y/1"]
        assert shard.caption(0) == "hello"
        assert shard.samples[0].picture == "png"
        with pytest.raises(UniuggError, match="no picture"):
            shard.picture(1)

    def test_a_shard_that_is_cut_off_ends_there(self, tmp_path):
        path = shards.write_shard(tmp_path / "00000.tar", 4)
        data = path.read_bytes()
        path.write_bytes(data[: data.index(b"000000002.jpg") + 700])
        shard = Shard(path)
        assert shard.damaged
        assert shard.caption(1) == "caption 1"
        path.write_bytes(b"no shard at all" * 100)
        with pytest.raises(UniuggError, match="no shard"):
            Shard(path)

    def test_an_epoch_has_every_picture_once(self, tmp_path):
        for n, count in enumerate((5, 1, 3)):
            shards.write_shard(tmp_path / f"{n:05d}.tar", count, first=10 * n, stats=n != 1)
        pictures = ShardPictures(tmp_path)
        assert len(pictures) == 6  # the last shard is validation's
        assert len(ShardPictures(tmp_path, "validation")) == 3
        epochs = [[pictures.read(0, epoch, n) for n in range(6)] for epoch in (0, 1)]
        assert set(epochs[0]) == set(epochs[1])
        assert len(set(epochs[0])) == 6
        assert epochs[0] != epochs[1]
        assert pickle.loads(pickle.dumps(pictures)).read(0, 1, 3) == epochs[1][3]  # noqa: S301

    def test_corrupt_members_are_skipped_and_counted(self, tmp_path):
        shards.write_shard(tmp_path / "00000.tar", 6, broken=(2, 4))
        source = SinglePictures(ShardPictures(tmp_path), SingleConfig(size=16, least=32))
        images = source.batch("single", range(6))["image"]
        assert images.shape == (6, 3, 16, 16)
        assert source.skipped["IMAGE_UNDECODABLE"] == 2

    def test_nothing_but_damage_is_an_error(self, tmp_path):
        shards.write_shard(tmp_path / "00000.tar", 2, broken=(0, 1))
        source = SinglePictures(ShardPictures(tmp_path), SingleConfig(size=16))
        with pytest.raises(UniuggError, match="damaged pictures in a row"):
            source.image(0)


class TestImagenet:
    def test_splits_and_epochs(self, tmp_path):
        shards.write_imagenet(tmp_path)
        (tmp_path / "train" / "n01440760" / "broken.JPEG").write_bytes(b"\xff\xd8\xff")
        assert len(FolderPictures(tmp_path)) == 13
        assert len(FolderPictures(tmp_path, "validation")) == 3
        pictures = FolderPictures(tmp_path)
        assert len({pictures.read(0, 0, n) for n in range(13)}) == 13
        source = open_source(DataConfig(source="imagenet", path=str(tmp_path)), MODEL, "train")
        batch = source.batch("single", [3, 40])
        assert batch["image"].shape == (2, 3, MODEL.image_size, MODEL.image_size)
        equal(batch, pickle.loads(pickle.dumps(source)).batch("single", [3, 40]))  # noqa: S301

    def test_cuts_of_validation_stay(self, tmp_path):
        shards.write_imagenet(tmp_path)
        pictures = FolderPictures(tmp_path, "validation")
        cut = [SinglePictures(pictures, SingleConfig(size=24), "validation", seed).image(0).mean() for seed in (0, 0)]
        assert cut[0] == cut[1]


class TestConversations:
    @pytest.mark.parametrize("count", [5, 6])  # with and without escapes, one or several bytes a letter
    def test_lcs(self, tmp_path, count):
        path = talks.write_llava(tmp_path, count)
        assert find_llava(tmp_path) == [path]
        records = LlavaRecords([path])
        assert len(records) == count
        talk = records.conversation(4)
        assert talk.turns[0].question == 'Render a "summary" of {this} photo.'
        assert talk.turns[0].answer == "answer 4 } ü"
        assert records.conversation(1).turns[0].question == "Describe it."
        assert talk.pictures[0].is_file()

    def test_emova_rounds_speech_and_damage(self, tmp_path):
        talks.write_emova(tmp_path)
        files = find_llava(tmp_path)
        assert [path.name for path in files] == ["alpha.json", "beta.json"]
        source = Conversations("llava", LlavaRecords(files), ConversationConfig(size=16, validation_share=0.0))
        asked = [source.question(index)[1] for index in range(60)]
        assert {question.answer for question in asked} == {"A thing.", "Red."}
        for question in asked:
            history = [turn.answer for turn in question.history]
            assert history == (["A thing."] if question.answer == "Red." else [])
        assert source.skipped["IMAGE_MISSING"] > 0  # speech, and a picture that is gone
        assert source.skipped["REQUEST_INVALID"] > 0

    def test_spar_repeats_and_subsamples(self, tmp_path):
        index = talks.write_spar(tmp_path)
        assert find_spar(tmp_path) == [index]
        records = SparRecords(index)
        assert len(records) == 2 * 8 + 4
        seen = Counter(
            records.conversation(n).turns[0].question + str(len(records.conversation(n).pictures)) for n in range(20)
        )
        assert sorted(seen.values()) == [1] * 4 + [2] * 8

    def test_spar_points_are_drawn(self, tmp_path):
        records = SparRecords(talks.write_spar(tmp_path))
        many, one = records.conversation(0), records.conversation(19)
        red = many.images(100)[0].astype(int)
        assert red[50, 50, 0] > 200 > 60 > red[50, 50, 1]
        assert {mark.picture for mark in many.marks} == {0}
        assert {(mark.colour, len(mark.corners)) for mark in one.marks} == {("red", 2), ("blue", 4)}

    def test_pictures_with_marks_outside_their_centre_are_shown_whole(self, tmp_path):
        talk = SparRecords(talks.write_spar(tmp_path)).conversation(19)  # a box from x = 100 in a picture of 200 x 100
        image = talk.images(100)[0].astype(int)
        assert (image[:24] == 128).all()
        assert (image[76:] == 128).all()
        assert image[25 + 20, 10, 2] > 180 > 100 > image[25 + 20, 10, 0]  # its left edge, blue
        assert not (replace(talk, marks=()).images(100)[0][:20] == 128).all()
        assert (replace(talk, marks=()).images(100, "pad")[0][:24] == 128).all()

    def test_long_ones_keep_the_marked_places_of_what_is_shown(self, tmp_path):
        records = SparRecords(talks.write_spar(tmp_path))
        source = Conversations("spar", records, ConversationConfig(size=20, pictures=2, validation_share=0.0))
        batch = source.batch("question", range(8))
        assert batch["image"].shape == (8, 2, 3, 20, 20)
        assert {len(question.views) for (question,) in batch["questions"]} == {1, 2}
        wide = Conversations("spar", records, ConversationConfig(size=20, pictures=4, validation_share=0.0))
        assert wide.batch("question", range(8))["image"].shape[1] == 3

    def test_a_damaged_list_says_so(self, tmp_path):
        path = talks.write_llava(tmp_path)
        path.write_text(path.read_text()[:-40])
        with pytest.raises(UniuggError, match="cut off"):
            JsonRecords(path)

    def test_validation_is_apart(self, tmp_path):
        records = LlavaRecords([talks.write_llava(tmp_path, 40)])
        config = ConversationConfig(size=16, validation_share=0.2)
        train, rest = (set(Conversations("llava", records, config, split).numbers) for split in ("train", "validation"))
        assert train | rest == set(range(40))
        assert not train & rest
        assert rest


class TestPhoneDepth:
    @pytest.mark.parametrize("kind", ["lz4", "deflate frames", "deflate stream"])
    def test_every_form_at_any_place(self, tmp_path, kind):
        rng = np.random.default_rng(0)
        frames = [np.full((192, 256), n, np.float32) + rng.random((192, 256), np.float32) for n in range(1, 40)]
        scannet.depth_bin(tmp_path / "depth.bin", frames, kind)
        file = DepthFile(tmp_path / "depth.bin")
        assert file.kind == kind
        for number in (0, 38, 17, 16, 33, 2):
            np.testing.assert_allclose(file.frame(number), frames[number], atol=6e-4)
        assert len(file) == 39
        with pytest.raises(UniuggError, match="IMAGE_MISSING"):
            file.frame(39)

    def test_a_file_that_is_cut_off_keeps_its_whole_frames(self, tmp_path):
        path = tmp_path / "depth.bin"
        scannet.depth_bin(path, [np.ones((192, 256), np.float32)] * 3)
        path.write_bytes(path.read_bytes()[:-5])
        assert len(DepthFile(path)) == 2

    def test_anything_else_is_refused(self, tmp_path):
        (tmp_path / "depth.bin").write_bytes(np.random.default_rng(0).bytes(5000))
        with pytest.raises(UniuggError, match="IMAGE_UNDECODABLE"):
            DepthFile(tmp_path / "depth.bin")


class TestPairs:
    def source(self, root, split="train", name="arkitscenes", **options):
        return open_source(DataConfig(source=name, path=str(root), options={"size": 32, **options}), MODEL, split)

    def test_batches_are_functions_of_their_numbers(self, tmp_path):
        for video in ("41000001", "41000002", "41000003"):
            prepared.write_arkitscenes(tmp_path, rendered(), video)
        source = self.source(tmp_path)
        assert len(source) == 8  # two videos of four pairs; the third is validation's
        batch = source.batch("pair", [5, 100, 0])
        assert batch["image"].shape == (3, 2, 3, 32, 32)
        assert (batch["depth"] > 0).float().mean() > 0.9
        equal(batch, pickle.loads(pickle.dumps(source)).batch("pair", [5, 100, 0]))  # noqa: S301
        names = [
            [source.pair(8 * epoch + n).reference.name + source.pair(8 * epoch + n).target.name for n in range(8)]
            for epoch in (0, 1)
        ]
        assert sorted(names[0]) == sorted(names[1])
        assert len(set(names[0])) == 8
        assert names[0] != names[1]

    def test_only_frames_of_pairs_are_opened(self, tmp_path):
        """A video has thousands of calibrations, each a file."""
        scene = rendered()
        folder = arkit.write_raw(tmp_path, scene)
        names = sorted(path.name for path in (folder / "lowres_wide").iterdir())
        rows = [("Training/41000001", [(names[0], names[2], 0.6, 0.6)])]
        PairList.collect(READER.layout, rows).save(tmp_path / DEFAULT_NAME)
        source = self.source(tmp_path)
        assert [frame.name for frame in source.recording("Training/41000001").frames] == [names[0], names[2]]
        assert source.pair(0).target.name.endswith(names[2])

    def test_ranks_share_the_stream_and_a_resumed_one_goes_on(self, tmp_path):
        prepared.write_scannetpp(tmp_path, rendered())
        source = self.source(tmp_path, name="scannetpp")

        def indices(batch, sample, rank, count):
            batches = stream(source, {"pair": 1.0}, seed=0, batch=batch, sample=sample, size=2, rank=rank, world=2)
            return [next(batches) for _ in range(count)]

        first, second = indices(0, 0, 0, 2), indices(0, 0, 1, 2)
        assert [batch["index"].tolist() for batch in first] == [[0, 1], [4, 5]]
        assert [batch["index"].tolist() for batch in second] == [[2, 3], [6, 7]]
        equal(indices(1, 4, 1, 1)[0], second[1])

    def test_a_damaged_pair_is_replaced_and_counted(self, tmp_path):
        folder = prepared.write_arkitscenes(tmp_path, rendered())
        sorted((folder / "vga_wide").iterdir())[3].write_bytes(b"\xff\xd8 no picture")
        source = self.source(tmp_path)
        assert source.batch("pair", range(4))["image"].shape[0] == 4
        assert source.skipped["IMAGE_UNDECODABLE"] == 1

    def test_without_pairs_it_says_what_to_do(self, tmp_path):
        arkit.write_raw(tmp_path, rendered())
        with pytest.raises(UniuggError, match="uniugg data pairs"):
            self.source(tmp_path)

    def test_a_wrong_folder_says_so(self, tmp_path):
        with pytest.raises(UniuggError, match="holds nothing of"):
            self.source(tmp_path)
        with pytest.raises(UniuggError, match="does not exist"):
            self.source(tmp_path / "nowhere")
        with pytest.raises(UniuggError, match="needs data.path"):
            open_source(DataConfig(source="laion"), MODEL, "train")


class TestMixture:
    class Fixed:
        """Batches that say which part and which sample they are."""

        def __init__(self, mark):
            self.mark = mark

        def batch(self, kind, indices):
            return {"image": torch.tensor([[self.mark, index] for index in indices]), "index": torch.tensor(indices)}

    def test_shares_are_exact_and_no_sample_is_left_out(self):
        mixture = Mixture([Part(self.Fixed(0), 3.0, ("pair",)), Part(self.Fixed(1), 1.0, ("pair", "single"))])
        places = [mixture.place("pair", index) for index in range(2000)]
        for part, count in ((0, 1500), (1, 500)):
            assert [number for own, number in places if own == part] == list(range(count))
        assert sum(part for part, _ in places[:20]) == 5  # spread evenly
        assert mixture.place("single", 7) == (1, 7)

    def test_batches_keep_their_order(self):
        mixture = Mixture([Part(self.Fixed(0), 1.0, ("pair",)), Part(self.Fixed(1), 1.0, ("pair",))])
        batch = mixture.batch("pair", [5, 2, 1003])
        assert batch["image"].tolist() == [list(mixture.place("pair", index)) for index in (5, 2, 1003)]
        assert batch["index"].tolist() == [5, 2, 1003]

    def test_from_settings(self, tmp_path):
        prepared.write_scannetpp(tmp_path / "scannetpp", rendered())
        shards.write_shard(tmp_path / "laion" / "00000.tar", 5)
        talks.write_llava(tmp_path / "llava")
        parts = [
            {"source": "scannetpp", "path": str(tmp_path / "scannetpp"), "weight": 2, "kinds": ["pair"]},
            {"source": "laion", "path": str(tmp_path / "laion")},
            {"source": "llava", "path": str(tmp_path / "llava")},
        ]
        source = open_source(DataConfig(source="mixture", options={"parts": parts}), MODEL, "train")
        for kind in ("pair", "single", "question"):
            batch = source.batch(kind, [0, 9])
            assert len(batch["image"]) == 2
            equal(batch, source.batch(kind, [0, 9]))
        with pytest.raises(UniuggError, match="no part"):
            open_source(DataConfig(source="mixture", options={"parts": parts[:1]}), MODEL, "train").batch("single", [0])
        with pytest.raises(UniuggError, match="no setting 'wieght'"):
            wrong = {"source": "mixture", "options": {"parts": [{"source": "laion", "wieght": 1}]}}
            open_source(DataConfig(**wrong), MODEL, "train")


def test_json_lines_skip_empty_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": 2}')
    records = JsonRecords(tmp_path / "a.jsonl")
    assert [records[n]["a"] for n in range(len(records))] == [1, 2]
    (tmp_path / "a.jsonl").write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(UniuggError, match="no JSON"):
        JsonRecords(tmp_path / "a.jsonl")[0]
