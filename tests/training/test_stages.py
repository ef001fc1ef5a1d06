"""Every stage on the micro model: it trains, what is frozen stays, and each starts from the one before."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import RememberedRooms, micro

from training import checkpoint as files
from training import sources
from training.config import TrainConfig
from training.data.views import PairBatch
from training.loop import Outcome, Trainer, step_generator
from training.losses.semantics import balanced_class_loss, cells_in_order, class_shares
from training.stages import build_stage
from training.stages.base import Stage
from training.stages.vision import to_unit
from training.supervision import decoded_alone
from uniugg_core.errors import ErrorCode, UniuggError


@pytest.fixture(scope="module", autouse=True)
def _remember() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sources.SOURCES, "rooms", RememberedRooms)
        yield


def train(config: TrainConfig, out: Path, *, resume: bool = False) -> tuple[Stage, Outcome]:
    stage = build_stage(config)
    return stage, Trainer(stage, config, out, log=None).run(resume=resume)


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """First parts of the names of tensors that differ."""
    return {name.split(".")[0] for name in after if name in before and not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher, stage 1, stage 2 and stage 3, one after the other."""
    root, pictures = tmp_path_factory.mktemp("runs"), {"pictures_every": 3}
    train(micro("teacher", run=pictures), root / "teacher")
    train(
        micro("encoder", start=root / "teacher", encoder={"teacher": str(root / "teacher")}, run=pictures),
        root / "encoder",
    )
    train(micro("vae", start=root / "encoder", run=pictures), root / "vae")
    average = {"decay": 0.9, "prefixes": ["denoiser."]}
    train(micro("unified", start=root / "vae", ema=average, run=pictures), root / "unified")
    return root


class TestChain:
    @pytest.mark.parametrize("name", ["teacher", "encoder", "vae", "unified"])
    def test_curve_pictures_and_checkpoints(self, runs: Path, name: str) -> None:
        lines = [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if line["event"] == "train"] == [1, 2, 3]
        assert [line["step"] for line in lines if line["event"] == "validate"] == [2, 3]
        losses = [value for line in lines for key, value in line.items() if key.split("/")[-1] == "loss"]
        assert losses and all(np.isfinite(value) for value in losses)
        assert files.Checkpoints(runs / name).steps()[-1] == 3
        assert list((runs / name / "pictures").glob("*.png"))

    def test_teacher_alone_has_class_heads(self, runs: Path) -> None:
        assert {name.split(".")[0] for name in files.read_start(runs / "teacher")} == {
            "encoder",
            "token_head",
            "scene_head",
        }
        assert {name.split(".")[0] for name in files.read_start(runs / "encoder")} == {"encoder", "spatial"}

    def test_stage_1_trains_encoder_and_decoder(self, runs: Path) -> None:
        teacher, encoder = (files.read_start(runs / name) for name in ("teacher", "encoder"))
        assert changed(teacher, encoder) == {"encoder"}

    def test_stage_2_leaves_the_encoder(self, runs: Path) -> None:
        before, after = (files.read_start(runs / name) for name in ("encoder", "vae"))
        assert changed(before, after) == {"spatial"}
        assert float(after["vae.latent_scale"]) != 1.0

    def test_stage_3_may_start_from_the_best_or_the_last(self, runs: Path) -> None:
        run = files.Checkpoints(runs / "vae")
        for folder in (run.best(), run.last()):
            assert folder is not None
            assert float(files.read_weights(folder, files.WEIGHTS)["vae.latent_scale"]) != 1.0

    def test_stage_2_standardises(self, runs: Path) -> None:
        stage = build_stage(micro("vae", start=runs / "vae"))
        batch = stage.source("train").batch("pair", range(8))
        features = stage._features(batch["image"].float() / 255, batch["intrinsics"])[0]
        standard = stage.model.vae.standardise(features.flatten(0, 1)).flatten(0, 1)
        torch.testing.assert_close(standard.mean(0), torch.zeros(32), atol=1e-3, rtol=0)
        torch.testing.assert_close(standard.std(0, unbiased=False), torch.ones(32), atol=1e-3, rtol=0)

    def test_stage_3_leaves_the_vision_parts(self, runs: Path) -> None:
        before, after = (files.read_start(runs / name) for name in ("vae", "unified"))
        assert changed(before, after) == set()
        assert {"language", "denoiser"} <= {name.split(".")[0] for name in after}

    def test_exported_model_is_the_averaged_one(self, runs: Path) -> None:
        from uniugg_core.pipeline import UniUGGPipeline

        pipeline = UniUGGPipeline.from_pretrained(runs / "unified" / "model")
        assert pipeline.trained
        folder = files.Checkpoints(runs / "unified").last()
        wanted = files.read_start(folder)
        state = pipeline.model.state_dict()
        for name in ("denoiser.unet.conv_in.weight", "language.view_query", "vae.feature_std"):
            torch.testing.assert_close(state[name], wanted[name], atol=1e-2, rtol=1e-2)
        name = "denoiser.unet.conv_in.weight"
        assert not torch.equal(wanted[name], files.read_start(folder, average=False)[name])

    @pytest.mark.parametrize("name", ["encoder", "unified"])
    def test_resumed_run_equals_one_run(self, runs: Path, tmp_path: Path, name: str) -> None:
        config = TrainConfig.load(runs / name / "train.json")
        stage = build_stage(config)
        trainer = Trainer(stage, config, tmp_path, log=None)
        forward = stage.forward

        def stop(*arguments: object) -> dict:
            if trainer.progress.step == 2 and stage.training:
                raise KeyboardInterrupt
            return forward(*arguments)

        stage.forward = stop
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        train(config, tmp_path, resume=True)
        mine, other = (files.read_start(files.Checkpoints(out).last()) for out in (tmp_path, runs / name))
        assert all(torch.equal(mine[key], other[key]) for key in other)


class TestEncoderStage:
    def one_step(self, **parts: object) -> tuple[Stage, dict[str, torch.Tensor]]:
        stage = build_stage(micro("encoder", **parts))
        batch = {**stage.source("train").batch("pair", range(2)), "kind": "pair"}
        losses = stage(batch, step_generator(0, 0))
        losses["loss"].backward()
        return stage, losses

    def test_terms_add_up(self) -> None:
        _, losses = self.one_step()
        total = losses["points"] + losses["rgb"] + 0.075 * losses["matching"]
        torch.testing.assert_close(losses["loss"], total)

    def test_every_trained_parameter_gets_a_gradient(self) -> None:
        stage, _ = self.one_step()
        blind = {name for name, p in stage.model.named_parameters() if p.requires_grad and p.grad is None}
        assert blind == set()

    def test_symmetric_loss_ignores_the_order(self) -> None:
        stage = build_stage(
            micro("encoder", encoder={"matching_weight": 0.0, "student_cpe": False}, data={"jitter": [0, 0, 0, 0]})
        )
        batch = stage.source("train").batch("pair", range(2))
        losses = [
            stage({**pairs.to_dict(), "kind": "pair"}, step_generator(0, 0))["loss"]
            for pairs in (PairBatch.from_dict(batch), PairBatch.from_dict(batch).swapped())
        ]
        torch.testing.assert_close(*losses)

    def test_switches(self) -> None:
        stage, losses = self.one_step(encoder={"matching_weight": 0.0, "rgb_weight": 0.0, "symmetric": False})
        assert set(losses) == {"loss", "points", "regression"}
        assert stage.model.spatial.head_a.descriptors.fc1.weight.grad is None

    def test_pixels_that_are_not_described(self) -> None:
        bare = {"decoder": {"descriptor": 0}}
        with pytest.raises(UniuggError, match=r"decoder\.descriptor") as caught:
            build_stage(micro("encoder", model=bare))
        assert caught.value.code == ErrorCode.REQUEST_INVALID
        _, losses = self.one_step(model=bare, encoder={"matching_weight": 0.0})
        assert losses["points"] > 0 and "matching" not in losses

    def test_pictures_alone(self) -> None:
        """Half of the pairs as two pictures in their own frames: the same losses, of the first camera's branch."""
        stage, losses = self.one_step(encoder={"alone_share": 0.5, "rgb_weight": 0.0, "matching_weight": 0.0})
        parts = (losses["points"].detach() + losses["points_alone"].detach()) / 2
        torch.testing.assert_close(losses["loss"].detach(), parts)
        batch = {**stage.source("train").batch("pair", range(2)), "kind": "pair"}
        truth = PairBatch.from_dict(batch)
        apart = truth.apart()
        assert torch.equal(apart.points_in_reference(), truth.points())
        with torch.no_grad():
            encoded = stage.model.encode(to_unit(truth.image).flatten(0, 1), truth.intrinsics.flatten(0, 1))
            features = encoded.features.unflatten(0, (-1, 2))
            first, second = decoded_alone(stage.model.spatial, features, encoded.grid, apart)
            mine = stage.model.spatial.first(features[:, 1], features[:, 1], encoded.grid, truth.intrinsics[:, 1])
            assert "error_alone" in stage.validate(batch, step_generator(0, 0))
        torch.testing.assert_close(second.points, mine.points)
        assert not torch.allclose(first.points, second.points)

    def test_tokens_of_pictures_alone_know_their_things(self) -> None:
        own = {"alone_share": 0.5, "rgb_weight": 0.0, "matching_weight": 0.0}
        _, without = self.one_step(encoder=own)
        stage, losses = self.one_step(encoder={**own, "thing_weight": 0.5})
        assert losses["loss"].item() == pytest.approx(without["loss"].item() + 0.5 * losses["things"].item(), rel=1e-5)
        assert losses["things"] > losses["things_near"] + losses["things_center"] > 0
        assert stage.model.thing_head[1].weight.grad.abs().sum() > 0
        batch = {**stage.source("train").batch("pair", range(2)), "kind": "pair"}
        with torch.no_grad():
            assert {"things", "things_near", "things_center"} <= set(stage.validate(batch, step_generator(0, 0)))
        del batch["boxes"]
        with pytest.raises(UniuggError, match="scene graphs") as refusal:
            stage(batch, step_generator(0, 0))
        assert refusal.value.code is ErrorCode.REQUEST_INVALID

    def test_states_of_pictures_alone_know_classes(self) -> None:
        own = {"alone_share": 0.5, "rgb_weight": 0.0, "matching_weight": 0.0}
        _, without = self.one_step(encoder=own)
        stage, losses = self.one_step(encoder={**own, "state_class_weight": 0.5, "class_cells": 2})
        expected = without["loss"].item() + 0.5 * losses["classes_alone"].item()
        assert losses["loss"].item() == pytest.approx(expected, rel=1e-5)
        assert stage.model.state_head[1].weight.grad.abs().sum() > 0
        batch = {**stage.source("train").batch("pair", range(2)), "kind": "pair"}
        with torch.no_grad():
            assert {"classes_alone", "class_accuracy_alone"} <= set(stage.validate(batch, step_generator(0, 0)))

    @pytest.mark.parametrize("weight", ["thing_weight", "state_class_weight"])
    def test_states_are_of_pictures_alone(self, weight: str) -> None:
        with pytest.raises(UniuggError, match="alone_share") as refusal:
            build_stage(micro("encoder", encoder={weight: 0.5}))
        assert refusal.value.code is ErrorCode.REQUEST_INVALID

    def test_some_pairs_only_say_what_they_show(self) -> None:
        """Geometry of half of the pairs, classes of all."""
        undrawn = {"matching_weight": 0.0, "student_cpe": False, "drop_calibration": 0.0}
        stage, losses = self.one_step(
            encoder={"geometry_share": 0.5, "class_weight": 0.5, **undrawn}, data={"jitter": [0, 0, 0, 0]}
        )
        whole = {**stage.source("train").batch("pair", range(2)), "kind": "pair"}
        half = {name: value[:1] if isinstance(value, torch.Tensor) else value for name, value in whole.items()}
        alone = stage(half, step_generator(0, 0))
        stage.own = dataclasses.replace(stage.own, geometry_share=1.0)
        both = stage(whole, step_generator(0, 0))
        torch.testing.assert_close(losses["points"], alone["points"])
        torch.testing.assert_close(losses["classes"], both["classes"])
        assert not torch.allclose(losses["points"], both["points"]) and not torch.allclose(
            losses["classes"], alone["classes"]
        )

    def test_classes_of_cells(self) -> None:
        stage, losses = self.one_step(encoder={"class_weight": 0.5, "class_cells": 2})
        assert stage.model.token_head[1].out_features == 4 * stage.classes
        assert losses["classes"] > 1.0
        for cells in (0, 3):
            with pytest.raises(UniuggError, match="class_cells") as refusal:
                build_stage(micro("encoder", encoder={"class_weight": 0.5, "class_cells": cells}))
            assert refusal.value.code is ErrorCode.REQUEST_INVALID

    def test_frozen_encoder(self, runs: Path, tmp_path: Path) -> None:
        config = micro("encoder", start=runs / "teacher", encoder={"train_encoder": False})
        train(config, tmp_path)
        assert changed(files.read_start(runs / "teacher"), files.read_start(tmp_path)) == set()

    def test_single_pictures_only_distil(self, runs: Path) -> None:
        config = micro("encoder", encoder={"teacher": str(runs / "teacher"), "single_share": 0.5})
        stage = build_stage(config)
        assert stage.kinds() == {"pair": 0.5, "single": 0.5}
        batch = {**stage.source("train").batch("single", range(2)), "kind": "single"}
        losses = stage(batch, step_generator(0, 0))
        torch.testing.assert_close(losses["loss"], 10 * losses["tokens"] + 10 * losses["summary"])
        losses["loss"].backward()
        assert not any(p.grad is not None for p in stage.teacher.parameters())
        assert not stage.teacher.training and stage.model.training

    def test_a_teacher_agrees_with_itself(self, runs: Path) -> None:
        start = runs / "teacher"
        config = micro("encoder", start=start, encoder={"teacher": str(start), "student_cpe": False})
        stage = build_stage(config)
        batch = {**stage.source("train").batch("single", range(2)), "kind": "single"}
        assert float(stage(batch, step_generator(0, 0))["loss"].detach()) == pytest.approx(0.0, abs=1e-5)


class TestOtherStages:
    @pytest.mark.parametrize("stage", ["vae", "unified"])
    def test_need_a_start(self, stage: str) -> None:
        with pytest.raises(UniuggError, match="model.start") as caught:
            build_stage(micro(stage))
        assert caught.value.code == ErrorCode.REQUEST_INVALID

    def test_incomplete_start_is_refused(self, runs: Path) -> None:
        with pytest.raises(UniuggError, match="lacks .* spatial") as caught:
            build_stage(micro("vae", start=runs / "teacher"))
        assert caught.value.code == ErrorCode.CHECKPOINT_MISMATCH

    def test_frozen_parts_of_another_shape_are_refused(self, runs: Path) -> None:
        with pytest.raises(UniuggError, match=r"no place for, e.g. encoder\.stem") as caught:
            build_stage(micro("unified", start=runs / "vae", model={"encoder": {"stem": [], "stem_units": []}}))
        assert caught.value.code == ErrorCode.CHECKPOINT_MISMATCH

    def test_pictures_alone_keep_their_true_features(self, runs: Path) -> None:
        stage = build_stage(micro("vae", start=runs / "encoder", vae={"alone_share": 0.5}))
        batch = {**stage.source("train").batch("pair", range(4)), "kind": "pair"}
        losses = stage(batch, step_generator(0, 0))
        parts = [sum(losses[f"{name}{kind}"] for name in ("points", "rgb")) for kind in ("", "_alone")]
        expected = losses["features"] + 1e-4 * losses["kl"] + sum(parts) / 2
        torch.testing.assert_close(losses["loss"], expected)

    def test_decoder_not_tuned(self, runs: Path, tmp_path: Path) -> None:
        train(micro("vae", start=runs / "encoder", vae={"finetune_decoder": False}), tmp_path)
        assert changed(files.read_start(runs / "encoder"), files.read_start(tmp_path)) == set()

    def test_aligning_trains_the_projector_alone(self, runs: Path, tmp_path: Path) -> None:
        stage, _ = train(micro("unified", start=runs / "vae", unified={"phase": "align"}), tmp_path)
        names = {name for name, p in stage.model.named_parameters() if p.requires_grad}
        assert names == {f"language.projector.{i}.{what}" for i in (0, 2) for what in ("weight", "bias")}

    @pytest.mark.parametrize("change", [{"denoiser": {"kind": "regress"}}, {"vae": {"enabled": False}}])
    def test_ablations_d_train(self, runs: Path, tmp_path: Path, change: dict) -> None:
        config = micro(
            "unified",
            start=runs / "vae",
            model=change,
            unified={"generation_share": 1.0, "spatial_weight": 1.0},
            run={"steps": 2},
        )
        _, outcome = train(config, tmp_path)
        assert np.isfinite(outcome.metrics["error_second"])

    @pytest.mark.parametrize(
        ("what", "part", "rate", "steps", "maps", "least"),
        [
            ("naming", "projector", 3e-3, 20, "classes", 0.9),
            ("finding", "grounding", 1e-2, 30, "instances", 0.7),
            ("searching", "grounding", 1e-2, 30, "classes", 0.7),
        ],
    )
    def test_pictures_learn_their_words_and_words_to_look(
        self, runs: Path, what: str, part: str, rate: float, steps: int, maps: str, least: float
    ) -> None:
        """Picture tokens come near the words of what they show; words look at what they name."""
        config = micro("unified", start=runs / "vae", unified={"generation_share": 0.0, f"{what}_weight": 1.0})
        stage = build_stage(config)
        batch = {**stage.source("train").batch("question", range(4)), "kind": "question"}
        optimizer = torch.optim.Adam(getattr(stage.model.language, part).parameters(), lr=rate)
        curve = []
        for step in range(steps):
            losses = stage(batch, step_generator(0, step))
            torch.testing.assert_close(losses["loss"], losses["answers"] + losses[what])
            curve.append(losses[what].item())
            optimizer.zero_grad()
            losses[what].backward()
            optimizer.step()
        assert curve[-1] < least * curve[0]
        del batch[maps]  # recordings have none
        assert what not in stage(batch, step_generator(0, 0))

    def test_classes_are_learnt_in_stage_one(self, runs: Path, tmp_path: Path) -> None:
        config = micro("encoder", start=runs / "teacher", encoder={"class_weight": 0.5})
        stage = build_stage(config)
        batch = {**stage.source("train").batch("pair", range(2)), "kind": "pair"}
        with_them = stage(batch, step_generator(0, 0))
        without = build_stage(micro("encoder", start=runs / "teacher"))(batch, step_generator(0, 0))
        torch.testing.assert_close(with_them["loss"], without["loss"] + 0.5 * with_them["classes"])
        # the head of the teacher's run goes on
        head = files.read_start(runs / "teacher")["token_head.1.weight"]
        torch.testing.assert_close(stage.model.token_head[1].weight.detach(), head)
        # ... but for classes of cells, of which it said nothing, another one begins
        cells = build_stage(micro("encoder", start=runs / "teacher", encoder={"class_weight": 0.5, "class_cells": 2}))
        assert cells.model.token_head[1].weight.shape == (4 * len(head), head.shape[1])
        unused = [int(re.search(r"(\d+) unused", one.notes[0])[1]) for one in (stage, cells)]
        assert unused[1] == unused[0] + 2
        _, outcome = train(config, tmp_path)
        assert 0 <= outcome.metrics["class_accuracy"] <= 1 and outcome.metrics["classes"] > 0

    def test_words_learn_where_to_look_without_any_answer(self, runs: Path, tmp_path: Path) -> None:
        weights = {"finding_weight": 1.0, "searching_weight": 1.0, "boxing_weight": 1.0, "phase": "ground"}
        with pytest.raises(UniuggError) as refusal:
            build_stage(micro("unified", start=runs / "vae", unified={"phase": "ground"}))
        assert refusal.value.code == ErrorCode.REQUEST_INVALID and "finding_weight" in refusal.value.message
        config = micro("unified", start=runs / "vae", unified=weights)
        stage = build_stage(config)
        assert stage.kinds() == {"names": 1.0}
        learning = {name for name, parameter in stage.named_parameters() if parameter.requires_grad}
        assert {name.split(".")[2] for name in learning} == {"grounding", "boxes"}
        batch = {**stage.source("train").batch("names", range(2)), "kind": "names"}
        assert torch.isfinite(stage(batch, step_generator(0, 0))["loss"])
        _, outcome = train(config, tmp_path)
        assert {"finding", "searching"} <= set(outcome.metrics) and "answers" not in outcome.metrics

    def test_exercises_in_words_are_trained_beside_pairs_and_questions(self, runs: Path, tmp_path: Path) -> None:
        config = micro("unified", start=runs / "vae", unified={"drill_share": 0.5}, run={"steps": 2})
        stage = build_stage(config)
        assert stage.kinds() == {"pair": 0.25, "question": 0.25, "drill": 0.5}
        source = stage.source("train")
        for kind in ("pair", "question", "drill"):
            batch = {**source.batch(kind, range(2)), "kind": kind}
            losses = stage(batch, step_generator(0, 0))
            losses["loss"].backward()
            assert torch.isfinite(losses["loss"])
        # they are exactly the questions of the language model without pictures
        language = stage.model.language
        said = [language(language.collate([[stage._prompt(q)]], [[]]))[0] for q in batch["questions"][0][:1]]
        alone = stage({"kind": "drill", "questions": (batch["questions"][0][:1],)}, step_generator(0, 0))
        torch.testing.assert_close(alone["drill"], said[0])
        _, outcome = train(config, tmp_path)
        assert {"answers", "drill", "drill_right", "error_second"} <= set(outcome.metrics)

    def test_some_questions_are_taught_what_follows_from_what_is_perceived(
        self, runs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage = build_stage(
            micro("unified", start=runs / "vae", unified={"generation_share": 0.0, "retold_share": 0.5})
        )
        batch = {**stage.source("train").batch("question", range(8)), "kind": "question"}
        monkeypatch.setattr("training.stages.unified.retell", lambda shown, talk, place, question: "7.7 m")
        taught, collate = [], stage.model.language.collate

        def listening(prompts, *more):
            taught.append([stage.tokenizer.decode(prompt.answer[:-1]) for row in prompts for prompt in row])
            return collate(prompts, *more)

        monkeypatch.setattr(stage.model.language, "collate", listening)
        stage.eval()(batch, step_generator(0, 0))
        true = [question.spoken for together in batch["questions"] for question in together]
        assert taught.pop() == true, "validation is by what is true"
        stage.train()
        for step in range(6):
            stage(batch, step_generator(0, step))
        retold = [said != right for together in taught for said, right in zip(together, true)]
        assert 0.25 < sum(retold) / len(retold) < 0.75
        assert all(said in (right, "7.7 m") for together in taught for said, right in zip(together, true))

    def test_learns_four_answers_by_heart(self, runs: Path) -> None:
        """The joint stage learns four questions by heart."""
        config = micro("unified", start=runs / "vae", unified={"generation_share": 0.0})
        stage = build_stage(config)
        batch = {**stage.source("train").batch("question", range(4)), "kind": "question"}
        optimizer = torch.optim.Adam([p for p in stage.parameters() if p.requires_grad], lr=3e-3)
        first = None
        for step in range(60):
            loss = stage(batch, step_generator(0, step))["loss"]
            first = first or loss.item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.3 * first


def test_class_shares() -> None:
    classes = torch.zeros(1, 4, 4, dtype=torch.uint8)
    classes[0, :2, :2] = 2
    classes[0, 3, 3] = 1
    shares = class_shares(classes, 2, 3)
    assert shares.shape == (1, 4, 3)
    assert shares[0, 0].tolist() == [0, 0, 1]
    assert shares[0, 3].tolist() == [0.75, 0.25, 0]


def test_cells_in_order() -> None:
    """A token says its cells row by row, a finer grid has them row by row of the picture."""
    rows, columns, cells = 2, 3, 2
    at = torch.arange(rows * cells)[:, None] * 100 + torch.arange(columns * cells)  # (4, 6), row * 100 + column
    said = at.unfold(0, cells, cells).unfold(1, cells, cells).flatten(2).flatten(0, 1)[None]  # (1, 6, 4)
    said = torch.stack([said, -said], dim=-1).flatten(2)
    fine = cells_in_order(said, (rows, columns), cells)
    assert torch.equal(fine[0, :, 0], at.flatten())
    assert torch.equal(fine[0, :, 1], -at.flatten())


def test_balanced_class_loss() -> None:
    """Nine tokens of one class and one of another: by the roots of their areas, 3 to 1."""
    shares = torch.eye(2)[[0] * 9 + [1]]
    logits = torch.tensor([[2.0, 0.0]]).repeat(10, 1)
    loss, accuracy = balanced_class_loss(logits, shares)
    right, wrong = (-torch.log_softmax(logits[0], -1)).tolist()
    assert loss.item() == pytest.approx(0.75 * right + 0.25 * wrong)
    assert accuracy.item() == pytest.approx(0.75)
