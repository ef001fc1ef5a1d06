"""What the demo leaves behind, from made-up outcomes: percentiles, files, warnings, failures that show."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from uniugg_core.cameras import motion
from uniugg_core.commands.common import UNTRAINED_NOTE
from uniugg_core.errors import ErrorCode
from uniugg_core.images import load_image
from uniugg_core.scene import Scene
from uniugg_ros.demo.cards import font, printable, wrapped
from uniugg_ros.demo.latency import percentile, stage_rows
from uniugg_ros.demo.outcome import Outcome
from uniugg_ros.demo.recorded import read_pictures
from uniugg_ros.demo.report import RunFacts, write_report


@pytest.fixture(scope="module")
def pictures(sample_bag):
    return read_pictures(sample_bag)


def imagined(number, **changes):
    rng = np.random.default_rng(number)
    scene = Scene.from_arrays(rng.normal(size=(500, 3)) + (0, 0, 3), source=rng.integers(0, 2, 500))
    values = {
        "code": ErrorCode.OK,
        "milliseconds": 100.0 * number,
        "stages": {"encode": 10.0 * number, "total": 90.0 * number},
        "scene": scene,
        "view": rng.integers(0, 256, (64, 64, 3), dtype=np.uint8),
        "reference": 3,
        "target": 4,
        "target_from_reference": motion(forward=0.5),
    }
    return Outcome(number, f"request {number}", "service", "imagine", **{**values, **changes})


def asked(number, **changes):
    values = {"code": ErrorCode.OK, "question": "Where is <b>it</b>?", "answer": "1.8 m | away", "reference": 2}
    return Outcome(number, f"question {number}", "action", "ask", **{**values, **changes})


class TestLatency:
    @pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 2), (0.51, 3), (0.99, 4), (1.0, 4)])
    def test_nearest_rank(self, share, expected):
        assert percentile([4, 1, 3, 2], share) == expected

    def test_nothing_has_no_percentile(self):
        with pytest.raises(ValueError, match="no values"):
            percentile([], 0.5)

    def test_stages_then_round_trip_and_only_of_what_succeeded(self):
        failed = imagined(9, code=ErrorCode.INTERNAL)
        refused = imagined(8, code=ErrorCode.CANCELLED)
        refused.expected = ErrorCode.CANCELLED
        rows = stage_rows([asked(4), imagined(1), imagined(2), imagined(3), failed, refused])
        assert [(row.job, row.stage, row.count) for row in rows] == [
            ("imagine", "encode", 3),
            ("imagine", "total", 3),
            ("imagine", "round trip", 3),
            ("imagine", "of that, ROS and waiting", 3),
            ("ask", "round trip", 1),
        ]
        assert (rows[0].p50, rows[0].p99, rows[0].most) == (20.0, 30.0, 30.0)
        assert rows[3].p50 == pytest.approx(20.0)


class TestReport:
    def write(self, folder, pictures, outcomes, **facts):
        for outcome in outcomes:
            outcome.pictures = pictures
        write_report(folder, outcomes, RunFacts(model="tiny", bag="sample", **facts))
        return (folder / "summary.md").read_text(), (folder / "summary.html").read_text()

    def test_files_of_every_request(self, tmp_path, pictures):
        outcomes = [imagined(1), asked(2, marks=[(100.0, 50.0, 0.3)])]
        markdown, page = self.write(tmp_path, pictures, outcomes, trained=True)
        assert outcomes[0].files == ["scenes/01-request-1.ply", "pictures/01-request-1.png"]
        assert outcomes[1].files == ["pictures/02-question-2.png"]
        assert len(Scene.load(tmp_path / outcomes[0].files[0])) == 500
        for outcome in outcomes:
            assert load_image(tmp_path / outcome.files[-1]).shape[1] == 1200
            assert f'src="{outcome.files[-1]}"' in page
        assert UNTRAINED_NOTE not in markdown + page
        assert "2 of 2 requests ended as they should" in markdown and "2 of 2" in page
        result = json.loads((tmp_path / "result.json").read_text())
        assert [request["good"] for request in result["requests"]] == [True, True]
        assert result["requests"][0]["points"] == 500
        assert "Q: Where is <b>it</b>?\nA: 1.8 m | away" in (tmp_path / "answers.txt").read_text()

    def test_a_known_answer_stands_beside_the_given_one(self, tmp_path, pictures):
        markdown, page = self.write(tmp_path, pictures, [asked(1, truth="2.1 m")], trained=True)
        assert "1.8 m / away (true: 2.1 m)" in markdown and "(true: 2.1 m)" in page
        assert "   true: 2.1 m" in (tmp_path / "answers.txt").read_text()
        assert json.loads((tmp_path / "result.json").read_text())["requests"][0]["truth"] == "2.1 m"

    def test_the_untrained_model_is_named_first(self, tmp_path, pictures):
        markdown, page = self.write(tmp_path, pictures, [asked(1)])
        assert markdown.splitlines()[2] == f"**{UNTRAINED_NOTE}**"
        assert page.index(UNTRAINED_NOTE) < page.index("<h1>")
        assert (tmp_path / "answers.txt").read_text().startswith(UNTRAINED_NOTE)

    def test_failures_and_problems_show(self, tmp_path, pictures):
        lost = imagined(1, code=None, message="no reply came", scene=None)
        wrong = asked(2, code=ErrorCode.BUSY, message="8 wait")
        outcomes = [lost, wrong]
        markdown, page = self.write(tmp_path, pictures, outcomes, problems=["the node <died>"])
        assert "FAILED: NO REPLY: no reply came" in markdown and "FAILED: BUSY: 8 wait" in page
        assert "the node &lt;died&gt;" in page and "0 of 2" in markdown
        assert not lost.files and not wrong.files

    def test_the_page_is_whole_and_escapes_what_it_quotes(self, tmp_path, pictures):
        _, page = self.write(tmp_path, pictures, [asked(1, answer="<script>x</script> & more")], trained=True)
        assert "<script>" not in page

        class Checker(HTMLParser):
            open_tags: list[str] = []

            def handle_starttag(self, tag, attrs):
                if tag not in ("meta", "img"):
                    self.open_tags.append(tag)

            def handle_endtag(self, tag):
                assert self.open_tags.pop() == tag

        checker = Checker()
        checker.feed(page)
        assert not checker.open_tags

    def test_a_markdown_table_is_not_broken_by_an_answer(self, tmp_path, pictures):
        markdown, _ = self.write(tmp_path, pictures, [asked(1)], trained=True)
        line = next(line for line in markdown.splitlines() if "question 1" in line)
        assert line.count("|") == 6


def test_wrapping_keeps_every_letter_and_the_width():
    text = "short words and " + "x" * 200 + " end"
    lines = wrapped(text, 18, 300)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(font(18).getlength(line) <= 300 for line in lines)
    assert wrapped("", 18, 300) == []


def test_printable():
    assert printable("a\nb\x00c 漢 é") == "a b·c · é"
