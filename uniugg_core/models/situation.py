"""What geometry says of the places that a question names, beyond where they are.

A language model of a few layers reads a length off a place that it is shown much sooner than it learns to subtract two
of them. So a place is also shown as it lies from the first one that the question names, as somebody there has it who
faces the second one, and where another camera would have it: the commanded one, or that of the other picture. A later
picture is shown with where its camera stood.

Shape letters: M places, P pictures of a talk, Q quarters of a patch, W model width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from ..pointmaps import compressed, project, transform_points
from ..precision import full_precision
from .places import PlaceProjector

__all__ = [
    "Elsewhere",
    "Placed",
    "Situation",
    "_camera_patch",
    "elsewhere",
    "from_first",
    "from_first_facing_second",
    "other_picture",
    "poses_between",
]

_WAVES = (math.pi / 2, math.pi, 2 * math.pi, 4 * math.pi, 8 * math.pi)  # a picture's side is told in
_TOLD = 7 + 4 * len(_WAVES)  # numbers of an Elsewhere, as the network reads them
_WIDTH = 128
_NEAR = 0.05  # metres; what is nearer to a camera is not seen


@dataclass(frozen=True)
class Placed:
    """M places that questions name, as every picture of theirs has them.

    Attributes:
        share: (M, P), how sure it is that it is there.
        points: (M, P, Q, 3), in metres, in the frame that the question is about.
        first: (M,), for each place the number of the one that its question names first.
        second: (M,), the same of the one named second; the first one where there is no other.
    """

    share: Tensor
    points: Tensor
    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class Elsewhere:
    """Where another camera has M places of P pictures.

    Attributes:
        there: (M, P), 0 where there is no other camera, else how sure the place is.
        spot: (M, P, 2), x and y in its picture, shares of its sides; outside of 0 to 1 it is not seen.
        distance: (M, P), metres from that camera.
        ahead: (M, P) bool, whether it is in front of it.
        surface: (M, P), metres to what the other picture shows at that spot; the place's own where nobody looked.
    """

    there: Tensor
    spot: Tensor
    distance: Tensor
    ahead: Tensor
    surface: Tensor

    def to(self, device: torch.device) -> Elsewhere:
        """The same there."""
        return Elsewhere(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class Situation(nn.Module):
    """See the module. What it adds to a place says nothing at first.

    Args:
        width: W.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.beside = PlaceProjector(width, waves=True, silent=True)
        self.across = PlaceProjector(width, waves=True, silent=True)
        self.facing = PlaceProjector(width, waves=True, silent=True)
        self.elsewhere = nn.Sequential(nn.Linear(_TOLD, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, width))
        self.camera = PlaceProjector(width, waves=True)
        nn.init.zeros_(self.elsewhere[2].weight)
        nn.init.zeros_(self.elsewhere[2].bias)

    def forward(self, placed: Placed, other: Tensor, several: Tensor, there: Elsewhere) -> Tensor:
        """What is added to places (M, P, W).

        Args:
            placed: M places.
            other: (M, P), the picture that each is compared with.
            several: (M,) bool, whether there is another one.
            there: from :func:`elsewhere`.
        """
        points, weight = from_first(placed, other)
        relations = (
            (self.beside, from_first(placed)),
            (self.across, (points, weight * several[:, None])),
            (self.facing, from_first_facing_second(placed)),
        )
        told = 0
        for projector, (points, weight) in relations:
            told = told + weight[..., None].to(projector[0].weight) * projector(points)
        read = self.elsewhere(_told(there).to(self.elsewhere[0].weight))
        return told + there.there[..., None].to(read) * read

    def cameras(self, poses: Tensor) -> Tensor:
        """Cameras (K, W) by first_from_camera (K, 4, 4)."""
        return self.camera(_camera_patch(poses))


def other_picture(count: int) -> list[int]:
    """For each of `count` pictures of a talk the one that it is compared with; itself if it is alone."""
    return [min(1, count - 1), *[0] * (count - 1)]


@full_precision
def from_first(placed: Placed, pictures: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Places as they lie from the first ones of their questions.

    Args:
        placed: M places.
        pictures: (M, P), the picture that the first place is looked up in; None: the same one.

    Returns:
        (M, P, 12) as :func:`~uniugg_core.pointmaps.patch_points`, and how sure that is (M, P): 0 for first ones.
    """
    middle_MP3, share_MP = placed.points.mean(2)[placed.first], placed.share[placed.first]
    if pictures is not None:
        middle_MP3 = middle_MP3.gather(1, pictures[..., None].expand(-1, -1, 3))
        share_MP = share_MP.gather(1, pictures)
    later_M = placed.first != torch.arange(len(placed.first), device=placed.first.device)
    weight_MP = placed.share * share_MP * later_M[:, None]
    return compressed(placed.points - middle_MP3[:, :, None]), weight_MP


@full_precision
def from_first_facing_second(placed: Placed) -> tuple[Tensor, Tensor]:
    """Places as somebody at the first place has them who faces the second one, upright as the camera is.

    Returns:
        (M, P, 12) as :func:`~uniugg_core.pointmaps.patch_points`, x to the right and z ahead, and how sure that is
        (M, P): 0 for the first two.
    """
    share_M, picture_M = placed.share.max(1)
    best_M3 = placed.points.mean(2)[torch.arange(len(picture_M), device=picture_M.device), picture_M]
    ahead_M2 = (best_M3[placed.second] - best_M3[placed.first])[:, ::2]
    apart_M = ahead_M2.norm(dim=-1)
    sine_M, cosine_M = (ahead_M2 / apart_M.clamp_min(_NEAR)[:, None]).unbind(-1)
    x, y, z = (placed.points - best_M3[placed.first][:, None, None]).unbind(-1)
    sine, cosine = sine_M[:, None, None], cosine_M[:, None, None]
    turned = torch.stack([cosine * x - sine * z, y, sine * x + cosine * z], dim=-1)
    number = torch.arange(len(picture_M), device=picture_M.device)
    later_M = (placed.first != number) & (placed.second != number) & (apart_M > _NEAR)
    weight_M = share_M[placed.first] * share_M[placed.second] * later_M
    return compressed(turned), placed.share * weight_M[:, None]


@full_precision
def elsewhere(points: Tensor, there: Tensor, camera_from_points: Tensor, matrix: Tensor, size: Tensor) -> Elsewhere:
    """Where cameras have places (M, P, Q, 3); what they show there is still to be looked up.

    Args:
        points: in metres.
        there: (M, P), of :class:`Elsewhere`.
        camera_from_points: (M, P, 4, 4).
        matrix: (M, P, 3, 3) of those cameras.
        size: (2,), columns and rows of their pictures.
    """
    own_MP3 = transform_points(camera_from_points.flatten(0, 1), points.mean(2).flatten(0, 1)[:, None])[:, 0]
    pixel, depth = project(own_MP3[:, None], matrix.flatten(0, 1))
    pixel, depth = pixel[:, 0].unflatten(0, there.shape), depth[:, 0].unflatten(0, there.shape)
    own_MP3 = own_MP3.unflatten(0, there.shape)
    ahead = depth > _NEAR
    # what is behind is beyond the side that it is on
    behind = torch.stack([torch.where(own_MP3[..., 0] < 0, -1.0, 2.0), torch.full_like(depth, 0.5)], dim=-1)
    spot = torch.where(ahead[..., None], (pixel + 0.5) / size.to(pixel), behind).clamp(-1, 2)
    distance = own_MP3.norm(dim=-1).clamp_min(_NEAR)
    return Elsewhere(there, spot, distance, ahead, distance)


@full_precision
def _camera_patch(poses: Tensor) -> Tensor:
    """Cameras (K, 4, 4) as patches (K, 12) are told: their centre, and a metre to their right, down and ahead."""
    centre = poses[:, None, :3, 3]
    return compressed(torch.cat([centre, centre + poses[:, :3, :3].transpose(-1, -2)], dim=1))


@full_precision
def poses_between(points: Tensor, seen: Tensor, rounds: int = 4) -> Tensor:
    """Rigid transforms (B, 4, 4) that take `seen` points (B, n, 3), of a camera's frame, to where they are `points`.

    Weighted least squares (Kabsch 1976, Umeyama 1991), a few times over with less weight on what does not fit; a miss
    counts as a share of the distance from the camera.
    """
    away = seen.norm(dim=-1).clamp_min(_NEAR)
    weight = away.pow(-2)
    for _ in range(rounds):
        share = (weight / weight.sum(-1, keepdim=True))[..., None]
        middle, wanted = (share * seen).sum(1, keepdim=True), (share * points).sum(1, keepdim=True)
        u, _, vt = torch.linalg.svd((share * (seen - middle)).transpose(1, 2) @ (points - wanted))
        flip = torch.ones_like(middle[:, 0])
        flip[:, 2] = torch.linalg.det(u @ vt).sign()
        turn = vt.transpose(1, 2) @ (flip[:, :, None] * u.transpose(1, 2))
        shift = wanted - middle @ turn.transpose(1, 2)
        missed = (seen @ turn.transpose(1, 2) + shift - points).norm(dim=-1) / away
        weight = away.pow(-2) / (0.05 + missed)
    rigid = torch.eye(4, device=points.device).repeat(len(points), 1, 1)
    rigid[:, :3, :3], rigid[:, :3, 3] = turn, shift[:, 0]
    return rigid


def _told(there: Elsewhere) -> Tensor:
    """(M, P, _TOLD)."""
    x, y = there.spot.unbind(-1)
    margin = torch.minimum(torch.minimum(x, 1 - x), torch.minimum(y, 1 - y))
    hidden = (there.distance / there.surface).log().clamp(-1.5, 1.5)
    plain = [x, y, margin, 4 * margin.clamp(-0.25, 0.25), there.ahead.to(x), there.distance.log(), hidden]
    phase = (there.spot[..., None] * x.new_tensor(_WAVES)).flatten(-2)
    return torch.cat([torch.stack(plain, dim=-1), phase.sin(), phase.cos()], dim=-1)
