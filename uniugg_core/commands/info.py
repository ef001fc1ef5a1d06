"""Show the sizes of a model: parameters of every part, memory, shapes.

Nothing is allocated: the parts are built on torch's meta device, so that `--preset paper` takes seconds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..config import PRESETS, ModelConfig, preset

__all__ = ["configure", "describe", "run"]

BYTES_PER_PARAMETER = 2  # bfloat16


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg info``."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", default="tiny", metavar="NAME", help=f"one of {', '.join(PRESETS)} (default: tiny)")
    which.add_argument("--model", type=Path, metavar="FOLDER", help="a checkpoint folder")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    """Prints the description as a table or as JSON."""
    config = ModelConfig.load(args.model / "config.json") if args.model else preset(args.preset)
    description = describe(config)
    if args.json:
        print(json.dumps(description, indent=2))
    else:
        print(_table(description))
    return 0


def describe(config: ModelConfig) -> dict[str, Any]:
    """The sizes of `config` as plain values: ``parameters`` by part with ``total``, ``bytes_bf16`` and shapes."""
    from ..models.uniugg import UniUGG

    counts = {name: int(count) for name, count in UniUGG.parameter_counts(config).items() if name != "total"}
    counts["total"] = sum(counts.values())
    return {
        "name": config.name,
        "trained": config.trained,
        "parameters": counts,
        "bytes_bf16": {name: BYTES_PER_PARAMETER * count for name, count in counts.items()},
        "image": [3, config.image_size, config.image_size],
        "tokens": [config.grid * config.grid, config.encoder.width],
        "raymap": [config.grid, config.grid, 6],
        "latent": list(config.latent_shape),
        "generation": config.to_dict()["generation"],
    }


def _table(description: dict[str, Any]) -> str:
    counts, sizes = description["parameters"], description["bytes_bf16"]
    width = max(len(name) for name in counts) + 2
    lines = [
        f"{description['name']}, {'trained' if description['trained'] else 'untrained'}",
        "",
        f"{'part':<{width}}{'parameters':>16}{'bf16':>12}",
    ]
    for name, count in counts.items():
        if name == "total":
            lines.append("-" * (width + 28))
        lines.append(f"{name:<{width}}{count:>16,}{_size(sizes[name]):>12}")
    shapes = [
        f"{label:<{width}}{' x '.join(map(str, description[key]))}"
        for label, key in (("image", "image"), ("tokens", "tokens"), ("raymap", "raymap"), ("latent", "latent"))
    ]
    generation = description["generation"]
    shapes.append(f"{'sampling':<{width}}{generation['scheduler']}, {generation['steps']} steps")
    return "\n".join([*lines, "", *shapes])


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
