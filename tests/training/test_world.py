"""The procedural world: rooms are deterministic, varied, and furnished as rooms can be."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.graph import SceneObject, footprint_distance
from training.data.world.classes import CLASS_ID, CLASSES
from training.data.world.furnish import KINDS
from training.data.world.palette import material
from training.data.world.parts import Parts
from training.data.world.plan import Placer, draw_plan
from training.data.world.room import MAX_OBJECTS, make_room
from training.data.world.textures import PATTERNS, SIDE, atlas, pyramid

ROOMS = [make_room(seed) for seed in range(40)]
SMALL = {"rug"}  # flat things that others may stand on


def fields(primitives):
    return {name: getattr(primitives, name) for name in primitives.__dataclass_fields__}


class TestRooms:
    def test_same_seed_same_room(self):
        again = make_room(7)
        for name, array in fields(again.primitives).items():
            np.testing.assert_array_equal(array, getattr(ROOMS[7].primitives, name))
        assert again.graph == ROOMS[7].graph
        np.testing.assert_array_equal(again.occlusion, ROOMS[7].occlusion)
        np.testing.assert_array_equal(again.lights.colour, ROOMS[7].lights.colour)

    def test_other_seed_other_room(self):
        assert len({room.graph.objects for room in ROOMS}) == len(ROOMS)

    def test_the_rooms_are_varied(self):
        names = Counter(item.name for room in ROOMS for item in room.graph.objects)
        things = [name for name, count in names.items() if count >= 2 and name not in ("wall", "floor", "ceiling")]
        assert len(things) >= 25
        assert {room.graph.kind for room in ROOMS} == set(KINDS)
        assert any(room.plan.cut for room in ROOMS) and not all(room.plan.cut for room in ROOMS)
        areas = [room.graph.area for room in ROOMS]
        assert min(areas) < 12 and max(areas) > 30

    def test_clutter_fills(self):
        tidy = sum(len(make_room(seed, clutter=0.0).graph.objects) for seed in range(15))
        full = sum(len(make_room(seed, clutter=1.0).graph.objects) for seed in range(15))
        assert full > 1.3 * tidy

    @pytest.mark.parametrize("room", ROOMS[::4], ids=lambda room: str(room.seed))
    def test_every_primitive_belongs_to_an_object_inside_the_room(self, room):
        low = room.primitives.center - room.primitives.reach()
        high = room.primitives.center + room.primitives.reach()
        limit = np.array([room.plan.width, room.plan.depth, room.plan.height])
        ids = {item.id for item in room.graph.objects}
        assert set(room.primitives.instance.tolist()) == ids
        assert max(ids) <= MAX_OBJECTS
        for item in room.graph.objects:
            mine = room.primitives.instance == item.id
            if not item.structural:
                assert (low[mine] > -0.03).all() and (high[mine] < limit + 0.03).all(), item
            assert room.class_of[item.id] == CLASS_ID[item.name]
        assert np.isfinite(room.primitives.rotation).all()
        assert ((room.primitives.taper >= 0) & (room.primitives.taper <= 1)).all()

    @pytest.mark.parametrize("room", ROOMS[::4], ids=lambda room: str(room.seed))
    def test_boxes_are_tight(self, room):
        """The scene graph's boxes against the primitives' corners, taken into each box's own frame."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        for item in room.graph.objects:
            mine = (room.primitives.instance == item.id) & (room.primitives.kind == 0)
            if not mine.any() or (room.primitives.kind[room.primitives.instance == item.id] != 0).any():
                continue
            p = room.primitives
            corners = np.einsum("pij,kj,pj->pki", p.rotation[mine], signs, p.half[mine]) + p.center[mine][:, None]
            c, s = math.cos(item.yaw), math.sin(item.yaw)
            local = (corners - item.center) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            reach = 0.5 * np.array(item.size)
            np.testing.assert_allclose(local.reshape(-1, 3).max(0), reach, atol=2e-4)
            np.testing.assert_allclose(local.reshape(-1, 3).min(0), -reach, atol=2e-4)

    def test_nothing_runs_into_another_thing(self):
        """Separating axes over all pairs of parts of different things; round parts by the box inside them."""
        clashes = []
        for room in ROOMS:
            p = room.primitives
            names = np.array([item.name for item in room.graph.objects])[p.instance - 1]
            low, high = p.center - p.reach(), p.center + p.reach()
            near = ((low[:, None] < high[None] - 0.01) & (low[None] < high[:, None] - 0.01)).all(-1)
            near &= p.instance[:, None] != p.instance[None]
            for i, j in np.argwhere(np.triu(near, 1)):
                pair = {str(names[i]), str(names[j])}
                if pair != {"wall"} and not pair & SMALL and overlap(p, i, j) > 0.015:
                    clashes.append((room.seed, pair))
        assert not clashes

    def test_carried_things_stand_on_what_carries_them(self):
        carried = 0
        for room in ROOMS:
            for item in room.graph.objects:
                if item.on:
                    base = room.graph[item.on]
                    bottom = item.center[2] - item.size[2] / 2
                    assert base.center[2] - base.size[2] / 2 < bottom <= base.center[2] + base.size[2] / 2 + 1e-6
                    assert footprint_distance(item, base) == 0.0
                    assert item in room.graph.related("on", base.id)
                    carried += 1
        assert carried > 40

    def test_furniture_stands_on_the_floor_or_hangs(self):
        hung = {"door", "window", "curtain", "painting", "clock", "ceiling light", "tv"}
        for room in ROOMS:
            for item in room.graph.objects:
                if not item.structural and not item.on and item.name not in hung:
                    assert item.center[2] - item.size[2] / 2 == pytest.approx(0.0, abs=1e-6), item

    def test_near_goes_both_ways_and_is_near(self):
        graph = ROOMS[3].graph
        near = {(r.subject, r.object) for r in graph.relations if r.predicate == "near"}
        assert near and all((b, a) in near for a, b in near)
        assert all(graph[a].distance(graph[b]) < 0.5 for a, b in near)


def overlap(p, i, j):
    """Depth to which two oriented boxes run into each other; negative if a gap is left."""
    axes = [*p.rotation[i].T, *p.rotation[j].T]
    for a in p.rotation[i].T:
        for b in p.rotation[j].T:
            across = np.cross(a, b)
            if np.linalg.norm(across) > 1e-3:
                axes.append(across / np.linalg.norm(across))
    axes = np.array(axes)
    half = [p.half[k] * (1.0 if p.kind[k] == 0 else 0.7) for k in (i, j)]
    reach = np.abs(axes @ p.rotation[i]) @ half[0] + np.abs(axes @ p.rotation[j]) @ half[1]
    return (reach - np.abs(axes @ (p.center[j] - p.center[i]))).min()


class TestPlan:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 10**9))
    def test_walls_close_the_outline_and_face_inwards(self, seed):
        plan = draw_plan(Random(seed), smallest=3.0, largest=8.0, l_shaped=0.7)
        area = 0.0
        for k, wall in enumerate(plan.walls):
            end = wall.at(wall.length, 0.0)
            following = plan.walls[(k + 1) % len(plan.walls)]
            assert end == pytest.approx((following.x, following.y), abs=1e-9)
            area += 0.5 * (wall.x * end[1] - end[0] * wall.y)  # shoelace; positive: the room lies to the left
            x, y = wall.at(0.5 * wall.length, 0.05)
            inside = 0 < x < plan.width and 0 < y < plan.depth
            inside &= not (plan.cut and plan.cut.x0 < x < plan.cut.x1 and plan.cut.y0 < y < plan.cut.y1)
            assert inside
        assert area == pytest.approx(plan.area)

    def test_a_taken_place_is_not_given_again(self):
        parts = Parts()
        parts.box((0, 0, 0.5), (1.0, 1.0, 1.0), material((1, 1, 1)))
        crate = parts.item("box", "white")
        place = Placer(draw_plan(Random(1), smallest=3.0, largest=3.1, l_shaped=0.0), Random(2))
        assert place.stand(crate, 1.5, 1.5, 0.0) == 0
        assert place.stand(crate, 2.0, 1.5, 0.3) == -1
        assert place.stand(crate, 0.1, 1.5, 0.0) == -1  # into the wall


class TestParts:
    def test_tight_box_of_turned_parts(self):
        parts, white = Parts(), material((1, 1, 1))
        parts.box((1.0, 0.0, 0.0), (2.0, 0.2, 0.2), white, yaw=math.pi / 2)
        item = parts.item("box", "white")
        assert item.size == pytest.approx((0.2, 2.0, 0.2))
        assert item.parts[0].center == pytest.approx((0.0, 0.0, 0.1))

    def test_lying_cylinder_and_ellipsoid(self):
        parts, white = Parts(), material((1, 1, 1))
        parts.cylinder((0, 0, 0), 0.1, 1.0, white, tilt=math.pi / 2)
        assert parts.item("box", "").size == pytest.approx((0.2, 1.0, 0.2))
        parts = Parts()
        parts.ellipsoid((0, 0, 0), (2.0, 1.0, 1.0), white, yaw=math.pi / 4)
        assert parts.item("box", "").size == pytest.approx((math.sqrt(2.5), math.sqrt(2.5), 1.0))

    def test_a_wider_top_stands_on_its_head(self):
        parts, white = Parts(), material((1, 1, 1))
        parts.cylinder((0, 0, 0.5), 0.1, 1.0, white, top=2.0)
        (part,) = parts.item("bin", "").parts
        assert part.taper == 0.5 and part.half[0] == pytest.approx(0.2) and part.tilt == pytest.approx(math.pi)


class TestTextures:
    def test_all_patterns_in_range_and_different(self):
        assert atlas().shape == (len(PATTERNS), SIDE, SIDE)
        assert atlas().min() >= 0 and atlas().max() <= 1
        assert len({layer.tobytes() for layer in atlas()}) == len(PATTERNS)

    def test_pyramid_keeps_the_mean(self):
        assert pyramid()[-1].shape == (len(PATTERNS), 1, 1)
        for level in pyramid():
            np.testing.assert_allclose(level.mean((1, 2)), atlas().mean((1, 2)), atol=2e-3)


class TestBoxDistance:
    box = {"id": 1, "name": "box", "colour": ""}

    def test_known_answers(self):
        a = SceneObject(**self.box, center=(0, 0, 0.5), size=(1, 1, 1), yaw=0.0)
        b = SceneObject(**self.box, center=(2, 0, 0.5), size=(1, 1, 1), yaw=0.0)
        assert a.distance(b) == pytest.approx(1.0)
        turned = SceneObject(**self.box, center=(2, 0, 0.5), size=(1, 1, 1), yaw=math.pi / 4)
        assert a.distance(turned) == pytest.approx(1.5 - math.sqrt(0.5))
        above = SceneObject(**self.box, center=(0, 2.0, 4.0), size=(1, 1, 1), yaw=0.0)
        assert a.distance(above) == pytest.approx(math.hypot(1.0, 2.5))
        assert a.distance(a) == 0.0
        assert a.distance_to_point((0.0, 0.0, 0.5)) == 0.0
        assert turned.distance_to_point((3.0, 0.0, 1.0)) == pytest.approx(1.0 - math.sqrt(0.5))

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10**6))
    def test_against_points_on_the_boxes(self, seed):
        """No two sampled points are closer than the distance, and some come near it."""
        rng = np.random.default_rng(seed)
        a, b = (
            SceneObject(
                **self.box,
                center=tuple(rng.uniform(-2, 2, 3)),
                size=tuple(rng.uniform(0.2, 1.5, 3)),
                yaw=rng.uniform(-3, 3),
            )
            for _ in range(2)
        )
        grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 9)] * 3), -1).reshape(-1, 3)

        def points(item):
            c, s = math.cos(item.yaw), math.sin(item.yaw)
            return (grid * item.size) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + item.center

        gaps = np.linalg.norm(points(a)[:, None] - points(b)[None], axis=-1)
        assert a.distance(b) <= gaps.min() + 1e-9
        assert gaps.min() - a.distance(b) < 0.3
        assert a.distance(b) == pytest.approx(b.distance(a))


def test_class_names_are_unique():
    assert len(set(CLASSES)) == len(CLASSES) < 256
