"""The stream of pairs: numbers mean samples, whoever makes them and whenever."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from training.data.contact_sheet import contact_sheet, main
from training.data.questions import Question
from training.data.rooms import SPLITS, RoomsConfig, RoomsDataset
from training.data.views import PairBatch
from uniugg_core.errors import UniuggError

CONFIG = RoomsConfig(size=32, views=6, pairs=4, interleave=6)


def equal(a, b):
    for name, value in a.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, b[name], rtol=0, atol=0)
        else:
            assert value == b[name]


@pytest.fixture(scope="module")
def dataset():
    return RoomsDataset(CONFIG, "train", seed=1)


class TestNumbers:
    def test_a_sample_is_a_function_of_its_number(self, dataset):
        other = RoomsDataset(CONFIG, "train", seed=1)
        for kind in ("pair", "single", "question", "names"):
            equal(dataset.batch(kind, [40, 3, 17]), other.batch(kind, [40, 3, 17]))

    def test_order_does_not_matter(self, dataset):
        backwards = RoomsDataset(CONFIG, "train", seed=1)
        reversed_pairs = [backwards.pair(i) for i in range(11, -1, -1)][::-1]
        for i, pair in enumerate(reversed_pairs):
            np.testing.assert_array_equal(pair.target.image, dataset.pair(i).target.image)

    def test_splits_and_seeds_differ(self, dataset):
        rooms = [RoomsDataset(CONFIG, split, seed).pair(0) for split in SPLITS for seed in (0, 1)]
        assert len({pair.reference.image.tobytes() for pair in rooms}) == 6
        seeds = [RoomsDataset(CONFIG, split, 5).drive(9).room.seed for split in SPLITS]
        assert all(seed // (1 << 60) == k for k, seed in enumerate(seeds))

    def test_neighbours_come_from_different_rooms(self, dataset):
        rooms = [dataset.place(i)[0] for i in range(24)]
        assert len(set(rooms[:6])) == 6
        assert sorted({dataset.place(i) for i in range(24)}) == [(r, s) for r in range(6) for s in range(4)]

    def test_it_travels_to_other_processes(self, dataset):
        dataset.pair(0)
        copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
        equal(copy.batch("pair", [5]), dataset.batch("pair", [5]))

    def test_refusals(self):
        with pytest.raises(UniuggError, match="split"):
            RoomsDataset(CONFIG, "dev")
        with pytest.raises(UniuggError, match="seed"):
            RoomsDataset(CONFIG, "train", -1)
        with pytest.raises(UniuggError, match="kind"):
            RoomsDataset(CONFIG).batch("video", [0])
        with pytest.raises(UniuggError, match="index"):
            RoomsDataset(CONFIG).pair(-1)
        with pytest.raises(UniuggError):
            RoomsConfig(fov=(80.0, 45.0))
        with pytest.raises(UniuggError):
            RoomsConfig(renderer="povray")


class TestStreams:
    def test_resumed_stream_is_the_same(self, dataset):
        whole = dataset.batches(5)
        wanted = [next(whole) for _ in range(4)][2:]
        resumed = RoomsDataset(CONFIG, "train", seed=1).batches(5, start=2)
        for batch in wanted:
            equal(batch.to_dict(), next(resumed).to_dict())

    def test_ranks_share_the_samples_out(self, dataset):
        first = [next(dataset.batches(3, rank=rank, world=2)).index.tolist() for rank in range(2)]
        assert first == [[0, 1, 2], [3, 4, 5]]
        assert next(dataset.batches(3, start=1, rank=0, world=2)).index.tolist() == [6, 7, 8]

    def test_iterating_gives_pairs_in_order(self, dataset):
        stream = iter(dataset)
        assert [next(stream).index for _ in range(8)] == list(range(8))

    @pytest.mark.slow
    def test_workers_do_not_change_the_stream(self):
        class Batches(torch.utils.data.IterableDataset):
            def __iter__(self):
                return RoomsDataset(CONFIG, "train", seed=1).batches(3)

        loaded = iter(DataLoader(Batches(), batch_size=None, num_workers=2))
        plain = RoomsDataset(CONFIG, "train", seed=1).batches(3)
        for _ in range(5):
            equal(next(loaded).to_dict(), next(plain).to_dict())


class TestPairs:
    def test_covisibility_is_as_wanted(self):
        config = RoomsConfig(size=48, views=10, pairs=6)
        dataset = RoomsDataset(config, "validation", seed=2)
        shares = np.array([dataset.pair(i).covisibility for i in range(60)])
        wanted = ((shares >= 0.2) & (shares <= 0.8)).all(1)
        assert wanted.mean() > 0.95
        seen = PairBatch.collate([dataset.pair(i) for i in range(20)]).seen().float().mean((2, 3)).numpy()
        assert np.abs(seen - shares[:20]).max() < 0.12

    def test_motion_limits_are_kept(self):
        config = RoomsConfig(size=32, baseline=(0.0, 0.5), angle=(0.0, 20.0), covisibility=(0.3, 0.95))
        dataset = RoomsDataset(config, "train", seed=4)
        good = 0
        for i in range(40):
            move = dataset.pair(i).target_from_reference
            near = np.linalg.norm(move[:3, 3]) <= 0.5 + 1e-6
            good += near and np.degrees(np.arccos(np.clip(move[2, 2], -1, 1))) <= 20.0 + 1e-6
        assert good >= 38  # a room without any such pair takes what comes closest

    def test_curriculum_rises(self):
        config = RoomsConfig(size=32, curriculum=400, easiest=0.1)
        dataset = RoomsDataset(config, "train", seed=0)
        assert dataset.difficulty(0) == pytest.approx(0.1)
        assert dataset.difficulty(20) == pytest.approx(0.55)
        assert dataset.difficulty(1000) == 1.0
        easy, hard = config.at(0.1), config.at(1.0)
        assert hard is config
        assert (
            easy.angle[1] < hard.angle[1] and easy.baseline[1] < hard.baseline[1] and easy.clutter[1] < hard.clutter[1]
        )

        def turned(rooms):
            moves = [dataset.pair(i).target_from_reference[2, 2] for room in rooms for i in (room,)]
            return np.mean(np.arccos(np.clip(moves, -1, 1)))

        late = [config.pairs * config.interleave * 2 + k for k in range(16)]
        assert turned(range(16)) < turned(late)

    def test_classes_follow_instances(self, dataset):
        pair = dataset.pair(2)
        for view in pair.views:
            for number in np.unique(view.instances):
                names = np.unique(view.classes[view.instances == number])
                assert len(names) == 1

    def test_without_opengl(self):
        cast = RoomsDataset(RoomsConfig(size=24, views=4, pairs=2, renderer="torch"), "train", seed=1)
        drawn = RoomsDataset(RoomsConfig(size=24, views=4, pairs=2), "train", seed=1)
        a, b = cast.drive(0), drawn.drive(0)
        assert np.median(np.abs(a.depth - b.depth)) < 1e-4
        assert np.abs(a.image.astype(int) - b.image.astype(int)).mean() < 3

    def test_rooms_cast_together_are_the_rooms_cast_alone(self):
        config = RoomsConfig(size=24, views=4, pairs=2, renderer="torch", interleave=4)
        together, alone = (RoomsDataset(config, "train", seed=1) for _ in range(2))
        batch = together.batch("pair", [0, 1, 2])
        for b in range(3):
            equal({name: tensor[b : b + 1] for name, tensor in batch.items()}, alone.batch("pair", [b]))

    def test_questions_come_with_their_pair(self):
        dataset = RoomsDataset(RoomsConfig(size=48, views=4, pairs=2, interleave=4, questions=4), "train", seed=1)
        batch = dataset.batch("question", range(8))
        pair, questions = dataset.questions(1)
        assert pair.index == 1 and batch["questions"][1] == questions
        for together in batch["questions"]:
            assert 1 <= len(together) <= 4 and all(isinstance(question, Question) for question in together)
            assert len({question.views for question in together}) == 1
            assert len({question.text for question in together}) == len(together)
        assert max(map(len, batch["questions"])) == 4
        assert len({together[0].views for together in batch["questions"]}) > 1


def test_contact_sheet(dataset, tmp_path):
    sheet = contact_sheet([dataset.drive(0), dataset.drive(1)], 3, maps=True)
    assert sheet.shape == (6 * 32, 3 * 32, 3) and sheet.std() > 10
    main([str(tmp_path / "rooms.png"), "--size", "24", "--rooms", "1", "--views", "2"])
    assert (tmp_path / "rooms.png").stat().st_size > 200
