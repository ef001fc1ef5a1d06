"""Options that several commands share: which model, which camera, which pose.

Light at the top: NumPy and the standard library; torch is imported when a model is loaded.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ErrorCode, UniuggError

if TYPE_CHECKING:
    from ..cameras import Camera
    from ..pipeline import Observation, Progress, UniUGGPipeline

__all__ = [
    "UNTRAINED_NOTE",
    "add_camera_options",
    "add_generation_options",
    "add_model_options",
    "add_pose_options",
    "load_observation",
    "load_pipeline",
    "read_camera",
    "read_pose",
    "show_progress",
    "to_json",
]

UNTRAINED_NOTE = "This model is untrained: its pictures, points and answers are noise."


# --- model ------------------------------------------------------------------------------------------------------------


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """``--model``, ``--preset``, ``--device``, ``--dtype`` and ``--threads``."""
    group = parser.add_argument_group("model")
    which = group.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path, metavar="FOLDER", help="checkpoint folder (default: the one that ships)")
    which.add_argument("--preset", metavar="NAME", help="an untrained model of this size instead: tiny or paper")
    group.add_argument("--device", default="cpu", help="where it runs, e.g. cpu or cuda (default: %(default)s)")
    group.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="default: %(default)s"
    )
    group.add_argument("--threads", type=_positive, metavar="N", help="processor threads torch may use")


def load_pipeline(args: argparse.Namespace) -> UniUGGPipeline:
    """The pipeline that the model options name; says on standard error when it is untrained.

    Raises:
        UniuggError: CHECKPOINT_* when the folder cannot be used.
    """
    import torch

    from ..pipeline import UniUGGPipeline

    if args.threads:
        torch.set_num_threads(args.threads)
    options = {"device": args.device, "dtype": args.dtype}
    if args.model is not None:
        pipeline = UniUGGPipeline.from_pretrained(args.model, **options)
    elif args.preset is not None:
        pipeline = UniUGGPipeline.from_preset(args.preset, seed=0, **options)
    else:
        pipeline = UniUGGPipeline.default(**options)
    if not pipeline.trained:
        print(UNTRAINED_NOTE, file=sys.stderr)
    return pipeline


# --- camera -----------------------------------------------------------------------------------------------------------


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """``--camera``, ``--fov`` and ``--camera-info``: three ways to say the calibration; with none it is assumed."""
    group = parser.add_argument_group("camera").add_mutually_exclusive_group()
    group.add_argument(
        "--camera", metavar="FX,FY,CX,CY", help="pinhole calibration in pixels of the image, pixel centres at integers"
    )
    group.add_argument("--fov", type=float, metavar="DEGREES", help="horizontal field of view (assumed: 60)")
    group.add_argument(
        "--camera-info", type=Path, metavar="FILE", help="YAML of ROS's camera_calibration, with distortion"
    )


def read_camera(args: argparse.Namespace, width: int, height: int) -> Camera | None:
    """The camera that the options describe, for a picture of `width` x `height`; None when they say nothing.

    Raises:
        UniuggError: CAMERA_INFO_INVALID, CAMERA_INFO_MISMATCH or CAMERA_MODEL_UNSUPPORTED.
    """
    from ..cameras import Camera

    if args.camera_info is not None:
        return _camera_from_yaml(args.camera_info, width, height)
    if args.fov is not None:
        if not 0 < args.fov < 180:
            raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"--fov {args.fov:g}: expected degrees between 0 and 180")
        return Camera.from_fov(width, height, math.radians(args.fov))
    if args.camera is None:
        return None
    numbers = _numbers(args.camera, ErrorCode.CAMERA_INFO_INVALID, "--camera")
    if len(numbers) != 4:
        raise UniuggError(
            ErrorCode.CAMERA_INFO_INVALID,
            f"--camera {args.camera!r}: expected 4 numbers fx,fy,cx,cy, got {len(numbers)}",
        )
    fx, fy, cx, cy = numbers
    return Camera(width, height, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))


def _camera_from_yaml(path: Path, width: int, height: int) -> Camera:
    import yaml

    from ..cameras import Camera

    try:
        data = yaml.safe_load(path.read_text())
        size = int(data["image_width"]), int(data["image_height"])
        k = [float(value) for value in data["camera_matrix"]["data"]]
        d = tuple(float(value) for value in data["distortion_coefficients"]["data"])
        model = str(data["distortion_model"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{path} is no calibration file: {error!r}") from error
    if size != (width, height):
        raise UniuggError(
            ErrorCode.CAMERA_INFO_MISMATCH,
            f"{path} calibrates {size[0]}x{size[1]} pictures, this one has {width}x{height}",
        )
    if len(k) != 9:
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{path}: camera_matrix has {len(k)} numbers, expected 9")
    return Camera(width, height, np.array(k).reshape(3, 3), d, model)


def load_observation(path: Path, args: argparse.Namespace) -> Observation:
    """The picture at `path` with the camera of the options.

    Raises:
        UniuggError: IMAGE_MISSING, IMAGE_* or CAMERA_*.
    """
    from ..images import load_image
    from ..pipeline import Observation

    image = load_image(path)
    height, width = image.shape[:2]
    return Observation(image=image, camera=read_camera(args, width, height))


# --- pose -------------------------------------------------------------------------------------------------------------


def add_pose_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """``--pose``, ``--pose-file`` and ``--matrix``: where to look from, relative to the camera of the picture."""
    group = parser.add_argument_group("where to look from").add_mutually_exclusive_group(required=required)
    group.add_argument(
        "--pose", metavar="WORDS", help="a motion of the camera in degrees and metres: 'yaw right 30, forward 0.5'"
    )
    group.add_argument(
        "--pose-file",
        type=Path,
        metavar="FILE",
        help="JSON: {'target_from_reference': 4x4}, or a ROS pose of the target camera in the reference camera's "
        "optical frame {'position': [x,y,z], 'orientation': [x,y,z,w]}",
    )
    group.add_argument("--matrix", metavar="16 NUMBERS", help="target_from_reference, row by row, metres")


def read_pose(args: argparse.Namespace) -> np.ndarray | None:
    """``target_from_reference`` (4, 4) from the pose options; None when there is none.

    Raises:
        UniuggError: POSE_INVALID.
    """
    from ..cameras import check_rigid, parse_motion

    if args.pose is not None:
        return parse_motion(args.pose)
    if args.pose_file is not None:
        return _pose_from_file(args.pose_file)
    if args.matrix is None:
        return None
    numbers = _numbers(args.matrix, ErrorCode.POSE_INVALID, "--matrix")
    if len(numbers) != 16:
        raise UniuggError(ErrorCode.POSE_INVALID, f"--matrix has {len(numbers)} numbers, expected 16")
    return check_rigid(np.array(numbers).reshape(4, 4))


def _pose_from_file(path: Path) -> np.ndarray:
    from ..cameras import check_rigid, inverse_rigid, rigid

    try:
        data = json.loads(path.read_text())
        if "target_from_reference" in data:
            matrix = np.array(data["target_from_reference"], dtype=np.float64).reshape(4, 4)
        else:
            position = np.array(data["position"], dtype=np.float64).reshape(3)
            orientation = np.array(data["orientation"], dtype=np.float64).reshape(4)
            matrix = None
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise UniuggError(ErrorCode.POSE_INVALID, f"{path} is no pose file: {error!r}") from error
    if matrix is not None:
        return check_rigid(matrix)
    return inverse_rigid(rigid(orientation, position))


# --- generation -------------------------------------------------------------------------------------------------------


def add_generation_options(parser: argparse.ArgumentParser) -> None:
    """``--steps``, ``--samples``, ``--seed``, ``--scheduler`` and ``--guidance``."""
    group = parser.add_argument_group("generation")
    group.add_argument("--steps", type=_positive, help="denoising steps (default: the model's)")
    group.add_argument("--samples", type=_positive, default=1, help="independent samples (default: %(default)s)")
    group.add_argument("--seed", type=int, help="the same seed gives the same scene (default: a new one)")
    group.add_argument("--scheduler", help="ddim, dpm++ or ddpm (default: the model's)")
    group.add_argument("--guidance", type=float, help="classifier-free guidance, 1 is none (default: the model's)")


def show_progress(progress: Progress) -> None:
    """A pipeline callback that writes one changing line on standard error when that is a terminal."""
    if not sys.stderr.isatty():
        return
    steps = f" {progress.step}/{progress.steps}" if progress.steps else ""
    print(f"\r\x1b[K{progress.stage}{steps} (sample {progress.sample + 1})", end="", file=sys.stderr, flush=True)


def to_json(value: Any) -> Any:
    """`value` as what ``json`` can write: dataclasses, arrays, tuples and paths included; NaN becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def _numbers(text: str, code: ErrorCode, option: str) -> list[float]:
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise UniuggError(code, f"{option} {text!r}: expected numbers") from None


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value
