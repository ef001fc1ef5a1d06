"""What `uniugg data check` finds in a folder; one :class:`Finding` for each thing the folder is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed

from . import images, instructions, shards
from .layouts import layouts_of
from .posed import Reader, Recording, turned
from .sheets import pair_rows, picture_rows
from .views import View
from .warping import CONVENTIONS, agreement

__all__ = ["Finding", "examine"]

_SURE = 0.7  # share of looked-up surfaces in place from which poses are believed
_SAMPLES = 64  # pictures or conversations that are read
_SHOWN = 12
_COMPARED = 60  # frames of a scene among which pairs are chosen


@dataclass
class Finding:
    """One thing that a folder is."""

    what: str
    facts: dict[str, Any] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)  # what is not there or not usable, and how often
    wrong: list[str] = field(default_factory=list)  # what must not be trained on
    sheet: np.ndarray | None = None

    def text(self) -> str:
        """For people."""
        width = max((len(name) for name in (*self.facts, *self.missing)), default=0)
        lines = [self.what, *(f"  {name:<{width}}  {value}" for name, value in self.facts.items())]
        lines += [f"  {name:<{width}}  {count}" for name, count in self.missing.items()]
        lines += [f"  WRONG: {what}" for what in self.wrong]
        return "\n".join(lines if self.wrong else [*lines, "  looks right"])

    def plain(self) -> dict[str, Any]:
        """For machines."""
        return {"what": self.what, **self.facts, "missing": dict(self.missing), "wrong": self.wrong}


def examine(
    folder: Path,
    *,
    scenes: int = 3,
    pairs: int = 2,
    layout: str | None = None,
    options: Mapping[str, object] | None = None,
) -> list[Finding]:
    """Everything that a folder is.

    Raises:
        UniuggError: REQUEST_INVALID if it is nothing that can be read.
    """
    if not folder.exists():
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{folder} does not exist")
    found: list[Finding] = []
    if folder.is_dir():
        for reader, places in layouts_of(folder):
            if all(word in reader.layout.lower() for word in (layout or "").lower().split()):
                found.append(_recordings(reader, places, scenes, pairs, options or {}))
    if not found and layout is None:
        found = [
            part
            for part in (_shards(folder), _conversations(folder, "spar"), _conversations(folder, "llava"))
            if part is not None
        ] or [part for part in (_pictures(folder),) if part is not None]
    if not found:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID,
            f"{folder} holds no ARKitScenes, ScanNet++, shards, LLaVA or SPAR annotations, nor pictures",
        )
    return found


def _recordings(
    reader: Reader, places: Mapping[str, Path], scenes: int, pairs: int, options: Mapping[str, object]
) -> Finding:
    finding = Finding(reader.layout, {"scenes": len(places)})
    rows: list[np.ndarray] = []
    all_pairs: list[tuple[View, View]] = []
    turns: Counter[str] = Counter()
    looked = frames = with_depth = listed = 0
    names = list(places)
    for at in np.unique(np.linspace(0, len(names) - 1, min(scenes, len(names))).round().astype(int)):
        name = names[at]
        looked += 1
        try:
            recording = reader.open(name, places[name], options)
        except UniuggError as error:
            finding.missing["unreadable scenes"] += 1
            finding.wrong.append(str(error))
            continue
        finding.missing.update(recording.problems)
        frames += len(recording)
        with_depth += sum(frame.depth is not None for frame in recording.frames)
        listed += len(recording.listed)
        turns[("up", "left", "down", "right")[recording.turns]] += 1
        views = _choose_pairs(recording, pairs, finding)
        all_pairs += views
        upright = [(turned(a, recording.turns), turned(b, recording.turns)) for a, b in views]
        rows += pair_rows(upright)
    finding.facts |= {"scenes looked into": looked, "frames": frames, "of these with depth": with_depth}
    if listed:
        finding.facts["pairs listed by the set"] = listed
    finding.facts["sky in the stored pictures"] = ", ".join(f"{side} ({count})" for side, count in turns.items())
    _judge(finding, all_pairs)
    if rows:
        finding.sheet = np.concatenate(rows)
    return finding


def _choose_pairs(recording: Recording, most: int, finding: Finding) -> list[tuple[View, View]]:
    """Pairs that turned and moved enough to tell conventions apart, as stored: turning them upright needs right poses.

    Frames are chosen by the angle between them, which is the same in every convention, so that wrong poses cannot
    choose pairs that happen to look right; of these the ones that moved farthest, up to a metre.
    """
    recording = replace(recording, turns=0)
    depth = [number for number, frame in enumerate(recording.frames) if frame.depth is not None]
    if len(depth) < 2:
        return []
    numbers = np.array(depth)[np.linspace(0, len(depth) - 1, min(_COMPARED, len(depth))).round().astype(int)]
    turns, places = recording.poses[numbers, :3, :3], recording.poses[numbers, :3, 3]
    cosine = (np.einsum("aij,bij->ab", turns, turns) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    moved = np.linalg.norm(places[:, None] - places[None, :], axis=-1)
    first, second = np.triu_indices(len(numbers), 1)
    angle, moved = angle[first, second], moved[first, second]
    # a fitting angle counts most, then the way between them
    rank = np.where((angle > 8) & (angle < 35), 2.0, np.where(angle < 35, 1.0, 0.0)) + 0.9 * np.where(
        moved <= 1.0, moved, 0.5 / np.maximum(moved, 1.0)
    )
    out: list[tuple[View, View]] = []
    used: set[int] = set()
    for row in np.argsort(-rank, kind="stable"):
        pair = int(numbers[first[row]]), int(numbers[second[row]])
        if len(out) == most:
            break
        if len(used & set(pair)) == 2 or (used & set(pair) and len(depth) > 4 * most):
            continue
        try:
            views = [recording.view(number).check() for number in pair]
        except UniuggError as error:
            finding.missing[f"damaged frames ({error.code.name})"] += 1
            used |= set(pair)
            continue
        used |= set(pair)
        out.append((views[0], views[1]))
    return out


def _judge(finding: Finding, pairs: list[tuple[View, View]]) -> None:
    if not pairs:
        finding.wrong.append("no two frames with picture, pose and depth: nothing can be tested or trained")
        return
    scores = {name: agreement(pairs, name) for name in CONVENTIONS}
    own, colour = scores["as read"]
    finding.facts["surfaces where the other view sees them"] = f"{own:.0%}" if np.isfinite(own) else "none in view"
    finding.facts["difference of colours there"] = f"{colour:.3f} of 1" if np.isfinite(colour) else "-"
    others = {name: share for name, (share, _) in scores.items() if name != "as read" and np.isfinite(share)}
    best = max(others, key=lambda name: others[name]) if others else None
    if best is not None:
        finding.facts["the next best convention"] = f"{best}: {others[best]:.0%}"
    if not own >= _SURE:
        hint = f"; poses {best} would give {others[best]:.0%}" if best and others[best] > max(own or 0, 0.3) else ""
        finding.wrong.append(f"views disagree about where surfaces are (see the sheet){hint}")
    elif best is not None and others[best] > own + 0.05:
        finding.wrong.append(f"poses {best} fit better ({others[best]:.0%}) than as read ({own:.0%})")


def _shards(folder: Path) -> Finding | None:
    paths = [folder] if folder.name.endswith(shards.ENDINGS) else shards.find(folder) if folder.is_dir() else []
    if not paths:
        return None
    finding = Finding("shards (webdataset)", {"shards": len(paths)})
    shown: list[tuple[np.ndarray, str]] = []
    samples = good = 0
    kinds: Counter[str] = Counter()
    for path in paths[:: max(1, len(paths) // 3)][:3]:
        try:
            shard = shards.Shard(path)
        except UniuggError as error:
            finding.missing["unreadable shards"] += 1
            finding.wrong.append(str(error))
            continue
        samples += len(shard)
        if shard.damaged:
            finding.missing[f"cut off: {path.name}"] += 1
        for number in np.unique(np.linspace(0, len(shard) - 1, min(_SAMPLES, len(shard))).round().astype(int)):
            kinds.update(shard.samples[number].members.keys())
            try:
                picture = decode_compressed(shard.picture(number), upright=True)
            except UniuggError as error:
                finding.missing[f"samples left out ({error.code.name})"] += 1
                continue
            good += 1
            if len(shown) < _SHOWN:
                shown.append((picture, shard.caption(number)))
    finding.facts |= {"samples in those looked into": samples, "members": ", ".join(f".{kind}" for kind in kinds)}
    finding.facts["pictures read"] = good
    return _shown(finding, shown, good)


def _conversations(folder: Path, kind: str) -> Finding | None:
    spar = kind == "spar"
    files = instructions.find_spar(folder) if spar else instructions.find_llava(folder)
    if not files:
        return None
    finding = Finding(
        "SPAR, JSON lines" if spar else "LLaVA conversations", {"files": ", ".join(p.name for p in files)}
    )
    try:
        records = instructions.SparRecords(files[0]) if spar else instructions.LlavaRecords(files)
    except UniuggError as error:
        finding.wrong.append(str(error))
        return finding
    finding.facts["conversations"] = len(records)
    shown: list[tuple[np.ndarray, str]] = []
    good, turns, pictures = 0, Counter(), Counter()
    for number in np.unique(np.linspace(0, len(records) - 1, min(_SAMPLES, len(records))).round().astype(int)):
        try:
            talk = records.conversation(int(number))
            images_of = talk.images(224)
        except UniuggError as error:
            finding.missing[f"left out ({error.code.name})"] += 1
            continue
        good += 1
        turns[len(talk.turns)] += 1
        pictures[len(talk.pictures)] += 1
        if len(shown) < _SHOWN:
            shown.append((images_of[0], f"{talk.turns[0].question} > {talk.turns[0].answer}"))
    finding.facts |= {"of those looked into usable": good}
    finding.facts["turns of a conversation"] = ", ".join(f"{n} ({count})" for n, count in sorted(turns.items()))
    finding.facts["pictures of one"] = ", ".join(f"{n} ({count})" for n, count in sorted(pictures.items()))
    return _shown(finding, shown, good)


def _pictures(folder: Path) -> Finding | None:
    found = images.find(folder, most=200_000) if folder.is_dir() else []
    if not found:
        return None
    finding = Finding("pictures", {"pictures": len(found), "folders": len({path for path, _ in found})})
    shown: list[tuple[np.ndarray, str]] = []
    good = 0
    for number in np.unique(np.linspace(0, len(found) - 1, min(_SAMPLES, len(found))).round().astype(int)):
        path = found[number][0] / found[number][1]
        try:
            picture = decode_compressed(path.read_bytes(), upright=True)
        except UniuggError as error:
            finding.missing[f"left out ({error.code.name})"] += 1
            continue
        good += 1
        if len(shown) < _SHOWN:
            shown.append((picture, f"{path.parent.name}/{path.name}"))
    return _shown(finding, shown, good)


def _shown(finding: Finding, shown: list[tuple[np.ndarray, str]], good: int) -> Finding:
    if good == 0:
        finding.wrong.append("not one sample could be read")
    else:
        finding.sheet = picture_rows(shown)
    return finding
