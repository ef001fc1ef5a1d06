"""How near generated views come to real ones: FID, KID, LPIPS, PSNR and SSIM, for our model and for any other.

examples:
  uniugg eval generation out/
  uniugg eval generation out/ --inception pt_inception-2015-12-05-6726825d.pth --alexnet alexnet-owt-7be5be79.pth
  uniugg eval generation out/ --outputs cut3r/ lvsm/ --json generation.json

OUT comes from `uniugg eval generate`. Another system's folder has N.png (its view) or N.ply (its cloud, in the input
camera's frame) for every pair. FID and KID need Inception's weights and LPIPS AlexNet's, as local files; without them
the same statistics of our encoder's features are given under another name, and LPIPS is left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval generation``."""
    from uniugg_core.commands import common

    parser.add_argument("out", type=Path, metavar="OUT", help="from `uniugg eval generate`")
    parser.add_argument("--outputs", type=Path, nargs="+", default=[], metavar="DIR", help="other systems' folders")
    parser.add_argument("--inception", type=Path, metavar="FILE", help="weights of Inception-v3, for FID and KID")
    parser.add_argument("--alexnet", type=Path, metavar="FILE", help="torchvision's AlexNet, for LPIPS")
    parser.add_argument("--subsets", type=int, default=100, metavar="N", help="of the kernel distance")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the subsets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    common.add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Scores; prints a table."""
    from uniugg_core.errors import ErrorCode, UniuggError

    from .generated import OURS, score_views
    from .perceptual import load_lpips_alex
    from .tables import aligned, write_json

    if not (args.out / "pairs.json").is_file():
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{args.out} has no pairs.json; see `uniugg eval generate`")
    name, extract = _inception(args) if args.inception is not None else _encoder(args)
    report = score_views(
        args.out,
        [*(args.out / ours for ours in OURS if (args.out / ours).is_dir()), *args.outputs],
        features={name: extract},
        lpips=None if args.alexnet is None else load_lpips_alex(args.alexnet, device="cpu"),
        subsets=args.subsets,
        seed=args.seed,
    )
    if args.json is not None:
        write_json(report, args.json)
    columns = sorted({key for figures in report["outputs"].values() for key in figures}, key=_rank)
    rows = [["views", *columns]]
    for place, figures in report["outputs"].items():
        rows.append([place, *("-" if figures.get(key) is None else f"{figures[key]:.4f}" for key in columns)])
    print(f"{report['pairs']} pairs of {report['source']}; protocol {json.dumps(report['protocol'])}")
    print(aligned(rows))
    return 0


def _rank(key: str) -> tuple[int, str]:
    order = ("fid", "kid_mean", "kid_std", "lpips", "psnr", "ssim", "black")
    return (order.index(key) if key in order else len(order), key)


def _inception(args: argparse.Namespace) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    import torch

    from .inception import load_inception, resize

    network = load_inception(args.inception, device=args.device)

    @torch.inference_mode()
    def extract(image: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float().to(args.device)
        return network(resize(pixels, "antialiased"))[0].double().cpu().numpy()

    return "inception", extract


def _encoder(args: argparse.Namespace) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    import torch

    from uniugg_core.commands import common

    pipeline: Any = common.load_pipeline(args)
    size = pipeline.config.image_size

    @torch.inference_mode()
    def extract(image: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float().to(args.device) / 255
        square = torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
        return pipeline.model.encode(square).features.float().mean(1)[0].double().cpu().numpy()

    return f"{pipeline.config.name}_encoder", extract
