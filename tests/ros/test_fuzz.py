"""The fuzzer: its messages are messages, it repeats itself, it finds what is planted, and the node stands it."""

from __future__ import annotations

import json
from random import Random

import pytest
from rclpy.serialization import deserialize_message, serialize_message

from uniugg_core import cli
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import check_compressed
from uniugg_ros.fuzz.command import _Source, fuzz
from uniugg_ros.fuzz.corpus import KINDS, Corpus
from uniugg_ros.fuzz.in_process import InProcess
from uniugg_ros.fuzz.mutate import Mutator, png_bomb


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_messages_are_still_messages(kind):
    random = Random(5)
    corpus, mutator = Corpus(random), Mutator(random)
    changed = set()
    for _ in range(60):
        message = corpus.message(kind, 10**18)
        changed.update(mutator.mutate(message))
        assert deserialize_message(serialize_message(message), type(message)) is not None
    assert len(changed) >= 4, "many fields, those of inner messages too"


def test_a_number_always_means_the_same_message():
    one, other = _Source(3), _Source(3)
    later = [other.message(number) for number in (40, 7, 3)]
    for number, expected in zip((40, 7, 3), later):
        kind, message, changed = one.message(number)
        assert (kind, changed) == (expected[0], expected[2])
        assert repr(message) == repr(expected[1])  # padding between serialized values is anything


def test_good_messages_are_taken():
    target, corpus = InProcess(), Corpus(Random(1))
    for kind in ("tf_static", "tf", "camera_info", "image"):
        assert target.take(kind, corpus.message(kind, 10**18)) == "OK"
    assert "OK" in {target.take("ask", corpus.message("ask", 10**18)) for _ in range(20)}
    assert "OK" in {target.take("imagine", corpus.message("imagine", 10**18)) for _ in range(20)}


def test_the_bomb_is_one():
    data = png_bomb(32_768)
    assert len(data) < 200
    with pytest.raises(UniuggError) as refusal:
        check_compressed(data, "png", max_pixels=16_000_000, max_bytes=10**6)
    assert refusal.value.code is ErrorCode.IMAGE_TOO_LARGE


def test_in_process_nothing_crashes_and_every_kind_is_both_taken_and_refused():
    found = fuzz("process", 11, 60.0, 3000)
    assert found["messages"] == 3000 and found["crashes"] == 0, found["found"]
    assert 0.5 < found["mutated"] / 3000 < 0.9
    for kind in ("image", "compressed", "camera_info", "pose", "imagine", "ask"):
        codes = {name.split("/")[1] for name in found["outcomes"] if name.startswith(f"{kind}/")}
        assert "OK" in codes and len(codes) > 2, codes
    assert found["memory_mb"]["after"] < found["memory_mb"]["before"] + 30


def test_a_planted_fault_is_found_shown_and_repeated(monkeypatch, tmp_path, capsys):
    def broken(self, message):
        if len(message.transforms) != 1:
            raise IndexError("planted")

    monkeypatch.setattr(InProcess, "_tf", broken)
    line = ["fuzz", "--seed", "4", "--over", "process"]
    assert cli.main([*line, "--messages", "800", "--json", str(tmp_path / "fuzz.json")]) == 1
    report = json.loads((tmp_path / "fuzz.json").read_text())["process"]
    first = report["found"][0]
    assert report["crashes"] == report["outcomes"]["tf/CRASH"] > 0
    assert first["kind"] == "tf" and "planted" in first["error"] and "transforms" in first["changed"]
    assert "planted" in capsys.readouterr().out
    assert cli.main(["fuzz", "--seed", "4", "--only", str(first["number"])]) == 1
    assert "planted" in capsys.readouterr().out


def test_over_dds_the_node_lives_and_answers(capsys):
    assert cli.main(["fuzz", "--over", "dds", "--messages", "600", "--seed", "9"]) == 0
    assert "600 messages" in capsys.readouterr().out
