"""Checks of requests: defaults filled in, and every value out of range refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_model import SMALL, observation, picture, refused

from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode
from uniugg_core.outputs import Observation, Turn
from uniugg_core.requests import check_answer_inputs, check_imagine_inputs, check_observation, sample_seed
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()
EYE = np.eye(4)


def ask(observations=None, question="How far?", history=(), **options):
    observations = [observation()] if observations is None else observations
    return check_answer_inputs(SMALL, TOKENIZER, observations, question, history, **options)


class TestObservation:
    def test_assumes_a_camera_and_says_so(self):
        assert observation().assumed_camera
        assert not Observation(picture(), Camera.from_fov(56, 40, 1.0)).assumed_camera

    @pytest.mark.parametrize(
        "image",
        [
            None,
            "picture.png",
            np.zeros((4, 4), np.uint8),
            np.zeros((4, 4, 4), np.uint8),
            np.zeros((4, 4, 3), np.float32),
            np.zeros((0, 4, 3), np.uint8),
        ],
    )
    def test_malformed_pictures(self, image):
        refused(ErrorCode.IMAGE_MALFORMED, Observation, image)

    def test_calibration_of_another_size(self):
        assert "56x40" in refused(ErrorCode.CAMERA_INFO_MISMATCH, Observation, picture(), Camera.from_fov(40, 56, 1.0))

    def test_none_and_other_things(self):
        refused(ErrorCode.IMAGE_MISSING, check_observation, None)
        refused(ErrorCode.REQUEST_INVALID, check_observation, picture())


class TestImagine:
    def test_defaults(self):
        request = check_imagine_inputs(SMALL, EYE, seed=4)
        assert (request.steps, request.scheduler, request.guidance, request.samples) == (3, "ddim", 1.0, 1)
        assert request.seed == 4

    def test_one_sample_may_take_fewer_steps_than_several(self):
        config = SMALL.replace(generation__steps=4, generation__single_steps=1)
        assert [check_imagine_inputs(config, EYE, samples=count).steps for count in (1, 2)] == [1, 4]
        assert check_imagine_inputs(config, EYE, steps=3).steps == 3
        assert check_imagine_inputs(SMALL, EYE, samples=2).steps == check_imagine_inputs(SMALL, EYE).steps

    def test_numpy_numbers_are_numbers(self):
        request = check_imagine_inputs(SMALL, EYE, steps=np.int64(5), guidance=np.float32(2), seed=np.uint32(7))
        assert (request.steps, request.guidance, request.seed) == (5, 2.0, 7)

    @pytest.mark.parametrize(
        "options",
        [
            {"steps": 0},
            {"steps": 1001},
            {"steps": 2.5},
            {"steps": True},
            {"samples": 0},
            {"samples": 65},
            {"guidance": -1.0},
            {"guidance": math.nan},
            {"guidance": math.inf},
            {"guidance": "2"},
            {"scheduler": "euler"},
            {"scheduler": ""},
            {"seed": -1},
            {"seed": 2**63},
            {"drop_quantile": 1.0},
            {"drop_quantile": -0.1},
        ],
    )
    def test_out_of_range(self, options):
        (name,) = options
        assert name in refused(ErrorCode.REQUEST_INVALID, lambda: check_imagine_inputs(SMALL, EYE, **options))

    @pytest.mark.parametrize(
        "pose", [None, np.eye(3), np.full((4, 4), np.nan), 2 * np.eye(4), np.diag([1.0, 1, -1, 1]), "left"]
    )
    def test_bad_poses(self, pose):
        refused(ErrorCode.POSE_INVALID, check_imagine_inputs, SMALL, pose)

    def test_seed_from_a_generator_or_the_system(self):
        seeds = [check_imagine_inputs(SMALL, EYE, generator=torch.Generator().manual_seed(5)).seed for _ in range(2)]
        assert seeds[0] == seeds[1]
        assert len({check_imagine_inputs(SMALL, EYE).seed for _ in range(8)}) > 1

    def test_no_guidance_without_diffusion(self):
        config = SMALL.replace(denoiser__kind="regress")
        check_imagine_inputs(config, EYE)
        refused(ErrorCode.REQUEST_INVALID, lambda: check_imagine_inputs(config, EYE, guidance=2.0))

    @given(st.integers(0, 2**63 - 1), st.integers(0, 63), st.integers(0, 63))
    def test_sample_seeds_differ(self, seed, first, second):
        assert 0 <= sample_seed(seed, first) < 2**63
        assert (sample_seed(seed, first) == sample_seed(seed, second)) == (first == second)


class TestAnswer:
    def test_defaults(self):
        request = ask()
        assert request.max_new_tokens == 8 and request.imagine is None and len(request.observations) == 1

    def test_one_observation_needs_no_list(self):
        assert len(ask(observation()).observations) == 1

    def test_imagined_view(self):
        assert ask(imagine_from=EYE, seed=9).imagine.seed == 9
        refused(ErrorCode.POSE_INVALID, lambda: ask(imagine_from=np.zeros((4, 4))))

    @pytest.mark.parametrize("question", ["", "  ", "\n\t"])
    def test_empty_question(self, question):
        refused(ErrorCode.QUESTION_EMPTY, lambda: ask(question=question))

    @pytest.mark.parametrize("question", ["chair " * 65, "x" * 1_000_000])
    def test_long_question(self, question):
        assert "64 tokens" in refused(ErrorCode.QUESTION_TOO_LONG, lambda: ask(question=question))

    def test_question_at_the_limit(self):
        ask(question="chair" + " chair" * 62)

    def test_question_that_is_no_text(self):
        refused(ErrorCode.REQUEST_INVALID, lambda: ask(question=b"How far?"))

    def test_pictures(self):
        refused(ErrorCode.IMAGE_MISSING, lambda: ask([]))
        assert "at most 4" in refused(ErrorCode.TOO_MANY_IMAGES, lambda: ask([observation()] * 5))
        refused(ErrorCode.REQUEST_INVALID, lambda: ask([picture()]))

    def test_all_together_must_fit(self):
        turns = [Turn("How far is the chair?", "2 m")] * 40
        assert "600" in refused(ErrorCode.QUESTION_TOO_LONG, lambda: ask(history=turns))
        refused(ErrorCode.QUESTION_TOO_LONG, lambda: ask(history=[Turn("x" * 10_000_000, "y")]))
        refused(ErrorCode.QUESTION_TOO_LONG, lambda: ask(max_new_tokens=590))

    @pytest.mark.parametrize("limit", [0, -1, 601, 1.5])
    def test_token_limit(self, limit):
        refused(ErrorCode.REQUEST_INVALID, lambda: ask(max_new_tokens=limit))

    def test_history_is_turns(self):
        refused(ErrorCode.REQUEST_INVALID, lambda: ask(history=[("q", "a")]))
