"""Evaluations under torchrun: two processes leave what one leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from micro import save_micro

from training.data.rooms import RoomsConfig, RoomsDataset
from training.evaluation.asking import Tally, join
from training.evaluation.generated import generate_views
from training.evaluation.sharing import Share
from uniugg_core.cli import main
from uniugg_core.errors import UniuggError
from uniugg_core.pipeline import UniUGGPipeline

UNIUGG = "import sys; from uniugg_core.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_micro(tmp_path_factory.mktemp("model") / "micro")


def launched(*words: str) -> str:
    """What the command prints on two processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    done = subprocess.run(
        [sys.executable, *launcher, sys.executable, "-c", UNIUGG, *words],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_processes_measure_what_one_does(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "eval",
        "rooms",
        "--model",
        str(model),
        "--scenes",
        "3",
        "--batch",
        "1",
        "--questions",
        "1",
        "--steps",
        "2",
    ]
    words += ["--samples", "2", "--json"]
    said = [launched(*words, str(tmp_path / "two.json"))]
    assert main([*words, str(tmp_path / "one.json")]) == 0
    said.append(capsys.readouterr().out)
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert said[0] == said[1]  # the table once, not once a process


def test_shares_of_generated_views_make_the_whole(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = UniUGGPipeline.from_pretrained(model)
    source = RoomsDataset(RoomsConfig(size=32, views=3, pairs=1, interleave=1), "test", seed=5)
    generate_views(pipeline, source, 3, tmp_path / "whole", steps=1)
    for rank in (1, 0):  # each process writes its pictures; the pairs' list is the leader's, from what it gathers
        monkeypatch.setattr(Share, "rank", rank)
        monkeypatch.setattr(Share, "count", 2)
        generate_views(pipeline, source, 3, tmp_path / "shares", steps=1)
    names = [sorted(path.name for path in (tmp_path / where / "direct").iterdir()) for where in ("whole", "shares")]
    assert names[0] == names[1] == [f"{number:06d}.png" for number in range(3)]
    for name in names[0]:
        pictures = [(tmp_path / where / "direct" / name).read_bytes() for where in ("whole", "shares")]
        assert pictures[0] == pictures[1]


def test_one_process_has_it_all() -> None:
    share = Share()
    assert (share.rank, share.count, share.leads) == (0, 1, True)
    assert list(share.of(range(3))) == [0, 1, 2] and share.gathered([4]) == [4]


def test_shares_of_answers_are_joined_in_the_questions_order(tmp_path: Path) -> None:
    parts = [tmp_path / f"a.{number}of2.jsonl" for number in range(2)]
    for part, numbers in zip(parts, ((0, 2, 4), (1, 3))):
        part.write_text("".join(json.dumps({"key": str(n), "id": n}) + "\n" for n in numbers))
    join(parts, tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [0, 1, 2, 3, 4]
    parts[0].write_text("nonsense\n")
    with pytest.raises(UniuggError, match="no row"):
        join(parts, tmp_path / "a.jsonl")


def test_tallies_add_up() -> None:
    total = Tally.total([Tally(2, 1, ["a"], 1, 10, 3, 4.0), Tally(1, 0, [], 0, 5, 2, 6.0)])
    assert (total.answered, total.kept, total.failures, total.failed) == (3, 1, 1, ["a"])
    assert (total.tokens_in, total.tokens_out, total.seconds) == (15, 5, 6.0)
