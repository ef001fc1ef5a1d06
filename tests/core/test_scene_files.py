"""Scenes on disk: lossless in each format, readable by other programs, damaged files refused."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import numpy as np
import pytest
import trimesh
from clouds import made, refused, same, view
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uniugg_core.cameras import motion
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.scene import IMAGINED, Scene

ENDINGS = (".ply", ".glb", ".npz")


@pytest.fixture(params=ENDINGS)
def path(request, tmp_path):
    return tmp_path / f"scene{request.param}"


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 40),
    st.integers(0, 99),
    st.text(max_size=20),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.integers(0, 2**63 - 1),
)
def test_round_trip(path, count, seed, frame, stamp, scene_seed):
    scene = made(count, seed, frame=frame, stamp=stamp, seed=scene_seed)
    loaded = Scene.load(scene.save(path))
    assert same(loaded, scene)
    assert (loaded.frame, loaded.stamp, loaded.seed) == (frame, stamp, scene_seed)
    assert [item.name for item in path.parent.iterdir()] == [path.name]  # nothing half-written is left


def test_npz_keeps_views_and_timings(tmp_path):
    full = dataclasses.replace(
        view(IMAGINED, 2, sample=3, pose=motion(yaw=0.3, right=1.0)),
        descriptors=np.random.default_rng(0).normal(size=(6, 8, 24)),
        descriptor_confidence=np.ones((6, 8)),
    )
    scene = made(4, views=(view(), full), timings={"decode": 12.5})
    loaded = Scene.load(scene.save(tmp_path / "scene.npz"))
    assert loaded.timings == {"decode": 12.5} and len(loaded.views) == 2
    for was, now in zip(scene.views, loaded.views):
        for field in dataclasses.fields(was):
            mine, theirs = getattr(was, field.name), getattr(now, field.name)
            assert np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs


def test_points_that_are_not_finite_survive_where_the_format_allows(tmp_path):
    scene = Scene.from_arrays([[0, 0, 1], [np.nan, 0, np.inf]])
    for ending, count in ((".ply", 2), (".npz", 2), (".glb", 1)):
        assert len(Scene.load(scene.save(tmp_path / f"a{ending}"))) == count


def test_other_programs_read_the_ply(tmp_path):
    scene = made(50, frame="map")
    cloud = trimesh.load(str(scene.save(tmp_path / "a.ply")))
    assert np.allclose(cloud.vertices, scene.points)
    assert np.array_equal(np.asarray(cloud.colors)[:, :3], scene.colors)
    raw = cloud.metadata["_ply_raw"]["vertex"]["data"]
    assert np.allclose(np.asarray(raw["confidence"]).ravel(), scene.confidence)
    header = (tmp_path / "a.ply").read_bytes().split(b"end_header")[0].decode()
    assert '"frame": "map"' in header


@pytest.mark.parametrize("frame", ["camera", "map"])
def test_other_programs_read_the_glb_the_right_way_up(tmp_path, frame):
    up = {"camera": [0.0, -1.0, 0.0], "map": [0.0, 0.0, 1.0]}[frame]
    scene = Scene.from_arrays([[0, 0, 0], up], [[255, 0, 0], [0, 255, 0]], frame=frame)
    cloud = trimesh.load(str(scene.save(tmp_path / "a.glb"))).to_geometry()
    assert np.allclose(cloud.vertices, [[0, 0, 0], [0, 1, 0]], atol=1e-6)
    assert np.asarray(cloud.colors)[:, :3].tolist() == scene.colors.tolist()


def test_ply_of_other_programs(tmp_path):
    cloud = trimesh.PointCloud(np.random.default_rng(0).normal(size=(20, 3)))
    (tmp_path / "theirs.ply").write_bytes(cloud.export(file_type="ply"))
    loaded = Scene.load(tmp_path / "theirs.ply")
    assert np.allclose(loaded.points, cloud.vertices, atol=1e-6)
    assert loaded.frame == "camera" and (loaded.confidence == 1).all()
    # With doubles, other properties in between, and faces behind the points.
    vertex = np.zeros(3, np.dtype([("nx", "<f4"), ("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("intensity", "u1")]))
    vertex["x"] = [1, 2, 3]
    header = (
        "ply\r\nformat binary_little_endian 1.0\ncomment made by hand\nelement vertex 3\nproperty float nx\n"
        "property double x\nproperty double y\nproperty double z\nproperty uchar intensity\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    )
    (tmp_path / "odd.ply").write_bytes(header.encode() + vertex.tobytes() + b"\x03" + bytes(12))
    assert Scene.load(tmp_path / "odd.ply").points[:, 0].tolist() == [1, 2, 3]


def test_every_truncation_is_refused(path):
    made(6).save(path)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, max(len(whole) // 120, 1)):
        path.write_bytes(whole[:end])
        refused(ErrorCode.REQUEST_INVALID, Scene.load, path)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_gives_a_scene_or_the_coded_error(path, changes):
    made(6, views=(view(),) if path.suffix == ".npz" else ()).save(path)
    damaged = bytearray(path.read_bytes())
    for at, value in changes:
        damaged[at % len(damaged)] = value
    path.write_bytes(bytes(damaged))
    try:
        assert isinstance(Scene.load(path), Scene)
    except UniuggError as error:
        assert error.code is ErrorCode.REQUEST_INVALID and path.name in str(error)


@pytest.mark.parametrize(("at", "value"), [(6, 255), (8, 1), (10, 8), (10, 12), (10, 99)])
def test_archives_that_cannot_be_read_are_refused(tmp_path, at, value):
    """Of a later version, encrypted, or packed as they are not: zipfile has another error for each."""
    path = tmp_path / "scene.npz"
    made(6).save(path)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"PK\x01\x02") + at] = value
    path.write_bytes(bytes(damaged))
    refused(ErrorCode.REQUEST_INVALID, Scene.load, path)


@pytest.mark.parametrize(
    "header",
    [
        "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n",
        "ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\nend_header\n",
        "ply\nformat binary_little_endian 1.0\nelement face 1\nproperty list uchar int i\nend_header\n",
        "ply\nformat binary_little_endian 1.0\nelement vertex -1\nproperty float x\nend_header\n",
        "ply\nformat binary_little_endian 1.0\nelement vertex 999999999999\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n",
        "ply\nformat binary_little_endian 1.0\nelement vertex 0\nproperty float x\nproperty float x\nend_header\n",
        "ply\nformat binary_little_endian 1.0\ncomment uniugg {nonsense\nelement vertex 0\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n",
        "ply\nend_header\n",
        "ply\n" + "comment x\n" * 20_000,
        "plyer\n",
        "",
    ],
)
def test_bad_ply_headers(tmp_path, header):
    (tmp_path / "a.ply").write_text(header)
    refused(ErrorCode.REQUEST_INVALID, Scene.load, tmp_path / "a.ply")


def test_a_pickle_in_an_npz_is_refused(tmp_path):
    path = made(3).save(tmp_path / "a.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["points"] = np.array([object()], dtype=object)
    np.savez(path, **arrays)
    refused(ErrorCode.REQUEST_INVALID, Scene.load, path)


def test_an_npz_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = made(3).save(tmp_path / "a.npz")
    monkeypatch.setattr("uniugg_core.scene.files.MAX_NPZ_BYTES", 100)
    with pytest.raises(UniuggError, match="limit"):
        Scene.load(path)


def test_an_array_that_claims_terabytes(tmp_path):
    """A 200-byte member whose header promises more than any memory holds."""
    path = made(3).save(tmp_path / "a.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3), }"
    text += b" " * (117 - len(text)) + b"\n"
    members["points.npy"] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    refused(ErrorCode.REQUEST_INVALID, Scene.load, path)


def test_glb_of_other_programs_and_absurd_sizes(tmp_path):
    (tmp_path / "a.glb").write_bytes(trimesh.PointCloud(np.zeros((3, 3))).scene().export(file_type="glb"))
    refused(ErrorCode.REQUEST_INVALID, Scene.load, tmp_path / "a.glb")
    path = made(3).save(tmp_path / "b.glb")
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    for bad in (-1, 10**12, "3", None, 1.5):
        document["accessors"][0]["count"] = bad
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        size = (20 + len(text) + len(data) - 20 - length).to_bytes(4, "little")
        path.write_bytes(data[:8] + size + len(text).to_bytes(4, "little") + data[16:20] + text + data[20 + length :])
        refused(ErrorCode.REQUEST_INVALID, Scene.load, path)


def test_paths(tmp_path):
    refused(ErrorCode.REQUEST_INVALID, made(1).save, tmp_path / "a.obj")
    refused(ErrorCode.REQUEST_INVALID, Scene.load, tmp_path / "a.obj")
    refused(ErrorCode.REQUEST_INVALID, Scene.load, tmp_path / "none.ply")
    refused(ErrorCode.INTERNAL, made(1).save, tmp_path / "nowhere" / "a.ply")
    assert Scene.load(str(made(1).save(str(tmp_path / "A.PLY")))).frame == "camera"


def test_a_full_disk_leaves_the_old_scene(tmp_path, monkeypatch):
    path = made(3).save(tmp_path / "a.ply")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("uniugg_core.scene.ply.write", full)
    refused(ErrorCode.INTERNAL, made(9).save, path)
    assert len(Scene.load(path)) == 3 and len(list(tmp_path.iterdir())) == 1
