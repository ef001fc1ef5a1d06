"""Imagine what the camera of a picture would see from elsewhere.

example:
  uniugg imagine kitchen.jpg --pose "yaw right 30, forward 0.5" --fov 70 --out imagined/

Writes into the folder given with --out: scene.ply, scene.glb and scene.npz (points, colours, confidence, what was
observed and what imagined), view.png (the picture from the new pose), sheet.png (all of it on one page) and
result.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import common

if TYPE_CHECKING:
    import numpy as np

    from ..pipeline import Observation, UniUGGPipeline
    from ..scene import Scene

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg imagine``."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="a PNG or JPEG")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    common.add_pose_options(parser, required=True)
    common.add_camera_options(parser)
    common.add_generation_options(parser)
    common.add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Loads, imagines, writes, and prints what was written."""
    target_from_reference = common.read_pose(args)
    observation = common.load_observation(args.image, args)
    pipeline = common.load_pipeline(args)
    start = time.perf_counter()
    scene = pipeline.imagine(
        observation,
        target_from_reference,
        steps=args.steps,
        scheduler=args.scheduler,
        guidance=args.guidance,
        samples=args.samples,
        seed=args.seed,
        callback=common.show_progress,
    )
    seconds = time.perf_counter() - start
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    files = _write(args.out, args.image.name, observation, target_from_reference, scene, pipeline, seconds)
    result = _result(args, pipeline, observation, target_from_reference, scene, seconds, files)
    (args.out / "result.json").write_text(json.dumps(common.to_json(result), indent=2) + "\n")
    print(f"{len(scene.points):,} points in {seconds:.2f} s: {args.out}/ has {', '.join([*files, 'result.json'])}")
    if observation.camera is None:
        print("the calibration was not given: a horizontal field of view of 60 degrees was assumed", file=sys.stderr)
    return 0


def _write(
    out: Path,
    image_name: str,
    observation: Observation,
    target_from_reference: np.ndarray,
    scene: Scene,
    pipeline: UniUGGPipeline,
    seconds: float,
) -> list[str]:
    from ..images import save_image
    from ..sheet import SheetText, imagined_view, scene_sheet

    out.mkdir(parents=True, exist_ok=True)
    names = ["scene.ply", "scene.glb", "scene.npz"]
    for name in names:
        scene.save(out / name)
    view = imagined_view(scene)
    if view is not None:
        save_image(out / "view.png", view.image)
        names.append("view.png")
    text = SheetText(
        title=f"{image_name}, imagined from elsewhere",
        facts=(f"{seconds:.2f} s", f"seed {scene.seed}", f"model {pipeline.config.name}"),
        warning=None if pipeline.trained else common.UNTRAINED_NOTE,
    )
    save_image(
        out / "sheet.png", scene_sheet(observation.image, observation.camera, target_from_reference, scene, text)
    )
    return [*names, "sheet.png"]


def _result(
    args: argparse.Namespace,
    pipeline: UniUGGPipeline,
    observation: Observation,
    target_from_reference: np.ndarray,
    scene: Scene,
    seconds: float,
    files: list[str],
) -> dict[str, Any]:
    from ..scene import IMAGINED

    return {
        "image": args.image,
        "model": {"name": pipeline.config.name, "folder": args.model, "trained": pipeline.trained},
        "camera": observation.camera,
        "camera_assumed": observation.camera is None,
        "target_from_reference": target_from_reference,
        "steps": args.steps or pipeline.config.generation.steps_for(args.samples),
        "scheduler": args.scheduler or pipeline.config.generation.scheduler,
        "guidance": pipeline.config.generation.guidance if args.guidance is None else args.guidance,
        "samples": args.samples,
        "seed": scene.seed,
        "points": len(scene.points),
        "points_imagined": int((scene.source == IMAGINED).sum()),
        "frame": scene.frame,
        "seconds": seconds,
        "timings_ms": scene.timings,
        "files": files,
    }
