"""Benchmarks put to a fake server, to our pipeline, and to respondents that fail."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.evaluation.asking import Tally, ask, fingerprint
from training.evaluation.benchmarks import Picture, Question, benchmark
from training.evaluation.respondents import OurRespondent, Reply, ServerRespondent, respondent
from uniugg_core.cli import main
from uniugg_core.errors import ErrorCode, UniuggError


class FakeServer(ThreadingHTTPServer):
    """Answers with `script`, one (status, body or text) a call, the last one for ever; remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[tuple[int, str]] = [(200, "B")]
        self.sent: list[dict] = []
        self.tokens: list[str | None] = []
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_GET(self) -> None:
        known = self.path == "/v1/models"
        self._reply(200 if known else 404, {"data": [{"id": "fake-vl"}]})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.sent.append(body)
            server.tokens.append(self.headers.get("Authorization"))
            server.now += 1
            server.most = max(server.most, server.now)
            status, text = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        server.gate.wait(10)
        with server.lock:
            server.now -= 1
        usage = {"prompt_tokens": 100, "completion_tokens": 3}
        said = {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}
        self._reply(status, said if status == 200 else {"error": text})

    def _reply(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    thread = threading.Thread(target=fake.serve_forever, args=(0.01,))
    thread.start()
    yield fake
    fake.gate.set()
    fake.shutdown()
    fake.server_close()
    thread.join()


def png(value: int = 100) -> bytes:
    return cv2.imencode(".png", np.full((6, 8, 3), value, np.uint8))[1].tobytes()


def questions(count: int) -> list[Question]:
    return [
        Question(str(index), "Counting", (Picture(data=png(index)),), f"Q{index}?", ("two", "three"), "(B)")
        for index in range(count)
    ]


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_server_is_sent_pictures_and_prompt(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    who = respondent(server.url, max_new_tokens=7)
    assert who.name == "fake-vl"
    reply = who("How many?", [Picture(data=png(1)), Picture(data=png(2))])
    assert reply == Reply("B", 100, 3)
    (body,) = server.sent
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("fake-vl", 0, 7)
    first, second, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "How many?"}
    assert base64.b64decode(first["image_url"]["url"].removeprefix("data:image/png;base64,")) == png(1)
    assert second["image_url"]["url"] != first["image_url"]["url"]
    assert server.tokens == ["Bearer secret"]


@pytest.mark.parametrize("path", ["", "/v1", "/v1/"])
def test_addresses_with_and_without_v1(server: FakeServer, path: str) -> None:
    assert ServerRespondent(server.url + path)("Q", []).text == "B"


def test_passing_failures_are_tried_again_and_lasting_ones_are_not(server: FakeServer) -> None:
    who = ServerRespondent(server.url, tries=3, pause=0)
    server.script = [(503, "busy"), (429, "slow down"), (200, "A")]
    assert who("Q", []).text == "A"
    server.script = [(400, "no such picture")]
    sent = len(server.sent)
    with pytest.raises(UniuggError, match="answered 400.*no such picture"):
        who("Q", [])
    assert len(server.sent) == sent + 1
    server.script = [(500, "broken")]
    with pytest.raises(UniuggError, match="answered 500"):
        who("Q", [])


def test_nobody_there() -> None:
    with pytest.raises(UniuggError) as caught:
        ServerRespondent("http://127.0.0.1:9", tries=1)
    assert caught.value.code == ErrorCode.INTERNAL
    for bad in ("ftp://host", "http://"):
        with pytest.raises(UniuggError, match="no address"):
            ServerRespondent(bad)


def test_answers_are_kept_in_order_and_can_be_scored(server: FakeServer, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "answers.jsonl"
    who = ServerRespondent(server.url, at_once=4)
    seen: list[int] = []
    tally = ask(benchmark("blink"), questions(12), who, out, progress=lambda tally: seen.append(tally.answered))
    assert (tally.answered, tally.kept, tally.failures, tally.tokens_in, tally.tokens_out) == (12, 0, 0, 1200, 36)
    assert seen == list(range(1, 13))
    assert [row["id"] for row in rows(out)] == [str(index) for index in range(12)]
    assert rows(out)[0]["prediction"] == "B" and rows(out)[0]["options"] == ["two", "three"]
    assert tally.line(1.0, 10.0).endswith("cost 0.0016")
    assert main(["eval", "score", "blink", "--predictions", str(out), "--resamples", "0"]) == 0


def test_calls_run_side_by_side_but_no_more_than_allowed(server: FakeServer, tmp_path: Path) -> None:
    server.gate.clear()
    who = ServerRespondent(server.url, at_once=3)
    worker = threading.Thread(target=ask, args=(benchmark("blink"), questions(9), who, tmp_path / "a.jsonl"))
    worker.start()
    while server.most < 3:
        time.sleep(0.002)
    server.gate.set()
    worker.join()
    assert server.most == 3
    assert len(rows(tmp_path / "a.jsonl")) == 9


class Parrot:
    """Answers with what it was told to, and counts."""

    def __init__(self, name: str = "parrot", at_once: int = 1) -> None:
        self.name, self.at_once, self.asked = name, at_once, []
        self.fails: set[str] = set()
        self.stops: str | None = None

    def __call__(self, prompt: str, pictures: Sequence[Picture]) -> Reply:
        self.asked.append(prompt)
        if self.stops and self.stops in prompt:
            raise KeyboardInterrupt
        if any(word in prompt for word in self.fails):
            raise UniuggError(ErrorCode.INTERNAL, "out of order")
        return Reply("(B)", 10, 1)


def test_a_second_run_asks_only_what_is_missing(tmp_path: Path) -> None:
    out, parrot = tmp_path / "a.jsonl", Parrot()
    parrot.fails = {"Q2?"}
    tally = ask(benchmark("blink"), questions(4), parrot, out)
    assert (tally.answered, tally.failures) == (3, 1)
    assert tally.failed == ["2: INTERNAL: out of order"]
    parrot.fails, parrot.asked = set(), []
    tally = ask(benchmark("blink"), questions(4), parrot, out)
    assert (tally.answered, tally.kept, len(parrot.asked)) == (1, 3, 1)
    assert [row["id"] for row in rows(out)] == ["0", "1", "2", "3"]


def test_a_killed_run_goes_on_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    out, parrot = tmp_path / "a.jsonl", Parrot()
    parrot.stops = "Q3?"
    with pytest.raises(KeyboardInterrupt):
        ask(benchmark("blink"), questions(6), parrot, out)
    done = len(rows(out))
    assert 0 < done < 6
    with out.open("a") as file:
        file.write('{"id": "9", "key"')
    parrot.stops, parrot.asked = None, []
    tally = ask(benchmark("blink"), questions(6), parrot, out)
    assert (tally.kept, tally.answered) == (done, 6 - done)
    assert len(rows(out)) == 6


def test_other_settings_ask_again_and_are_not_scored_twice(tmp_path: Path) -> None:
    out, parrot = tmp_path / "a.jsonl", Parrot()
    ask(benchmark("blink"), questions(3), parrot, out, limit=10)
    tally = ask(benchmark("blink"), questions(2), parrot, out, limit=20)
    assert tally.answered == 2
    assert [row["id"] for row in rows(out)] == ["0", "1", "2"]
    assert [row["id"] for row in rows(tmp_path / "a.other.jsonl")] == ["0", "1"]


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    ask(benchmark("blink"), questions(1), Parrot(), out)
    with pytest.raises(UniuggError, match="holds answers of parrot"):
        ask(benchmark("blink"), questions(1), Parrot("cockatoo"), out)
    out.write_text('{"task": "x"}\n')
    with pytest.raises(UniuggError, match="line 1"):
        ask(benchmark("blink"), questions(1), Parrot(), out)


def test_fingerprints_tell_apart_what_matters() -> None:
    first, second = questions(2)
    prints = {
        fingerprint("a", 1, "p", first),
        fingerprint("b", 1, "p", first),
        fingerprint("a", 2, "p", first),
        fingerprint("a", 1, "q", first),
        fingerprint("a", 1, "p", second),
    }
    assert len(prints) == 5
    assert fingerprint("a", 1, "p", first) == fingerprint("a", 1, "p", questions(1)[0])


def test_questions_are_read_as_they_are_needed(tmp_path: Path) -> None:
    read: list[int] = []

    def stream() -> Iterator[Question]:
        for index, question in enumerate(questions(50)):
            read.append(index)
            yield question

    parrot = Parrot()
    ahead: list[int] = []
    ask(
        benchmark("blink"),
        stream(),
        parrot,
        tmp_path / "a.jsonl",
        progress=lambda t: ahead.append(len(read) - t.answered),
    )
    assert max(ahead) <= 3


def test_our_pipeline_answers(tmp_path: Path) -> None:
    from uniugg_core import UniUGGPipeline

    who = OurRespondent(UniUGGPipeline.from_preset("tiny"), 4)
    reply = who("How many chairs?", [Picture(data=png(value)) for value in range(3)])
    assert 0 <= reply.tokens_out <= 4


def test_command(server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.png").write_bytes(png())
    record = {"question": "Which?", "sub_task": "Counting", "image_1": "1.png", "answer": "(B)", "choices": ["1", "2"]}
    lines = [json.dumps(record | {"idx": f"val_{index}"}) for index in range(5)]
    (tmp_path / "val.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out.jsonl"
    command = ["eval", "answer", "blink", "--data", str(tmp_path), "--model", server.url, "--out", str(out)]
    assert main([*command, "--price-in", "2", "--limit", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 answered, 0 kept, 0 failed; 200 tokens in, 6 out" in said and "cost 0.0004" in said
    assert [row["id"] for row in rows(out)] == ["val_0", "val_1"]
    assert main(command) == 0
    assert "3 answered, 2 kept" in capsys.readouterr().out
    (tmp_path / "1.png").unlink()
    out.unlink()
    assert main([*command, "--limit", "1"]) == 1
    assert "IMAGE_MISSING" in capsys.readouterr().err
    assert main([*command[:-3], str(tmp_path / "nothing"), "--out", str(out)]) == 2


def test_a_tally_says_no_cost_without_prices() -> None:
    assert "cost" not in Tally(answered=1).line()
