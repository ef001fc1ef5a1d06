"""ScanNet++ (kaldir.vc.in.tum.de/scannetpp): photographs of a camera (dslr) and videos of a phone (iphone).

A scene is ``data/<10 hex digits>/{dslr,iphone,scans}``. Things that must be known:

* poses come twice, as COLMAP text and as nerfstudio JSON with permuted axes; both are read by `colmap`;
* ``dslr/resized_images`` are fisheye pictures, which are undistorted here; ``resized_undistorted_images`` are flat;
* depth of dslr pictures is not part of the set: the set's tools render it from the scan, 16-bit millimetres along the
  optical axis, into ``render_depth`` (of the fisheye pictures; it is undistorted with them);
* an iphone has depth of its own in ``depth.bin``, or as PNG where the tools extracted it. Only every tenth frame is in
  COLMAP; the others have poses of the phone in ``pose_intrinsic_imu.json``. Which axes those have is said nowhere;
  they are taken as OpenCV's, as those of COLMAP.

Options: ``undistorted`` (dslr: prefer the flat pictures, default true), ``poses`` ("colmap", "nerfstudio", iphone also
"arkit"; default the first there is), ``split`` ("train" or "test" frames of ``train_test_lists.json``; default all),
``every`` (iphone with "arkit" poses: only every so-many-th frame, default 10).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from uniugg_core.cameras import Camera, check_rigid
from uniugg_core.errors import ErrorCode, UniuggError

from .colmap import read_cameras, read_images, read_transforms
from .iphone_depth import DepthFile, StreamDepth
from .posed import Depth, Frame, PngDepth, Reader, Recording, folders_with

__all__ = ["DSLR", "IPHONE", "find_dslr", "find_iphone", "open_dslr", "open_iphone"]

_PHONE_SIZE = (1920, 1440)
_RENDERED = ("render_depth", "depth")  # names under which the tools' depth lies
_RENDERED_FLAT = ("render_depth_undistorted", "undistorted_depth", "resized_undistorted_depth")
Posed = dict[str, tuple[np.ndarray, Camera]]


def find_dslr(root: Path) -> dict[str, Path]:
    """Scenes below a folder that have dslr pictures."""
    return _find(root, "dslr", ("colmap", "nerfstudio"))


def find_iphone(root: Path) -> dict[str, Path]:
    """Scenes below a folder that have a phone's video or frames."""
    return _find(root, "iphone", ("rgb", "rgb.mkv", "rgb.mp4"))


def open_dslr(name: str, folder: Path, options: Mapping[str, object]) -> Recording:
    """The photographs of one scene.

    Raises:
        UniuggError: REQUEST_INVALID if there are no pictures or no poses; errors of damaged files.
    """
    own = folder / "dslr"
    wanted = ["resized_undistorted_images", "resized_images"]
    if not options.get("undistorted", True):
        wanted.reverse()
    pictures = next((own / kind for kind in wanted if (own / kind).is_dir()), None)
    if pictures is None:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{own} has neither {wanted[0]} nor {wanted[1]}")
    flat = pictures.name == "resized_undistorted_images"
    posed, bent = _dslr_poses(own, flat, options.get("poses"))
    problems: Counter[str] = Counter()
    frames = []
    for file in _in_split(sorted(posed), folder, options.get("split")):
        pose, camera = posed[file]
        if not (pictures / file).is_file():
            problems["poses without a picture"] += 1
            continue
        depth = _dslr_depth(own, file, flat, bent, camera)
        problems["pictures without depth"] += depth is None
        frames.append(Frame(file, pictures / file, camera, pose, depth))
    problems["pictures without a pose"] += sum(path.name not in posed for path in pictures.iterdir())
    return Recording(name, tuple(frames), problems={what: count for what, count in problems.items() if count})


def open_iphone(name: str, folder: Path, options: Mapping[str, object]) -> Recording:
    """The frames of one scene's phone; they must have been extracted from the video.

    Raises:
        UniuggError: REQUEST_INVALID if there are no frames or no poses; errors of damaged files.
    """
    own = folder / "iphone"
    if not (own / "rgb").is_dir():
        raise UniuggError(
            ErrorCode.REQUEST_INVALID,
            f"{own} has no rgb/frame_000000.jpg ...: extract rgb.mkv, e.g. "
            f"`ffmpeg -i rgb.mkv -start_number 0 -q:v 1 rgb/frame_%06d.jpg`",
        )
    posed = _phone_poses(own, options.get("poses"), int(options.get("every", 10)))  # type: ignore[call-overload]
    problems: Counter[str] = Counter()
    file = None
    if (own / "depth.bin").is_file():
        try:
            file = DepthFile(own / "depth.bin")
        except UniuggError:
            problems["unreadable depth.bin"] += 1
    frames = []
    for picture in sorted(posed):
        pose, camera = posed[picture]
        if not (own / "rgb" / picture).is_file():
            problems["poses without a picture"] += 1
            continue
        depth = _phone_depth(own, picture, file)
        problems["pictures without depth"] += depth is None
        frames.append(Frame(picture, own / "rgb" / picture, camera, pose, depth))
    problems["pictures without a pose"] += sum(path.name not in posed for path in (own / "rgb").iterdir())
    return Recording(name, tuple(frames), problems={what: count for what, count in problems.items() if count})


class _FlatDepth:
    """Depth of a fisheye picture as its undistorted twin sees it."""

    def __init__(self, stored: Depth, bent: Camera, flat: Camera) -> None:
        self.stored, self.bent, self.flat = stored, bent, flat

    def read(self) -> np.ndarray:
        """(H, W) of the undistorted picture."""
        depth = self.stored.read()
        pixels = self.bent.scaled(depth.shape[1], depth.shape[0]).project(self.flat.rays())
        with np.errstate(invalid="ignore"):
            inside = ((pixels > -0.5) & (pixels < np.array(depth.shape[::-1]) - 0.5)).all(-1)
        u, v = np.moveaxis(np.rint(np.where(inside[..., None], pixels, 0)).astype(np.intp), -1, 0)
        return np.where(inside, depth[v, u], 0.0).astype(np.float32)


def _find(root: Path, device: str, marks: tuple[str, ...]) -> dict[str, Path]:
    found = folders_with(root, ("dslr", "iphone"))
    return {name: path for name, path in found.items() if any((path / device / mark).exists() for mark in marks)}


def _dslr_poses(own: Path, flat: bool, source: object) -> tuple[Posed, dict[str, Camera]]:
    """Pose and camera of each picture, and the fisheye cameras by picture, for depth rendered with those."""
    undistorted, plain = own / "nerfstudio" / "transforms_undistorted.json", own / "nerfstudio" / "transforms.json"
    bent: dict[str, Camera] = {}
    posed: Posed = {}
    if (own / "colmap" / "images.txt").is_file() and source in (None, "colmap"):
        cameras = read_cameras(own / "colmap" / "cameras.txt")
        posed = {file: (pose, cameras[n]) for file, (pose, n) in read_images(own / "colmap" / "images.txt").items()}
    elif plain.is_file() and (source in (None, "nerfstudio")):
        camera, poses, _ = read_transforms(plain)
        posed = {file: (pose, camera) for file, pose in poses.items()}
    bent = {file: camera for file, (_, camera) in posed.items()}
    if flat and undistorted.is_file():
        camera, poses, _ = read_transforms(undistorted)
        if source == "nerfstudio" or not posed:
            posed = {file: (pose, camera) for file, pose in poses.items()}
        else:
            posed = {file: (pose, camera) for file, (pose, _) in posed.items()}
    elif flat and any(camera.is_distorted for camera in bent.values()):
        raise UniuggError(
            ErrorCode.CAMERA_INFO_MISSING, f"{undistorted} is missing: nothing says what camera the flat pictures have"
        )
    if not posed:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{own} has no {source or 'colmap or nerfstudio'} poses")
    return posed, bent


def _dslr_depth(own: Path, file: str, flat: bool, bent: Mapping[str, Camera], camera: Camera) -> Depth | None:
    name = Path(file).with_suffix(".png").name
    if flat:
        for kind in _RENDERED_FLAT:
            if (own / kind / name).is_file():
                return PngDepth(own / kind / name)
    for kind in _RENDERED:
        if (own / kind / name).is_file():
            stored = PngDepth(own / kind / name)
            return _FlatDepth(stored, bent[file], camera) if flat and file in bent else stored
    return None


def _phone_poses(own: Path, source: object, every: int) -> Posed:
    if source in (None, "colmap") and (own / "colmap" / "images.txt").is_file():
        cameras = read_cameras(own / "colmap" / "cameras.txt")
        images = read_images(own / "colmap" / "images.txt")
        # names start with `video/` or `iphone/`
        return {Path(file).name: (pose, cameras[number]) for file, (pose, number) in images.items()}
    if source in (None, "nerfstudio") and (own / "nerfstudio" / "transforms.json").is_file():
        camera, poses, _ = read_transforms(own / "nerfstudio" / "transforms.json")
        return {Path(file).name: (pose, camera) for file, pose in poses.items()}
    path = own / "pose_intrinsic_imu.json"
    if source not in (None, "arkit") or not path.is_file():
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{own} has no {source or 'colmap, nerfstudio or ARKit'} poses")
    try:
        data = json.loads(path.read_text())
        posed: Posed = {}
        for name in sorted(data)[:: max(1, every)]:
            entry = data[name]
            pose = check_rigid(np.array(entry.get("aligned_pose", entry.get("aligned_poses", entry.get("pose")))))
            posed[f"{name}.jpg"] = (pose, Camera(*_PHONE_SIZE, np.array(entry["intrinsic"], np.float64)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UniuggError(ErrorCode.POSE_INVALID, f"{path} cannot be understood: {error}") from None
    return posed


def _phone_depth(own: Path, picture: str, file: DepthFile | None) -> Depth | None:
    for kind in _RENDERED:
        path = own / kind / Path(picture).with_suffix(".png").name
        if path.is_file():
            return PngDepth(path)
    number = Path(picture).stem.rpartition("_")[2]
    if file is None or not number.isdigit():
        return None
    if file.kind != "deflate stream" and int(number) >= len(file):
        return None
    return StreamDepth(file, int(number))


def _in_split(files: list[str], folder: Path, split: object) -> list[str]:
    path = folder / "dslr" / "train_test_lists.json"
    if split is None or not path.is_file():
        return files
    try:
        kept = set(json.loads(path.read_text())[str(split)])
    except (ValueError, KeyError):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} has no list {split!r}") from None
    return [file for file in files if file in kept]


DSLR = Reader("ScanNet++, dslr", find_dslr, open_dslr)
IPHONE = Reader("ScanNet++, iphone", find_iphone, open_iphone)
