"""From pictures to features, real or imagined: the part of the pipeline that scenes and answers share.

What a picture was seen to be, and the attention cache of its place in the condition prompt, are kept for the last few.
Several target poses of one picture, or a question after a scene, then cost no second encoding. The numbers are the same
to the bit with and without the cache.

Shape letters: N tokens, D feature width, Q queries, E condition width.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .cameras import Camera, CropResult, square_crop
from .models.decoder import ViewOutput
from .models.denoiser import Denoiser
from .models.language import Prefix
from .models.uniugg import Seen, UniUGG
from .observed import keep_observed
from .outputs import ASSUMED_FOV_DEG, Observation
from .pointmaps import transform_points
from .registration import Sighted, register
from .requests import ImagineRequest, sample_seed
from .run import Run, check_finite

__all__ = ["KEPT_PICTURES", "Encoded", "Picture", "Sight"]

KEPT_PICTURES = 8


@dataclass
class Encoded:
    """What is remembered of a picture.

    Attributes:
        seen: its features and, where the model reads them, its points.
        prefix: the language model's attention cache of it, once a view was imagined from it.
    """

    seen: Seen
    prefix: Prefix | None = None


@dataclass(frozen=True)
class Picture:
    """One picture as the model sees it: the square crop with its camera, and what it was encoded to."""

    crop: CropResult
    encoded: Encoded

    @property
    def features(self) -> Tensor:
        """(1, N, D)."""
        return self.encoded.seen.features

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens."""
        return self.encoded.seen.grid

    @property
    def matrix(self) -> Tensor:
        """(1, 3, 3) calibration of the crop, float32 on the features' device."""
        return torch.from_numpy(np.array(self.crop.camera.matrix))[None].float().to(self.features.device)


class Sight:
    """Encodes pictures and imagines features of other views; remembers the last :data:`KEPT_PICTURES` pictures."""

    def __init__(self, model: UniUGG) -> None:
        self.model = model
        self._kept: OrderedDict[bytes, Encoded] = OrderedDict()

    def forget(self) -> None:
        """Drops what is remembered; needed after the weights change."""
        self._kept.clear()

    def look(self, observation: Observation, run: Run) -> Picture:
        """The features of a picture's square crop."""
        run.report("encode")
        with run.stage("encode"):
            image = observation.image
            camera = observation.camera
            if camera is None:
                camera = Camera.from_fov(image.shape[1], image.shape[0], math.radians(ASSUMED_FOV_DEG))
            crop = square_crop(image, camera, self.model.config.image_size)
            known = observation.camera is not None
            # The same picture of another camera is another picture: its rays differ, and so do its points.
            calibration = np.array(crop.camera.matrix, np.float64).tobytes() + bytes([known])
            key = hashlib.blake2b(crop.image.tobytes() + calibration, digest_size=16).digest()
            encoded = self._kept.pop(key, None) or self._encode(crop, known)
            self._kept[key] = encoded
            while len(self._kept) > KEPT_PICTURES:
                self._kept.popitem(last=False)
        return Picture(crop, encoded)

    def _encode(self, crop: CropResult, calibrated: bool) -> Encoded:
        device = self.model.device
        pixels = torch.from_numpy(crop.image).to(device).permute(2, 0, 1)[None]
        matrix = torch.from_numpy(np.array(crop.camera.matrix))[None].float().to(device)
        image01 = pixels.float() / 255.0
        output = self.model.encode(image01, matrix if calibrated else torch.zeros_like(matrix))
        check_finite("features", output.features)
        return Encoded(self.model.see(output.features, output.grid, matrix, image01))

    def here(self, picture: Picture) -> ViewOutput:
        """Points of a picture alone, in its camera's frame: the same whatever is imagined from it."""
        return self.model.alone(picture.encoded.seen, picture.matrix)

    def there(self, picture: Picture, target: Tensor, target_from_reference: np.ndarray) -> ViewOutput:
        """Points of the view whose features (1, N, D) are `target`, in the picture's camera frame.

        Args:
            picture: the reference.
            target: features of the other view.
            target_from_reference: (4, 4) where that view is commanded, with the picture's calibration.
        """
        view = self.model.spatial.posed(
            picture.features,
            target,
            picture.grid,
            target_from_reference=_pose(target_from_reference).to(picture.matrix),
            matrix=picture.matrix,
            target_matrix=picture.matrix,
        )
        if not self.model.config.generation.keep_observed:
            return view
        surfaces = None
        if self.model.config.generation.keep_surfaces:
            size = (picture.crop.camera.height, picture.crop.camera.width)
            pose = _pose(target_from_reference).to(picture.matrix)
            surfaces = self.model.surfaces(picture.encoded.seen, pose, picture.matrix, size)[0][0].cpu().numpy()
        return keep_observed(
            view, self.here(picture), picture.crop.image, target_from_reference, picture.crop.camera, surfaces
        )

    def between(self, picture: Picture, other: Picture) -> np.ndarray | None:
        """The pose picture_from_other (4, 4) of two real pictures' cameras, where landmarks of both tell it."""
        if not self.model.config.decoder.registered:
            return None
        return register(
            *(Sighted(one.crop.image, _points(self.here(one)), one.crop.camera.matrix) for one in (picture, other))
        )

    def both(
        self, picture: Picture, other: Picture, picture_from_other: np.ndarray | None = None
    ) -> tuple[ViewOutput, ViewOutput]:
        """Points of two real pictures in the camera frame of the first; without a pose it is theirs to say."""
        if picture_from_other is not None:
            there = self.here(other)
            points = transform_points(_pose(picture_from_other).to(there.points), there.points)
            return self.here(picture), replace(there, points=points)
        return self.model.spatial(
            picture.features, other.features, picture.grid, matrix=picture.matrix, with_descriptors=False
        )

    def condition(self, picture: Picture, target_from_reference: np.ndarray, run: Run) -> Tensor:
        """The condition (1, Q, E) of the view from another pose, with the picture's own calibration."""
        run.report("condition")
        with run.stage("condition"):
            language, device = self.model.language, self.model.device
            encoded = picture.encoded
            if encoded.prefix is None:
                encoded.prefix = self.model.prefix(encoded.seen)
            # Rays are computed in float64 on the CPU: the same on every machine, and free beside the rest.
            matrix = torch.from_numpy(np.array(picture.crop.camera.matrix))[None]
            raymap = self.model.raymap(_pose(target_from_reference), matrix, picture.grid).float().to(device)
            condition = language.condition_after(encoded.prefix, raymap)
            check_finite("conditions", condition)
        return condition

    def imagine(self, picture: Picture, condition: Tensor, request: ImagineRequest, sample: int, run: Run) -> Tensor:
        """Features (1, N, D) of the view that the condition describes; sample number `sample` of the request's seed."""
        model, denoiser, seen = self.model, self.model.denoiser, picture.encoded.seen
        if not isinstance(denoiser, Denoiser):
            run.report("denoise", sample=sample, step=1, steps=1)
            with run.stage("denoise"):
                features = model.vae.destandardise(denoiser(condition))
        else:
            generator = torch.Generator().manual_seed(sample_seed(request.seed, sample))
            up = model.vae.config.up if model.config.vae.enabled else 1
            with run.stage("denoise"):
                latent = denoiser.sample(
                    condition,
                    model.language.null(condition),
                    [generator],
                    steps=request.steps,
                    scheduler=request.scheduler,
                    guidance=request.guidance,
                    grid=(picture.grid[0] * up, picture.grid[1] * up),
                    preview=model.preview(seen, _pose(request.target).to(picture.matrix), picture.matrix),
                    on_step=lambda step: run.report("denoise", sample=sample, step=step, steps=request.steps),
                )
                check_finite("latents", latent)
            run.report("decode", sample=sample)
            with run.stage("decode"):
                features = model.vae.decode(model.vae.unscaled(latent))
        check_finite("imagined features", features)
        return features.to(model.dtype)


def _points(view: ViewOutput) -> np.ndarray:
    return view.points[0].float().cpu().numpy()


def _pose(target_from_reference: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(target_from_reference))[None]
