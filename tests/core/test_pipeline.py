"""The pipeline's scenes: seeds, samples, cancellation, memory of pictures, cameras, and errors of the machine."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from small_model import SMALL, model, observation, picture, pipeline, refused

from uniugg_core.cameras import Camera, inverse_rigid, parse_motion
from uniugg_core.errors import ErrorCode
from uniugg_core.outputs import Observation, Progress
from uniugg_core.pipeline import SHIPPED_MODEL, UniUGGPipeline
from uniugg_core.scene import IMAGINED, OBSERVED, Scene
from uniugg_core.sight import KEPT_PICTURES
from uniugg_core.tokenizer import SpatialTokenizer

POSE = parse_motion("yaw right 30, forward 0.5")
LEFT = parse_motion("yaw left 20")


def same(first: Scene, second: Scene) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("points", "colors", "confidence", "source", "spread")
    )


class TestImagine:
    def test_the_scene(self):
        scene = pipeline().imagine(observation(frame="eye", stamp=17), POSE, seed=1)
        reference, target = scene.views
        assert len(scene) == 2 * 32 * 32
        assert (scene.frame, scene.stamp, scene.seed) == ("eye", 17, 1)
        assert (reference.source, target.source) == (OBSERVED, IMAGINED)
        assert np.array_equal(reference.scene_from_camera, np.eye(4))
        assert np.allclose(target.scene_from_camera, inverse_rigid(POSE))
        assert target.camera == reference.camera and target.camera.width == 32
        assert set(np.unique(scene.source)) == {OBSERVED, IMAGINED}
        assert (scene.spread == 0).all()
        assert set(scene.timings) == {"encode", "condition", "denoise", "decode", "total"}
        assert scene.timings["total"] >= max(scene.timings["denoise"], scene.timings["decode"])

    def test_the_reference_has_the_pictures_own_colours(self):
        image = np.zeros((32, 48, 3), np.uint8)
        image[:, 8:24] = (255, 0, 0)
        image[:, 24:40] = (0, 0, 255)
        view = pipeline().imagine(Observation(image), POSE, seed=0).views[0]
        assert (view.image[:, :16] == (255, 0, 0)).all() and (view.image[:, 16:] == (0, 0, 255)).all()

    def test_untrained_points_are_not_absurd(self):
        scene = pipeline().imagine(observation(), POSE, seed=0)
        assert np.abs(scene.points).max() < 100

    def test_low_confidence_is_left_out(self):
        scene = pipeline().imagine(observation(), POSE, seed=0, drop_quantile=0.25)
        assert len(scene) == pytest.approx(0.75 * 2 * 32 * 32, rel=0.02)
        for source in (OBSERVED, IMAGINED):
            view = scene.views[source]
            assert scene.confidence[scene.source == source].min() >= np.quantile(view.confidence, 0.25) - 1e-6
        assert scene.views[0].points.shape == (32, 32, 3)  # views stay whole

    def test_without_a_colour_head_the_imagined_view_is_grey(self):
        scene = pipeline(SMALL.replace(decoder__rgb=False)).imagine(observation(), POSE, seed=0)
        assert (scene.views[1].image == 128).all()

    @pytest.mark.parametrize(
        "changes",
        [
            {"denoiser__kind": "regress"},
            {"vae__enabled": False},
            {"vae__up": 1},
            {"vae__arch": "vit"},
            {"language__bidirectional_queries": True},
            {"encoder__kind": "croco"},
            {"decoder__own_frames": True},
            {"denoiser__preview": True},
            {"denoiser__preview": True, "denoiser__hint": True, "denoiser__condition_channels": 4},
            {"language__points": True},
            {"generation__keep_observed": True, "generation__keep_surfaces": True},
            {"denoiser__preview": True, "vae__enabled": False, "language__points": True},
        ],
    )
    def test_every_variant_runs(self, changes):
        scene = pipeline(SMALL.replace(**changes)).imagine(observation(), POSE, seed=0, samples=2)
        assert len(scene.views) == 3 and np.isfinite(scene.points).all()


class TestSeeds:
    def test_same_seed_same_scene_to_the_bit(self):
        assert same(pipeline().imagine(observation(), POSE, seed=5), pipeline().imagine(observation(), POSE, seed=5))

    def test_another_seed_another_imagination_but_one_observation(self):
        first, second = (pipeline().imagine(observation(), POSE, seed=seed) for seed in (5, 6))
        assert not np.array_equal(first.views[1].points, second.views[1].points)

    def test_the_seed_that_was_drawn_repeats_the_scene(self):
        scene = pipeline().imagine(observation(), POSE)
        assert same(scene, pipeline().imagine(observation(), POSE, seed=scene.seed))

    def test_generator(self):
        scenes = [pipeline().imagine(observation(), POSE, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
        assert same(*scenes)

    def test_global_random_state_is_neither_read_nor_changed(self):
        torch.manual_seed(1)
        first = pipeline().imagine(observation(), POSE, seed=5, scheduler="ddpm")
        expected = torch.rand(2)
        torch.manual_seed(1)
        assert torch.equal(torch.rand(2), expected)
        torch.manual_seed(99)
        assert same(first, pipeline().imagine(observation(), POSE, seed=5, scheduler="ddpm"))

    def test_a_sample_does_not_depend_on_how_many_there_are(self):
        few, many = (pipeline().imagine(observation(), POSE, seed=5, samples=k) for k in (2, 4))
        for i in range(3):
            assert np.array_equal(few.views[i].points, many.views[i].points)
        assert not np.array_equal(many.views[1].points, many.views[2].points)
        assert [view.sample for view in many.views] == [0, 0, 1, 2, 3]

    def test_spread_is_the_samples_disagreement(self):
        scene = pipeline().imagine(observation(), POSE, seed=5, samples=3, drop_quantile=0.0)
        points = np.stack([view.points for view in scene.views[1:]])
        expected = np.sqrt(((points - points.mean(0)) ** 2).sum(-1).mean(0)).ravel()
        imagined = scene.source == IMAGINED
        assert np.allclose(scene.spread[imagined], np.tile(expected, 3), rtol=1e-4)
        assert (scene.spread[~imagined] == 0).all() and expected.max() > 0

    @pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "ddpm"])
    def test_guidance_of_one_is_none(self, scheduler):
        options = {"seed": 5, "scheduler": scheduler}
        plain = pipeline().imagine(observation(), POSE, **options)
        assert same(plain, pipeline().imagine(observation(), POSE, guidance=1.0, **options))
        guided = pipeline().imagine(observation(), POSE, guidance=4.0, **options)
        assert not np.array_equal(plain.views[1].points, guided.views[1].points)


class TestProgress:
    def test_is_reported_in_order(self):
        seen: list[Progress] = []
        pipeline().imagine(observation(), POSE, steps=2, samples=2, seed=0, callback=seen.append)
        assert [(p.stage, p.sample, p.step, p.steps) for p in seen if p.stage != "decode"] == [
            ("encode", 0, 0, 0),
            ("condition", 0, 0, 0),
            *[("denoise", sample, step, 2) for sample in (0, 1) for step in (1, 2)],
        ]
        assert {p.sample for p in seen if p.stage == "decode"} == {0, 1}

    @pytest.mark.parametrize("stop", [("encode", 0), ("condition", 0), ("denoise", 1), ("denoise", 3), ("decode", 0)])
    def test_cancelling_anywhere_leaves_a_working_pipeline(self, stop):
        pipe = pipeline()
        seen = []

        def callback(progress: Progress) -> bool:
            seen.append((progress.stage, progress.step))
            return (progress.stage, progress.step) != stop

        message = refused(ErrorCode.CANCELLED, lambda: pipe.imagine(observation(), POSE, seed=5, callback=callback))
        assert stop[0] in message
        assert seen[-1] == stop  # nothing was asked after the refusal
        assert same(pipe.imagine(observation(), POSE, seed=5), pipeline().imagine(observation(), POSE, seed=5))

    def test_only_false_cancels(self):
        for value in (None, True, 0, ""):
            pipeline().imagine(observation(), POSE, seed=0, callback=lambda progress, value=value: value)

    def test_a_callbacks_own_error_passes_through(self):
        def broken(progress: Progress) -> None:
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            pipeline().imagine(observation(), POSE, callback=broken)


class TestMemory:
    def counted(self, pipe: UniUGGPipeline, monkeypatch) -> list[int]:
        calls: list[int] = []
        original = pipe.model.encode
        monkeypatch.setattr(pipe.model, "encode", lambda *given: calls.append(1) or original(*given))
        return calls

    def test_a_picture_is_encoded_once(self, monkeypatch):
        pipe = pipeline()
        calls = self.counted(pipe, monkeypatch)
        for pose in (POSE, LEFT, POSE):
            pipe.imagine(observation(), pose, seed=0)
        pipe.answer([observation()], "How far?")
        assert len(calls) == 1
        pipe.imagine(observation(1), POSE, seed=0)
        assert len(calls) == 2
        pipe.forget()
        pipe.imagine(observation(), POSE, seed=0)
        assert len(calls) == 3

    def test_remembered_or_not_the_scene_is_the_same(self):
        pipe = pipeline()
        pipe.imagine(observation(), LEFT, seed=1)
        pipe.answer([observation()], "How far?")
        assert same(pipe.imagine(observation(), POSE, seed=5), pipeline().imagine(observation(), POSE, seed=5))

    def test_is_bounded(self):
        pipe = pipeline()
        for seed in range(KEPT_PICTURES + 3):
            pipe.imagine(observation(seed), POSE, steps=1)
        assert len(pipe._sight._kept) == KEPT_PICTURES

    def test_calibration_is_not_remembered_with_the_picture(self):
        pipe = pipeline()
        image = picture()
        wide, narrow = (Observation(image, Camera.from_fov(56, 40, fov)) for fov in (1.4, 0.6))
        pipe.imagine(wide, POSE, seed=5)
        scene = pipe.imagine(narrow, POSE, seed=5)
        assert same(scene, pipeline().imagine(narrow, POSE, seed=5))
        assert not same(scene, pipeline().imagine(wide, POSE, seed=5))
        assert scene.views[0].camera.horizontal_fov < 0.6


class TestCameras:
    @pytest.mark.parametrize("size", [(32, 32), (200, 31), (17, 90), (1, 1), (480, 640)])
    def test_any_size(self, size):
        scene = pipeline().imagine(Observation(picture(0, *size)), POSE, seed=0, steps=1)
        assert scene.views[0].image.shape == (32, 32, 3)

    def test_the_assumed_field_of_view(self):
        camera = pipeline().imagine(Observation(picture(0, 64, 64)), POSE, seed=0, steps=1).views[0].camera
        assert np.degrees(camera.horizontal_fov) == pytest.approx(60, abs=1e-6)

    def test_distortion_is_undone(self):
        matrix = np.array([[50.0, 0, 27.5], [0, 50, 19.5], [0, 0, 1]])
        bent = Camera(56, 40, matrix, (-0.3, 0.1, 0.0, 0.0, 0.0), "plumb_bob")
        scene = pipeline().imagine(Observation(picture(), bent), POSE, seed=0, steps=1)
        assert not scene.views[0].camera.is_distorted
        straight = pipeline().imagine(Observation(picture(), Camera(56, 40, matrix)), POSE, seed=0, steps=1)
        assert not np.array_equal(scene.views[0].image, straight.views[0].image)


class TestReconstruct:
    def test_two_observed_views(self):
        scene = pipeline().reconstruct(observation(0, frame="a", stamp=3), observation(1, frame="b"))
        assert [view.source for view in scene.views] == [OBSERVED, OBSERVED]
        assert (scene.frame, scene.stamp, scene.seed) == ("a", 3, None)
        assert (scene.source == OBSERVED).all() and (scene.spread == 0).all()
        assert {"encode", "decode", "pose", "total"} == set(scene.timings)

    def test_repeats_to_the_bit_and_sees_the_order(self):
        forward = pipeline().reconstruct(observation(0), observation(1))
        assert same(forward, pipeline().reconstruct(observation(0), observation(1)))
        assert not np.array_equal(forward.points, pipeline().reconstruct(observation(1), observation(0)).points)

    def test_cancels(self):
        refused(
            ErrorCode.CANCELLED,
            lambda: pipeline().reconstruct(observation(0), observation(1), callback=lambda p: p.stage != "decode"),
        )


class TestMachine:
    @pytest.mark.parametrize(
        ("name", "what"),
        [
            ("encoder.position_table", "features"),
            ("language.view_query", "conditions"),
            ("denoiser.unet.conv_out.bias", "latents"),
            ("vae.decoder.out.bias", "imagined features"),
            ("spatial.norm.bias", "points"),
        ],
    )
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_numbers_that_are_none_are_an_error(self, name, what, value):
        broken = model()
        broken.get_parameter(name).data.view(-1)[0] = value
        pipe = UniUGGPipeline(broken, SpatialTokenizer.shipped())
        assert what in refused(ErrorCode.NON_FINITE, lambda: pipe.imagine(observation(), POSE, seed=0))

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        ],
    )
    def test_exhausted_memory_is_coded_and_survived(self, monkeypatch, error):
        pipe = pipeline()

        def burst(*args, **kwargs):
            raise error

        pipe.answer([observation()], "How far?")
        with monkeypatch.context() as patch:
            patch.setattr(pipe.model.denoiser, "sample", burst)
            refused(ErrorCode.OUT_OF_MEMORY, lambda: pipe.imagine(observation(), POSE, seed=5))
        assert not pipe._sight._kept  # what it held itself was given back
        assert same(pipe.imagine(observation(), POSE, seed=5), pipeline().imagine(observation(), POSE, seed=5))

    def test_other_errors_are_not_dressed_up(self, monkeypatch):
        pipe = pipeline()

        def burst(*args, **kwargs):
            raise RuntimeError("shapes do not match")

        monkeypatch.setattr(pipe.model.denoiser, "sample", burst)
        with pytest.raises(RuntimeError, match="shapes do not match"):
            pipe.imagine(observation(), POSE, seed=5)

    def test_works_in_another_thread_and_builds_no_graph(self):
        found = []
        thread = threading.Thread(target=lambda: found.append(pipeline().imagine(observation(), POSE, seed=5)))
        thread.start()
        thread.join(60)
        assert same(found[0], pipeline().imagine(observation(), POSE, seed=5))
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


class TestInAndOut:
    def test_round_trip_gives_the_same_scene(self, tmp_path):
        pipe = pipeline()
        pipe.save_pretrained(tmp_path / "model")
        loaded = UniUGGPipeline.from_pretrained(tmp_path / "model")
        assert same(loaded.imagine(observation(), POSE, seed=5), pipe.imagine(observation(), POSE, seed=5))
        assert loaded.config == SMALL and not loaded.trained

    def test_half_precision_runs_and_is_close(self, tmp_path):
        pipe = pipeline()
        pipe.save_pretrained(tmp_path / "model")
        half = UniUGGPipeline.from_pretrained(tmp_path / "model", dtype="bfloat16")
        assert half.model.dtype == torch.bfloat16
        full = pipe.imagine(observation(), POSE, seed=5).views[0].points
        assert np.abs(half.imagine(observation(), POSE, seed=5).views[0].points - full).max() < 0.1 * np.abs(full).max()
        half.answer([observation()], "How far?", with_evidence=True)

    def test_presets(self):
        first, again = (UniUGGPipeline.from_preset("tiny", seed=0) for _ in range(2))
        pairs = zip(first.model.state_dict().values(), again.model.state_dict().values())
        assert all(torch.equal(a, b) for a, b in pairs)
        assert not first.trained
        refused(ErrorCode.CHECKPOINT_MISSING, UniUGGPipeline.from_preset, "huge")

    def test_default_is_what_ships_or_tiny(self):
        pipe = UniUGGPipeline.default()
        assert pipe.config.name == "tiny"
        assert pipe.trained == SHIPPED_MODEL.is_dir()
