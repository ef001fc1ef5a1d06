"""What geometry says of the places that a question names, beyond where they are.

A language model of a few layers reads a length that it is told much sooner than it learns to take it from a place, let
alone from two. So what is shown of a place also says how far away it is, and where in its picture, and of a thing how
large it is and how many there are; how it lies from the first place that the question names, how far it is from that at
their closest, and how it lies to somebody there who faces the second one; where another camera has it, the commanded
one or that of the other picture, and whether that one sees it. Behind a question about several pictures stands from
where and in which direction the later ones were taken. Numbers that answers consist of are also told as they are
written (:mod:`.digits`).

Shape letters: M places, P pictures of a talk, W model width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..pointmaps import encode_points, project, transform_points
from ..precision import full_precision
from . import digits
from .boxes import MANY, is_thing, many_of, sides_of

__all__ = [
    "Elsewhere",
    "Placed",
    "Situation",
    "elsewhere",
    "fates",
    "from_first",
    "from_first_facing_second",
    "other_picture",
    "poses_between",
    "sure_of_both",
    "where_surest",
]

_SIDES = (math.pi / 2, math.pi, 2 * math.pi, 4 * math.pi, 8 * math.pi)  # waves of shares of a picture's side
_METRES = tuple(2 * math.pi / length for length in (1.0, 2.0, 4.0, 8.0, 16.0))  # ... of coordinates
_LOGARITHMS = (1.0, 2.0, 4.0, 8.0, 16.0)  # ... of logarithms of lengths
_SPOT, _PLACE = 47, 55  # numbers of what _spot_told and _place_told give
_SPOT_WRITTEN = digits.LENGTH + digits.PERCENT
_PLACE_WRITTEN = 2 * digits.COORDINATE
_TURNED_WRITTEN = 3 * digits.DEGREES
_PAIR_WRITTEN = 2 * digits.LENGTH
_WHOLE_WRITTEN = MANY + 2 * digits.CENTIMETRES
_FATES = 3  # of a place to another camera: seen, hidden, out of the picture
_WIDTH = 128
_NEAR = 0.05  # metres; what is nearer to a camera is not seen
_HIDDEN = 1.15  # times the distance of what is seen in its direction is where a place is hidden by that


@dataclass(frozen=True)
class Placed:
    """M places that questions name, as every picture of theirs has them.

    Attributes:
        share: (M, P), how sure it is that it is there.
        points: (M, P, 3), their middles in metres, in the frame that the question is about.
        own: (M, P, 3), the same in the frame of each picture's own camera.
        near: (M, P), how far away their near sides are, as shares of their middles' distances.
        center: (M, P, 3), as `points`, the middles of whole things, not only of what is visible.
        solid: (M, P, SOLID), of :func:`~uniugg_core.models.boxes.solid_of`; zeros where a place is no thing.
        first: (M,), for each place the number of the one that its question names first.
        second: (M,), the same of the one named second; the first one where there is no other.
    """

    share: Tensor
    points: Tensor
    own: Tensor
    near: Tensor
    center: Tensor
    solid: Tensor
    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class Elsewhere:
    """Where a camera, another one or its own, has M places of P pictures.

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


class Situation(nn.Module):
    """See the module. What it adds to a place says nothing at first.

    Args:
        width: W.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        spot, place = (_SPOT, _SPOT_WRITTEN), (_PLACE, _PLACE_WRITTEN)
        parts = {"itself": spot, "other": spot, "beside": place, "across": place, "facing": place}
        self.say = nn.ModuleDict({name: _Teller(count, width) for name, (count, _) in parts.items()})
        written = {name: count for name, (_, count) in parts.items()}
        written |= {"fate": _FATES, "both": _PAIR_WRITTEN, "turned": _TURNED_WRITTEN, "apart": digits.LENGTH}
        written["whole"] = _WHOLE_WRITTEN
        self.write = nn.ModuleDict({name: _Writer(count, width) for name, count in written.items()})

    def forward(
        self, placed: Placed, compared: Tensor, several: Tensor, itself: Elsewhere, other: Elsewhere, apart: Tensor
    ) -> Tensor:
        """What is added to places (M, P, W).

        Args:
            placed: M places.
            compared: (M, P), the picture that each is compared with.
            several: (M,) bool, whether there is another one.
            itself: from :func:`elsewhere`, of their own cameras.
            other: of the other cameras.
            apart: (M, P), metres to what the question names first, at their closest.
        """
        points, weight = from_first(placed, compared)
        far = points, weight * several[:, None]
        lies = {"beside": from_first(placed), "across": far, "facing": from_first_facing_second(placed)}
        told = [self._spot(name, there, placed.near) for name, there in (("itself", itself), ("other", other))]
        told.append(self.write["fate"](fates(other), other.there))
        told.append(self.write["both"](_both_written(itself, other, placed.near), other.there * several[:, None]))
        told += [self._place(name, points, weight) for name, (points, weight) in lies.items()]
        told.append(self.write["apart"](digits.length(apart), sure_of_both(placed)))
        told.append(self.write["whole"](_whole_written(placed.solid), placed.share * is_thing(placed.solid)))
        return torch.stack(told).sum(0)

    def cameras(self, poses: Tensor) -> Tensor:
        """Where cameras were, and which way they looked, (K, 2, W), by first_from_camera (K, 4, 4).

        As if the first camera were the place that a question names first, and faced what it looks at: how to read that
        is learnt from all questions about places.
        """
        lies = poses[:, :3, [3, 2]].transpose(1, 2)
        sure = poses.new_ones(len(poses), 2)
        told = self._place("beside", lies, sure) + self._place("facing", lies, sure)
        moved = self.write["apart"](digits.length(poses[:, :3, 3].norm(dim=-1)), sure[:, 0])
        turned = self.write["turned"](_turned_written(poses), sure[:, 1])
        return told + torch.stack([moved, turned], dim=1)

    def _place(self, name: str, points: Tensor, weight: Tensor) -> Tensor:
        return self.say[name](_place_told(points), weight) + self.write[name](_place_written(points), weight)

    def _spot(self, name: str, there: Elsewhere, near_MP: Tensor) -> Tensor:
        sure = there.there
        return self.say[name](_spot_told(there), sure) + self.write[name](_spot_written(there, near_MP), sure)


class _Teller(nn.Sequential):
    """Numbers (..., n) to what is said of them (..., W), as much as they weigh (...)."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__(nn.Linear(numbers, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, width))
        nn.init.zeros_(self[2].weight)
        nn.init.zeros_(self[2].bias)

    def forward(self, numbers: Tensor, weight: Tensor) -> Tensor:
        dtype = self[0].weight.dtype
        return weight[..., None].to(dtype) * super().forward(numbers.to(dtype))


class _Writer(nn.Linear):
    """Characters (..., n) to what is said of them (..., W), as much as they weigh (...)."""

    def __init__(self, characters: int, width: int) -> None:
        super().__init__(characters, width, bias=False)
        nn.init.zeros_(self.weight)

    def forward(self, characters: Tensor, weight: Tensor) -> Tensor:
        dtype = self.weight.dtype
        return weight[..., None].to(dtype) * super().forward(characters.to(dtype))


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
        (M, P, 3) metres, and how sure that is (M, P): 0 for first ones.
    """
    middle_MP3, share_MP = placed.center[placed.first], placed.share[placed.first]
    if pictures is not None:
        middle_MP3 = middle_MP3.gather(1, pictures[..., None].expand(-1, -1, 3))
        share_MP = share_MP.gather(1, pictures)
    weight_MP = placed.share * share_MP * _later(placed)[:, None]
    return placed.center - middle_MP3, weight_MP


def where_surest(values: Tensor, share: Tensor) -> Tensor:
    """Of values (M, P, ...) those (M, ...) of the picture that has each place most surely, by its share (M, P)."""
    return values[torch.arange(len(share), device=share.device), share.argmax(1)]


def sure_of_both(placed: Placed) -> Tensor:
    """How sure it is (M, P) that places and the first ones of their questions are there: 0 for first ones."""
    return placed.share * (placed.share.amax(1)[placed.first] * _later(placed))[:, None]


@full_precision
def from_first_facing_second(placed: Placed) -> tuple[Tensor, Tensor]:
    """Places as somebody at the first place has them who faces the second one, upright as the camera is.

    Returns:
        (M, P, 3) metres, x to the right and z ahead, and how sure that is (M, P): 0 for the first two.
    """
    share_M, best_M3 = placed.share.amax(1), where_surest(placed.center, placed.share)
    ahead_M2 = (best_M3[placed.second] - best_M3[placed.first])[:, ::2]
    apart_M = ahead_M2.norm(dim=-1)
    sine_M, cosine_M = (ahead_M2 / apart_M.clamp_min(_NEAR)[:, None]).unbind(-1)
    x, y, z = (placed.center - best_M3[placed.first][:, None]).unbind(-1)
    sine, cosine = sine_M[:, None], cosine_M[:, None]
    turned = torch.stack([cosine * x - sine * z, y, sine * x + cosine * z], dim=-1)
    number = torch.arange(len(placed.second), device=placed.second.device)
    later_M = _later(placed) & (placed.second != number) & (apart_M > _NEAR)
    weight_M = share_M[placed.first] * share_M[placed.second] * later_M
    return turned, placed.share * weight_M[:, None]


def _later(placed: Placed) -> Tensor:
    return placed.first != torch.arange(len(placed.first), device=placed.first.device)


@full_precision
def elsewhere(points: Tensor, there: Tensor, camera_from_points: Tensor, matrix: Tensor, size: Tensor) -> Elsewhere:
    """Where cameras have places (M, P, 3); what they show there is still to be looked up.

    Args:
        points: in metres.
        there: (M, P), of :class:`Elsewhere`.
        camera_from_points: (M, P, 4, 4).
        matrix: (M, P, 3, 3) of those cameras.
        size: (2,), columns and rows of their pictures.
    """
    own_MP3 = transform_points(camera_from_points.flatten(0, 1), points.flatten(0, 1)[:, None])[:, 0]
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


def _waves(numbers: Tensor, rates: Sequence[float]) -> Tensor:
    """Sines and cosines (..., 2 n r) of n numbers (..., n) at r rates."""
    phase = (numbers[..., None] * numbers.new_tensor(rates)).flatten(-2)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


def _spot_told(there: Elsewhere) -> Tensor:
    """What of an :class:`Elsewhere` is read: (M, P, _SPOT)."""
    x, y = there.spot.unbind(-1)
    margin = torch.minimum(torch.minimum(x, 1 - x), torch.minimum(y, 1 - y))
    hidden = (there.distance / there.surface).log().clamp(-1.5, 1.5)
    far = there.distance.log()
    plain = [x, y, margin, 4 * margin.clamp(-0.25, 0.25), there.ahead.to(x), hidden, far]
    lengths = _waves(far[..., None], _LOGARITHMS), _waves(there.distance[..., None], _METRES)
    return torch.cat([torch.stack(plain, dim=-1), _waves(there.spot, _SIDES), *lengths], dim=-1)


def _place_told(points: Tensor) -> Tensor:
    """What is read of how a place lies: (M, P, _PLACE) of (M, P, 3)."""
    length = points.norm(dim=-1, keepdim=True).clamp_min(_NEAR)
    metres = torch.cat([points, length], dim=-1)
    plain = torch.cat([encode_points(points), length, length.log()], dim=-1)
    return torch.cat([plain, _waves(metres, _METRES), _waves(length.log(), _LOGARITHMS)], dim=-1)


def _spot_written(there: Elsewhere, near_MP: Tensor) -> Tensor:
    """(M, P, _SPOT_WRITTEN): how far away its near side is, and how far to the right in the picture."""
    return torch.cat([digits.length(near_MP * there.distance), digits.percent(there.spot[..., 0])], dim=-1)


def _both_written(itself: Elsewhere, other: Elsewhere, near_MP: Tensor) -> Tensor:
    """(M, P, _PAIR_WRITTEN): how far from the first picture's camera, and from that of the other one."""
    own, others = (digits.length(near_MP * there.distance) for there in (itself, other))
    earlier, later = torch.cat([own, others], dim=-1), torch.cat([others, own], dim=-1)
    return torch.cat([earlier[:, :1], later[:, 1:]], dim=1)


@full_precision
def _whole_written(solid_MPX: Tensor) -> Tensor:
    """(M, P, _WHOLE_WRITTEN): how many things it is, the longest side of one, and how tall it is."""
    sides_MP3 = sides_of(solid_MPX.float())
    lengths = digits.centimetres(sides_MP3.amax(-1)), digits.centimetres(sides_MP3[..., 2])
    return torch.cat([many_of(solid_MPX.float()), *lengths], dim=-1)


def fates(there: Elsewhere) -> Tensor:
    """(M, P, 3): 1 for what becomes of a place there: it is seen, hidden, or out of the picture."""
    inside = there.ahead & ((there.spot > 0) & (there.spot < 1)).all(-1)
    hidden = inside & (there.distance > _HIDDEN * there.surface)
    return torch.stack([inside & ~hidden, hidden, ~inside], dim=-1).to(there.distance)


def _place_written(points: Tensor) -> Tensor:
    """(M, P, _PLACE_WRITTEN): how far to the right and ahead."""
    return torch.cat([digits.coordinate(points[..., 0]), digits.coordinate(points[..., 2])], dim=-1)


@full_precision
def _turned_written(poses: Tensor) -> Tensor:
    """(K, _TURNED_WRITTEN): how far turned right and up, to 5 degrees as commands have it, and from straight ahead."""
    ahead = poses[:, :3, 2]
    yaw, pitch = torch.atan2(ahead[:, 0], ahead[:, 2]), -ahead[:, 1].clamp(-1, 1).asin()
    away = ahead[:, 2].clamp(-1, 1).acos()
    return torch.cat([digits.degrees(yaw, 5), digits.degrees(pitch, 5), digits.degrees(away, 1)], dim=-1)
