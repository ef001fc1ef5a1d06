"""Recordings in every form a recorder writes, and broken ones: right frames, or an error that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from odd_bags import BENT, SECOND, SMALL, STORE, Odd, info, link, look, path, raw, tf, wall, write_bag
from rosbags.rosbag2 import StoragePlugin, Writer

from benchmarks import bags as benchmark
from training.data.bags.align import Selection, align, select
from training.data.bags.convert import convert
from training.data.bags.frames import read_frames, warp_depth
from training.data.bags.reader import Bag
from training.data.bags.topics import Topics, find_topics
from training.data.bags.transforms import TransformTree
from uniugg_core.cameras import Camera, inverse_rigid, rigid
from uniugg_core.errors import ErrorCode, UniuggError


def frames_of(folder: Path, scratch: Path, asked: Topics | None = None, wanted: Selection | None = None, side=None):
    with Bag(folder, scratch) as bag:
        topics = find_topics(bag, asked)
        plan = align(bag, topics, wanted or Selection())
        frames = dict(read_frames(bag, topics, plan.frames, side, 20.0)) if plan.frames else {}
    return plan, [frames[number] for number in sorted(frames)]


def refused(call, *args) -> UniuggError:
    with pytest.raises(UniuggError) as caught:
        call(*args)
    return caught.value


def check_wall(frame, pose, *, tolerance=6.0, depth_tolerance=0.004) -> None:
    """Every pixel's ray and depth must lead to a point of the wall that has the pixel's colour."""
    rays = frame.camera.rays() * frame.depth[..., None]
    points = rays @ pose[:3, :3].T + pose[:3, 3]
    known = frame.depth > 0
    assert known.mean() > 0.85
    assert np.abs(points[known][:, 2]).max() < depth_tolerance
    error = np.abs(frame.image.astype(float) - wall(points))[known]
    assert error.mean() < tolerance / 3 and np.quantile(error, 0.99) < tolerance


@pytest.mark.parametrize(
    "odd",
    [
        Odd(),
        Odd(storage="mcap", color="bgr8", depth="32FC1"),
        Odd(compression="file", depth="big-endian"),
        Odd(compression="message", color="png", depth="compressed"),
        Odd(storage="mcap", compression="storage", color="jpeg", depth="compressed32"),
        Odd(storage="mcap", compression="file", names=("/a/b", "/z/range")),
        Odd(storage="mcap", compression="message", names=("/left_eye/picture", "/deep/map")),
    ],
    ids=lambda odd: f"{odd.storage}-{odd.compression or 'plain'}-{odd.color}-{odd.depth}",
)
def test_every_form_gives_the_same_frames(odd, tmp_path):
    poses = write_bag(tmp_path / "bag", odd)
    plan, frames = frames_of(tmp_path / "bag", tmp_path / "scratch")
    assert (plan.fixed_frame, plan.camera_frame, len(frames)) == ("map", "cam_optical", odd.frames)
    assert not plan.dropped and not plan.jumps
    for planned, frame, pose in zip(plan.frames, frames, poses):
        np.testing.assert_allclose(planned.world_from_camera, pose, atol=1e-9)
        assert frame.camera == SMALL
        coarse = odd.depth == "compressed32"  # inverse depth in steps of a 2000th
        check_wall(frame, pose, depth_tolerance=0.004 if coarse else 0.002)


def test_distortion_is_undone_for_colour_and_depth(tmp_path):
    poses = write_bag(tmp_path / "bag", Odd(camera=BENT, depth="32FC1"))
    _, frames = frames_of(tmp_path / "bag", tmp_path)
    for frame, pose in zip(frames, poses):
        assert not frame.camera.is_distorted and frame.original is None
        check_wall(frame, pose, depth_tolerance=0.03)  # depth takes the nearest pixel, the colour is interpolated


def test_depth_of_another_camera_is_brought_into_the_colour_camera(tmp_path):
    depth_from_color = rigid([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0.05, 0.0, 0.01])
    coarse = Camera(80, 60, [[45, 0, 39.5], [0, 45, 29.5], [0, 0, 1]])
    odd = Odd(depth_camera=coarse, depth_from_color=depth_from_color, depth="32FC1", color="jpeg")
    poses = write_bag(tmp_path / "bag", odd)
    plan, frames = frames_of(tmp_path / "bag", tmp_path)
    assert plan.frames[0].color_from_depth is not None
    for frame, pose in zip(frames, poses):
        check_wall(frame, pose, tolerance=12.0, depth_tolerance=0.03)


def test_registered_depth_of_half_the_size_and_smaller_pictures(tmp_path):
    half = SMALL.scaled(48, 32)
    poses = write_bag(tmp_path / "bag", Odd(depth_camera=half, depth="32FC1"))
    _, frames = frames_of(tmp_path / "bag", tmp_path, side=40)
    for frame, pose in zip(frames, poses):
        assert frame.image.shape == (40, 60, 3) and frame.depth.shape == (40, 60)
        check_wall(frame, pose, depth_tolerance=0.04)


def test_the_nearest_surface_wins_when_depth_is_warped():
    camera = Camera(20, 10, [[20, 0, 9.5], [0, 20, 4.5], [0, 0, 1]])
    depth = np.full((10, 20), 4.0, np.float32)
    depth[:, 12:15] = 1.0
    moved = warp_depth(depth, camera, camera, rigid(np.eye(3), [-0.2, 0, 0]))
    assert (moved[5, 8:11] == 1.0).all()  # 0.2 m at 1 m and a focal length of 20: four pixels to the left
    assert set(np.unique(moved)) <= {0.0, 1.0, 4.0} and moved[5, 0] == 4.0
    assert (moved[5, 12:14] == 0).all(), "what the near strip hid is not known"


def test_tolerances_gaps_jumps_and_standing_still_are_reasons(tmp_path):
    write_bag(tmp_path / "late", Odd(depth_delay=0.03))
    plan, frames = frames_of(tmp_path / "late", tmp_path)
    assert not frames and {reason for _, reason in plan.dropped} == {"no depth within 0.02 s"}
    assert len(frames_of(tmp_path / "late", tmp_path, wanted=Selection(depth_tolerance=0.04))[1]) == 8

    write_bag(tmp_path / "gap", Odd(poses_missing=(3, 4, 5)))
    plan, _ = frames_of(tmp_path / "gap", tmp_path)
    assert [reason for _, reason in plan.dropped] == ["no pose: TRANSFORM_UNAVAILABLE"] * 3
    assert any("falls into a gap" in note for note in plan.notes)
    plan, _ = frames_of(tmp_path / "gap", tmp_path, wanted=Selection(pose_gap=0.5))
    np.testing.assert_allclose(plan.frames[4].world_from_camera, path(8)[4], atol=1e-3)  # interpolated

    write_bag(tmp_path / "jump", Odd(jump_at=5))
    plan, _ = frames_of(tmp_path / "jump", tmp_path)
    assert [frame.segment for frame in plan.frames] == [0] * 5 + [1] * 3
    assert plan.jumps[0].shift == pytest.approx(2.1, abs=0.05)

    kept, dropped = select(plan.frames, Selection(min_shift=0.15, min_turn=5.0))
    assert [frame.color.stamp for frame in kept] == [frame.color.stamp for frame in plan.frames[::2]] or len(kept) == 5
    assert {reason for _, reason in dropped} == {"the camera stood still"}
    assert len(select(plan.frames, Selection(every=3))[0]) == 3 and len(select(plan.frames, Selection(most=2))[0]) == 2


def test_topics_are_found_by_what_they_carry_and_can_be_named(tmp_path):
    with Writer(tmp_path / "many", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        rgb, depth = look(SMALL, path(1)[0])
        grey = rgb[..., 0].copy()
        now = 10 * SECOND
        for topic, message in {
            "/cam/infra1/image": raw(now, "cam", grey, "mono8"),
            "/cam/color/image_rect_color": raw(now, "cam", rgb, "rgb8"),
            "/cam/depth/image": raw(now, "d", depth, "32FC1"),
            "/cam/aligned_depth_to_color/image": raw(now, "cam", depth, "32FC1"),
            "/other/rgb": raw(now, "x", rgb, "rgb8"),
            "/cam/color/camera_info": info(now, "cam", BENT),
            "/somewhere/calibration": info(now, "x", SMALL),
            "/tf": tf(link(now, "world", "cam", np.eye(4))),
        }.items():
            connection = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connection, now, STORE.serialize_cdr(message, message.__msgtype__))
        writer.add_connection("/empty/rgb", "sensor_msgs/msg/Image", typestore=STORE)
    with Bag(tmp_path / "many") as bag:
        found = find_topics(bag)
        assert (found.color, found.depth) == ("/cam/color/image_rect_color", "/cam/aligned_depth_to_color/image")
        assert (found.color_info, found.tf) == ("/cam/color/camera_info", ("/tf",))
        plan = align(bag, found, Selection())
        assert not plan.frames[0].color_camera.is_distorted, "a rectified picture has P, not K and D"
        other = find_topics(bag, Topics(color="/other/rgb"))
        assert other.color_info == "/somewhere/calibration"
        for topics, code in (
            (Topics(color="/nowhere"), ErrorCode.REQUEST_INVALID),
            (Topics(depth="/tf"), ErrorCode.REQUEST_INVALID),
            (Topics(color="/empty/rgb"), ErrorCode.IMAGE_MISSING),
        ):
            assert refused(find_topics, bag, topics).code == code


def only(folder: Path, keep: str) -> Path:
    """A bag with the topics whose names contain `keep` (and all are listed)."""
    source = folder.with_name("whole")
    write_bag(source, Odd())
    with Writer(folder, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer, Bag(source) as bag:
        for topic in bag.topics.values():
            connection = writer.add_connection(topic.name, topic.msgtype, typestore=STORE)
            for message in bag.messages([topic.name]):
                if any(word in topic.name for word in keep.split("|")):
                    writer.write(connection, message.logged, message.data)
    return folder


@pytest.mark.parametrize(
    ("keep", "code", "words"),
    [
        ("nothing", ErrorCode.IMAGE_MISSING, "no messages"),
        ("depth|tf", ErrorCode.IMAGE_MISSING, "no colour pictures"),
        ("color|tf", ErrorCode.IMAGE_MISSING, "no depth pictures"),
        ("image|tf", ErrorCode.CAMERA_INFO_MISSING, "the recording has none"),
        ("camera", ErrorCode.TRANSFORM_UNAVAILABLE, "/tf"),
    ],
)
def test_empty_topics_are_named(keep, code, words, tmp_path):
    folder = only(tmp_path / "bag", keep)
    with Bag(folder) as bag:
        error = refused(find_topics, bag)
    assert error.code == code and words in error.message


def test_files_that_are_no_recording(tmp_path):
    assert refused(Bag, tmp_path / "none").code == ErrorCode.IMAGE_MISSING
    assert refused(Bag, tmp_path).code == ErrorCode.IMAGE_MISSING
    old = tmp_path / "old.bag"
    old.write_bytes(b"#ROSBAG V2.0\nE\0\0\0")
    error = refused(Bag, old)
    assert error.code == ErrorCode.REQUEST_INVALID and "rosbags-convert" in error.message
    assert "ROS 1" in refused(Bag, tmp_path).message, "a folder of ROS 1 bags"
    for name, data, code in (
        ("picture.png", b"\x89PNG", ErrorCode.REQUEST_INVALID),
        ("text.mcap", b"hello, hello, hello", ErrorCode.REQUEST_INVALID),
        ("empty.mcap", b"", ErrorCode.IMAGE_UNDECODABLE),
        ("short.mcap", b"\x89MCAP0\r\n", ErrorCode.IMAGE_UNDECODABLE),
        ("short.db3", b"SQLite format 3\0", ErrorCode.IMAGE_UNDECODABLE),
    ):
        (tmp_path / name).write_bytes(data)
        assert refused(Bag, tmp_path / name).code == code, name


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_recording_that_is_cut_off(storage, share, tmp_path):
    write_bag(tmp_path / "bag", Odd(storage=storage))
    file = next(file for file in (tmp_path / "bag").iterdir() if file.suffix in (".mcap", ".db3"))
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    error = refused(lambda: frames_of(tmp_path / "bag", tmp_path))
    assert error.code == ErrorCode.IMAGE_UNDECODABLE and "cut off" in error.message and file.name in error.message


def test_damaged_descriptions_and_compressed_files(tmp_path):
    write_bag(tmp_path / "bag", Odd(compression="file"))
    assert refused(Bag, tmp_path / "bag").code == ErrorCode.REQUEST_INVALID  # nowhere to unpack
    packed = next((tmp_path / "bag").glob("*.zstd"))
    packed.write_bytes(packed.read_bytes()[:200])
    assert refused(Bag, tmp_path / "bag", tmp_path / "scratch").code == ErrorCode.IMAGE_UNDECODABLE
    assert not list((tmp_path / "scratch").glob("*.db3")), "half a file is never taken for a whole one"
    packed.unlink()
    assert refused(Bag, tmp_path / "bag", tmp_path / "scratch").code == ErrorCode.IMAGE_MISSING
    (tmp_path / "bag" / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    assert refused(Bag, tmp_path / "bag").code == ErrorCode.IMAGE_UNDECODABLE


def test_a_recorder_that_died_before_its_description(tmp_path):
    write_bag(tmp_path / "bag", Odd(storage="mcap"))
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert len(frames_of(tmp_path / "bag", tmp_path)[1]) == 8
    assert len(frames_of(next((tmp_path / "bag").glob("*.mcap")), tmp_path)[1]) == 8


def test_messages_left_in_sqlites_log_are_noted(tmp_path):
    write_bag(tmp_path / "bag", Odd())
    (tmp_path / "bag" / "bag.db3-wal").write_bytes(b"newest messages")
    plan, _ = frames_of(tmp_path / "bag", tmp_path)
    assert "bag.db3-wal" in plan.notes[0]


def test_a_depth_format_nobody_can_read_is_said(tmp_path):
    write_bag(tmp_path / "bag", Odd(depth="compressed", frames=2))
    source = tmp_path / "bag"
    with Bag(source) as bag, Writer(tmp_path / "rvl", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic in bag.topics.values():
            connection = writer.add_connection(topic.name, topic.msgtype, typestore=STORE)
            for message in bag.messages([topic.name]):
                data = message.data.replace(b"compressedDepth png", b"compressedDepth rvl")
                writer.write(connection, message.logged, data)
    error = refused(convert, tmp_path / "rvl", tmp_path / "out")
    assert error.code == ErrorCode.IMAGE_MISSING
    assert "IMAGE_ENCODING_UNSUPPORTED (2 of 2)" in error.message and "choose png" in error.message


@pytest.mark.parametrize("form", ["sqlite3, raw bgr8", "mcap, JPEG + PNG depth", "sqlite3, zstd messages"])
def test_the_benchmark_reads_what_it_wrote(form, tmp_path):
    benchmark.write(tmp_path / "bag", benchmark.FORMS[form], (80, 80), 4)
    assert benchmark.read(tmp_path / "bag") == 8


def test_the_real_recording(sample_bag, tmp_path):
    plan, frames = frames_of(sample_bag, tmp_path)
    assert len(frames) == 24 and plan.fixed_frame == "map" and frames[0].image.shape == (360, 540, 3)
    assert all(frame.original is not None and frame.original[:2] == b"\xff\xd8" for frame in frames), "left as recorded"


def test_transform_chains():
    tree = TransformTree()
    for k in range(3):
        tree.add("/map", "odom", k * SECOND, (k, 0, 0), (0, 0, 0, 1))
    tree.add("odom", "base", 0, (0, 1, 0), (0, 0, 0, 1), static=True)
    tree.add("base", "cam", 0, (0, 0, 1), (0, 0, np.sin(np.pi / 4), np.cos(np.pi / 4)), static=True)
    tree.add("odom", "odom", 0, (0, 0, 0), (0, 0, 0, 1))
    tree.add("odom", "bad", 0, (0, np.nan, 0), (0, 0, 0, 1))
    tree.add("odom", "bad", 0, (0, 0, 0), (0, 0, 0, 2))
    assert tree.ignored == 3 and tree.fixed_frame("cam") == "map" and tree.fixed_frame("map") is None
    pose = tree.lookup("map", "cam", SECOND // 2, 2 * SECOND)
    np.testing.assert_allclose(pose[:3, 3], [0.5, 1, 1])
    np.testing.assert_allclose(tree.lookup("cam", "map", SECOND // 2, 2 * SECOND), inverse_rigid(pose), atol=1e-12)
    assert refused(tree.lookup, "map", "cam", SECOND // 2, SECOND // 2).code == ErrorCode.TRANSFORM_UNAVAILABLE
    assert refused(tree.lookup, "map", "cam", 4 * SECOND, SECOND).code == ErrorCode.TRANSFORM_UNAVAILABLE
    assert refused(tree.lookup, "map", "nobody", 0, SECOND).code == ErrorCode.FRAME_UNKNOWN
    tree.add("world2", "lonely", 0, (0, 0, 0), (0, 0, 0, 1))
    assert refused(tree.lookup, "map", "lonely", 0, SECOND).code == ErrorCode.TRANSFORM_UNAVAILABLE
