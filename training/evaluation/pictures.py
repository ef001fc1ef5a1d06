"""Pictures beside the figures: what single scenes look like, and curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from uniugg_core.cameras import Camera, inverse_rigid
from uniugg_core.images import save_image
from uniugg_core.render import scene_picture
from uniugg_core.scene import IMAGINED, OBSERVED, Scene, View
from uniugg_core.sheet import describe_motion, font

from ..pictures import depth_colors
from .pooled import OURS, SceneRecord
from .rooms import Case

__all__ = ["case_sheet", "chosen_cases", "plot_curves", "save_cases"]

_PANEL = 200  # side of a small picture
_GAP, _CAPTION = 8, 20
_INK, _PAPER = (28, 32, 38), (255, 255, 255)
_COLORS = {
    OURS: "#c2187b",
    "filled": "#555555",
    "moved": "#aaaaaa",
    "oracle": "#1b7837",
    "filled_true": "#2166ac",
    "regression": "#e08214",
}


def chosen_cases(records: Sequence[SceneRecord], each: int = 2) -> dict[str, int]:
    """Scene numbers worth looking at, by the mean error on the unseen part (all, where everything is seen).

    Returns:
        "best 1", "median 1", "worst 1", ... -> number; fewer where there are fewer scenes.
    """

    def badness(record: SceneRecord) -> float:
        errors = record.error(OURS, "unseen")
        return float(np.minimum(errors if len(errors) else record.methods[OURS].error, 2.0).mean())

    order = [record.index for record in sorted(records, key=badness)]
    middle = max(0, (len(order) - each) // 2)
    groups = {"best": order[:each], "median": order[middle : middle + each], "worst": order[::-1][:each]}
    found: dict[str, int] = {}
    for name, numbers in groups.items():
        for rank, number in enumerate(numbers, start=1):
            if number not in found.values():
                found[f"{name} {rank}"] = number
    return found


def case_sheet(case: Case, title: str = "") -> np.ndarray:
    """One page about a scene: pictures, depths, errors, and the cloud from two sides beside the true one."""
    truth = case.truth
    depth = truth.points[..., 2] * truth.valid
    known = depth[truth.valid]
    near, far = (float(np.quantile(known, q)) for q in (0.02, 0.98)) if len(known) else (0.5, 8.0)

    def shown(name: str) -> np.ndarray:
        points, there = case.clouds[name]
        return _depth_picture(points[..., 2] * there, near, far)

    error = np.linalg.norm(case.clouds[OURS][0] - truth.points, axis=-1) / np.maximum(
        np.linalg.norm(truth.points, axis=-1), 1e-6
    )
    seen = case.pair.target.image * np.where(truth.seen, 1.0, 0.25)[..., None]
    pictures = [
        [
            ("input", case.pair.reference.image),
            ("true view", case.pair.target.image),
            ("imagined view", case.colors),
            ("seen from the input (bright)", seen.astype(np.uint8)),
            ("error: black 0, white 50 %", _grey(np.minimum(error / 0.5, 1.0) * truth.valid)),
        ],
        [
            ("true depth", _depth_picture(depth, near, far)),
            ("imagined", shown(OURS)),
            ("own cloud moved", shown("moved")),
            ("own cloud, filled", shown("filled")),
            ("true features", shown("oracle")),
        ],
    ]
    motion = describe_motion(case.pair.target_from_reference)
    record = case.record
    errors = [
        float(np.median(part)) if len(part := record.error(OURS, name)) else np.nan for name in ("unseen", "seen")
    ]
    words = f"{title}  scene {record.index}: {motion}; median error unseen {errors[0]:.3f}, seen {errors[1]:.3f}"
    width = 5 * _PANEL + 6 * _GAP
    row, cloud = _PANEL + _CAPTION + _GAP, 330
    page = Image.new("RGB", (width, 40 + 2 * row + 2 * (cloud + _CAPTION + _GAP)), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, 10), words.strip(), _INK, font(15))
    top = 40
    for line in pictures:
        for column, (caption, picture) in enumerate(line):
            left = _GAP + column * (_PANEL + _GAP)
            draw.text((left, top), caption, _INK, font(13))
            page.paste(Image.fromarray(picture).resize((_PANEL, _PANEL), Image.Resampling.NEAREST), (left, top + 18))
        top += row
    for caption, scene in (("predicted cloud", _predicted(case)), ("true cloud", _true(case))):
        draw.text((_GAP, top), caption, _INK, font(13))
        page.paste(Image.fromarray(scene_picture(scene, (width - 2 * _GAP, cloud))), (_GAP, top + 18))
        top += cloud + _CAPTION + _GAP
    return np.asarray(page)


def plot_curves(report: dict[str, Any], out: Path) -> list[str]:
    """Writes curves.png (error by motion, risk by coverage) and, if there were questions, answers.png.

    Returns:
        the names of the files.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.4))
    for row, part in enumerate(("unseen", "seen")):
        for axis, (key, unit) in zip(axes[row], (("by_angle", "rotation, degrees"), ("by_baseline", "baseline, m"))):
            bins = report[key]
            middles = [_middle(entry) for entry in bins]
            for name, color in _COLORS.items():
                values = [entry[part].get(name) for entry in bins]
                if any(value is not None for value in values):
                    numbers = [np.nan if value is None else value for value in values]
                    axis.plot(middles, numbers, "o-", color=color, label=name, linewidth=1.6, markersize=4)
            axis.set(xlabel=unit, ylabel=f"median relative point error, {part}", ylim=(0, None))
            axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    doubts = report["uncertainty"] or {}
    for name, color in (("spread", "#c2187b"), ("confidence", "#2166ac")):
        if name in doubts and doubts[name]["aurc"] is not None:
            axes[0, 2].plot(doubts[name]["coverage"], doubts[name]["risk"], "o-", color=color, label=name)
            axes[0, 2].legend(fontsize=8)
    axes[0, 2].set(xlabel="coverage: share of pixels kept, surest first", ylabel="risk: mean error", ylim=(0, None))
    axes[0, 2].grid(alpha=0.3)
    _ratio_bars(axes[1, 2], report)
    figure.suptitle(f"{report['model']['name']}, {report['scenes']} test rooms, seed {report['seed']}")
    figure.tight_layout()
    figure.savefig(out / "curves.png", dpi=100)
    plt.close(figure)
    names = ["curves.png"]
    if report["vqa"] is not None:
        families = report["vqa"]["families"]
        figure, axis = plt.subplots(figsize=(9, 0.32 * len(families) + 1.6))
        places = np.arange(len(families))
        for shift, (key, color) in enumerate(
            (("accuracy", "#c2187b"), ("blind_accuracy", "#555555"), ("chance", "#bbb"))
        ):
            values = [family[key] or 0.0 for family in families.values()]
            axis.barh(places + 0.27 * (shift - 1), values, 0.26, color=color, label=key)
        axis.set(xlim=(0, 1), yticks=places, yticklabels=list(families))
        axis.invert_yaxis()
        axis.legend(fontsize=8, loc="lower right")
        figure.tight_layout()
        figure.savefig(out / "answers.png", dpi=100)
        plt.close(figure)
        names.append("answers.png")
    return names


def save_cases(found: Sequence[tuple[str, Case]], out: Path) -> list[str]:
    """Writes a page for each named case; returns the names of the files."""
    names = []
    for name, case in found:
        file = f"{name.replace(' ', '-')}.png"
        save_image(out / file, case_sheet(case, name))
        names.append(file)
    return names


def _ratio_bars(axis: Any, report: dict[str, Any]) -> None:
    for place, part in enumerate(("unseen", "seen")):
        ratio, interval = report[part]["error_ratio"], report[part]["error_ratio_interval"]
        if ratio is not None:
            axis.bar(place, ratio, 0.5, color="#c2187b")
        if ratio is not None and interval is not None:
            spans = [[max(0.0, ratio - interval[0])], [max(0.0, interval[1] - ratio)]]
            axis.errorbar([place], [ratio], yerr=spans, color="black", capsize=5)
    axis.axhline(1.0, color="#555555", linewidth=1)
    axis.set(xticks=[0, 1], xticklabels=["unseen", "seen"], ylabel="error / best free baseline")


def _middle(entry: dict[str, Any]) -> float:
    return entry["from"] if entry["to"] is None else 0.5 * (entry["from"] + entry["to"])


def _depth_picture(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    colors = depth_colors(torch.from_numpy(np.ascontiguousarray(depth)).float(), near, far)
    return (colors.clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy()


def _grey(share: np.ndarray) -> np.ndarray:
    return np.repeat((255 * np.nan_to_num(share)).astype(np.uint8)[..., None], 3, axis=-1)


def _predicted(case: Case) -> Scene:
    reference_from_target = inverse_rigid(case.pair.target_from_reference)
    points = case.clouds[OURS][0].astype(np.float64) @ reference_from_target[:3, :3].T + reference_from_target[:3, 3]
    return _scene(case, case.reference, points, case.colors)


def _true(case: Case) -> Scene:
    height, width = case.truth.valid.shape
    pair = case.pair
    clouds = []
    for view in pair.views:
        v, u = np.mgrid[:height, :width].astype(np.float64)
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(view.intrinsics).T
        clouds.append(np.where(view.depth[..., None] > 0, rays * view.depth[..., None], np.nan))
    reference_from_target = inverse_rigid(pair.target_from_reference)
    there = clouds[1] @ reference_from_target[:3, :3].T + reference_from_target[:3, 3]
    return _scene(case, clouds[0], there, pair.target.image)


def _scene(case: Case, reference: np.ndarray, target: np.ndarray, colors: np.ndarray) -> Scene:
    height, width = case.truth.valid.shape
    pair, ones = case.pair, np.ones((height, width), np.float32)
    cameras = [Camera(width, height, view.intrinsics) for view in pair.views]
    back = inverse_rigid(pair.target_from_reference)
    return Scene.from_views(
        [
            View(pair.reference.image, reference.astype(np.float32), ones, cameras[0], np.eye(4), OBSERVED),
            View(colors, target.astype(np.float32), ones, cameras[1], back, IMAGINED),
        ]
    )
