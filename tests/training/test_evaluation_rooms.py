"""Evaluation in rooms on the micro model: what goes in and out, blindness, determinism, and the pipeline's own way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro import micro

from training.data.questions.types import choice, lettered, metres, numeric
from training.data.rooms import RoomsDataset
from training.data.views import PairBatch
from training.evaluation import rooms as rooms_module
from training.evaluation.answering import Answerer, Asked
from training.evaluation.imagining import Imaginer, Sampling
from training.evaluation.pictures import case_sheet, chosen_cases
from training.evaluation.pooled import NETWORK, OURS, SURFACES
from training.evaluation.rooms import Evaluation, RoomsEvaluation, cases, evaluate_rooms, open_rooms
from training.evaluation.tables import rooms_table, write_json
from training.evaluation.understanding import Scored, chance, score_answer, understanding_figures
from training.showing import look
from uniugg_core import cli
from uniugg_core.cameras import Camera
from uniugg_core.models.decoder import ViewOutput
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.pipeline import Observation, UniUGGPipeline
from uniugg_core.prompts import question_prompt
from uniugg_core.tokenizer import SpatialTokenizer

SETTINGS = RoomsEvaluation(
    scenes=3, questions=2, samples=2, spread_scenes=3, batch=2, rooms={"views": 3}, sampling=Sampling(steps=2)
)


@pytest.fixture(scope="module")
def pipeline() -> UniUGGPipeline:
    tokenizer = SpatialTokenizer.shipped()
    return UniUGGPipeline(UniUGG.initialised(micro("encoder").model.resolve(), 0, tokenizer), tokenizer)


@pytest.fixture(scope="module", autouse=True)
def _rooms_once() -> Iterator[None]:
    """Rooms are made once for all tests: without OpenGL each takes half a second."""
    kept: dict[tuple, RoomsDataset] = {}

    def remembered(size: int, settings: RoomsEvaluation) -> RoomsDataset:
        key = (size, settings.seed)
        if key not in kept:
            kept[key] = open_rooms(size, replace(settings, batch=8))
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms_module, "open_rooms", remembered)
        yield


@pytest.fixture(scope="module")
def batch(pipeline: UniUGGPipeline) -> PairBatch:
    rooms = rooms_module.open_rooms(pipeline.config.image_size, SETTINGS)
    return PairBatch.collate([rooms.pair(number) for number in range(2)])


@pytest.fixture(scope="module")
def done(pipeline: UniUGGPipeline) -> Evaluation:
    return evaluate_rooms(pipeline, SETTINGS)


def without_time(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name != "seconds"}


class TestScores:
    SIZE = metres("object_size", "How high?", 0.8, (0,))
    SIDE = choice("image_side", "Where?", ("left", "right"), 1, (0,))
    ORDER = lettered("depth_order", "Which?", ("chair", "table", "lamp"), 2, (0,))

    @pytest.mark.parametrize(
        ("said", "score"),
        [("0.80 m", 1.0), ("80 cm", 1.0), ("about 0.8 metres", 1.0), ("0.8", 1.0), ("1.6 m", 0.0), ("tall", 0.0)],
    )
    def test_numbers(self, said: str, score: float) -> None:
        assert score_answer(said, self.SIZE) == score

    def test_near_numbers_score_in_part(self) -> None:
        assert score_answer("1.0 m", self.SIZE) == pytest.approx(0.6, abs=0.11)  # a quarter off

    def test_counts_and_angles_keep_their_unit(self) -> None:
        assert score_answer("4", numeric("count", "How many?", 4, "", 0, (0,))) == 1.0
        assert score_answer("30 deg", numeric("view_change", "How far?", 30, "deg", 0, (0,))) == 1.0

    @pytest.mark.parametrize(("said", "score"), [("right", 1), ("Right. ", 1), ("left", 0), ("", 0), ("right left", 0)])
    def test_words(self, said: str, score: float) -> None:
        assert score_answer(said, self.SIDE) == score

    @pytest.mark.parametrize(("said", "score"), [("C", 1), ("c. lamp", 1), ("(C)", 1), ("A", 0), ("lamp", 0), ("", 0)])
    def test_letters(self, said: str, score: float) -> None:
        assert score_answer(said, self.ORDER) == score

    def test_chance(self) -> None:
        assert chance([self.SIDE, self.ORDER]) == [1 / 2, 1 / 3]
        sizes = [metres("object_size", "?", value, (0,)) for value in (1.0, 1.0, 1.0, 8.0)]
        assert chance(sizes) == [1, 1, 1, 0]  # "1.0 m" is the best constant

    def test_figures(self) -> None:
        scored = [
            Scored(self.SIDE, "right", "left"),
            Scored(self.SIDE, "left", "right"),
            Scored(self.SIZE, "0.8 m", ""),
        ]
        figures = understanding_figures(scored)
        assert figures["accuracy"] == pytest.approx(2 / 3) and figures["questions"] == 3
        assert (
            figures["families"]["image_side"]["accuracy"] == figures["families"]["image_side"]["blind_accuracy"] == 0.5
        )
        assert figures["families"]["object_size"] == {
            "accuracy": 1.0,
            "blind_accuracy": 0.0,
            "chance": 1.0,
            "questions": 1,
        }
        assert figures["family_accuracy"] == 0.75
        assert {name: kind["accuracy"] for name, kind in figures["kinds"].items()} == {"choice": 0.5, "numeric": 1.0}


class TestLikeThePipeline:
    def test_the_same_view_is_imagined(self, pipeline: UniUGGPipeline, batch: PairBatch) -> None:
        imaginer = Imaginer(pipeline.model, Sampling(steps=2))
        features, grid = imaginer.encode(batch)
        told = imaginer.told(features, batch, grid)
        made = imaginer.imagine(told, [5, 6], 1, grid)
        there = imaginer.there(features[:, 0], made, grid, batch)
        points = imaginer.shown(there, imaginer.here(told, batch), batch, told).points
        size = pipeline.config.image_size
        for row, seed in enumerate((5, 6)):
            picture = batch.image[row, 0].permute(1, 2, 0).numpy()
            camera = Camera(size, size, batch.intrinsics[row, 0].double().numpy())
            pose = batch.target_from_reference[row].double().numpy()
            pose[:3, :3] = np.linalg.qr(pose[:3, :3])[0] * np.sign(np.diag(np.linalg.qr(pose[:3, :3])[1]))
            scene = pipeline.imagine(Observation(picture, camera), pose, steps=2, samples=2, seed=seed)
            np.testing.assert_allclose(points[row].numpy(), scene.views[2].points, rtol=2e-3, atol=2e-4)

    @pytest.mark.parametrize("numbers", [False, True])
    def test_the_same_answers(self, batch: PairBatch, numbers: bool) -> None:
        tokenizer = SpatialTokenizer.shipped()
        config = micro("encoder").model.resolve().replace(generation__number_draws=32)
        talkative = UniUGG.initialised(config, 0, tokenizer)
        with torch.no_grad():  # fresh weights are so small that every prompt has the same answer
            for weight in talkative.language.parameters():
                weight.mul_(8 if weight.dim() > 1 else 1)
            if numbers:  # louder than words, so that some are drawn, within what is said and at its end
                digits = [token for token in range(len(tokenizer)) if token in talkative.language.numbers]
                talkative.language.qwen.lm_head.weight[digits] *= 2
        pipeline = UniUGGPipeline(talkative, tokenizer)
        asked = [
            Asked(0, choice("side", "Where is it?", ("left", "right"), 0, (0,))),
            Asked(1, choice("side", "Which of the two frames is nearer to the big table?", ("1", "2"), 0, (0, 1))),
            Asked(1, choice("side", "What?", ("left", "right"), 0, (1,))),
            Asked(0, choice("side", "What is at (20, 60) of frame 2?", ("left", "right"), 0, (0, 1))),
        ]
        features, grid = Imaginer(talkative).encode(batch)
        said = Answerer(talkative, tokenizer, 6)(features, grid, batch, asked)
        for item, text in zip(asked, said):
            pictures = []
            for view in item.question.views:
                image, matrix = batch.image[item.row, view], batch.intrinsics[item.row, view].double().numpy()
                size = image.shape[-1]
                pictures.append(Observation(image.permute(1, 2, 0).numpy(), Camera(size, size, matrix)))
            assert text == pipeline.answer(pictures, item.question.text, max_new_tokens=6).text
        assert len(set(said)) == (2 if numbers else 4)
        assert any(digit in "".join(said) for digit in "0123456789") == numbers

    def test_a_commanded_pose_stands_in_the_prompt_as_in_training(
        self, pipeline: UniUGGPipeline, batch: PairBatch
    ) -> None:
        language = pipeline.model.language
        features, grid = Imaginer(pipeline.model).encode(batch)
        pose = tuple(tuple(row) for row in batch.target_from_reference[1].tolist())
        plain = choice("commanded_side", "Where then?", ("left", "right"), 0, (0,))
        posed = replace(plain, target_from_reference=pose)
        answerer = Answerer(pipeline.model, pipeline.tokenizer)
        with torch.inference_mode():
            without, row = answerer._rows(features, grid, batch, [Asked(1, plain), Asked(1, posed)], False)
            seen, _ = look(pipeline.model, features, grid, batch, [(1, (0,))])
            picture = pipeline.model.tokens(seen)[0]
            prompt = question_prompt(pipeline.tokenizer, plain.text, with_queries=True, answer="left")
            rays = pipeline.model.raymap(batch.target_from_reference[1:2], batch.intrinsics[1:2, 0], grid)
            lessons = language.collate([[prompt]], [[picture]], [[language.embed_rays(rays)[0]]])
        start = int((lessons.labels[0] < 0).sum())
        whole = torch.cat([lessons.starts[0], lessons.asked[0][:start]])
        torch.testing.assert_close(row, whole, rtol=1e-4, atol=1e-5)
        assert len(row) > len(without) + grid[0] * grid[1]


class TestSurfaces:
    """Models that put what they imagine onto the room's surfaces."""

    CHANGES = {
        "language__points": True,
        "generation__keep_observed": True,
        "generation__keep_surfaces": True,
        "denoiser__preview": True,
        "denoiser__hint": True,
        "denoiser__condition_channels": 4,
    }

    @pytest.fixture(scope="class")
    def room_minded(self) -> UniUGGPipeline:
        tokenizer = SpatialTokenizer.shipped()
        config = micro("encoder").model.resolve().replace(**self.CHANGES)
        return UniUGGPipeline(UniUGG.initialised(config, 0, tokenizer), tokenizer)

    def test_the_same_view_is_imagined(self, room_minded: UniUGGPipeline, batch: PairBatch) -> None:
        TestLikeThePipeline().test_the_same_view_is_imagined(room_minded, batch)

    def test_they_are_measured_by_themselves(
        self, room_minded: UniUGGPipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """True walls come out as what they are."""
        monkeypatch.setattr(Imaginer, "surfaces", lambda self, told, batch: batch.points()[:, 1].norm(dim=-1))
        report = evaluate_rooms(room_minded, replace(SETTINGS, questions=0, samples=1)).report
        for part in ("seen", "unseen"):
            assert report[part]["methods"]["surfaces"]["error"] < 1e-3
            assert report[part]["best_baseline"] in ("moved", "filled")
        assert "own surfaces, gone on" in rooms_table(report)


class TestTwoPictures:
    """Where the second one was taken, told by landmarks."""

    CHANGES = {"language__points": True, "language__placed": True, "decoder__registered": True}

    @pytest.fixture(scope="class")
    def telling(self) -> UniUGGPipeline:
        tokenizer = SpatialTokenizer.shipped()
        config = micro("encoder").model.resolve().replace(**self.CHANGES)
        return UniUGGPipeline(UniUGG.initialised(config, 0, tokenizer), tokenizer)

    def test_known_poses_are_told(
        self, telling: UniUGGPipeline, batch: PairBatch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        poses = np.linalg.inv(batch.target_from_reference.double().numpy())
        given = iter(poses)
        monkeypatch.setattr("training.showing.register", lambda first, second: next(given))
        imaginer = Imaginer(telling.model)
        told = imaginer.cameras(*imaginer.encode(batch), batch)
        np.testing.assert_allclose(told.numpy(), poses, atol=1e-3)

    def test_both_pictures_are_looked_at_in_their_order(
        self, telling: UniUGGPipeline, batch: PairBatch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        monkeypatch.setattr("training.showing.register", lambda *two: asked.append(two))
        imaginer = Imaginer(telling.model)
        features, grid = imaginer.encode(batch)
        look(telling.model, features, grid, batch, [(1, (1, 0)), (0, (0,))])
        ((first, second),) = asked
        assert np.array_equal(first.image, batch.image[1, 1].permute(1, 2, 0).numpy())
        assert np.array_equal(second.image, batch.image[1, 0].permute(1, 2, 0).numpy())
        np.testing.assert_allclose(second.matrix, batch.intrinsics[1, 0].numpy())

    def test_blind_answers_are_told_nothing(
        self, telling: UniUGGPipeline, batch: PairBatch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("training.showing.register", None)  # to call it fails
        features, grid = Imaginer(telling.model).encode(batch)
        asked = [Asked(0, choice("side", "Where is it?", ("left", "right"), 0, (0, 1)))]
        Answerer(telling.model, telling.tokenizer, 2)(features, grid, batch, asked, blind=True)

    def test_how_far_off_it_is_told_is_reported(self, telling: UniUGGPipeline) -> None:
        report = evaluate_rooms(telling, replace(SETTINGS, questions=0, samples=1)).report
        told = report["pose"]["pictures"]
        assert told["found"] == 1 and 0 <= told["rotation_deg"] <= 180 and told["translation_m"] >= 0
        assert "two real pictures, as told" in rooms_table(report)


class TestBlind:
    def test_blind_answers_do_not_depend_on_the_picture(self, pipeline: UniUGGPipeline, batch: PairBatch) -> None:
        other = replace(batch, image=255 - batch.image)
        asked = [Asked(0, choice("side", "Where is it?", ("left", "right"), 0, (0, 1)))]
        answerer, imaginer = Answerer(pipeline.model, pipeline.tokenizer, 4), Imaginer(pipeline.model)
        one, two = imaginer.encode(batch)[0], imaginer.encode(other)[0]
        grid = imaginer.encode(batch)[1]
        assert not torch.allclose(one, two)
        assert answerer(one, grid, batch, asked, blind=True) == answerer(two, grid, other, asked, blind=True)
        with torch.inference_mode():
            (blind, again), seen = (
                [answerer._rows(features, grid, batch, asked, blind)[0] for features in (one, two)]
                for blind in (True, False)
            )
        assert torch.equal(blind, again)
        assert not torch.allclose(*seen) and not torch.allclose(seen[0], blind)

    def test_a_stand_in_that_needs_its_eyes(self, pipeline: UniUGGPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        class StandIn:
            def __init__(self, *_: object) -> None: ...

            def __call__(
                self, _f: object, _g: object, _b: object, asked: list[Asked], *, blind: bool = False
            ) -> list[str]:
                return ["nothing" if blind else item.question.answer for item in asked]

        monkeypatch.setattr(rooms_module, "Answerer", StandIn)
        figures = evaluate_rooms(pipeline, replace(SETTINGS, samples=1, clouds=False)).report["vqa"]
        assert (figures["accuracy"], figures["blind_accuracy"], figures["questions"]) == (1.0, 0.0, 6)
        assert 0 < figures["chance"] <= 1 and figures["family_accuracy"] == 1.0


class TestRooms:
    def test_the_report_has_what_others_read(self, done: Evaluation, tmp_path: Path) -> None:
        write_json(done.report, tmp_path / "deep" / "figures.json")
        report = json.loads((tmp_path / "deep" / "figures.json").read_text())
        assert (report["scenes"], report["seed"]) == (3, 0)
        for part in ("unseen", "seen"):
            assert report[part]["error_ratio"] > 0 and report[part]["best_baseline"] in ("moved", "filled")
            assert set(report[part]["methods"]) == {
                *(OURS, NETWORK, SURFACES, "oracle", "oracle_vae", "moved", "filled", "moved_true", "filled_true")
            }
            for figures in report[part]["methods"].values():
                assert set(figures) == {"error", "abs_rel", "delta_1.25", "coverage", "f_5cm", "f_10cm"}
        assert 0 <= report["vqa"]["accuracy"] <= 1 and 0 <= report["vqa"]["blind_accuracy"] <= 1
        assert report["uncertainty"]["spread"]["aurc"] > 0
        things = report["things"]
        assert things["things"] == sum(kind["things"] for kind in things["by_class"].values()) > 3
        assert "distance of what is seen" in rooms_table(report)
        assert report["uncertainty"]["median_spread"]["unseen"] > 0
        assert (
            sum(row["scenes"] for row in report["by_angle"]) == 3 == sum(row["scenes"] for row in report["by_baseline"])
        )
        assert "unseen by the reference" in rooms_table(done.report)

    def test_true_depth_is_nearly_right_where_it_is_seen(self, done: Evaluation) -> None:
        seen = done.report["seen"]["methods"]
        assert seen["moved_true"]["error"] < 0.05 < seen[OURS]["error"]
        assert done.report["unseen"]["methods"]["moved_true"]["coverage"] < seen["moved_true"]["coverage"]

    def test_the_same_seed_repeats_and_another_does_not(self, pipeline: UniUGGPipeline, done: Evaluation) -> None:
        again = evaluate_rooms(pipeline, SETTINGS)
        assert without_time(again.report) == without_time(done.report)
        assert [item.said for item in again.said] == [item.said for item in done.said]
        other = evaluate_rooms(pipeline, replace(SETTINGS, seed=1, questions=0, samples=1, clouds=False))
        assert other.report["vqa"] is None and other.report["uncertainty"] is None
        assert {record.baseline for record in other.records}.isdisjoint(record.baseline for record in done.records)

    def test_the_size_of_batches_does_not_matter(self, pipeline: UniUGGPipeline, done: Evaluation) -> None:
        single = evaluate_rooms(pipeline, replace(SETTINGS, batch=1, questions=0, clouds=False))
        for one, two in zip(single.records, done.records):
            assert (one.index, one.baseline) == (two.index, two.baseline)
            np.testing.assert_allclose(one.methods[OURS].error, two.methods[OURS].error, rtol=1e-3, atol=1e-4)

    def test_a_perfect_model_has_no_error(self, pipeline: UniUGGPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        def knowing(_: object, batch: PairBatch) -> tuple[ViewOutput, dict[str, list[ViewOutput]]]:
            points = batch.points_in_reference()
            ones = torch.ones_like(points[:, 0, ..., 0])
            views = tuple(ViewOutput(points[:, view], ones, None) for view in (0, 1))
            return views[0], {OURS: [views[1]]}

        monkeypatch.setattr(rooms_module._Runner, "_views", knowing)
        report = evaluate_rooms(pipeline, replace(SETTINGS, questions=0)).report
        for part in ("seen", "unseen"):
            ours = report[part]["methods"][OURS]
            assert ours["error"] == pytest.approx(0, abs=1e-5) and ours["delta_1.25"] == ours["f_5cm"] == 1.0
            assert report[part]["error_ratio"] < 0.01
            # its own cloud is the true one
            assert report[part]["methods"]["filled"]["error"] == pytest.approx(
                report[part]["methods"]["filled_true"]["error"], rel=1e-3
            )
        assert report["reference"]["error"] == pytest.approx(0, abs=1e-6)
        assert report["things"]["error"] == pytest.approx(0, abs=1e-5)

    def test_the_regression_variant_stands_beside(self, pipeline: UniUGGPipeline) -> None:
        config = pipeline.config.replace(denoiser__kind="regress")
        rival = UniUGG.initialised(config, 3, pipeline.tokenizer)
        few = replace(SETTINGS, scenes=2, questions=0, samples=1, clouds=False)
        report = evaluate_rooms(pipeline, few, regression=rival).report
        assert report["unseen"]["methods"]["regression"]["error"] > 0
        alone = evaluate_rooms(UniUGGPipeline(rival, pipeline.tokenizer), few).report
        assert alone["seen"]["methods"][OURS]["error"] == report["seen"]["methods"]["regression"]["error"]

    def test_pages_of_cases(self, pipeline: UniUGGPipeline, done: Evaluation) -> None:
        chosen = chosen_cases(done.records, each=1)
        assert list(chosen) == ["best 1", "median 1", "worst 1"] and sorted(chosen.values()) == [0, 1, 2]
        (case,) = cases(pipeline, SETTINGS, [chosen["worst 1"]])
        record = done.records[chosen["worst 1"]]
        np.testing.assert_allclose(case.record.methods[OURS].error, record.methods[OURS].error, rtol=1e-3, atol=1e-4)
        page = case_sheet(case, "worst 1")
        assert page.dtype == np.uint8 and page.shape[1] > 1000 and page.std() > 10


def test_the_command(pipeline: UniUGGPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.save_pretrained(tmp_path / "model")
    words = ["eval", "rooms", "--model", str(tmp_path / "model"), "--scenes", "2", "--questions", "1", "--samples", "2"]
    more = ["--steps", "2", "--json", str(tmp_path / "figures.json"), "--out", str(tmp_path / "pictures")]
    assert cli.main([*words, *more]) == 0
    assert "error / best free baseline" in capsys.readouterr().out
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["scenes"] == 2 and report["sampling"]["steps"] == 2 and report["model"]["folder"].endswith("model")
    files = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert {"curves.png", "answers.png", "best-1.png"} <= files
