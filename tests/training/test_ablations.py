"""The ablation runner: what it plans, trains once, resumes, measures and puts into its table; on the micro model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from micro import MODEL, RememberedRooms

from training import cli, sources
from training.ablations import STEPS, VARIANTS, Ablations, markdown, run_ablations, summary
from training.config import TrainConfig
from training.data.rooms import RoomsDataset
from training.evaluation import rooms as rooms_module
from training.evaluation.imagining import Sampling
from training.evaluation.rooms import open_rooms
from training.loop import Outcome, Trainer
from uniugg_core.errors import UniuggError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "training" / "configs" / "tiny"
EVALUATION = {"scenes": 2, "questions": 1, "clouds": False, "rooms": {"views": 3}, "sampling": Sampling(steps=2)}


@pytest.fixture(scope="module", autouse=True)
def _remember() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sources.SOURCES, "rooms", RememberedRooms)
        made: dict[int, RoomsDataset] = {}
        patch.setattr(
            rooms_module,
            "open_rooms",
            lambda size, settings: made.setdefault(
                settings.seed, made.get(settings.seed) or open_rooms(size, settings)
            ),
        )
        yield


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped settings of `tiny` at the micro model's size: only the shared base is another."""
    folder = tmp_path_factory.mktemp("configs") / "micro"
    for path in SHIPPED.rglob("*.yaml"):
        (folder / path.relative_to(SHIPPED)).parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_load(path.read_text())
        for section in ("run", "ema"):  # steps, batch sizes and averages are those of the base below
            text.pop(section, None)
        text.setdefault("model", {}).pop("preset", None)
        (folder / path.relative_to(SHIPPED)).write_text(yaml.safe_dump(text))
    base = {
        "model": {"preset": "tiny", "change": MODEL},
        "data": {"workers": 0, "options": {"views": 3, "pairs": 2}},
        "encoder": {"correspondences": 16},
        "vae": {"statistics_samples": 4, "scale_samples": 4},
        "run": {
            "steps": 2,
            "batch_size": 2,
            "log_every": 2,
            "validate_every": 0,
            "pictures_every": 0,
            "checkpoint_every": 2,
            "device": "cpu",
            "tensorboard": False,
            "peak_tflops": 0.1,
        },
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    return folder


@pytest.fixture(scope="module")
def plan(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Ablations:
    return Ablations(configs, tmp_path_factory.mktemp("out"), seeds=(0, 1), evaluation=EVALUATION)


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.fixture(scope="module")
def told(plan: Ablations) -> list[str]:
    """What was said while everything was trained and measured, with one kill on the way."""
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 7:
            raise Killed

    with pytest.raises(Killed):
        run_ablations(plan, say=say)
    assert run_ablations(plan, say=said.append) is None
    return said


class TestPlan:
    def test_shared_runs_come_once_and_first(self) -> None:
        order = [name for name, _ in Ablations(SHIPPED, Path("out")).plan()]
        assert sorted(order) == sorted(STEPS)
        for name, step in STEPS.items():
            for before in step.before():
                assert order.index(before) < order.index(name)

    def test_only_what_is_needed(self) -> None:
        use = {"ground": Path("nowhere/words"), "vae": Path("nowhere/vae")}
        chosen = Ablations(SHIPPED, Path("out"), only=("d",), use=use, train_seeds=2)
        assert chosen.plan() == [("d", 0), ("d", 1)]
        config = chosen.settings("d", 1)
        assert config.seed == 1 and config.model.start == ("nowhere/vae", "nowhere/words:language")
        assert config.model.resolve().denoiser.kind == "regress"
        assert chosen.folder("d", 1) == Path("out/runs/d-seed1")

    def test_every_variant_differs_where_it_should(self) -> None:
        shipped = Ablations(SHIPPED, Path("out"))
        assert not shipped.settings("a-encoder").encoder.train_encoder
        assert shipped.settings("b-encoder").encoder.teacher is None and not shipped.settings("b-encoder").model.start
        assert not shipped.settings("c-vae").vae.finetune_decoder and shipped.settings("vae").vae.finetune_decoder
        assert not shipped.settings("d-raw").model.resolve().vae.enabled
        shares = [shipped.settings(name).unified.generation_share for name in ("full", "generation", "answers")]
        assert 0 < shares[0] < 1 and shares[1:] == [1.0, 0.0]
        assert shipped.settings("generation").unified.drill_share == 0.0  # no words at all

    def test_changes_for_all_for_a_stage_and_for_a_run(self) -> None:
        changes = ("run.batch_size=3", "vae:run.steps=5", "c-vae:run.steps=6")
        changed = Ablations(SHIPPED, Path("out"), changes=changes)
        assert [changed.settings(name).run.steps for name in ("vae", "a-vae", "c-vae")] == [5, 5, 6]
        assert changed.settings("full").run.steps == 30000 and changed.settings("full").run.batch_size == 3
        with pytest.raises(UniuggError, match="no run or stage 'vea'"):
            Ablations(SHIPPED, Path("out"), changes=("vea:run.steps=5",)).settings("vae")

    @pytest.mark.parametrize(
        "wrong", [{"only": ("e",)}, {"use": {"x": Path()}}, {"seeds": ()}, {"configs": ROOT / "training/configs/paper"}]
    )
    def test_refusals(self, wrong: dict) -> None:
        with pytest.raises(UniuggError):
            replace(Ablations(SHIPPED, Path("out")), **wrong)


class TestRun:
    def test_every_variant_is_trained_and_measured(self, plan: Ablations, told: list[str]) -> None:
        table = json.loads((plan.out / "ablations.json").read_text())
        assert list(table["variants"]) == list(VARIANTS)
        for name, row in table["variants"].items():
            measured = {key for key, figure in row["columns"].items() if figure is not None}
            assert ("unseen_error" in measured) == VARIANTS[name].imagines
            assert ("answers" in measured) == VARIANTS[name].answers
            assert all(len(row["columns"][key]["values"]) == 2 for key in measured)
        lines = (plan.out / "ablations.md").read_text().splitlines()
        assert len([line for line in lines if line.startswith("| ")]) == 1 + len(VARIANTS) and "±" in lines[2]

    def test_what_was_done_before_the_kill_is_not_done_again(self, plan: Ablations, told: list[str]) -> None:
        assert sum(text.startswith("run 1 of 18: teacher") for text in told) == 2  # before and after
        assert len((plan.out / "runs" / "teacher" / "metrics.jsonl").read_text().splitlines()) == 1  # trained once
        before = {path: path.stat().st_mtime_ns for path in plan.out.rglob("*.safetensors")}
        results = {path: path.read_bytes() for path in (plan.out / "results").iterdir()}
        said: list[str] = []
        run_ablations(plan, say=said.append)
        assert before == {path: path.stat().st_mtime_ns for path in plan.out.rglob("*.safetensors")}
        assert results == {path: path.read_bytes() for path in (plan.out / "results").iterdir()}
        assert not any(text.startswith("measuring") for text in said)

    def test_a_kill_before_the_export_loses_nothing(self, plan: Ablations, told: list[str]) -> None:
        model = plan.out / "runs" / "d" / "model"
        kept = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
        shutil.rmtree(model)
        run_ablations(replace(plan, only=("d",)))
        assert {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()} == kept

    def test_a_run_killed_in_the_middle_ends_as_if_it_had_not_been(
        self, plan: Ablations, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vae = plan.folder("vae")
        again = replace(
            plan, out=tmp_path, only=("generation",), use={"vae": vae}, changes=("run.checkpoint_every=1",), seeds=(0,)
        )
        step = Trainer._step

        def fatal(self: Trainer, batches: Iterator) -> None:
            if self.progress.step == 1:
                raise Killed
            step(self, batches)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", fatal)
            with pytest.raises(Killed):
                run_ablations(again)
        assert not (tmp_path / "ablations.md").exists()
        run_ablations(again)
        weights = [out / "runs" / "generation" / "model" / "model.safetensors" for out in (plan.out, tmp_path)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
        assert (tmp_path / "ablations.md").exists()

    def test_a_signal_ends_it(
        self, plan: Ablations, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Trainer, "run", lambda self, resume: Outcome(1, "SIGTERM", None, {}))
        said: list[str] = []
        assert run_ablations(replace(plan, out=tmp_path), say=said.append) == "SIGTERM"
        assert len(said) == 1

    def test_a_run_of_a_version_with_fewer_settings_is_the_same_run(self, plan: Ablations, told: list[str]) -> None:
        file = plan.folder("d") / "train.json"
        before = file.read_text()
        written = json.loads(before)
        assert written["vae"].pop("kl_weight") == TrainConfig().vae.kl_weight
        file.write_text(json.dumps(written))
        said: list[str] = []
        run_ablations(replace(plan, only=("d",)), say=said.append)
        assert not any(text.startswith("measuring") for text in said)
        file.write_text(before)

    def test_other_settings_in_the_same_folder_are_refused(self, plan: Ablations, told: list[str]) -> None:
        with pytest.raises(UniuggError, match="other settings"):
            run_ablations(replace(plan, changes=("optimizer.lr=1e-9",)))


def test_the_table_says_who_wins(tmp_path: Path) -> None:
    plan = Ablations(SHIPPED, tmp_path, only=("full", "d"), seeds=(0, 1))
    (tmp_path / "results").mkdir()
    for name, errors in (("full", (0.2, 0.3)), ("d", (0.25, 0.28))):
        for seed, error in enumerate(errors):
            part = {"error_ratio": 2 * error, "methods": {"imagined": {"error": error, "f_10cm": 1 - error}}}
            report = {"unseen": part, "seen": part, "reference": {"error": None}, "vqa": None}
            (tmp_path / "results" / f"{name}-train0-rooms{seed}.json").write_text(json.dumps(report))
    table = summary(plan)
    row = table["variants"]["d"]
    assert row["columns"]["unseen_error"]["mean"] == pytest.approx(0.265)
    assert row["columns"]["unseen_error"]["std"] == pytest.approx(0.0212, abs=1e-4)
    assert row["against_full"]["unseen_error"]["full_better"] == 1 == row["against_full"]["unseen_f10"]["full_better"]
    assert row["against_full"]["unseen_error"]["mean"] == pytest.approx(0.015)
    assert row["columns"]["answers"] is None and "0.265 ± 0.021 (1/2)" in markdown(table)


def test_the_command(plan: Ablations, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ablations", "--configs", str(plan.configs), "--out", str(plan.out), "--use", "vae"]) == 2
    assert "RUN=DIR" in capsys.readouterr().err
    assert cli.main(["encoder", "--out", str(plan.out)]) == 2
    assert "--config" in capsys.readouterr().err
    words = ["ablations", "--configs", str(plan.configs), "--out", str(plan.out), "--seeds", "0", "--scenes", "2"]
    assert cli.main([*words, "--only", "full,generation", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "generation alone" in out and "semantics" not in out
