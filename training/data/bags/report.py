"""What a conversion says about itself, for programs (report.json) and for people (report.md)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .align import Alignment, FramePlan
from .blocks import BlockResult
from .pairs import PoseCheck
from .topics import Topics

__all__ = ["Report", "write_report"]

_LISTED = 50  # dropped stamps of each reason that report.json names


@dataclass(frozen=True)
class Report:
    """One conversion. Seconds, metres, degrees; shares are 0 to 1."""

    source: str
    form: str
    topics: dict[str, Any]  # as chosen; empty for a folder of frames
    fixed_frame: str
    camera_frame: str
    pictures: int  # colour pictures in the recording
    frames: int  # used
    seconds: float  # from the first used frame to the last
    size: list[int]  # width and height of the first frame
    depth_share: float  # mean share of pixels with depth
    depth_delay: float  # mean time between a picture and its depth
    dropped: dict[str, int]  # by reason
    dropped_stamps: dict[str, list[float]]  # the first of each reason
    jumps: list[dict[str, float]]
    path_length: float  # metres, jumps left out
    pairs: int
    overlap: list[float]  # 10th, 50th and 90th percentile of the smaller direction
    pose_check: dict[str, float]  # mean overlap of near frames as given, inverted, and read as a body frame
    warnings: list[str]
    notes: list[str]

    @classmethod
    def make(
        cls,
        source: Path,
        topics: Topics | None,
        alignment: Alignment,
        kept: Sequence[FramePlan],
        results: Sequence[BlockResult],
        dropped: Sequence[tuple[int, str]],
        pairs: np.ndarray,
        check: PoseCheck,
        segments: np.ndarray,
        form: str,
    ) -> Report:
        """Sums up; `kept` are the frames that were written, `pairs` is (P, 4), `segments` is of the frames."""
        stamps: dict[str, list[float]] = {}
        for stamp, reason in sorted(dropped):
            stamps.setdefault(reason, []).append(stamp / 1e9)
        steps = [
            float(np.linalg.norm(b.world_from_camera[:3, 3] - a.world_from_camera[:3, 3]))
            for a, b, jump in zip(kept, kept[1:], np.diff(segments))
            if not jump
        ]
        low = pairs[:, 2:].min(-1) if len(pairs) else np.zeros(1)
        warnings = [text] if (text := check.suspicion) else []
        if not len(pairs):
            warnings.append("no two frames make a pair within the limits; see --min-overlap and its neighbours")
        borders = [(kept[n].color.stamp, kept[n + 1].color.stamp) for n in np.flatnonzero(np.diff(segments))]
        jumps = [jump for jump in alignment.jumps if any(a < jump.stamp <= b for a, b in borders)]
        notes = list(alignment.notes)
        if fast := len(alignment.jumps) - len(jumps):
            notes.append(f"{fast} steps of the pose were faster than the limits, but depth confirms them as motion")
        if jumps:
            warnings.append(f"the pose jumps {len(jumps)} times; no pair reaches over a jump")
        if sum(len(result.names) for result in results) < 0.5 * alignment.pictures:
            reason, count = Counter(reason for _, reason in dropped).most_common(1)[0]
            warnings.append(f"less than half of the pictures are used; most often: {reason} ({count})")
        return cls(
            source=str(source),
            form=form,
            topics={} if topics is None else _chosen(topics),
            fixed_frame=alignment.fixed_frame,
            camera_frame=alignment.camera_frame,
            pictures=alignment.pictures,
            frames=len(kept),
            seconds=(kept[-1].color.stamp - kept[0].color.stamp) / 1e9,
            size=list(next(size for result in results for size in result.sizes)),
            depth_share=float(np.mean([share for result in results for share in result.shares])),
            depth_delay=float(np.mean([abs(plan.depth.stamp - plan.color.stamp) for plan in kept])) / 1e9,
            dropped=dict(Counter(reason for _, reason in dropped).most_common()),
            dropped_stamps={reason: found[:_LISTED] for reason, found in stamps.items()},
            jumps=[
                {"stamp": jump.stamp / 1e9, "metres": jump.shift, "degrees": jump.turn, "seconds": jump.seconds}
                for jump in jumps
            ],
            path_length=float(sum(steps)),
            pairs=len(pairs),
            overlap=[round(float(value), 3) for value in np.quantile(low, (0.1, 0.5, 0.9))],
            pose_check=asdict(check),
            warnings=warnings,
            notes=notes,
        )

    @classmethod
    def load(cls, path: Path) -> Report:
        """Reads what :func:`write_report` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def markdown(self) -> str:
        """For people."""
        rows = [
            ("recording", f"`{self.source}`"),
            *(
                (name.replace("_", " "), f"`{' '.join(value) if isinstance(value, list) else value}`")
                for name, value in self.topics.items()
            ),
            ("poses", f"`{self.camera_frame}` in `{self.fixed_frame}`"),
            ("frames used", f"{self.frames} of {self.pictures} pictures, {self.size[0]} x {self.size[1]}"),
            ("time and way", f"{self.seconds:.1f} s, {self.path_length:.2f} m"),
            ("depth", f"on {self.depth_share:.0%} of the pixels, {1000 * self.depth_delay:.1f} ms from its picture"),
            ("pairs", f"{self.pairs}; overlap {' / '.join(f'{v:.0%}' for v in self.overlap)} (10 / 50 / 90 %)"),
        ]
        check = self.pose_check
        if check["pairs"]:
            rows.append(
                (
                    "poses against depth",
                    f"near frames overlap by {check['as_given']:.0%}; were the poses inverted {check['inverted']:.0%}, "
                    f"were they a body frame's {check['body_axes']:.0%}",
                )
            )
        lines = ["# Recording as training data", "", "| | |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows), ""]
        lines += [f"**Warning:** {text}.\n" for text in self.warnings]
        if self.dropped:
            lines += ["## Left out", "", "| why | pictures |", "| --- | ---: |"]
            lines += [f"| {reason} | {count} |" for reason, count in self.dropped.items()] + [""]
        if self.jumps:
            lines += [
                "## Jumps of the pose",
                "",
                "| at s | metres | degrees | within s |",
                "| ---: | ---: | ---: | ---: |",
            ]
            lines += [
                f"| {j['stamp']:.3f} | {j['metres']:.2f} | {j['degrees']:.1f} | {j['seconds']:.3f} |"
                for j in self.jumps
            ] + [""]
        if self.notes:
            lines += ["## Notes", "", *(f"* {note}" for note in self.notes), ""]
        if self.pairs:
            lines += [
                "![pairs](preview.png)",
                "",
                "In each row: reference, target, the reference moved to the target by depth and poses, and the two in "
                "stripes. Where something is wrong with the poses, the stripes do not continue each other.",
            ]
        return "\n".join(lines).rstrip() + "\n"


def _chosen(topics: Topics) -> dict[str, Any]:
    """As JSON has it: lists, no tuples, and nothing that was not chosen."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(topics).items()}
    return {name: value for name, value in values.items() if value is not None}


def write_report(folder: Path, report: Report) -> None:
    """Writes report.json and report.md."""
    (folder / "report.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(report.markdown(), encoding="utf-8")
