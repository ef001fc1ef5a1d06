"""ARKitScenes and ScanNet++ in their true formats: read back, one view warped into another agrees."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from formats import arkit, prepared, scannet
from formats.rendered import rendered

from training.data import arkitscenes, processed, scannetpp
from training.data.posed import Recording
from training.data.warping import CONVENTIONS, agreement, warp
from uniugg_core.errors import UniuggError


def opened(reader, root, **options) -> Recording:
    scenes = reader.find(root)
    assert len(scenes) == 1
    (name, path), *_ = scenes.items()
    return reader.open(name, path, options)


def pairs_of(recording):
    views = [recording.view(number).check() for number in range(len(recording))]
    return list(zip(views, views[1:]))


def assert_right(recording, least=0.9, colour=0.05):
    """Views agree as read, and under no other convention."""
    pairs = pairs_of(recording)
    share, difference = agreement(pairs)
    assert share > least
    assert difference < colour
    for other in set(CONVENTIONS) - {"as read"}:
        assert not agreement(pairs, other)[0] > share - 0.25, other


LAYOUTS = {
    "arkit raw": (lambda root, scene: arkit.write_raw(root, scene), arkitscenes.READER, {}),
    "arkit 3dod": (lambda root, scene: arkit.write_raw(root, scene, form="3dod"), arkitscenes.READER, {}),
    "arkit processed": (lambda root, scene: prepared.write_arkitscenes(root, scene), processed.ARKITSCENES, {}),
    "scannet processed": (lambda root, scene: prepared.write_scannetpp(root, scene), processed.SCANNETPP, {}),
    "dslr flat": (lambda root, scene: scannet.write_dslr(root, scene), scannetpp.DSLR, {}),
    "dslr nerfstudio": (lambda root, scene: scannet.write_dslr(root, scene), scannetpp.DSLR, {"poses": "nerfstudio"}),
    "dslr fisheye": (lambda root, scene: scannet.write_dslr(root, scene), scannetpp.DSLR, {"undistorted": False}),
    "dslr fisheye nerfstudio": (
        lambda root, scene: scannet.write_dslr(root, scene, undistorted=False),
        scannetpp.DSLR,
        {"poses": "nerfstudio"},
    ),
    "iphone": (lambda root, scene: scannet.write_iphone(root, scene), scannetpp.IPHONE, {}),
    "iphone arkit": (lambda root, scene: scannet.write_iphone(root, scene), scannetpp.IPHONE, {"poses": "arkit"}),
    "iphone older": (
        lambda root, scene: scannet.write_iphone(root, scene, kind="deflate stream", prefix="iphone"),
        scannetpp.IPHONE,
        {},
    ),
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_views_agree_as_read_and_not_otherwise(tmp_path, layout):
    write, reader, options = LAYOUTS[layout]
    scene = rendered()
    write(tmp_path, scene)
    recording = opened(reader, tmp_path, **options)
    assert len(recording) == len(scene)
    np.testing.assert_allclose(recording.poses, scene.pose, atol=1e-4)
    assert_right(recording)


class TestArkitscenes:
    def test_odd_corners(self, tmp_path):
        """Names a millisecond off, no depth, no pose, no calibration, low confidence, a damaged line."""
        scene = rendered()
        folder = arkit.write_raw(tmp_path, scene)
        pincams = sorted((folder / "lowres_wide_intrinsics").iterdir())
        pincams[0].rename(pincams[0].with_name(f"41000001_{arkit.START + 0.001:.3f}.pincam"))
        sorted((folder / "lowres_depth").iterdir())[1].unlink()
        pincams[2].unlink()
        pictures = sorted((folder / "lowres_wide").iterdir())
        shutil.copy(pictures[3], folder / "lowres_wide" / "41000001_6860.000.png")
        with (folder / "lowres_wide.traj").open("a") as file:
            file.write("6855.9 0 0\n")
        recording = opened(arkitscenes.READER, tmp_path)
        assert [frame.name for frame in recording.frames] == [pictures[n].name for n in (0, 1, 3)]
        assert recording.problems == {
            "damaged lines in the trajectory": 1,
            "pictures without depth": 1,
            "pictures without a calibration": 1,
            "pictures without a pose": 1,
        }
        assert not recording.view(1).depth.any()

    def test_unsure_depth_is_dropped(self, tmp_path):
        scene = rendered()
        folder = arkit.write_raw(tmp_path, scene)
        sure = np.full((192, 256), 2, np.uint8)
        sure[:100] = 0
        first = sorted((folder / "confidence").iterdir())[0]
        arkit.write_grey(first, sure)
        depth = opened(arkitscenes.READER, tmp_path).view(0).depth
        assert not depth[:100].any()
        assert depth[100:].all()
        assert opened(arkitscenes.READER, tmp_path, confidence=0).view(0).depth.all()

    @pytest.mark.parametrize(("roll", "turns"), [(0.0, 0), (90.0, None), (-90.0, None), (180.0, 2)])
    def test_a_scene_on_its_side_is_turned_upright(self, tmp_path, roll, turns):
        arkit.write_raw(tmp_path, rendered(roll, 3))
        recording = opened(arkitscenes.READER, tmp_path)
        assert recording.turns == turns if turns is not None else recording.turns in (1, 3)
        view = recording.view(0)
        sky = view.world_from_camera[:3, :3].T @ [0.0, 0.0, 1.0]
        assert sky[1] < -0.9
        assert view.image.shape[:2] == ((256, 192) if abs(roll) == 90 else (192, 256))
        assert_right(recording)
        if roll == 0:
            return
        lying = opened(arkitscenes.READER, tmp_path, upright=False)
        assert lying.view(0).image.shape == (192, 256, 3)
        assert_right(lying)

    def test_larger_pictures_are_preferred_and_calibrated(self, tmp_path):
        import cv2

        scene = rendered()
        folder = arkit.write_raw(tmp_path, scene)
        for n, path in enumerate(sorted((folder / "lowres_wide").iterdir())):
            arkit.write_rgb(folder / "vga_wide" / path.name, cv2.resize(scene.image[n], (640, 480)))
        recording = opened(arkitscenes.READER, tmp_path)
        assert recording.view(0).image.shape == (480, 640, 3)
        assert_right(recording)

    def test_poses_between_two_are_interpolated(self):
        def row(time, angle, x):
            return f"{time} 0 0 {-angle} {-x * np.cos(angle)} {x * np.sin(angle)} 0"  # world-to-camera of (angle, x)

        path = arkitscenes.Trajectory("\n".join([row(10.0, 0.2, 1.0), row(10.1, 0.4, 2.0), row(11.0, 0.4, 2.0)]))
        pose = path.at(10.025)
        angle = np.arctan2(pose[1, 0], pose[0, 0])
        assert angle == pytest.approx(0.25)
        np.testing.assert_allclose(pose[:3, 3], [1.25, 0, 0], atol=1e-9)
        assert path.at(10.025, interpolate=False) is None
        assert path.at(10.104, interpolate=False) is not None
        assert path.at(10.5) is None  # a gap
        assert path.at(9.0) is None
        assert path.at(12.0) is None


class TestScannetpp:
    def test_missing_depth_and_pictures_are_counted(self, tmp_path):
        folder = scannet.write_dslr(tmp_path, rendered(), depth=False)
        (folder / "dslr" / "resized_undistorted_images" / "DSC01001.JPG").unlink()
        recording = opened(scannetpp.DSLR, tmp_path)
        assert recording.problems == {"poses without a picture": 1, "pictures without depth": 3}

    def test_splits_of_the_set(self, tmp_path):
        scannet.write_dslr(tmp_path, rendered())
        assert len(opened(scannetpp.DSLR, tmp_path, split="train")) == 3
        assert [frame.name for frame in opened(scannetpp.DSLR, tmp_path, split="test").frames] == ["DSC01003.JPG"]

    def test_a_video_that_was_not_unpacked_says_how(self, tmp_path):
        folder = scannet.write_iphone(tmp_path, rendered())
        shutil.rmtree(folder / "iphone" / "rgb")
        (folder / "iphone" / "rgb.mkv").write_bytes(b"")
        with pytest.raises(UniuggError, match="ffmpeg"):
            opened(scannetpp.IPHONE, tmp_path)

    def test_flat_pictures_without_their_camera_are_refused(self, tmp_path):
        folder = scannet.write_dslr(tmp_path, rendered())
        (folder / "dslr" / "nerfstudio" / "transforms_undistorted.json").unlink()
        with pytest.raises(UniuggError, match="CAMERA_INFO_MISSING"):
            opened(scannetpp.DSLR, tmp_path)


class TestProcessed:
    def test_its_own_pairs(self, tmp_path):
        prepared.write_scannetpp(tmp_path, rendered())
        listed = opened(processed.SCANNETPP, tmp_path).listed
        assert listed[:2] == (("DSC00000", "DSC00001", 0.8), ("DSC00001", "DSC00002", 0.7))
        assert len(listed) == 4

    def test_selected_pairs_count_their_selection(self, tmp_path):
        folder = prepared.write_arkitscenes(tmp_path, rendered())
        names = [path.name for path in sorted((folder / "lowres_depth").iterdir())]
        selection = np.array([names[3], "gone.png", names[1]])
        np.savez(folder / "selected_pairs.npz", selection=selection, pairs=[[0, 2, 0.5], [0, 1, 0.9]])
        assert opened(processed.ARKITSCENES, tmp_path).listed == ((names[3], names[1], 0.5),)

    def test_pickled_tables_are_refused(self, tmp_path):
        folder = prepared.write_arkitscenes(tmp_path, rendered())
        np.savez(folder / "scene_metadata.npz", images=np.array([{"a": 1}], dtype=object))
        with pytest.raises(UniuggError, match="cannot be read"):
            opened(processed.ARKITSCENES, tmp_path)


def test_a_wrong_pose_is_seen(tmp_path):
    arkit.write_raw(tmp_path, rendered())
    first, second = pairs_of(opened(arkitscenes.READER, tmp_path))[0]
    moved = second.world_from_camera.copy()
    moved[:3, 3] += [0.0, 0.5, 0.3]
    good, bad = warp(first, second), warp(first, replace(second, world_from_camera=moved))
    assert good.agreement > 0.9 > 0.7 > bad.agreement
    assert good.colour < bad.colour
