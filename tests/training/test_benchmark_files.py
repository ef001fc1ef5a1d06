"""Loaders against small files in the published formats."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.evaluation.benchmarks import Picture, Question, benchmark
from training.evaluation.benchmarks.files import find_files, read_file, text_of
from training.evaluation.benchmarks.frames import decode, encoded, sample_frames, spread
from uniugg_core.errors import ErrorCode, UniuggError


def png(value: int, width: int = 4, height: int = 3) -> bytes:
    done, data = cv2.imencode(".png", np.full((height, width, 3), value, np.uint8))
    assert done
    return data.tobytes()


def lines(path: Path, *records: dict) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def video(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (32, 24))
    assert writer.isOpened()
    for index in range(count):
        writer.write(np.full((24, 32, 3), 10 * index, np.uint8))
    writer.release()


VSI = {
    "id": 7,
    "dataset": "arkitscenes",
    "scene_name": "41069025",
    "question_type": "object_counting",
    "question": "How many chairs?",
    "options": None,
    "ground_truth": "4",
}


def test_vsi_bench(tmp_path: Path) -> None:
    choice = VSI | {
        "id": 8,
        "question_type": "route_planning",
        "options": ["A. Left", "B. Right"],
        "ground_truth": "B",
    }
    lines(tmp_path / "test.jsonl", VSI, choice)
    video(tmp_path / "arkitscenes" / "41069025.mp4", 20)
    number, chosen = benchmark("vsi-bench").load(tmp_path, frames=4)
    assert (number.id, number.task, number.answer, number.options) == ("7", "object_counting", "4", ())
    assert number.group == "arkitscenes/41069025"
    ask = benchmark("vsi-bench").prompt
    assert ask(number) == (
        "These are frames of a video.\nHow many chairs?\nPlease answer the question using a single word or phrase."
    )
    assert ask(chosen).endswith(
        "Options:\nA. Left\nB. Right\nAnswer with the option's letter from the given choices directly."
    )
    frames = decode(number.images)
    assert len(frames) == 4
    # frames 0, 6, 12, 19 of 20
    assert [round(float(frame.mean()) / 10) for frame in frames] == [0, 6, 12, 19]


def test_frames_are_spread_with_both_ends_and_none_twice() -> None:
    assert spread(20, 4) == [0, 6, 12, 19]
    assert spread(3, 8) == [0, 1, 2]
    assert spread(1, 4) == [0]
    assert len(spread(1000, 16)) == 16


def test_frames_of_scannet_folders_are_in_numeric_order(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "scene0000_00" / "color"
    folder.mkdir(parents=True)
    for index in (0, 2, 10, 100):
        (folder / f"{index}.png").write_bytes(png(index))
    pictures = sample_frames(tmp_path, "scene0000_00", 3)
    assert [picture.path.stem for picture in pictures] == ["0", "2", "100"]


def test_a_missing_scene_is_named_when_it_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(UniuggError, match="scene.mp4") as caught:
        decode(sample_frames(tmp_path, "scene", 2))
    assert caught.value.code == ErrorCode.IMAGE_MISSING


def test_blink_folders_of_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path / "Relative_Depth"
    folder.mkdir()
    record = {
        "idx": "val_Relative_Depth_1",
        "question": "Which point is closer?",
        "sub_task": "Relative_Depth",
        "image_1": {"bytes": png(3), "path": "1.png"},
        "image_2": {"bytes": png(9), "path": "2.png"},
        "image_3": None,
        "image_4": None,
        "choices": ["A is closer", "B is closer"],
        "answer": "(B)",
        "prompt": "Which point is closer?\nSelect from the following choices.\n(A) A is closer\n(B) B is closer",
    }
    parquet.write_table(arrow.Table.from_pylist([record]), folder / "val-00000-of-00001.parquet")
    (question,) = benchmark("blink").load(tmp_path)
    check_blink(question)


def check_blink(question: Question) -> None:
    assert (question.task, question.answer) == ("Relative_Depth", "(B)")
    assert question.options == ("A is closer", "B is closer")
    prompt = benchmark("blink").prompt(question)
    assert prompt.startswith("Note: You only need to respond with A, B without")
    assert prompt.endswith("(B) B is closer")


def test_blink_as_json_lines(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(5))
    record = {"idx": "val_1", "question": "Which?", "sub_task": "Relative_Depth", "image_1": "1.png", "answer": "(B)"}
    lines(tmp_path / "val.jsonl", record | {"choices": ["A is closer", "B is closer"]})
    (question,) = benchmark("blink").load(tmp_path)
    check_blink(question)
    assert decode(question.images)[0].mean() == 5


def test_parquet_without_pyarrow_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(UniuggError, match="pip install pyarrow"):
        list(benchmark("vsi-bench").load(tmp_path))


def test_3dsrbench_tsv_with_base64(tmp_path: Path) -> None:
    names = ["index", "qid", "question", "A", "B", "C", "D", "answer", "category", "image"]
    picture = base64.b64encode(png(7, 20, 20)).decode()
    with (tmp_path / "3dsrbench_v1_vlmevalkit_circular.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(names)
        writer.writerow([0, "HX7N-0", "Which is\nhigher?", "cat", "dog", "", "", "A", "height_higher", picture])
        writer.writerow([1, "HX7N-1", "Which is\nhigher?", "dog", "cat", "", "", "B", "height_higher", picture])
    first, second = benchmark("3dsrbench").load(tmp_path)
    assert (first.id, first.group, second.group) == ("HX7N-0", "HX7N", "HX7N")
    assert second.options == ("A. dog", "B. cat")
    assert decode(first.images)[0].shape == (20, 20, 3)
    assert "Options:\nA. cat\nB. dog\n" in benchmark("3dsrbench").prompt(first)


def test_spar_bench_parts_in_a_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "a.png").write_bytes(png(1))
    base = {"question": "How deep?", "image": ["a.png", "a.png"]}
    lines(tmp_path / "data" / "test-00000-of-00002.jsonl", base | {"id": 1, "task": "depth_prediction_oc", "answer": 2})
    lines(tmp_path / "data" / "test-00001-of-00002.jsonl", base | {"id": 2, "task": "view_change_infer", "answer": "x"})
    lines(tmp_path / "data" / "train.jsonl", base | {"id": 3, "task": "view_change_infer", "answer": "x"})
    depth, change = benchmark("spar-bench").load(tmp_path)
    assert (depth.id, depth.answer, len(decode(depth.images))) == ("1", "2", 2)
    ask = benchmark("spar-bench").prompt
    assert ask(depth).endswith("How deep?\nPlease answer the question using a single word or phrase.")
    assert ask(change) == "\nHow deep?\n\n"


def test_realworldqa_lists_its_options(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    question = "Which lane?\nA. Left.\nB. Right.\nPlease answer directly with only the letter."
    lines(tmp_path / "test.jsonl", {"image": "a.png", "question": question, "answer": "A"})
    (read,) = benchmark("realworldqa").load(tmp_path)
    assert read.options == ("A. Left.", "B. Right.")
    assert benchmark("realworldqa").prompt(read) == question


def test_seed_bench_json_skips_videos(tmp_path: Path) -> None:
    choices = {f"choice_{letter}": f"option {letter}" for letter in "abcd"}
    base = {"question": "Where?", "answer": "C", **choices}
    questions = [
        base | {"question_id": "1", "data_id": "1_0", "data_type": "image", "question_type_id": 6},
        base | {"question_id": "2", "data_id": "v_0", "data_type": "video", "question_type_id": 10},
    ]
    (tmp_path / "SEED-Bench.json").write_text(json.dumps({"questions": questions, "question_type": {}}))
    (tmp_path / "SEED-Bench-image").mkdir()
    (tmp_path / "SEED-Bench-image" / "1_0").write_bytes(png(2))
    (question,) = benchmark("seed-bench").load(tmp_path)
    assert (question.task, question.options[2]) == ("Spatial Relation", "C. option c")
    assert benchmark("seed-bench").prompt(question).startswith("Where?\nA. option a\nB.")
    assert encoded(question.images)[0][0] == "image/png"  # by its bytes: the file has no ending


def test_sqa3d_joins_questions_and_answers(tmp_path: Path) -> None:
    question = {
        "question": "What color is the desk to my right?",
        "question_id": 220602000000,
        "scene_id": "scene0380_00",
        "situation": "I am facing a window.",
        "alternative_situation": [],
    }
    answer = {"question_id": 220602000000, "answers": [{"answer": "brown", "answer_id": 1}], "scene_id": "scene0380_00"}
    names = ("v1_balanced_questions_test_scannetv2.json", "v1_balanced_sqa_annotations_test_scannetv2.json")
    (tmp_path / names[0]).write_text(json.dumps({"questions": [question]}))
    (tmp_path / names[1]).write_text(json.dumps({"annotations": [answer]}))
    (read,) = benchmark("sqa3d").load(tmp_path)
    assert (read.task, read.answer, read.group) == ("what", ("brown",), "scene0380_00")
    assert benchmark("sqa3d").prompt(read).startswith("I am facing a window. What color is the desk")
    (tmp_path / names[1]).write_text(json.dumps({"annotations": []}))
    with pytest.raises(UniuggError, match="has no answer"):
        list(benchmark("sqa3d").load(tmp_path))


def test_scanqa(tmp_path: Path) -> None:
    record = {
        "scene_id": "scene0011_00",
        "question_id": "val-scene0011-0",
        "question": "Where is the beige wooden working table placed?",
        "answers": ["right of tall cabinet", "in front of right side"],
        "object_ids": [8],
        "object_names": ["cabinet"],
    }
    (tmp_path / "ScanQA_v1.0_val.json").write_text(json.dumps([record]))
    (read,) = benchmark("scanqa").load(tmp_path)
    assert (read.task, len(read.answer), len(read.images)) == ("Place", 2, 16)
    with pytest.raises(UniuggError, match=r"ScanQA_v1.0_test_w_obj.json"):
        list(benchmark("scanqa").load(tmp_path, "test_w_obj"))


def test_files_are_found_by_split_and_errors_name_them(tmp_path: Path) -> None:
    with pytest.raises(UniuggError, match="no file of the split 'test'"):
        find_files(tmp_path, "test")
    bad = tmp_path / "test.jsonl"
    bad.write_text('{"a": 1}\n{')
    with pytest.raises(UniuggError, match="line 2"):
        list(read_file(bad))
    other = tmp_path / "test.xlsx"
    other.write_bytes(b"")
    with pytest.raises(UniuggError, match="no reader"):
        list(read_file(other))
    assert [text_of(value) for value in (3.0, 3.5, 3, "x")] == ["3", "3.5", "3", "x"]


def test_pictures_are_shrunk_only_when_asked(tmp_path: Path) -> None:
    data = png(50, 200, 100)
    assert encoded([Picture(data=data)]) == [("image/png", data)]
    ((media, small),) = encoded([Picture(data=data)], largest=50)
    assert media == "image/jpeg"
    assert decode([Picture(data=small)])[0].shape == (25, 50, 3)
    with pytest.raises(UniuggError) as caught:
        decode([Picture(data=b"no picture")])
    assert caught.value.code == ErrorCode.IMAGE_UNDECODABLE
