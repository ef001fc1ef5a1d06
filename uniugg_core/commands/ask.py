"""Ask a question about the space in one or more pictures.

examples:
  uniugg ask kitchen.jpg "How far is the table?"
  uniugg ask left.jpg right.jpg "What is between the two chairs?" --stream
  uniugg ask kitchen.jpg "Is there a door?" --pose "yaw right 40"      (about the view imagined from there)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from . import common

if TYPE_CHECKING:
    from ..pipeline import Answer

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg ask``."""
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="PNG or JPEG, one or several")
    parser.add_argument("question", metavar="QUESTION", help="in plain words, quoted")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="length limit (default: the model's)")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--stream", action="store_true", help="print the answer as it is written")
    output.add_argument("--json", action="store_true", help="the whole answer with confidence and timings")
    parser.add_argument("--evidence", action="store_true", help="also show where in the pictures the answer rests")
    common.add_pose_options(parser, required=False)
    common.add_camera_options(parser)
    common.add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Answers and prints."""
    imagine_from = common.read_pose(args)
    observations = [common.load_observation(path, args) for path in args.images]
    pipeline = common.load_pipeline(args)
    request = {
        "max_new_tokens": args.max_new_tokens,
        "with_evidence": args.evidence,
        "imagine_from": imagine_from,
    }
    if args.stream:
        stream = pipeline.stream(observations, args.question, **request)
        for token in stream:
            print(token.text, end="", flush=True)
        print()
        answer = stream.answer
    else:
        answer = pipeline.answer(observations, args.question, **request)
    if args.json:
        print(json.dumps(common.to_json(answer), indent=2, ensure_ascii=False))
        return 0
    if not args.stream:
        print(answer.text)
    print("\n".join(_details(answer)))
    return 0


def _details(answer: Answer) -> list[str]:
    lines = [f"confidence {answer.confidence:.2f}"]
    if answer.value is not None:
        lines[0] += f", value {answer.value:g} {answer.unit}".rstrip()
    if answer.truncated:
        lines[0] += f", stopped after {answer.tokens} tokens"
    for place in answer.evidence:
        where = f"picture {place.image_index + 1} at ({place.u:.0f}, {place.v:.0f}), weight {place.weight:.2f}"
        if place.point is not None:
            where += ", {:.2f} {:.2f} {:.2f} m".format(*place.point)
        lines.append(where)
    return lines
