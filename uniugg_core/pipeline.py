"""The public way in: :class:`UniUGGPipeline` imagines scenes, reconstructs them and answers questions about them.

One resident model does all three. Data flows once: picture -> encoder -> language model -> condition -> denoiser ->
Spatial-VAE -> spatial decoder -> :class:`~uniugg_core.scene.Scene`. The pipeline is meant for one worker thread at a
time and never touches global random state. Networks run without autograd.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .answering import AnswerStream, answer_steps
from .cameras import Camera, inverse_rigid
from .config import ModelConfig, preset
from .errors import ErrorCode, UniuggError
from .folder import load_folder, resolve_device, resolve_dtype, save_folder
from .models.decoder import ViewOutput
from .models.uniugg import UniUGG
from .outputs import Answer, AnswerToken, Callback, Evidence, Observation, Progress, Turn
from .pose import camera_pose
from .requests import AnswerRequest, check_answer_inputs, check_imagine_inputs, check_observation
from .run import Run, check_finite, is_out_of_memory
from .scene import IMAGINED, OBSERVED, Scene, View
from .sight import Sight
from .tokenizer import SpatialTokenizer

__all__ = [
    "SHIPPED_MODEL",
    "Answer",
    "AnswerStream",
    "AnswerToken",
    "Evidence",
    "Observation",
    "Progress",
    "Turn",
    "UniUGGPipeline",
]

SHIPPED_MODEL = Path(__file__).parent / "assets" / "uniugg-tiny"


class UniUGGPipeline:
    """imagine(), reconstruct() and answer() over one model.

    Args:
        model: with a tokenizer bound; used as it is, on its device and in its type.
        tokenizer: the one that was bound.

    The last few pictures are remembered (see :mod:`uniugg_core.sight`), so a second request about the same picture
    skips its encoding. Call :meth:`forget` after changing the model's weights.
    """

    def __init__(self, model: UniUGG, tokenizer: SpatialTokenizer) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self._sight = Sight(model)

    # In and out

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str = "cpu", dtype: str = "float32", verify: bool = True
    ) -> UniUGGPipeline:
        """The model in a checkpoint folder.

        Args:
            folder: written by :meth:`save_pretrained`.
            device: "cpu", "cuda", ...
            dtype: "float32", "bfloat16" or "float16", whatever the file's type.
            verify: compare the files with ``SHA256SUMS`` if there is one.

        Raises:
            UniuggError: CHECKPOINT_MISSING, CHECKPOINT_INVALID, CHECKPOINT_UNSAFE, CHECKPOINT_MISMATCH,
                REQUEST_INVALID (device, dtype), OUT_OF_MEMORY.
        """
        with _machine_errors():
            return cls(*load_folder(folder, device=device, dtype=dtype, verify=verify))

    @classmethod
    def from_preset(cls, name: str, *, seed: int = 0, device: str = "cpu", dtype: str = "float32") -> UniUGGPipeline:
        """An untrained model of the preset's sizes with the shipped tokenizer, the same for the same seed.

        Raises:
            UniuggError: CHECKPOINT_MISSING for an unknown name; REQUEST_INVALID (device, dtype), OUT_OF_MEMORY.
        """
        config, target, kind = preset(name), resolve_device(device), resolve_dtype(dtype)
        tokenizer = SpatialTokenizer.shipped()
        with _machine_errors():
            return cls(UniUGG.initialised(config, seed, tokenizer, kind).to(target), tokenizer)

    @classmethod
    def default(cls, *, device: str = "cpu", dtype: str = "float32") -> UniUGGPipeline:
        """The model that ships with the package; where none ships, the untrained ``tiny`` (see :attr:`trained`)."""
        if SHIPPED_MODEL.is_dir():
            return cls.from_pretrained(SHIPPED_MODEL, device=device, dtype=dtype)
        return cls.from_preset("tiny", device=device, dtype=dtype)

    def save_pretrained(self, folder: str | Path, *, dtype: str | None = None) -> None:
        """Writes the checkpoint folder, as a whole or not at all.

        Args:
            folder: new, empty, or a checkpoint to replace.
            dtype: type to store; None keeps the weights' own.

        Raises:
            UniuggError: CHECKPOINT_INVALID if it cannot be written there.
        """
        save_folder(folder, self.model, self.tokenizer, dtype=dtype)

    @property
    def config(self) -> ModelConfig:
        """Sizes and defaults."""
        return self.model.config

    @property
    def trained(self) -> bool:
        """Whether the weights come from training."""
        return self.config.trained

    def forget(self) -> None:
        """Drops what is remembered of earlier pictures."""
        self._sight.forget()

    # Scenes

    def imagine(
        self,
        observation: Observation,
        target_from_reference: np.ndarray,
        *,
        steps: int | None = None,
        scheduler: str | None = None,
        guidance: float | None = None,
        samples: int = 1,
        generator: torch.Generator | None = None,
        seed: int | None = None,
        drop_quantile: float | None = None,
        callback: Callback | None = None,
    ) -> Scene:
        """The scene as the picture shows it and, imagined, as it would look from the target pose.

        Works on the centre square of the undistorted picture; the target view has the same calibration.

        Args:
            observation: the reference picture.
            target_from_reference: (4, 4) rigid transform from the reference camera's optical frame to the target's.
            steps: denoising steps; None: the model's default, as for the next two.
            scheduler: "ddim", "dpm++" or "ddpm".
            guidance: classifier-free guidance scale; 1 is off.
            samples: independent imagined views. Each is a view and a part of the cloud, and `spread` says how far they
                disagree. Sample i is the same whatever their number.
            generator: a seed is drawn from it if none is given.
            seed: of the imagined part; the same seed gives the same scene to the bit.
            drop_quantile: points below this quantile of their view's confidence are left out of the cloud.
            callback: told about progress; returning False cancels.

        Returns:
            A scene in the reference camera's frame. Its views are the reference picture (observed), then each sample
            (imagined, with predicted colours). ``timings``: encode, condition, denoise, decode, total.

        Raises:
            UniuggError: POSE_INVALID, REQUEST_INVALID, CAMERA_INFO_INVALID, CANCELLED, NON_FINITE, OUT_OF_MEMORY.
        """
        check_observation(observation)
        request = check_imagine_inputs(
            self.config,
            target_from_reference,
            steps=steps,
            scheduler=scheduler,
            guidance=guidance,
            samples=samples,
            generator=generator,
            seed=seed,
            drop_quantile=drop_quantile,
        )
        with self._work(), torch.inference_mode():
            run = Run(callback, self.model.device)
            picture = self._sight.look(observation, run)
            condition = self._sight.condition(picture, request.target, run)
            camera, here, there = picture.crop.camera, np.eye(4), inverse_rigid(request.target)
            views: list[View] = []
            for sample in range(request.samples):
                target = self._sight.imagine(picture, condition, request, sample, run)
                run.report("decode", sample=sample)
                with run.stage("decode"):
                    if sample == 0:
                        views.append(_view(self._sight.here(picture), picture.crop.image, camera, here, OBSERVED))
                    imagined = self._sight.there(picture, target, request.target)
                    views.append(_view(imagined, None, camera, there, IMAGINED, sample))
            scene = Scene.from_views(
                views,
                frame=observation.frame,
                stamp=observation.stamp,
                drop_quantile=request.drop_quantile,
                seed=request.seed,
            )
            return replace(scene, timings=run.finished())

    def reconstruct(
        self,
        a: Observation,
        b: Observation,
        *,
        drop_quantile: float | None = None,
        callback: Callback | None = None,
    ) -> Scene:
        """The scene that two real pictures show, in the camera frame of `a`; no diffusion, nothing random.

        The pose of `b` is told by landmarks that both pictures show (:mod:`~uniugg_core.registration`), where the model
        asks for that and there are enough; else by its points in the frame of `a` (PnP); where none fits, its view
        carries the identity.

        Raises:
            UniuggError: REQUEST_INVALID, CAMERA_INFO_INVALID, CANCELLED, NON_FINITE, OUT_OF_MEMORY.
        """
        check_observation(a, "a")
        check_observation(b, "b")
        drop = check_imagine_inputs(self.config, np.eye(4), seed=0, drop_quantile=drop_quantile).drop_quantile
        with self._work(), torch.inference_mode():
            run = Run(callback, self.model.device)
            first, second = self._sight.look(a, run), self._sight.look(b, run)
            run.report("decode")
            with run.stage("pose"):
                pose = self._sight.between(first, second)
            with run.stage("decode"):
                pair = self._sight.both(first, second, pose)
                view_a = _view(pair[0], first.crop.image, first.crop.camera, np.eye(4), OBSERVED)
                view_b = _view(pair[1], second.crop.image, second.crop.camera, np.eye(4), OBSERVED)
            if pose is None:
                with run.stage("pose"):
                    pose = camera_pose(view_b.points, view_b.confidence, view_b.camera)
            if pose is not None:
                view_b = replace(view_b, scene_from_camera=pose)
            options = {"frame": a.frame, "stamp": a.stamp, "drop_quantile": drop}
            scene = Scene.from_views([view_a], **options).merge(Scene.from_views([view_b], **options))
            return replace(scene, timings=run.finished())

    # Words

    def answer(
        self,
        observations: Sequence[Observation],
        question: str,
        history: Sequence[Turn] = (),
        *,
        max_new_tokens: int | None = None,
        with_evidence: bool = False,
        imagine_from: np.ndarray | None = None,
        seed: int | None = None,
        callback: Callback | None = None,
    ) -> Answer:
        """The answer to a question about the pictures; nothing is left to chance, the same question has the same one.

        Words are the likeliest ones, numbers what ``generation.number_draws`` of the model's configuration says.

        Args:
            observations: one picture or several, as frames in order.
            question: plain text; control tokens spelled out in it are just characters. A place of a picture is named
                as "(x, y)", whole numbers from 0 (left, top) to 100 of its middle square, which is what the model sees.
            history: earlier questions and answers about the same pictures, oldest first.
            max_new_tokens: upper limit of the answer's length; None: the model's default.
            with_evidence: also say where in the pictures the answer rests (one more pass).
            imagine_from: target_from_reference (4, 4): the last picture is replaced by the view imagined from there.
            seed: of that view.
            callback: told before each stage and each token; returning False cancels within one token.

        Raises:
            UniuggError: IMAGE_MISSING, TOO_MANY_IMAGES, QUESTION_EMPTY, QUESTION_TOO_LONG, POSE_INVALID,
                REQUEST_INVALID, CAMERA_INFO_INVALID, CANCELLED, NON_FINITE, OUT_OF_MEMORY.
        """
        return self.stream(
            observations,
            question,
            history,
            max_new_tokens=max_new_tokens,
            with_evidence=with_evidence,
            imagine_from=imagine_from,
            seed=seed,
            callback=callback,
        ).answer

    def stream(
        self,
        observations: Sequence[Observation],
        question: str,
        history: Sequence[Turn] = (),
        *,
        max_new_tokens: int | None = None,
        with_evidence: bool = False,
        imagine_from: np.ndarray | None = None,
        seed: int | None = None,
        callback: Callback | None = None,
    ) -> AnswerStream:
        """As :meth:`answer`, token by token. Input is checked here; work begins with the first token asked for."""
        request = check_answer_inputs(
            self.config,
            self.tokenizer,
            observations,
            question,
            history,
            max_new_tokens=max_new_tokens,
            with_evidence=with_evidence,
            imagine_from=imagine_from,
            seed=seed,
        )
        return AnswerStream(self._answer_steps(request, callback))

    def _answer_steps(self, request: AnswerRequest, callback: Callback | None) -> Generator[AnswerToken, None, Answer]:
        with self._work():
            run = Run(callback, self.model.device)
            return (yield from answer_steps(self._sight, self.tokenizer, request, run))

    @contextmanager
    def _work(self) -> Iterator[None]:
        """Turns exhausted memory into a coded error, and gives back what the pipeline itself holds."""
        try:
            with _machine_errors():
                yield
        except UniuggError as error:
            if error.code == ErrorCode.OUT_OF_MEMORY:
                self.forget()
                if self.model.device.type == "cuda":
                    torch.cuda.empty_cache()
            raise


@contextmanager
def _machine_errors() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or ["out of memory"])[0]
        raise UniuggError(ErrorCode.OUT_OF_MEMORY, f"memory ran out: {reason}") from error


def _view(
    output: ViewOutput,
    image: np.ndarray | None,
    camera: Camera,
    scene_from_camera: np.ndarray,
    source: int,
    sample: int = 0,
) -> View:
    """One view of the decoder's output; without a picture it gets the predicted colours, or grey without any."""
    check_finite("points", output.points, output.confidence, output.colors)
    points, confidence = output.points[0].cpu().numpy(), output.confidence[0].cpu().numpy()
    if image is None and output.colors is not None:
        image = (output.colors[0] * 255.0).round().to(torch.uint8).cpu().numpy()
    elif image is None:
        image = np.full(points.shape, 128, np.uint8)
    return View(image, points, confidence, camera, scene_from_camera, source, sample)
