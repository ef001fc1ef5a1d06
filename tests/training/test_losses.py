"""Losses against known answers, a naive reference, and numerical gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.augment import color_jitter
from training.losses.appearance import appearance_loss, ssim
from training.losses.geometry import confidence_weighted, normal_loss, pointmap_loss, scene_scale, thing_weight
from training.losses.matching import draw_correspondences, matching_loss, reciprocal_matches
from training.losses.semantics import distillation_loss, random_tokens

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=seeded(seed), dtype=DOUBLE)


class TestPointmaps:
    def points(self) -> Tensor:
        return rand(2, 2, 3, 4, 3, seed=1) + torch.tensor([0.0, 0.0, 1.0], dtype=DOUBLE)

    def test_scale_is_the_mean_distance_over_both_views(self) -> None:
        points = torch.zeros(1, 2, 1, 2, 3)
        points[0, 0, 0, :, 2] = torch.tensor([1.0, 2.0])
        points[0, 1, 0, :, 2] = torch.tensor([6.0, 100.0])
        valid = torch.tensor([[[[True, True]], [[True, False]]]])
        assert scene_scale(points, valid).tolist() == [3.0]

    def test_known_answer(self) -> None:
        target = torch.zeros(1, 2, 1, 1, 3)
        target[..., 2] = 2.0
        predicted = target + torch.tensor([0.0, 0.6, 0.8])  # one metre away, half a scene scale
        confidence = torch.full((1, 2, 1, 1), 3.0)
        got = pointmap_loss(predicted, confidence, target, torch.ones(1, 2, 1, 1, dtype=torch.bool))
        assert float(got.regression) == pytest.approx(2 * 0.5)
        assert float(got.loss) == pytest.approx(2 * (3 * 0.5 - 0.2 * math.log(3)), rel=1e-6)

    def test_zero_for_the_truth_at_confidence_one(self) -> None:
        points = self.points()
        got = pointmap_loss(points, torch.ones(2, 2, 3, 4), points, torch.ones(2, 2, 3, 4, dtype=torch.bool))
        assert float(got.loss) == pytest.approx(0.0, abs=1e-5)

    @pytest.mark.parametrize("error", [0.05, 0.1])
    def test_best_confidence_is_alpha_over_error(self, error: float) -> None:
        confidence = torch.linspace(1.001, 6, 5000, dtype=DOUBLE)
        values = confidence_weighted(torch.full_like(confidence, error), confidence)
        assert float(confidence[values.argmin()]) == pytest.approx(0.2 / error, rel=1e-2)

    def test_what_is_small_may_count_more(self) -> None:
        things = torch.zeros(1, 1, 20, 20, dtype=torch.uint8)
        things[0, 0, 0, :4], things[0, 0, 1, 0] = 7, 255  # one pixel in a hundred, and one in 400
        weight = thing_weight(things, 0.5)[0, 0]
        assert weight[0, 0] == pytest.approx(10.0) and weight[1, 0] == pytest.approx(20.0)
        assert weight[9, 9] == pytest.approx((395 / 400) ** -0.5)
        assert thing_weight(things, 1.0).sum() == pytest.approx(3 * 400), "all things count alike"
        assert (thing_weight(things, 0.0) == 1).all()

    def test_the_mean_is_weighted(self) -> None:
        target = torch.ones(1, 1, 1, 2, 3)
        predicted = target + torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 0.0]]) * target.norm(dim=-1, keepdim=True)
        every = torch.ones(1, 1, 1, 2)
        for weight, expected in ((None, 0.5), (every, 0.5), (torch.tensor([[[[3.0, 1.0]]]]), 0.75)):
            got = pointmap_loss(predicted, every, target, every.bool(), weight_BVHW=weight)
            assert float(got.loss) == float(got.regression) == pytest.approx(expected)

    def test_size_counts_only_for_metric_pairs(self) -> None:
        points, valid = self.points(), torch.ones(2, 2, 3, 4, dtype=torch.bool)
        one = torch.ones(2, 2, 3, 4, dtype=DOUBLE)
        assert float(pointmap_loss(3 * points, one, points, valid, metric=False).loss) == pytest.approx(0, abs=1e-5)
        assert float(pointmap_loss(3 * points, one, points, valid).regression) == pytest.approx(4, rel=0.05)
        mixed = pointmap_loss(3 * points, one, points, valid, metric=torch.tensor([True, False])).regression
        alone = pointmap_loss(3 * points[:1], one[:1], points[:1], valid[:1]).regression
        assert float(mixed) == pytest.approx(float(alone) / 2, rel=1e-5)

    def test_logarithmic_points_have_no_preference_for_small_scenes(self) -> None:
        """Twice as far and half as far are equally wrong; in units of the scene's scale they are not."""
        near = torch.zeros(1, 2, 1, 1, 3, dtype=DOUBLE)
        near[..., 2] = 200.0  # far enough that log(1 + r) is log r
        one, valid = torch.ones(1, 2, 1, 1, dtype=DOUBLE), torch.ones(1, 2, 1, 1, dtype=torch.bool)
        up, down = (pointmap_loss(f * near, one, near, valid, logarithmic=True).regression for f in (2.0, 0.5))
        assert float(up) == pytest.approx(float(down), rel=1e-2) == pytest.approx(2 * math.log(2), rel=1e-2)
        up, down = (pointmap_loss(f * near, one, near, valid).regression for f in (2.0, 0.5))
        assert float(up) == pytest.approx(2 * float(down))
        assert float(pointmap_loss(3 * near, one, near, valid, metric=False, logarithmic=True).loss) < 1e-4

    @pytest.mark.parametrize(
        ("unit", "ratio"), [(1e-3, 1.0), (1.0, math.log(1.5 / 1.25) / math.log(9 / 5)), (1e3, 1 / 16)]
    )
    def test_the_unit_says_from_where_on_shares_of_the_distance_count(self, unit: float, ratio: float) -> None:
        """A quarter of a metre seen at half a metre, beside four seen at eight."""
        near = torch.zeros(1, 2, 1, 1, 3, dtype=DOUBLE)
        near[..., 2] = 0.25
        one, valid = torch.ones(1, 2, 1, 1, dtype=DOUBLE), torch.ones(1, 2, 1, 1, dtype=torch.bool)
        close, away = (
            pointmap_loss(2 * true, one, true, valid, logarithmic=True, log_unit=unit).regression
            for true in (near, 16 * near)
        )
        assert float(close / away) == pytest.approx(ratio, rel=1e-2)

    def test_invalid_pixels_bring_neither_value_nor_gradient(self) -> None:
        points, valid = self.points(), torch.ones(2, 2, 3, 4, dtype=torch.bool)
        valid[:, 1, 0] = False
        broken = points.clone()
        broken[:, 1, 0] = float("nan")
        predicted = (points + 0.1).requires_grad_()
        confidence = torch.full((2, 2, 3, 4), 2.0, dtype=DOUBLE)
        a = pointmap_loss(predicted, confidence, points, valid).loss
        b = pointmap_loss(predicted, confidence, broken, torch.ones_like(valid)).loss
        assert a.item() == pytest.approx(b.item())
        b.backward()
        assert torch.isfinite(predicted.grad).all()
        assert not predicted.grad[:, 1, 0].any() and predicted.grad[:, 1, 1].any()

    def test_a_pair_without_truth_counts_nothing(self) -> None:
        points = self.points().requires_grad_()
        got = pointmap_loss(points, torch.ones(2, 2, 3, 4), points.detach(), torch.zeros(2, 2, 3, 4, dtype=torch.bool))
        got.loss.backward()
        assert float(got.loss.detach()) == 0.0
        assert torch.isfinite(points.grad).all()

    def test_gradient(self) -> None:
        target, valid = self.points()[:1], torch.ones(1, 2, 3, 4, dtype=torch.bool)
        predicted, confidence = (target + 0.3 * rand(*target.shape, seed=2)), 1 + rand(1, 2, 3, 4, seed=3)
        for metric, log in ((True, False), (False, False), (True, True), (False, True)):
            assert torch.autograd.gradcheck(
                lambda p, c, metric=metric, log=log: (
                    pointmap_loss(p, c, target, valid, metric=metric, logarithmic=log).loss
                ),
                (predicted.requires_grad_(), confidence.requires_grad_()),
            )


class TestNormals:
    SIDE = 64

    def wall(self, degrees: float, far: float = 3.0) -> Tensor:
        """(1, 1, H, W, 3) of a wall ahead that is turned about the upright axis."""
        axis = (torch.arange(self.SIDE).float() - self.SIDE / 2) / self.SIDE
        v, u = torch.meshgrid(axis, axis, indexing="ij")
        rays, turn = torch.stack([u, v, torch.ones_like(u)], -1), math.radians(degrees)
        normal = torch.tensor([math.sin(turn), 0.0, math.cos(turn)])
        return (rays * (far * normal[2] / (rays @ normal))[..., None])[None, None]

    def loss(self, predicted: Tensor, true: Tensor) -> Tensor:
        return normal_loss(predicted, true, true[..., 2].nan_to_num(0))

    @pytest.mark.parametrize("degrees", [2.0, 10.0, 30.0])
    def test_it_is_the_chord_of_the_angle(self, degrees):
        loss = self.loss(self.wall(degrees), self.wall(0.0))
        assert float(loss) == pytest.approx(2 * math.sin(math.radians(degrees) / 2), rel=0.02)

    def test_size_and_place_do_not_matter(self):
        moved = 1.3 * self.wall(20.0) + torch.tensor([0.3, -0.2, 1.0])
        assert float(self.loss(moved, self.wall(20.0))) == pytest.approx(0, abs=2e-3)

    def test_edges_and_holes_do_not_count(self):
        """A step between two walls has no normal, nor has a square with a pixel that nobody knows."""
        stepped = self.wall(0.0)
        stepped[:, :, :, 30:] *= 1.5
        farther = self.wall(0.0)
        farther[:, :, :, 30:] *= 2.5
        assert float(self.loss(farther, stepped)) == pytest.approx(0, abs=2e-3)
        assert float(self.loss(farther, self.wall(0.0))) > 0.1
        hidden, other = self.wall(0.0), self.wall(0.0)
        hidden[:, :, 24:40] = torch.nan
        other[:, :, 24:40] = torch.randn(1, 1, 16, self.SIDE, 3, generator=torch.Generator().manual_seed(0))
        assert float(self.loss(other, hidden)) == pytest.approx(0, abs=2e-3)

    def test_nothing_known_is_no_loss(self):
        wall = self.wall(10.0).requires_grad_()
        loss = self.loss(wall, torch.full_like(wall, torch.nan))
        loss.backward()
        assert loss == 0 and not wall.grad.any()

    def test_its_gradient_turns_the_wall(self):
        true, turned = self.wall(0.0), self.wall(10.0).requires_grad_()
        self.loss(turned, true).backward()
        assert turned.grad.isfinite().all()
        better = turned.detach() - 0.05 * turned.grad / turned.grad.norm()
        assert self.loss(better, true) < self.loss(turned, true)

    def test_degenerate_points_have_finite_gradients(self):
        nothing = torch.zeros(1, 1, self.SIDE, self.SIDE, 3, requires_grad=True)
        self.loss(nothing, self.wall(0.0)).backward()
        assert nothing.grad.isfinite().all()


class TestMatching:
    def test_plane_moved_sideways(self) -> None:
        """A plane at 2 m, focal length 4 px, camera 2 half a metre to the right: one pixel of disparity."""
        matrix = torch.tensor([[4.0, 0, 3.5], [0, 4.0, 2.5], [0, 0, 1]])
        v, u = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
        plane = torch.stack([(u - 3.5) / 2, (v - 2.5) / 2, torch.full_like(u, 2.0)], -1)
        second_from_first = torch.eye(4)
        second_from_first[0, 3] = -0.5
        in_first = plane + torch.tensor([0.5, 0, 0])
        valid = torch.ones(6, 8, dtype=torch.bool)
        one, two = reciprocal_matches(plane, valid, in_first, valid, matrix, matrix, second_from_first)
        assert len(one) == 6 * 7
        assert torch.equal(one % 8 - two % 8, torch.ones_like(one)) and torch.equal(one // 8, two // 8)
        valid2 = valid.clone()
        valid2[0] = False
        assert len(reciprocal_matches(plane, valid, in_first, valid2, matrix, matrix, second_from_first)[0]) == 5 * 7

    def test_hidden_surfaces_do_not_match(self) -> None:
        """What view 2 sees at that pixel lies nearer, so the way back ends elsewhere."""
        matrix = torch.tensor([[4.0, 0, 3.5], [0, 4.0, 3.5], [0, 0, 1]])
        v, u = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        rays = torch.stack([(u - 3.5) / 4, (v - 3.5) / 4, torch.ones_like(u)], -1)
        valid = torch.ones(8, 8, dtype=torch.bool)
        second_from_first = torch.eye(4)
        second_from_first[0, 3] = -2.0
        near_in_first = rays * 1.0 + torch.tensor([2.0, 0, 0])
        one, _ = reciprocal_matches(rays * 8.0, valid, near_in_first, valid, matrix, matrix, second_from_first)
        assert len(one) == 0

    def test_drawn_rows(self) -> None:
        matches = torch.arange(100), torch.arange(100) + 1000
        one, two, positive = draw_correspondences(matches, (500, 2000), 64, generator=seeded())
        assert len(one) == 64 and int(positive.sum()) == 32
        assert torch.equal(two[positive] - one[positive], torch.full((32,), 1000))
        assert len(set(one[positive].tolist())) == 32
        few = draw_correspondences((torch.arange(3), torch.arange(3)), (500, 2000), 64, generator=seeded())
        assert int(few[2].sum()) == 3 and len(few[0]) == 64

    def test_known_answer_for_orthogonal_descriptors(self) -> None:
        d = torch.eye(4, dtype=DOUBLE)[None]
        row = torch.ones(1, 4, dtype=DOUBLE)
        positive = torch.tensor([[True, True, False, False]])
        wanted = 2 * math.log(1 + 3 * math.exp(-1 / 0.05))
        assert float(matching_loss(d, d, row, positive)) == pytest.approx(wanted, rel=1e-6)
        # confidence e: q l - 10
        assert float(matching_loss(d, d, math.e * row, positive)) == pytest.approx(math.e * wanted - 10, rel=1e-9)

    def test_against_the_formula(self) -> None:
        one, two = (F.normalize(rand(2, 6, 5, seed=s) - 0.5, dim=-1) for s in (1, 2))
        quality, positive = 0.5 + rand(2, 6, seed=3), torch.rand(2, 6, generator=seeded(4)) < 0.6
        total, count = 0.0, 0
        for b in range(2):
            scores = torch.exp(one[b] @ two[b].T / 0.05)
            for k in range(6):
                if positive[b, k]:
                    loss = -torch.log(scores[k, k] / scores[k].sum()) - torch.log(scores[k, k] / scores[:, k].sum())
                    total, count = total + quality[b, k] * loss - 10 * quality[b, k].log(), count + 1
        assert float(matching_loss(one, two, quality, positive)) == pytest.approx(float(total / count))

    def test_no_match_at_all(self) -> None:
        d = rand(1, 3, 4).requires_grad_()
        loss = matching_loss(d, d, torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.bool))
        loss.backward()
        assert float(loss.detach()) == 0 and not d.grad.any()

    def test_gradient(self) -> None:
        positive = torch.tensor([[True, False, True]])
        one, two, quality = rand(1, 3, 2, seed=1), rand(1, 3, 2, seed=2), 0.5 + rand(1, 3, seed=3)
        assert torch.autograd.gradcheck(
            lambda a, b, q: matching_loss(a, b, q, positive, temperature=0.5),
            tuple(x.requires_grad_() for x in (one, two, quality)),
        )


class TestSemantics:
    def test_known_answers(self) -> None:
        a = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        assert float(distillation_loss(a, a)) == pytest.approx(0.0, abs=1e-6)
        opposite = 0.9 * 2 + 0.1 * torch.tensor([1.5, 0, 0, 3.5]).mean()  # smooth L1 of 2 is 1.5, of 4 is 3.5
        assert float(distillation_loss(-a, a)) == pytest.approx(float(opposite))

    def test_teacher_gets_no_gradient(self) -> None:
        student, teacher = rand(2, 3, 4).requires_grad_(), rand(2, 3, 4, seed=1).requires_grad_()
        distillation_loss(student, teacher).backward()
        assert student.grad.any() and teacher.grad is None

    def test_gradient(self) -> None:
        teacher = rand(2, 3, 4, seed=1)
        assert torch.autograd.gradcheck(lambda s: distillation_loss(s, teacher), rand(2, 3, 4).requires_grad_())

    def test_random_tokens_stay_together(self) -> None:
        tokens = torch.arange(2 * 10.0).view(2, 10, 1).expand(2, 10, 3)
        a, b = random_tokens(tokens, -tokens, generator=seeded())
        assert a.shape == (2, 3, 3) and torch.equal(a, -b)
        assert all(len(set(row[:, 0].tolist())) == 3 for row in a)
        assert (a[0] < 10).all() and (a[1] >= 10).all()
        other, _ = random_tokens(tokens, tokens, generator=seeded(1))
        assert not torch.equal(a, other)


class TestAppearance:
    def naive_ssim(self, a: Tensor, b: Tensor) -> Tensor:
        offset = torch.arange(11, dtype=a.dtype) - 5
        line = torch.exp(-(offset**2) / (2 * 1.5**2))
        kernel = (line[:, None] * line / line.sum() ** 2).expand(3, 1, 11, 11)
        ma, mb, aa, bb, ab = (F.conv2d(x, kernel, groups=3) for x in (a, b, a * a, b * b, a * b))
        value = (2 * ma * mb + 1e-4) * (2 * (ab - ma * mb) + 9e-4)
        return (value / ((ma**2 + mb**2 + 1e-4) * (aa - ma**2 + bb - mb**2 + 9e-4))).mean()

    def test_ssim_equals_the_convolution(self) -> None:
        a, b = rand(2, 3, 14, 17), rand(2, 3, 14, 17, seed=1)
        torch.testing.assert_close(ssim(a, b), self.naive_ssim(a, b))
        assert float(ssim(a, a)) == pytest.approx(1.0)

    def test_known_answers(self) -> None:
        picture = rand(2, 16, 16, 3)
        assert float(appearance_loss(picture, picture)) == pytest.approx(0.0, abs=1e-5)
        grey = torch.full((1, 16, 16, 3), 0.5)
        # flat pictures: only the luminance term of SSIM is left
        similar = (2 * 0.5 * 0.75 + 1e-4) / (0.5**2 + 0.75**2 + 1e-4)
        assert float(appearance_loss(grey, grey + 0.25)) == pytest.approx(0.25 + 0.5 * (1 - similar), rel=1e-3)

    def test_lpips_gets_pictures_from_minus_one_to_one(self) -> None:
        seen = []

        def lpips(a: Tensor, b: Tensor) -> Tensor:
            seen.append((a, b))
            return torch.ones(len(a))

        one = torch.ones(2, 16, 16, 3)
        loss = appearance_loss(one, 0 * one, l1=0, structure=0, lpips=lpips)
        assert float(loss) == pytest.approx(0.2)
        assert seen[0][0].shape == (2, 3, 16, 16)
        assert seen[0][0].unique().tolist() == [1.0] and seen[0][1].unique().tolist() == [-1.0]

    def test_gradient(self) -> None:
        target = rand(1, 12, 12, 3)
        assert torch.autograd.gradcheck(
            lambda p: ssim(p.movedim(-1, 1), target.movedim(-1, 1)), rand(1, 12, 12, 3, seed=1).requires_grad_()
        )


class TestJitter:
    def test_off_is_the_identity(self) -> None:
        images = torch.rand(2, 3, 4, 4)
        assert color_jitter(images, (0.0, 0.0, 0.0, 0.0), seeded()) is images

    def test_grey_stays_grey_under_hue_and_saturation(self) -> None:
        grey = torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4)
        torch.testing.assert_close(color_jitter(grey, (0.0, 0.0, 0.9, 0.5), seeded()), grey)

    def test_brightness_is_one_factor_a_picture(self) -> None:
        images = torch.full((3, 3, 4, 4), 0.4)
        got = color_jitter(images, (0.5, 0.0, 0.0, 0.0), seeded())
        assert all(len(picture.unique()) == 1 for picture in got)
        factors = got[:, 0, 0, 0] / 0.4
        assert len(factors.unique()) == 3 and (factors >= 0.5).all() and (factors <= 1.5).all()

    def test_in_range_and_repeatable(self) -> None:
        images = torch.rand(4, 3, 8, 8)
        a, b = (color_jitter(images, (0.5, 0.5, 0.5, 0.1), seeded(3)) for _ in range(2))
        assert torch.equal(a, b) and a.min() >= 0 and a.max() <= 1
        assert not torch.equal(a, color_jitter(images, (0.5, 0.5, 0.5, 0.1), seeded(4)))
