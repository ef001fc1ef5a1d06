"""Distances between two sets of features or pictures: FID and KID, or the same statistics of other features.

Features are .npy arrays (n, d). They are taken for Inception-v3's, which give FID and KID; say with --name what other
features are, and their distances go by that name and are never called FID. Pictures need the weights that torchmetrics
and torch-fidelity use, as a local file: pt_inception-2015-12-05-6726825d.pth.

The kernel distance is unbiased and not clipped: a mean over random subsets, and its spread. Everything is computed in
double precision, covariances without full rank included.

examples:
  uniugg eval distances --features ours.npy real.npy
  uniugg eval distances --features ours.npy real.npy --name radio-summary --json -
  uniugg eval distances --images ours/ real/ --weights pt_inception-2015-12-05-6726825d.pth
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

__all__ = ["configure", "run"]

_INCEPTION = "inception"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval distances``."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--features", nargs=2, type=Path, metavar=("A", "B"), help="two .npy files")
    what.add_argument("--images", nargs=2, type=Path, metavar=("A", "B"), help="two folders of pictures")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of Inception-v3, for --images")
    parser.add_argument("--name", default=_INCEPTION, metavar="NAME", help="what the features are (default: inception)")
    parser.add_argument(
        "--resize",
        choices=("antialiased", "tensorflow"),
        default="antialiased",
        help="how pictures become 299 x 299: as torchmetrics, or as torch-fidelity and the original",
    )
    parser.add_argument("--subsets", type=int, default=100, metavar="N", help="of the kernel distance")
    parser.add_argument("--subset-size", type=int, default=1000, metavar="N", help="at most the smaller set")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the subsets")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="for --images")
    parser.add_argument("--json", metavar="OUT", help="write the figures; - for standard output")


def run(args: argparse.Namespace) -> int:
    """Measures; the exit status."""
    from .distances import frechet_distance, kernel_distance, load_features

    if args.features:
        first, second = (load_features(path) for path in args.features)
    else:
        first, second = _of_pictures(args)
    kernel = kernel_distance(first, second, subsets=args.subsets, subset_size=args.subset_size, seed=args.seed)
    inception = args.name == _INCEPTION
    frechet_name, kernel_name = ("FID", "KID") if inception else ("Frechet distance", "kernel distance")
    frechet = frechet_distance(first, second)
    key, kernel_key = (name.lower().replace(" ", "_") for name in (frechet_name, kernel_name))
    report = {
        "features": args.name,
        "dimensions": first.shape[1],
        "counts": [len(first), len(second)],
        key: frechet,
        f"{kernel_key}_mean": kernel.mean,
        f"{kernel_key}_std": kernel.std,
        f"{kernel_key}_whole": kernel.whole,
        "subsets": kernel.subsets,
        "subset_size": kernel.subset_size,
        "seed": args.seed,
    }
    if args.json == "-":
        print(json.dumps(report, indent=2))
        return 0
    print(f"features: {args.name}, {first.shape[1]} dimensions, {len(first)} against {len(second)}")
    print(f"{frechet_name}: {frechet:.8f}")
    print(
        f"{kernel_name}: {kernel.mean:.10f} +- {kernel.std:.10f} over {kernel.subsets} subsets of {kernel.subset_size}"
        f" (all at once {kernel.whole:.10f})"
    )
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _of_pictures(args: argparse.Namespace) -> tuple:
    from uniugg_core.errors import ErrorCode, UniuggError

    if args.weights is None:
        raise UniuggError(
            ErrorCode.CHECKPOINT_MISSING,
            "--images needs --weights FILE; without them extract other features and give them with --features --name",
        )
    from .inception import folder_features, load_inception

    network = load_inception(args.weights, device=args.device)
    first, second = (folder_features(network, folder, resize=args.resize) for folder in args.images)
    return first, second
