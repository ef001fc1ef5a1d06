"""The benchmarks run, and their figures are those of what was timed."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks.__main__ import main
from benchmarks.attention import attention_rows
from benchmarks.harness import Row, machine, row, samples_of, table, write
from benchmarks.packing import packing_rows


def test_samples_are_milliseconds_without_the_warm_up():
    calls = []

    def call():
        calls.append(1)
        time.sleep(0.2 if len(calls) <= 2 else 0.005)

    samples = samples_of(call, n=5, warmup=2)
    assert len(samples) == 5 and len(calls) == 7
    assert all(5 <= value < 150 for value in samples)


def test_a_row_sums_up():
    assert row("a", "b", [3.0, 1.0, 2.0]) == Row("a", "b", 3, p50=2.0, p99=3.0, least=1.0)


def test_the_table_is_aligned_and_the_file_is_json(tmp_path):
    rows = [Row("short", "v", 3, 1.0, 2.0, 0.5), Row("a longer name", "variant", 100, 1234.5, 2.0, 0.5)]
    lines = table(rows).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    about = machine()
    write(tmp_path / "deep" / "rows.json", rows, about)
    kept = json.loads((tmp_path / "deep" / "rows.json").read_text())
    assert kept["rows"][1]["p50"] == 1234.5 and kept["machine"]["cores"] == about["cores"]
    text = (tmp_path / "deep" / "rows.md").read_text()
    assert "| a longer name | variant | 100 | 1234.50 | 2.00 | 0.50 |" in text and about["processor"] in text


def test_our_packing_is_among_the_fast_ways():
    figures = {line.what: line.p50 for line in packing_rows(20_000, 5)}
    assert figures["cloud data / array.frombytes (as ours)"] < figures["cloud data / list"] / 5
    assert figures["cloud / scene to PointCloud2, ours"] < figures["cloud data / list"]


def test_the_ways_of_attention_are_timed():
    figures = list(attention_rows(1))
    assert len(figures) == 9 and all(line.p50 > 0 for line in figures)
    assert len({line.variant for line in figures}) == 3


def test_the_pipeline_part_times_every_stage(tmp_path, monkeypatch, capsys):
    from benchmarks import latency

    monkeypatch.setattr(latency, "variants", lambda paper: [("tiny", "float32", 1)])
    assert main(["pipeline", "-n", "1", "--out", str(tmp_path / "latency.json")]) == 0
    kept = json.loads((tmp_path / "latency.json").read_text())
    found = {line["what"]: line for line in kept["rows"]}
    stages = ("imagine / encode", "imagine / condition", "imagine / denoise", "imagine / decode", "answer / generate")
    for stage in (*stages, "answer / prefill", "imagine / wall"):
        assert found[stage]["p50"] > 0, stage
    assert found["imagine / total"]["p50"] <= found["imagine / wall"]["p50"]
    assert kept["machine"]["cores"] and kept["machine"]["versions"]["torch"]
    assert "imagine / denoise" in capsys.readouterr().out


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["everything"])
    assert "everything" in capsys.readouterr().err
