"""Conversions as a whole: folders and shards with the same pairs, reports, previews, resuming, wrong conventions."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from odd_bags import SMALL, Odd, look, path, write_bag

from training.data.bags import blocks
from training.data.bags.align import Selection
from training.data.bags.convert import Options, convert
from training.data.bags.pairs import PairLimits, candidates, check_poses, choose, confirmed, shrink
from training.data.bags.reader import Bag
from training.data.bags.recording import find_recordings, open_recording
from training.data.bags.report import Report
from training.data.bags.shards import PairShard
from training.data.frame_folder import FrameFolder
from uniugg_core.cameras import inverse_rigid, rigid
from uniugg_core.cli import main
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import load_image

EASY = Options(pairs=PairLimits(max_overlap=1.0))  # the wall is seen whole from everywhere


def refused(call, *args, **more) -> UniuggError:
    with pytest.raises(UniuggError) as caught:
        call(*args, **more)
    return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "bag"
    write_bag(folder, Odd(color="jpeg", frames=12))
    return folder


@pytest.fixture(scope="module")
def folder(bag, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made") / "folder"
    convert(bag, out, EASY)
    return out


def test_a_folder_of_frames_is_written_with_report_and_preview(bag, folder):
    report = Report.load(folder / "report.json")
    assert (report.pictures, report.frames, report.size, report.jumps, report.warnings) == (12, 12, [96, 64], [], [])
    assert report.pairs > 10 and report.pose_check["as_given"] > 0.8
    assert report.path_length == pytest.approx(11 * np.hypot(0.1, 0.02), rel=1e-3)
    assert "12 of 12 pictures" in (folder / "report.md").read_text()
    assert load_image(folder / "preview.png").shape[1] > 4 * 300 and not (folder / "work").exists()
    frames = FrameFolder.open(folder)
    np.testing.assert_allclose(frames.world_from_camera, path(12), atol=1e-9)
    np.testing.assert_allclose(frames.intrinsics[3], SMALL.matrix)
    assert np.diff(frames.stamps) == pytest.approx(0.1)
    view = frames.view(5)
    np.testing.assert_allclose(view.depth, look(SMALL, path(12)[5])[1], atol=6e-4)
    with Bag(bag) as opened:
        first = next(opened.messages(["/camera/color/image_raw/compressed"])).data
    assert (folder / "color" / "000000.jpg").read_bytes() in first, "an untouched JPEG is not coded again"


def test_shards_hold_the_same_pairs_and_any_reader_streams_them(bag, folder, tmp_path):
    out = tmp_path / "shards"
    convert(bag, out, Options(pairs=EASY.pairs, form="shards", per_shard=7))
    plain, sharded = open_recording(folder), open_recording(out)
    np.testing.assert_allclose(plain.pairs, sharded.pairs)
    assert len(sharded.shards) == -(-len(plain.pairs) // 7) and not (out / "color").exists()
    for number in (0, 6, 7, len(plain.pairs) - 1):
        for a, b in zip(plain.views(number), sharded.views(number)):
            np.testing.assert_array_equal(a.image, b.image)
            np.testing.assert_array_equal(a.depth, b.depth)
            np.testing.assert_allclose(a.world_from_camera, b.world_from_camera)
            np.testing.assert_allclose(a.intrinsics, b.intrinsics)
    with tarfile.open(out / sharded.shards[0][0]) as tar:
        names = tar.getnames()
    assert names[:5] == [f"00000000.{end}" for end in ("0.jpg", "0.depth.png", "1.jpg", "1.depth.png", "json")]


def test_two_processes_make_the_same_bytes(bag, folder, tmp_path):
    convert(bag, tmp_path / "two", EASY, workers=2)
    assert contents(tmp_path / "two") == contents(folder)


def test_interrupted_and_resumed_is_the_same_bytes(bag, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("training.data.bags.convert._BLOCK", 5)
    done, real = [], blocks.do_block

    def stop_at_the_third(block):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(block.file.name)
        return real(block)

    monkeypatch.setattr("training.data.bags.convert.do_block", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        convert(bag, tmp_path / "out", EASY)
    assert len(list((tmp_path / "out" / "work" / "blocks").glob("*.npz"))) == 2
    assert refused(convert, bag, tmp_path / "out", Options()).code == ErrorCode.REQUEST_INVALID

    opened = []
    monkeypatch.setattr("training.data.bags.convert.do_block", real)
    monkeypatch.setattr(blocks, "read_frames", lambda *a: opened.append(len(a[2])) or real_read(*a))
    convert(bag, tmp_path / "out", EASY)
    assert opened == [2], "the ten frames of the finished blocks are not read again"
    assert contents(tmp_path / "out") == contents(folder)


real_read = blocks.read_frames


ORPHANS = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from training.data.bags.blocks import begin_worker
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver"), initializer=begin_worker)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def test_no_process_outlives_a_killed_conversion(repository, tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    where = {**os.environ, "PYTHONPATH": str(repository)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=where) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(300):
        try:
            state = Path(f"/proc/{worker}/stat").read_text().split()[2]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the worker is still there")


def test_what_is_there_already(bag, folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = convert(bag, out, EASY)
    monkeypatch.setattr("training.data.bags.convert._convert", lambda *a: pytest.fail("there is nothing to do"))
    assert convert(bag, out, EASY) == first
    monkeypatch.undo()
    other = Options(pairs=EASY.pairs, short_side=32)
    error = refused(convert, bag, out, other)
    assert error.code == ErrorCode.REQUEST_INVALID and "--overwrite" in error.message
    assert convert(bag, out, other, overwrite=True).size == [48, 32]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    assert refused(convert, bag, tmp_path / "mine", EASY, overwrite=True).code == ErrorCode.REQUEST_INVALID
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_a_wrong_attempt_does_not_stand_in_the_way(bag, tmp_path):
    from training.data.bags.topics import Topics

    wrong = Options(topics=Topics(color="/nope"))
    assert refused(convert, bag, tmp_path / "out", wrong).code == ErrorCode.REQUEST_INVALID
    assert convert(bag, tmp_path / "out", EASY).frames == 12


def test_nothing_usable_says_why(tmp_path):
    write_bag(tmp_path / "bag", Odd(depth_delay=0.05, frames=4))
    error = refused(convert, tmp_path / "bag", tmp_path / "out", EASY)
    assert error.code == ErrorCode.IMAGE_MISSING and "no depth within 0.02 s (4 of 4)" in error.message
    assert refused(convert, tmp_path / "none", tmp_path / "out2").code == ErrorCode.IMAGE_MISSING


def test_no_pair_reaches_over_a_jump(tmp_path):
    write_bag(tmp_path / "bag", Odd(jump_at=6, frames=12))
    report = convert(tmp_path / "bag", tmp_path / "out", EASY)
    assert [round(jump["metres"], 1) for jump in report.jumps] == [2.1] and "jumps 1 times" in report.warnings[0]
    pairs = open_recording(tmp_path / "out").pairs[:, :2]
    assert len(pairs) > 10 and ((pairs[:, 0] < 6) == (pairs[:, 1] < 6)).all()


def test_damaged_pictures_are_left_out_and_counted(bag, tmp_path):
    source = tmp_path / "frames"
    convert(bag, source, EASY)
    (source / "color" / "000003.jpg").write_bytes(b"\xff\xd8 no picture")
    (source / "depth" / "000004.png").unlink()
    for name in ("recording.json", "settings.json"):
        (source / name).unlink()
    report = convert(source, tmp_path / "out", EASY)
    assert report.frames == 10 and sum(report.dropped.values()) == 2
    assert report.dropped == {"not decodable: IMAGE_UNDECODABLE": 1, "not decodable: IMAGE_MISSING": 1}
    assert any("000003: IMAGE_UNDECODABLE" in note for note in report.notes)


def humble(source: Path, target: Path) -> None:
    """The same messages as Humble's recorder lays them down: its own tables, and two files, as --max-bag-size makes."""
    target.mkdir()
    with Bag(source) as bag:
        topics = list(bag.topics.values())
        messages = list(bag.messages([topic.name for topic in topics]))
    half = len(messages) // 2
    for number, part in enumerate((messages[:half], messages[half:])):
        with sqlite3.connect(target / f"drive_{number}.db3") as db:
            db.executescript(
                "CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);"
                "CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL,"
                " metadata TEXT NOT NULL);"
                "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,"
                " serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);"
                "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,"
                " data BLOB NOT NULL);"
                "CREATE INDEX timestamp_idx ON messages (timestamp ASC); INSERT INTO schema VALUES (3, 'humble');"
            )
            qos = "- history: 3\n  depth: 0\n  reliability: 1\n  durability: {}\n  deadline:\n    sec: 9223372036\n    nsec: 854775807\n  lifespan:\n    sec: 9223372036\n    nsec: 854775807\n  liveliness: 1\n  liveliness_lease_duration:\n    sec: 9223372036\n    nsec: 854775807\n  avoid_ros_namespace_conventions: false"  # noqa: E501
            for key, topic in enumerate(topics, 1):
                latched = 1 if topic.name == "/tf_static" else 2
                db.execute(
                    "INSERT INTO topics VALUES (?,?,?,'cdr',?)", (key, topic.name, topic.msgtype, qos.format(latched))
                )
            keys = {topic.name: key for key, topic in enumerate(topics, 1)}
            rows = [(keys[m.topic], m.logged, m.data) for m in part]
            db.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES (?,?,?)", rows)
    (target / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: sqlite3\n  duration:\n    nanoseconds: 1\n"
        "  starting_time:\n    nanoseconds_since_epoch: 1\n  message_count: 0\n  topics_with_message_count: []\n"
        '  compression_format: ""\n  compression_mode: ""\n'
        "  relative_file_paths:\n    - drive_0.db3\n    - drive_1.db3\n"
    )


def test_humbles_own_tables_in_two_files(bag, folder, tmp_path):
    humble(bag, tmp_path / "drive")
    with Bag(tmp_path / "drive") as opened:
        assert opened.topics["/tf_static"].latched and not opened.topics["/tf"].latched
        assert opened.topics["/tf"].count == 12
    convert(tmp_path / "drive", tmp_path / "out", EASY)
    made, known = contents(tmp_path / "out"), contents(folder)
    assert {n for n in known if made.get(n) != known[n]} <= {"report.json", "report.md", "settings.json"}


def room_maps(count: int = 12):
    """Small depth maps from a way through a bare room, with turns, so that every mistake in the poses shows."""
    poses, maps = [], []
    for k in range(count):
        turn, _ = cv2.Rodrigues(np.array([0.0, 0.12 * k, 0.0]))
        pose = rigid(np.diag([1.0, -1.0, -1.0]) @ turn, [-1.5 + 0.12 * k, 0.1, 1.0 - 0.1 * k])
        rays = SMALL.rays() @ pose[:3, :3].T
        depth = np.full(rays.shape[:2], np.inf)
        for axis, limit in ((0, 2.5), (1, 1.4), (2, 3.0)):
            for side in (-limit, limit):
                with np.errstate(divide="ignore"):
                    wall = (side - pose[axis, 3]) / rays[..., axis]
                depth = np.minimum(depth, np.where(wall > 0, wall, np.inf))
        poses.append(pose)
        maps.append(shrink(depth.astype(np.float32), SMALL))
    depths, matrices = zip(*maps)
    return np.stack(depths), np.stack(matrices), np.stack(poses)


def test_wrong_conventions_are_told_apart():
    depth, k, poses = room_maps()
    segments = np.zeros(len(poses), int)
    assert check_poses(depth, k, poses, segments).suspicion is None
    assert "world-to-camera" in check_poses(depth, k, inverse_rigid(poses), segments).suspicion
    body_from_optical = np.eye(4)
    body_from_optical[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    assert "body frame" in check_poses(depth, k, poses @ inverse_rigid(body_from_optical), segments).suspicion


def test_depth_tells_a_jump_from_a_fast_motion():
    depth, k, poses = room_maps()
    segments = np.repeat([0, 1, 2], 4)
    assert confirmed(depth, k, poses, segments).max() == 0
    broken = poses.copy()
    broken[8:, :3, 3] += [0.0, 0.0, 1.0]
    assert confirmed(depth, k, broken, segments).tolist() == [0] * 8 + [1] * 4


def test_pairs_keep_to_their_limits():
    _, _, poses = room_maps()
    limits = PairLimits(min_baseline=0.2, min_angle=90, max_baseline=0.5, per_frame=2)
    tried = candidates(poses, np.repeat([0, 1], 6), limits)
    assert ((tried[:, 2] >= 0.2) & (tried[:, 2] <= 0.5)).all() and (tried[:, 0] < tried[:, 1]).all()
    assert ((tried[:, 0] < 6) == (tried[:, 1] < 6)).all()
    assert len(candidates(poses, np.zeros(12), PairLimits(tries=3))) <= 3 * 12
    overlaps = np.stack([np.linspace(0, 1, 20)] * 2, -1)
    kept = choose(np.stack([np.zeros(20), np.arange(1, 21)], -1), overlaps, PairLimits(per_frame=4))
    assert len(kept) == 4 and (np.diff(overlaps[kept, 0]) > 0.05).all()
    assert overlaps[kept].min() >= 0.15 and overlaps[kept].max() <= 0.95
    assert choose(np.zeros((0, 2)), np.zeros((0, 2)), limits).shape == (0,)


def test_damaged_results_are_refused(folder, tmp_path, bag):
    index = json.loads((folder / "recording.json").read_text())
    for change, words in (
        ({"format": "x/2"}, "format"),
        ({"pairs": [[0, 99, 1, 1]]}, "not there"),
        ({"frames": 3}, "3"),
    ):
        out = tmp_path / words.replace(" ", "")
        out.mkdir()
        for name in ("frames.txt", "poses.txt", "K.txt"):
            (out / name).write_bytes((folder / name).read_bytes())
        (out / "recording.json").write_text(json.dumps({**index, **change}))
        error = refused(open_recording, out)
        assert error.code == ErrorCode.REQUEST_INVALID and words in error.message
    assert refused(find_recordings, tmp_path / "nothing").code == ErrorCode.IMAGE_MISSING
    convert(bag, tmp_path / "shards", Options(pairs=EASY.pairs, form="shards"))
    shard = tmp_path / "shards" / "pairs-00000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    assert refused(PairShard, shard).code == ErrorCode.IMAGE_UNDECODABLE
    shard.write_bytes(b"no tar file at all" * 100)
    assert refused(PairShard, shard).code == ErrorCode.IMAGE_UNDECODABLE
    assert refused(PairShard, tmp_path / "none.tar").code == ErrorCode.IMAGE_MISSING


def test_the_command_on_the_real_recording(sample_bag, tmp_path, capsys):
    line = ["data", "from-bag", str(sample_bag), str(tmp_path / "out"), "--workers", "1", "--short-side", "96"]
    assert main(line) == 0
    shown = capsys.readouterr()
    assert "24 of 24 pictures" in shown.out and "[####" in shown.err
    report = Report.load(tmp_path / "out" / "report.json")
    assert report.frames == 24 and report.pairs > 20 and report.fixed_frame == "map"
    assert report.pose_check["as_given"] > 2 * max(report.pose_check["inverted"], report.pose_check["body_axes"])
    assert main([*line[:3], str(tmp_path / "out2"), "--color", "/nope"]) == 2
    assert "REQUEST_INVALID" in capsys.readouterr().err


def test_selection_is_part_of_what_is_made(bag, tmp_path):
    chosen = Options(pairs=EASY.pairs, selection=Selection(every=2, most=4, max_depth=2.05))
    report = convert(bag, tmp_path / "out", chosen)
    assert report.frames == 4 and sum(report.dropped.values()) == 8
    assert FrameFolder.open(tmp_path / "out").view(3).depth.max() <= 2.05
