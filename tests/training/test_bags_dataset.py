"""Recordings as a source of batches: pure functions of the sample number, no held-out frame in training, answers."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from odd_bags import SMALL, Odd, look, path, write_bag

from training.config import TrainConfig
from training.data.bags.convert import Options, convert
from training.data.bags.dataset import BagsConfig, BagsDataset
from training.data.bags.pairs import PairLimits
from training.data.frame_folder import FrameFolder, write_tables
from training.data.views import PairBatch
from training.sources import open_source
from training.stream import stream
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import save_image

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
SHOWN = BagsConfig(size=48, held_out=4, cache=3)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Two recordings of one bag, as a folder and as shards."""
    root = tmp_path_factory.mktemp("recordings")
    write_bag(root / "bag", Odd(color="png", frames=14))
    for form in ("folder", "shards"):
        convert(root / "bag", root / "made" / form, Options(pairs=PairLimits(max_overlap=1.0), form=form, per_shard=9))
    return root / "made"


def refused(call, *args, **more) -> UniuggError:
    with pytest.raises(UniuggError) as caught:
        call(*args, **more)
    return caught.value


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name] for name in a
    )


def test_batches_are_pure_functions_of_the_numbers(recordings):
    dataset = BagsDataset(recordings / "folder", SHOWN)
    numbers = [3, 40, 3, 7, 1000]
    for kind in ("pair", "single", "question"):
        first = dataset.batch(kind, numbers)
        dataset.batch("pair", range(30))  # drives everything out of memory
        assert equal(first, dataset.batch(kind, numbers))
        assert equal(first, copy.deepcopy(dataset).batch(kind, numbers))
        assert equal(first, BagsDataset(recordings / "shards", SHOWN).batch(kind, numbers)), "the form does not matter"
    assert not equal(first, BagsDataset(recordings / "folder", SHOWN, seed=1).batch("question", numbers))


def test_every_epoch_shows_each_pair_once_in_another_order(recordings):
    dataset = BagsDataset(recordings / "folder", BagsConfig(size=16, held_out=4))
    count = len(dataset)

    def names(epoch: int) -> list[frozenset]:
        pairs = [dataset.pair(epoch * count + k) for k in range(count)]
        return [frozenset(view.name for view in pair.views) for pair in pairs]

    first, second = names(0), names(1)
    assert len(set(first)) == count and set(first) == set(second) and first != second
    swapped = [dataset.pair(k).reference.name > dataset.pair(k).target.name for k in range(count)]
    assert 0.2 < np.mean(swapped) < 0.8
    calm = BagsDataset(recordings / "folder", BagsConfig(size=16, held_out=4, swap=False))
    assert all(calm.pair(k).reference.name < calm.pair(k).target.name for k in range(count))


@pytest.mark.parametrize(("held_out", "border"), [(4, 10), (0.5, 7)])
def test_held_out_frames_are_never_trained_on(recordings, held_out, border):
    config = BagsConfig(size=16, held_out=held_out)
    shown = {}
    for split in ("train", "validation", "test"):
        dataset = BagsDataset(recordings / "folder", config, split)
        pairs = [dataset.pair(k) for k in range(len(dataset))]
        shown[split] = {int(view.name.rpartition("/")[2]) for pair in pairs for view in pair.views}
    assert shown["train"] == set(range(border)) and shown["test"] == shown["validation"] == set(range(border, 14))


def test_the_geometry_of_a_batch_is_that_of_the_wall(recordings):
    dataset = BagsDataset(recordings / "shards", BagsConfig(size=48, held_out=0))
    batch = PairBatch.from_dict(dataset.batch("pair", range(12)))
    assert batch.image.shape == (12, 2, 3, 48, 48) and batch.valid.float().mean() > 0.95
    # both views' points lie in one plane of the reference frame: two metres of it, whatever the pair
    points = batch.points_in_reference()
    for k in range(12):
        flat = points[k].reshape(-1, 3)[batch.valid[k].flatten()]
        _, spread, _ = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
        assert spread[2] / len(flat) ** 0.5 < 0.004
    seen = batch.seen().float().mean((-1, -2))
    measured = torch.stack([batch.covisibility[:, 0], batch.covisibility[:, 1]], 1)
    assert (seen - measured).abs().mean() < 0.15  # measured on whole pictures, not on their central squares


def test_questions_need_no_scene_graph_and_have_answers(recordings):
    dataset = BagsDataset(recordings, BagsConfig(size=48, held_out=0, questions=4))
    kinds = set()
    for number in range(30):
        pair, questions = dataset.questions(number)
        assert pair.graph is None and questions
        kinds |= {question.family for question in questions}
        assert all(question.text and question.answer for question in questions)
    assert {"point_depth", "camera_motion", "match"} <= kinds
    again = [question for number in range(30) for question in dataset.questions(number)[1]]
    assert again == [question for number in range(30) for question in dataset.questions(number)[1]]


def test_several_recordings_and_workers(recordings):
    one, both = BagsDataset(recordings / "folder", SHOWN), BagsDataset(recordings, SHOWN)
    assert len(both) == 2 * len(one)
    batches = stream(both, {"pair": 1.0}, seed=0, batch=0, sample=8, size=4, workers=1, start_method="fork")
    made = next(batches)
    made.pop("kind")
    assert equal(made, both.batch("pair", range(8, 12)))


def test_settings(recordings):
    changes = [f"data.path={recordings / 'folder'}", "data.options.held_out=3"]
    config = TrainConfig.load(CONFIGS / "tiny" / "finetune" / "encoder.yaml", changes)
    source = open_source(config.data, config.model.resolve(), "validation")
    assert isinstance(source, BagsDataset) and source.config == BagsConfig(size=160, held_out=3, questions=4)
    for change in ("data.path=null", "data.options.size=0", "data.options.sized=3", "data.path=/nowhere"):
        config = TrainConfig.load(CONFIGS / "tiny" / "finetune" / "encoder.yaml", [*changes, change])
        error = refused(open_source, config.data, config.model.resolve(), "train")
        assert error.code in (ErrorCode.REQUEST_INVALID, ErrorCode.IMAGE_MISSING)
    assert refused(BagsDataset, recordings, SHOWN, "all").code == ErrorCode.REQUEST_INVALID
    assert refused(BagsDataset, recordings, BagsConfig(held_out=1.0), "test").code == ErrorCode.IMAGE_MISSING
    dataset = BagsDataset(recordings, SHOWN)
    assert refused(dataset.pair, -1).code == refused(dataset.batch, "word", [0]).code == ErrorCode.REQUEST_INVALID


# -- plain folders of frames ----------------------------------------------------------------------------------------


def plain_folder(folder: Path, count: int = 6) -> Path:
    """A folder as a user would write it: no stamps, no index, one K."""
    import cv2

    for name in ("color", "depth"):
        (folder / name).mkdir(parents=True)
    names = [f"frame{k}" for k in range(count)]
    for name, pose in zip(names, path(count)):
        rgb, depth = look(SMALL, pose)
        save_image(folder / "color" / f"{name}.png", rgb)
        cv2.imwrite(str(folder / "depth" / f"{name}.png"), np.rint(depth * 1000).astype(np.uint16))
    write_tables(folder, names, np.stack(path(count)), np.repeat(SMALL.matrix[None], count, 0), np.arange(count))
    (folder / "stamps.txt").unlink()
    return folder


def test_a_plain_folder_is_read_and_paired_at_once(tmp_path, monkeypatch):
    folder = plain_folder(tmp_path / "mine")
    frames = FrameFolder.open(folder)
    assert frames.names[2] == "frame2" and (folder / "K.txt").read_text().count("\n") == 3
    np.testing.assert_allclose(frames.world_from_camera, path(6), atol=1e-10)
    np.testing.assert_array_equal(frames.view(2).image, look(SMALL, path(6)[2])[0])
    dataset = BagsDataset(folder, BagsConfig(size=32, held_out=0))
    assert dataset.pair(0).reference.image.shape == (32, 32, 3)
    monkeypatch.setattr("training.data.bags.recording.MOST_UNPAIRED", 5)
    assert "from-bag" in refused(BagsDataset, folder).message


def test_a_camera_for_each_frame_and_coarse_depth(tmp_path):
    import cv2

    folder = plain_folder(tmp_path / "mine", 3)
    matrices = np.stack([SMALL.matrix, SMALL.matrix * [[1.1], [1.1], [1]], SMALL.matrix])
    write_tables(folder, ["frame0", "frame1", "frame2"], np.stack(path(3)), matrices, np.arange(3.0))
    half = cv2.imread(str(folder / "depth" / "frame1.png"), cv2.IMREAD_UNCHANGED)[::2, ::2]
    cv2.imwrite(str(folder / "depth" / "frame1.png"), half)
    view = FrameFolder.open(folder).view(1)
    np.testing.assert_allclose(view.intrinsics, matrices[1])
    assert view.depth.shape == (64, 96) and np.isclose(view.depth[10, 10], half[5, 5] / 1000)
    cv2.imwrite(str(folder / "depth" / "frame1.png"), half[:20])
    assert refused(FrameFolder.open(folder).view, 1).code == ErrorCode.CAMERA_INFO_MISMATCH


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("poses.txt", "1 2 3\n", ErrorCode.REQUEST_INVALID),
        ("poses.txt", ("2 " + "0 " * 15 + "\n") * 6, ErrorCode.POSE_INVALID),
        ("poses.txt", "hello\n", ErrorCode.REQUEST_INVALID),
        ("K.txt", "1 2\n3 4\n", ErrorCode.REQUEST_INVALID),
        ("K.txt", "0 0 0\n0 0 0\n0 0 1\n", ErrorCode.CAMERA_INFO_INVALID),
        ("frames.txt", "frame0\nframe1\n", ErrorCode.REQUEST_INVALID),
        ("frames.txt", "a b c d e f", ErrorCode.IMAGE_MISSING),
        ("stamps.txt", "1\n2\n", ErrorCode.REQUEST_INVALID),
    ],
)
def test_wrong_tables_are_named(name, text, code, tmp_path):
    folder = plain_folder(tmp_path / "mine")
    (folder / name).write_text(text)
    error = refused(lambda: FrameFolder.open(folder).view(0))
    assert error.code == code


def test_the_order_of_pairs_does_not_touch_global_randomness(recordings):
    np.random.seed(5)
    torch.manual_seed(5)
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    BagsDataset(recordings, SHOWN).batch("question", range(4))
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.random.get_rng_state(), before[1])
