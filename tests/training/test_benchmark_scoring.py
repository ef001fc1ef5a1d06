"""Every scoring rule by a vector that shows it: what the official scripts say, and what is said beside them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from training.evaluation.benchmarks import NAMES, Row, benchmark
from training.evaluation.cleaning import clean_answer, refined_match, refined_match_official
from training.evaluation.intervals import bootstrap, task_means
from training.evaluation.scoring import read_rows, row_of, score_rows
from uniugg_core.cli import main
from uniugg_core.errors import ErrorCode, UniuggError

CHAIRS = ("A. table", "B. chair", "C. office chair", "D. window")


def figures(name: str, rows: list[Row]) -> dict[str, dict[str, float]]:
    return {
        measure.name: measure.figures(task_means(measure.tasks, measure.values))
        for measure in benchmark(name).measures(rows)
    }


def single(name: str, task: str, answer: str, prediction: str, **more: object) -> dict[str, float]:
    """Column -> figure of one row."""
    row = Row(task, answer, prediction, **more)
    return {column: values[task] for column, values in figures(name, [row]).items()}


def test_names_are_forgiving_and_unknown_ones_named() -> None:
    assert [benchmark(name).name for name in NAMES] == list(NAMES)
    assert benchmark("VSI-Bench") is benchmark("vsi_bench")
    with pytest.raises(UniuggError, match="no benchmark 'vqa'") as caught:
        benchmark("vqa")
    assert caught.value.code == ErrorCode.REQUEST_INVALID


# VSI-Bench


@pytest.mark.parametrize(
    ("prediction", "official", "corrected"),
    [
        ("B", 1, 1),
        ("b", 1, 1),
        ("B.", 1, 1),
        ("B. chair", 1, 1),  # the first word
        ("(B)", 0, 1),
        ("Answer: B", 0, 1),
        ("**B**", 0, 1),
        ("the chair", 0, 1),
        ("B\nbecause", 0, 1),  # only a blank ends a word
        ("", 0, 0),
        ("B or C", 1, 0),
    ],
)
def test_vsi_choices(prediction: str, official: float, corrected: float) -> None:
    found = single("vsi-bench", "route_planning", "B", prediction, options=CHAIRS)
    assert found == {"official": official, "corrected": corrected}


@pytest.mark.parametrize(
    ("prediction", "official", "corrected"),
    [
        ("10", 1, 1),
        ("12", 0.6, 0.6),  # the float edge
        ("11 m", 0.9, 0.9),
        ("10.", 1, 1),
        ("ten", 0, 1),
        ("about 10", 0, 1),
        ("10\nmetres", 0, 1),
        ("1_0", 1, 1),  # Python's float() reads it
        ("nan", 0, 0),
        ("inf", 0, 0),
        ("", 0, 0),
    ],
)
def test_vsi_numbers(prediction: str, official: float, corrected: float) -> None:
    found = single("vsi-bench", "object_counting", "10", prediction)
    assert found == pytest.approx({"official": official, "corrected": corrected}, abs=1e-15)


def test_vsi_is_a_macro_average_with_direction_as_one_task() -> None:
    rows = [
        *[Row("object_counting", "10", "10")] * 3,
        Row("route_planning", "A", "B"),
        Row("object_rel_direction_easy", "A", "A"),
        Row("object_rel_direction_hard", "A", "A"),
    ]
    found = figures("vsi-bench", rows)
    # the level without rows counts 0 officially
    assert found["official"]["object_rel_direction"] == pytest.approx(2 / 3)
    assert found["official"]["overall"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert found["corrected"]["object_rel_direction"] == 1
    assert found["corrected"]["overall"] == pytest.approx(2 / 3)


def test_vsi_has_a_direction_even_without_rows_of_it() -> None:
    found = figures("vsi-bench", [Row("object_counting", "10", "10")])
    assert found["official"]["overall"] == 0.5
    assert found["corrected"]["overall"] == 1


def test_a_numeric_answer_that_is_none_is_refused() -> None:
    with pytest.raises(UniuggError, match="'many' is no number"):
        figures("vsi-bench", [Row("object_counting", "many", "3", id="7")])


# SPAR-Bench


@pytest.mark.parametrize(
    ("prediction", "official", "corrected"),
    [
        ("B", 1, 1),
        ("b", 1, 1),
        ("B. left", 1, 1),
        ("", 1, 0),  # an empty answer is contained in everything
        ("Because it is (A)", 1, 0),  # the first letter is enough
        ("(B)", 0, 1),
        ("The answer is B", 0, 1),
        ("A", 0, 0),
    ],
)
def test_spar_choices(prediction: str, official: float, corrected: float) -> None:
    found = single("spar-bench", "position_matching", "B", prediction)
    assert found == {"official": official, "corrected": corrected}


@pytest.mark.parametrize(
    ("task", "truth", "prediction", "official"),
    [
        ("depth_prediction_oc", "2", "2 or 4", 1),  # the first number
        ("depth_prediction_oc_mv", "2", "4 or 2", 1),  # the last one in tasks of several pictures
        ("depth_prediction_oc_mv", "2", "2 or 4", 0),
        ("depth_prediction_oc", "2", "-2", 1),  # signs are not read
        ("depth_prediction_oc", "2", "m^9 2", 1),  # exponents are not numbers
        ("depth_prediction_oc_mv", "2", "none", 0),
        ("depth_prediction_oc", "2", "none", 0),
        ("depth_prediction_oc", "0", "0.3", 0.5),  # |p - y| where y is 0
        ("depth_prediction_oc", "0", "0", 1),
    ],
)
def test_spar_numbers(task: str, truth: str, prediction: str, official: float) -> None:
    assert single("spar-bench", task, truth, prediction)["official"] == pytest.approx(official, abs=1e-15)


def test_spar_view_change_divides_by_the_prediction_officially() -> None:
    task = "view_change_infer"
    # right by 2 said for 1: |1 - 2| / 2 = 0.5 passes one threshold; divided by the truth, none
    found = single("spar-bench", task, "move_right:1,rotate_up:10", "move_right:2,rotate_up:10")
    assert found["official"] == pytest.approx((0.1 + 4) / 5)
    assert found["corrected"] == pytest.approx(4 / 5)
    # signs: left is negative right
    assert single("spar-bench", task, "move_left:1", "move_right:1")["official"] == pytest.approx(4 / 5)
    assert single("spar-bench", task, "move_left:1", "move_right:-1")["official"] == 1
    # a blank loses the axis, and a malformed part the whole answer
    blank = single("spar-bench", task, "move_up:1,move_left:1", "move_up:1, move_left:1")
    assert blank["official"] == pytest.approx(4 / 5)
    assert blank["corrected"] == 1
    broken = single("spar-bench", task, "move_up:1", "I would say move_up:1")
    assert (broken["official"], broken["corrected"]) == (pytest.approx(4 / 5), 1)
    assert single("spar-bench", task, "move_up:1", "move_up:1.")["official"] == 1
    assert single("spar-bench", task, "move_up:1", "up")["official"] == 0


def test_spar_averages_tasks_and_leaves_view_change_out_of_middle() -> None:
    rows = [
        *[Row("depth_prediction_oc", "2", "2")] * 5,
        Row("position_matching", "A", "A"),
        Row("camera_motion_infer", "A", "B"),
        Row("view_change_infer", "move_up:1", "move_up:1"),
    ]
    found = figures("spar-bench", rows)
    assert found["official"]["overall"] == 0.75
    assert found["official"]["low"] == 1
    assert found["official"]["middle"] == 0.5
    assert found["corrected"]["middle"] == pytest.approx(2 / 3)
    assert "high" not in found["official"]


# BLINK, RealWorldQA, SEED-Bench


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("(B)", (1, 1, 1)),
        ("B", (0, 1, 1)),
        ("Because of the light, (A)", (0, 1, 0)),
        ("The answer is (B)", (0, 0, 1)),
        ("", (0, 0, 0)),
    ],
)
def test_blink(prediction: str, expected: tuple[int, int, int]) -> None:
    found = single("blink", "Counting", "(B)", prediction, options=("3", "2"))
    assert tuple(found[name] for name in ("official", "lmms-eval", "corrected")) == expected


def test_blink_averages_tasks_officially_and_rows_in_lmms_eval() -> None:
    rows = [*[Row("Counting", "(A)", "(A)")] * 3, Row("Jigsaw", "(A)", "(B)")]
    found = figures("blink", rows)
    assert (found["official"]["overall"], found["lmms-eval"]["overall"]) == (0.5, 0.75)


@pytest.mark.parametrize(
    ("question", "answer", "prediction", "official", "corrected"),
    [
        ("Which?\nA. left lane\nB. right lane", "B", "B", 1, 1),
        ("Which?\nA. left lane\nB. right lane", "B", "b.", 1, 1),
        ("Which?\nA. left lane\nB. right lane", "B", "the right lane", 1, 1),
        ("Which?\nA. left lane\nB. right lane", "B", "(B)", 1, 1),
        ("Which?\nA. left lane\nB. right lane", "B", "The answer is B", 0, 1),
        ("Is it red?\nA. Yes\nB. No", "B", "Not sure", 1, 0),  # "No" is found in "Not"
        ("Which?\nA. St. Anne\nB. Main", "A", "St. Anne", 0, 1),  # texts with punctuation are not found
        ("How many?", "2", "two", 1, 1),
        ("How many?", "2", "There are two", 0, 1),
        ("What colour?", "Green", "green.", 1, 1),
    ],
)
def test_realworldqa(question: str, answer: str, prediction: str, official: float, corrected: float) -> None:
    found = single("realworldqa", "realworldqa", answer, prediction, question=question)
    assert found == {"official": official, "corrected": corrected}


@pytest.mark.parametrize(
    ("prediction", "official", "corrected"),
    [("B", 1, 1), (" B. chair", 1, 1), ("Because", 1, 0), ("b", 0, 1), ("(B)", 0, 1), ("", 0, 0)],
)
def test_seed_bench(prediction: str, official: float, corrected: float) -> None:
    assert single("seed-bench", "Spatial Relation", "B", prediction, options=CHAIRS) == {
        "official": official,
        "corrected": corrected,
    }


# 3DSRBench


@pytest.mark.parametrize(
    ("prediction", "plain", "corrected"),
    [
        ("B", 1, 1),
        ("(B)", 1, 1),
        ("A chair is above B", 0, 0),  # two letters among the words
        ("The answer is A", 0, 0),  # the word A among more than three
        ("b", 0, 1),
        ("below", 1, 1),
        ("It is not above but below", 0, 1),  # both texts occur
        ("Cannot determine the answer. B", 0, 0),
    ],
)
def test_3dsrbench_hits(prediction: str, plain: float, corrected: float) -> None:
    found = single("3dsrbench", "location_above", "B", prediction, options=("A. above", "B. below"))
    assert (found["plain"], found["plain, corrected"]) == (plain, corrected)
    assert "circular" not in found


def test_3dsrbench_circular_needs_every_rotation() -> None:
    rows = [
        Row("height_higher", "A", "A", id="aaaa-0"),
        Row("height_higher", "B", "A", id="aaaa-1"),
        Row("location_above", "A", "A", id="bbbb-0"),
        Row("location_above", "B", "B", id="bbbb-1"),
        Row("location_next_to", "B", "B", id="cccc-flip"),
    ]
    found = figures("3dsrbench", rows)
    assert found["plain"]["overall"] == pytest.approx(4 / 5)
    assert found["circular"]["overall"] == pytest.approx(2 / 3)
    assert found["circular"]["height"] == 0
    assert found["circular"]["location"] == 1
    assert score_rows(benchmark("3dsrbench"), rows, resamples=10).columns[1].figures["overall"].units == 3


# SQA3D and ScanQA


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  The   Chair. ", "chair"),
        ("3", "three"),
        ("23 chairs", "twenty-three chairs"),
        ("24", "24"),
        ("None", "zero"),
        ("rigth", "right"),
        ("TV", "TV"),
        ("o' clock", "o'clock"),
        ("mat2", "mat"),
        ("a", "a"),  # an article alone stays
        ("backwards", "backward"),
        ("café", "caf"),
    ],
)
def test_cleaning(text: str, cleaned: str) -> None:
    assert clean_answer(text) == cleaned


def test_refined_match_and_its_two_errors() -> None:
    assert refined_match_official("brown chair", ["chair", "brown chair"]) == (False, True)
    assert refined_match("brown chair", ["chair", "brown chair"]) == (True, True)
    assert refined_match_official("", ["chair"]) == (False, True)
    assert refined_match("", ["chair"]) == (False, False)
    assert refined_match("office  chair", ["officechair"]) == (False, True)
    assert refined_match("table", ["chair"]) == refined_match_official("table", ["chair"]) == (False, False)


def test_sqa3d_columns() -> None:
    found = single("sqa3d", "what", "chair", "The chair.")
    assert set(found.values()) == {1}
    found = single("sqa3d", "what", "brown chair", "chair")
    assert (found["EM"], found["EM-R"], found["lenient"]) == (0, 1, 1)
    found = single("sqa3d", "what", "brown chair", "")
    assert (found["EM"], found["EM-R"], found["EM-R corrected"], found["lenient"]) == (0, 1, 0, 1)
    found = single("sqa3d", "what", "brown chair", "brown table")
    assert (found["EM-R"], found["lenient"]) == (0, 1)


# pycocoevalcap 1.2, its tokenizer included, on these rows
GOLDEN = {
    "Bleu_1": 0.695986135145402,
    "Bleu_2": 0.6443579530627298,
    "Bleu_4": 0.00012201502421902796,
    "ROUGE_L": 0.7876245847176079,
    "CIDEr": 3.636596457989412,
}


def test_scanqa_known_answers() -> None:
    rows = [
        Row("Place", ("on the wall", "the wall"), "on the wall"),
        Row("Place", ("brown", "dark brown"), "brown table"),
        Row("Other", ("left side of the door",), "right of the door"),
    ]
    found = figures("scanqa", rows)
    assert found["EM"]["overall"] == pytest.approx(1 / 3)
    assert found["EM-R"]["overall"] == pytest.approx(2 / 3)
    assert found["BLEU-1"]["overall"] == pytest.approx(GOLDEN["Bleu_1"], rel=1e-9)
    assert found["BLEU-2"]["overall"] == pytest.approx(GOLDEN["Bleu_2"], rel=1e-9)
    assert found["BLEU-4"]["overall"] == pytest.approx(GOLDEN["Bleu_4"], rel=1e-9)
    assert found["ROUGE-L"]["overall"] == pytest.approx(GOLDEN["ROUGE_L"], rel=1e-9)
    assert found["CIDEr"]["overall"] == pytest.approx(GOLDEN["CIDEr"], rel=1e-9)


# The table


def test_rows_are_read_checked_and_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [
        {"task": "object_counting", "answer": 3, "prediction": "3"},
        {"task": "route_planning", "answer": "A", "prediction": None, "options": {"A": "left", "B": "right"}},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    rows = read_rows(path, benchmark("vsi-bench"))
    assert rows[1].options == ("A. left", "B. right")
    table = score_rows(benchmark("vsi-bench"), rows, resamples=50)
    assert (table.rows, table.unanswered) == (2, 1)
    assert "object_counting" in table.to_text() and "overall" in table.to_text()
    said = json.loads(json.dumps(table.to_json()))
    assert said["measures"][0]["figures"]["object_counting"]["value"] == 1.0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 1"),
        ("[]", "an object"),
        ('{"task": "object_counting", "answer": "3"}', "no prediction"),
        ('{"task": "object_count", "answer": "3", "prediction": "3"}', "'object_count' is no task"),
        ("", "no rows"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line)
    with pytest.raises(UniuggError, match=reason):
        read_rows(path, benchmark("vsi-bench"))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "figures.json"
    path.write_text(json.dumps({"task": "depth_prediction_oc", "answer": "2", "prediction": "2 m"}))
    command = ["eval", "score", "SPAR-Bench", "--predictions", str(path)]
    assert main([*command, "--json", str(out)]) == 0
    assert "depth_prediction_oc" in capsys.readouterr().out
    assert main([*command, "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads(out.read_text())
    assert said["measures"][0]["figures"]["overall"]["value"] == 1
    assert main([*command[:-1], str(tmp_path / "none.jsonl")]) == 2
    assert "REQUEST_INVALID" in capsys.readouterr().err


def test_odd_line_ends_within_an_answer_do_not_break_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"task": "object_counting", "answer": "3", "prediction": "3\u2028\x85\x0c"}
    path.write_text(json.dumps(row, ensure_ascii=False))
    (read,) = read_rows(path, benchmark("vsi-bench"))
    assert read.prediction == row["prediction"]


def test_without_resamples_there_are_no_intervals() -> None:
    table = score_rows(benchmark("vsi-bench"), [Row("object_counting", "3", "3")], resamples=0)
    assert table.to_json()["measures"][0]["figures"]["overall"] == {
        "value": 0.5,
        "low": None,
        "high": None,
        "units": None,
    }
    assert "[" not in table.to_text()


def test_a_view_change_whose_truth_is_none_is_refused() -> None:
    with pytest.raises(UniuggError, match="row '7' of view_change_infer"):
        figures("spar-bench", [Row("view_change_infer", "to the left", "move_left:1", id="7")])


def test_kinds_follow_from_the_question_where_they_do() -> None:
    row = row_of({"question": "Where is it?", "answer": ["a", "b"], "prediction": "a"}, benchmark("scanqa"))
    assert (row.task, row.answers) == ("Place", ("a", "b"))
    assert row_of({"question": "Can I see?", "answer": "no", "prediction": ""}, benchmark("sqa3d")).task == "can"


def test_intervals_are_seeded_cover_and_respect_groups() -> None:
    values = np.array([[float(i % 2)] for i in range(200)])
    tasks = ["t"] * 200

    def mean(means: object) -> dict[str, float]:
        return {"m": float(means["t"][0][0])}

    alone = bootstrap(tasks, values, [str(i) for i in range(200)], mean, resamples=400, seed=1)
    again = bootstrap(tasks, values, [str(i) for i in range(200)], mean, resamples=400, seed=1)
    assert alone == again
    low, high = alone["m"]
    assert low < 0.5 < high
    # the width of a proportion's interval: 2 * 1.96 * sqrt(p q / n)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 200), rel=0.25)
    # groups of equal rows: as if there were only ten
    grouped = bootstrap(tasks, np.sort(values, axis=0), [str(i // 20) for i in range(200)], mean, resamples=400, seed=1)
    assert grouped["m"][1] - grouped["m"][0] > 3 * (high - low)
