"""Generated views as pictures, in the protocol of UniUGG's table, and how near they come to the real ones.

    DIR/pairs.json      pair number, calibrations, pose, protocol
    DIR/input/N.png     what the model saw            DIR/real/N.png       what is really there
    DIR/projected/N.png the cloud of both views, drawn from the target camera
    DIR/direct/N.png    the picture of the view as the model shows it
    DIR/scenes/N.ply    the cloud, in the input camera's frame (on request)

Another system takes ``input`` and ``pairs.json`` and leaves ``N.png`` or ``N.ply`` in a folder of its own, which is
drawn and scored in the same way. The protocol's choices, where the paper names none: points are squares of 2 pixels,
the nearest wins, holes of up to 2 pixels are filled, the rest is black, and its share is reported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uniugg_core.cameras import Camera, inverse_rigid
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import load_image, save_image
from uniugg_core.outputs import Observation
from uniugg_core.pipeline import UniUGGPipeline
from uniugg_core.render import render_points
from uniugg_core.scene import IMAGINED, Scene

from ..losses.appearance import ssim
from .distances import frechet_distance, kernel_distance
from .rooms import Pairs
from .sharing import Share

__all__ = ["PROTOCOL", "generate_views", "score_views"]

PROTOCOL = {"splat": 2, "fill_holes": 2, "background": [0, 0, 0]}
OURS = ("projected", "direct")


@dataclass(frozen=True)
class _Pair:
    """One line of pairs.json."""

    number: int
    size: int
    target_camera: Camera
    target_from_reference: np.ndarray

    @classmethod
    def read(cls, entry: dict[str, Any]) -> _Pair:
        size = int(entry["size"])
        matrix = np.array(entry["target_intrinsics"], float)
        return cls(
            int(entry["number"]), size, Camera(size, size, matrix), np.array(entry["target_from_reference"], float)
        )


def generate_views(
    pipeline: UniUGGPipeline,
    source: Pairs,
    count: int,
    out: Path,
    *,
    first: int = 0,
    scenes: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> None:
    """Imagines the target view of `count` pairs and writes the folder; what is there already is not made again.

    Under a launcher each process makes its share (:mod:`training.evaluation.sharing`).

    Args:
        pipeline: the model.
        source: of the pairs, in squares of the model's size.
        count: how many, from number `first` on.
        out: the folder.
        first: number of the first pair.
        scenes: also write the clouds.
        progress: told (done, in all).
        options: of :meth:`UniUGGPipeline.imagine`.

    Raises:
        UniuggError: REQUEST_INVALID if the folder was made from other pairs.
    """
    for name in ("input", "real", *OURS, *(("scenes",) if scenes else ())):
        (out / name).mkdir(parents=True, exist_ok=True)
    share, entries = Share(), []
    for done, number in enumerate(share.of(range(first, first + count)), start=1):
        pair = source.pair(number)
        entry = _entry(number, pair)
        entries.append(entry)
        if not (out / "direct" / f"{number:06d}.png").is_file():
            _make(pipeline, pair, _Pair.read(entry), out, scenes, options)
        if progress is not None:
            progress(min(done * share.count, count), count)
    entries = sorted(share.gathered(entries), key=lambda entry: entry["number"])
    if share.leads:
        _write_pairs(out / "pairs.json", {"source": source.name, "protocol": PROTOCOL, "pairs": entries})
    share.wait()


def _entry(number: int, pair: Any) -> dict[str, Any]:
    return {
        "number": number,
        "size": int(pair.reference.image.shape[0]),
        "input_intrinsics": np.asarray(pair.reference.intrinsics, float).tolist(),
        "target_intrinsics": np.asarray(pair.target.intrinsics, float).tolist(),
        "target_from_reference": pair.target_from_reference.tolist(),
        "names": [pair.reference.name, pair.target.name],
    }


def _make(pipeline: UniUGGPipeline, pair: Any, known: _Pair, out: Path, scenes: bool, options: dict[str, Any]) -> None:
    size, name = known.size, f"{known.number:06d}.png"
    camera = Camera(size, size, pair.reference.intrinsics)
    observation = Observation(pair.reference.image, camera)
    scene = pipeline.imagine(observation, known.target_from_reference, seed=known.number, **options)
    imagined = next(view for view in scene.views if view.source == IMAGINED)
    save_image(out / "input" / name, pair.reference.image)
    save_image(out / "real" / name, pair.target.image)
    save_image(out / "projected" / name, _drawn(scene, known))
    if scenes:
        scene.save(out / "scenes" / f"{known.number:06d}.ply")
    save_image(out / "direct" / name, imagined.image)  # last: its being there says that the pair is done


def _drawn(scene: Scene, known: _Pair) -> np.ndarray:
    pose = inverse_rigid(known.target_from_reference)
    background = tuple(PROTOCOL["background"])
    drawing = {"splat": PROTOCOL["splat"], "fill_holes": PROTOCOL["fill_holes"]}
    return render_points(scene.points, scene.colors, known.target_camera, pose, background=background, **drawing).rgb


def _write_pairs(path: Path, content: dict[str, Any]) -> None:
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        known = {entry["number"]: entry for entry in before["pairs"]}
        for entry in content["pairs"]:
            if known.setdefault(entry["number"], entry) != entry or before["source"] != content["source"]:
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} is about other pairs: choose another folder")
        content = {**content, "pairs": [known[number] for number in sorted(known)]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


# --- scoring ----------------------------------------------------------------------------------------------------------


def score_views(
    folder: Path,
    outputs: list[Path],
    *,
    features: dict[str, Callable[[np.ndarray], np.ndarray]],
    lpips: torch.nn.Module | None = None,
    subsets: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """Distances of each folder of outputs to the real views.

    Args:
        folder: from :func:`generate_views`.
        outputs: folders with ``N.png`` or ``N.ply`` for the pairs; every one must have all of them.
        features: by name, (H, W, 3) uint8 to (d,). "inception" gives FID and KID, others distances of their name.
        lpips: pictures (B, 3, H, W) in [-1, 1] to (B,); None leaves LPIPS out.
        subsets: of the kernel distance.
        seed: of the subsets.

    Returns:
        ``pairs``, and ``outputs``: by name of the folder ``psnr``, ``ssim``, ``lpips``, ``black`` (share of pixels that
        nothing was drawn in) and the distances.

    Raises:
        UniuggError: IMAGE_MISSING, naming the first picture that is not there.
    """
    content = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    pairs = [_Pair.read(entry) for entry in content["pairs"]]
    real = [load_image(folder / "real" / f"{pair.number:06d}.png") for pair in pairs]
    known = {name: np.stack([extract(image) for image in real]) for name, extract in features.items()}
    report: dict[str, Any] = {"pairs": len(pairs), "source": content["source"], "protocol": content["protocol"]}
    report["outputs"] = {}
    for place in outputs:
        images = list(_pictures(place, pairs))
        figures = _closeness(images, real, lpips)
        figures["black"] = float(np.mean([(image == 0).all(-1).mean() for image in images]))
        for name, extract in features.items():
            own = np.stack([extract(image) for image in images])
            kernel = kernel_distance(own, known[name], subsets=subsets, seed=seed)
            first, second = ("fid", "kid") if name == "inception" else (f"frechet_{name}", f"kernel_{name}")
            figures[first] = frechet_distance(own, known[name])
            figures[f"{second}_mean"], figures[f"{second}_std"] = kernel.mean, kernel.std
        report["outputs"][place.name] = figures
    return report


def _pictures(place: Path, pairs: list[_Pair]) -> Iterator[np.ndarray]:
    for pair in pairs:
        picture, cloud = (place / f"{pair.number:06d}{ending}" for ending in (".png", ".ply"))
        if picture.is_file():
            image = load_image(picture)
        elif cloud.is_file():
            image = _drawn(Scene.load(cloud), pair)
        else:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{place} has neither {picture.name} nor {cloud.name}")
        if image.shape[:2] != (pair.size, pair.size):
            raise UniuggError(
                ErrorCode.IMAGE_MALFORMED,
                f"{picture} is {image.shape[1]}x{image.shape[0]}, expected {pair.size} square",
            )
        yield image


def _closeness(images: list[np.ndarray], real: list[np.ndarray], lpips: torch.nn.Module | None) -> dict[str, Any]:
    """Means over the pairs."""
    psnr, similar, perceived = [], [], []
    with torch.inference_mode():
        for image, truth in zip(images, real):
            one, other = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 255 for x in (image, truth))
            error = float((one - other).square().mean())
            psnr.append(10 * np.log10(1 / max(error, 1e-10)))
            similar.append(float(ssim(one, other)))
            if lpips is not None:
                perceived.append(float(lpips(one * 2 - 1, other * 2 - 1)))
    return {
        "psnr": float(np.mean(psnr)),
        "ssim": float(np.mean(similar)),
        "lpips": float(np.mean(perceived)) if perceived else None,
    }
