"""Writes LLaVA's JSON, EMOVA's folders, and SPAR's JSON lines with their index."""

from __future__ import annotations

import json
from pathlib import Path

from .shards import picture


def entry(name: str, image: str | None, *rounds: tuple[str, str]) -> dict:
    """One record; `<image>` stands in the first question."""
    turns = []
    for n, (question, answer) in enumerate(rounds):
        mark = "<image>\n" if n == 0 and image else ""
        turns += [{"from": "human", "value": mark + question}, {"from": "gpt", "value": answer}]
    return {"id": name, **({"image": image} if image else {}), "conversations": turns}


def write_llava(root: Path, count: int = 6) -> Path:
    """LCS-558K: a list and ``images/00000/..``."""
    records = []
    for n in range(count):
        name = f"0000{n % 2}/0000{n:05d}.jpg"
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(n))
        record = entry(f"{n:09d}", name, ('Render a "summary" of {this} photo.', f"answer {n} }} ü"))
        if n % 2:
            record["conversations"][0]["value"] = "Describe it.\n<image>"
        records.append(record)
    path = root / "blip_laion_cc_sbu_558k.json"
    path.write_text(json.dumps(records, ensure_ascii=bool(count % 2)))
    return path


def write_emova(root: Path) -> None:
    """Annotations of two subsets, several rounds, an entry of speech without a picture, a damaged one."""
    (root / "annotations").mkdir(parents=True)
    for subset in ("alpha", "beta"):
        (root / subset).mkdir()
        (root / subset / "a.jpg").write_bytes(picture(7))
        records = [
            entry("two", f"{subset}/a.jpg", ("What is it?", "A thing."), ("What colour?", "Red.")),
            entry("speech", None, ("<|speech_1|>", "<|speech_2|>")),
            {"id": "broken", "image": f"{subset}/a.jpg", "conversations": [{"from": "human", "value": "?"}]},
            entry("gone", f"{subset}/gone.jpg", ("Who?", "Nobody.")),
        ]
        (root / "annotations" / f"{subset}.json").write_text(json.dumps(records))


def write_spar(root: Path, lines: int = 8) -> Path:
    """Two annotation files behind an index; the second is taken by half, the first twice."""
    for part in ("scannet", "structured3d"):
        folder = root / "spar" / part
        (folder / "images").mkdir(parents=True)
        rows = []
        for n in range(lines):
            names = [f"images/{n}_{k}.jpg" for k in range(3 if part == "scannet" else 1)]
            for k, name in enumerate(names):
                (folder / name).write_bytes(picture(10 * n + k, (200, 100)))
            row = entry(f"{part}_{n}", None, (f"<image>\nHow far is the red point? {n}", f"{n}.5"))
            row |= {"image": names, "depth": [], "type": "depth_prediction_oo"}
            row["red_point"] = [[[500, 500]], [], []] if len(names) == 3 else [[250, 750]]
            if part == "structured3d":
                row["blue_bbox"] = [[100, 100, 400, 400]]
            rows.append(json.dumps(row))
        (folder / "qa.jsonl").write_text("\n".join(rows) + "\n\n")
    index = {
        part: {"root": f"spar/{part}", "annotation": f"spar/{part}/qa.jsonl", "repeat_time": times, "length": lines}
        for part, times in (("scannet", 2), ("structured3d", 0.5))
    }
    path = root / "spar_7m.json"
    path.write_text(json.dumps(index))
    return path
