"""Writes ScanNet++ scenes as the set and its tools lay them out."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import cv2
import lz4.block
import numpy as np

from uniugg_core.cameras import Camera, quaternion_from_matrix

from .rendered import K, Rendered, bent, write_grey, write_rgb

FISHEYE = Camera(
    240, 180, [[190.0, 0, 119.5], [0, 191.0, 89.5], [0, 0, 1]], (0.02, -0.01, 0.003, -0.001), "equidistant"
)
FLAT = Camera(240, 180, [[210.0, 0, 118.5], [0, 210.0, 90.5], [0, 0, 1]])
SCENE = "0a1b2c3d4e"


def colmap_text(folder: Path, names: list[str], poses: np.ndarray, camera: Camera) -> None:
    """COLMAP's three files: world-to-camera, w first, pixel centres at half numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    k = camera.matrix
    model = "OPENCV_FISHEYE" if camera.is_distorted else "PINHOLE"
    numbers = [k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, *camera.distortion]
    (folder / "cameras.txt").write_text(
        "# Camera list\n"
        + f"1 {model} {camera.width} {camera.height} "
        + " ".join(map(repr, map(float, numbers)))
        + "\n"
    )
    rows = ["# Image list with two lines of data per image:"]
    for number, (name, pose) in enumerate(zip(names, poses), 1):
        camera_from_world = np.linalg.inv(pose)
        x, y, z, w = quaternion_from_matrix(camera_from_world[:3, :3])
        rows.append(" ".join(map(str, [number, w, x, y, z, *camera_from_world[:3, 3], 1, name])))
        rows.append("" if number % 2 else "10.5 20.5 -1 30.5 40.5 17")
    (folder / "images.txt").write_text("\n".join(rows) + "\n")
    (folder / "points3D.txt").write_text("# 3D point list\n")


def permuted(pose: np.ndarray) -> list[list[float]]:
    """What the set's tools write as `transform_matrix`."""
    out = pose.copy()
    out[:3, 1:3] *= -1
    out = out[[1, 0, 2, 3], :]
    out[2, :] *= -1
    return out.tolist()


def transforms(path: Path, names: list[str], poses: np.ndarray, camera: Camera, test: int = 1) -> None:
    """nerfstudio's JSON; the last `test` pictures are test frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    k = camera.matrix
    data = {"fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2] + 0.5, "cy": k[1, 2] + 0.5, "w": camera.width}
    data |= {"h": camera.height, "camera_model": "OPENCV_FISHEYE" if camera.is_distorted else "PINHOLE"}
    data |= {f"k{n + 1}": value for n, value in enumerate(camera.distortion)}
    frames = [{"file_path": n, "transform_matrix": permuted(p), "is_bad": False} for n, p in zip(names, poses)]
    data |= {"frames": frames[:-test] if test else frames, "test_frames": frames[-test:] if test else []}
    path.write_text(json.dumps(data))


def write_dslr(root: Path, scene: Rendered, *, undistorted: bool = True, depth: bool = True) -> Path:
    """Photographs of one scene, fisheye and flat, with depth that the tools render for the fisheye ones."""
    folder = root / "data" / SCENE / "dslr"
    names = [f"DSC{1000 + n:05d}.JPG" for n in range(len(scene))]
    images, depths = bent(scene, FISHEYE)
    flat, _ = bent(scene, FLAT)
    for n, name in enumerate(names):
        write_rgb(folder / "resized_images" / name, images[n])
        write_grey(folder / "resized_anon_masks" / name.replace(".JPG", ".png"), np.full((180, 240), 255, np.uint8))
        if undistorted:
            write_rgb(folder / "resized_undistorted_images" / name, flat[n])
        if depth:
            millimetres = np.rint(depths[n] * 1000).astype(np.uint16)
            write_grey(folder / "render_depth" / name.replace(".JPG", ".png"), millimetres)
    colmap_text(folder / "colmap", names, scene.pose, FISHEYE)
    transforms(folder / "nerfstudio" / "transforms.json", names, scene.pose, FISHEYE)
    transforms(folder / "nerfstudio" / "transforms_undistorted.json", names, scene.pose, FLAT)
    (folder / "train_test_lists.json").write_text(json.dumps({"train": names[:-1], "test": names[-1:]}))
    return folder.parent


def depth_bin(path: Path, metres: list[np.ndarray], kind: str = "lz4") -> None:
    """``depth.bin`` in one of its three forms; frames are (192, 256)."""

    def deflated(data: bytes) -> bytes:
        press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return press.compress(data) + press.flush()

    if kind == "deflate stream":
        path.write_bytes(deflated(b"".join(depth.astype("<f4").tobytes() for depth in metres)))
        return
    with path.open("wb") as file:
        for depth in metres:
            if kind == "lz4":
                raw = np.rint(depth * 1000).astype("<u2").tobytes()
                data = lz4.block.compress(raw, store_size=False)
            else:
                data = deflated(depth.astype("<f4").tobytes())
            file.write(struct.pack("<I", len(data)) + data)


def write_iphone(root: Path, scene: Rendered, *, kind: str = "lz4", prefix: str = "video") -> Path:
    """A phone's frames; every tenth has a picture in COLMAP, ``depth.bin`` has them all."""
    folder = root / "data" / SCENE / "iphone"
    names = [f"frame_{10 * n:06d}.jpg" for n in range(len(scene))]
    imu = {}
    for n, name in enumerate(names):
        write_rgb(folder / "rgb" / name, cv2.resize(scene.image[n], (512, 384)))
    depths = [scene.depth[at // 10] for at in range(10 * (len(scene) - 1) + 1)]
    depth_bin(folder / "depth.bin", depths, kind)
    scale = np.diag([2.0, 2.0, 1.0])
    matrix = scale @ K + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    colmap_text(folder / "colmap", [f"{prefix}/{name}" for name in names], scene.pose, Camera(512, 384, matrix))
    big = np.diag([7.5, 7.5, 1.0]) @ K + np.array([[0, 0, 3.25], [0, 0, 3.25], [0, 0, 0]])
    for at in range(len(depths)):
        pose = scene.pose[at // 10].tolist()
        imu[f"frame_{at:06d}"] = {"timestamp": at / 60, "pose": pose, "aligned_pose": pose, "intrinsic": big.tolist()}
    (folder / "pose_intrinsic_imu.json").write_text(json.dumps(imu))
    return folder.parent
