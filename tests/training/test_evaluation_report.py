"""The report: files told apart, published rows beside ours, every number there, whole as HTML and as Markdown."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.evaluation.report import build, kind_of, write_report
from uniugg_core import cli
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import save_image


def rooms(seed: int, error: float) -> dict[str, Any]:
    method = {"error": error, "delta_1.25": 0.5, "f_10cm": 0.25}
    part = {"error_ratio": error / 0.4, "methods": {"imagined": method, "filled": {**method, "error": 0.4}}}
    rates = {"accuracy": 0.5, "blind_accuracy": None, "chance": 0.25}
    return {
        "what": "rooms",
        "scenes": 8,
        "seed": seed,
        "model": {"name": "tiny", "folder": "runs/model"},
        "unseen": part,
        "seen": part,
        "by_angle": [{"from": 15.0, "to": 30.0, "scenes": 5, "unseen": {"imagined": error, "filled": 0.4}}],
        "by_baseline": [{"from": 3.0, "to": None, "scenes": 2, "unseen": {"imagined": None, "filled": 0.4}}],
        "vqa": {**rates, "families": {"room_size": rates}},
    }


GENERATION = {
    "pairs": 2048,
    "source": "arkitscenes",
    "protocol": {"splat": 2},
    "outputs": {
        "projected": {"fid": 71.5, "kid_mean": 0.0613, "lpips": 0.49, "psnr": 14.2, "ssim": 0.4, "black": 0.08},
        "<peer>": {"fid": 99.0, "kid_mean": 0.1, "lpips": None, "psnr": 11.0, "ssim": 0.3, "black": 0.2},
    },
}
SCORE = {
    "benchmark": "vsi-bench",
    "rows": 10,
    "unanswered": 1,
    "bootstrap": {"resamples": 100, "seed": 0, "level": 0.95},
    "measures": [
        {
            "name": "official",
            "note": "first word",
            "figures": {"overall": {"value": 0.423, "low": 0.4, "high": 0.45, "units": None}},
        }
    ],
}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    contents = {"a.json": rooms(0, 0.3), "b.json": rooms(1, 0.2), "ark.json": GENERATION, "vsi.json": SCORE}
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
    return [tmp_path / name for name in contents]


def test_files_are_told_apart(files: list[Path]) -> None:
    assert [kind_of(json.loads(path.read_text())) for path in files] == ["rooms", "rooms", "generation", "score"]
    assert kind_of([]) is None and kind_of({"what": "else"}) is None


def test_published_rows_stand_beside_ours(files: list[Path], tmp_path: Path) -> None:
    write_report(build(files), tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| UniUGG (published) | 55.01 | 0.0425 | 0.4849 |" in text
    assert "| **projected** | **71.50** | **0.0613** | **0.4900** | **14.20** | **0.400** | **8.0 %** |" in text
    assert "| GPT-4o (published) | 34.0 |" in text and "| **vsi (official)** | **42.3** |" in text
    assert "42.30 (40.0 to 45.0)" in text and "first word" in text
    assert "| **imagined** | **0.250 (0.200 to 0.300)** |" in text, "mean and range over both seeds"
    assert "ours / best free baseline | 0.625 (0.500 to 0.750)" in text
    assert "| **all** | **50.0 %** | **-** | **25.0 %** |" in text
    assert hashlib.sha256(files[0].read_bytes()).hexdigest() in text


def test_the_page_is_whole_and_escapes_names(files: list[Path], tmp_path: Path) -> None:
    save_image(tmp_path / "shown.png", np.zeros((4, 4, 3), np.uint8))
    write_report(build(files, [tmp_path / "shown.png"]), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;peer&gt;" in page and "<peer>" not in page

    class Checker(HTMLParser):
        open_tags: list[str] = []
        pictures: list[str] = []

        def handle_starttag(self, tag: str, attrs: list) -> None:
            if tag == "img":
                self.pictures.append(dict(attrs)["src"])
            elif tag != "meta":
                self.open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open_tags.pop() == tag

    checker = Checker()
    checker.feed(page)
    assert not checker.open_tags and len(checker.pictures) == 1
    assert all((tmp_path / "out" / name).is_file() for name in checker.pictures)


def test_the_command_and_other_files(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "report", *map(str, files), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").is_file()
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UniuggError, match="other.json") as refusal:
        build([tmp_path / "other.json"])
    assert refusal.value.code is ErrorCode.REQUEST_INVALID
    assert cli.main(["eval", "report", str(tmp_path / "none.json"), "--out", str(tmp_path)]) == 2


def test_errors_are_told_by_the_size_of_the_motion(tmp_path: Path) -> None:
    files = [tmp_path / f"{seed}.json" for seed in (0, 1)]
    for seed, file in enumerate(files):
        file.write_text(json.dumps(rooms(seed, 0.2 + 0.1 * seed)))
    turned, moved = build(files)[0].tables[1:3]
    assert turned.rows == [["15 to 30", "10", "0.250", "0.400"]]
    assert moved.rows == [["3 and more", "4", "-", "0.400"]]
