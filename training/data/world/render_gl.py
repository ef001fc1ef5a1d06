"""Rasterising rooms with OpenGL, without a screen: EGL, on a graphics card or on Mesa's software rasteriser.

All views of a room are drawn side by side into one target and read back at once: colour with the instance id in the
alpha channel, and metric depth. The context belongs to the process that made it, so every worker opens its own.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

from .shaders import BOX_FRAGMENT, CURVED_FRAGMENT, VERTEX
from .textures import SIDE, atlas

if TYPE_CHECKING:
    import moderngl

    from .room import Room

__all__ = ["NEAR_PLANE", "GLRenderer"]

NEAR_PLANE, _FAR_PLANE = 0.03, 60.0
_FORMAT = "4f 4f 4f 4f 4f 4f 4f 1f/i"
_NAMES = ("row0", "row1", "row2", "half_taper", "first_layer", "second_repeat", "shift_emission_id", "kind")


class GLRenderer:
    """Draws many views of one room at a time.

    Args:
        height: rows of a view.
        width: columns of a view.
        supersample: colour is drawn this many times finer along each side and averaged; depth and ids are not.

    Raises:
        UniuggError: INTERNAL, if moderngl or an EGL device is missing.
    """

    def __init__(self, height: int, width: int, *, supersample: int = 1) -> None:
        # Mesa's rasteriser in the calling thread: data is made by many processes, and threads do not survive a fork.
        os.environ.setdefault("LP_NUM_THREADS", "0")
        try:
            import moderngl

            self._gl: moderngl.Context = moderngl.create_standalone_context(backend="egl")
        except Exception as error:  # moderngl raises bare Exception for every missing piece
            raise UniuggError(
                ErrorCode.INTERNAL,
                f"no OpenGL through EGL ({error}); install moderngl and libegl1, or use the ray caster",
            ) from error
        self.height, self.width = height, width
        self._fine = supersample
        gl = self._gl
        gl.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        self._flags = moderngl
        self._programs = [gl.program(vertex_shader=VERTEX, fragment_shader=f) for f in (BOX_FRAGMENT, CURVED_FRAGMENT)]
        cube = _cube()
        self._cube = gl.buffer(cube[0].tobytes())
        self._index = gl.buffer(cube[1].tobytes())
        self._instances = [gl.buffer(reserve=4 * 29 * 4096) for _ in self._programs]
        self._draws = [gl.buffer(reserve=4 * 5 * 64) for _ in self._programs]  # indirect draws, one a view
        self._arrays = [self._array(k) for k in range(2)]
        self._patterns = gl.texture_array(
            (SIDE, SIDE, len(atlas())), 1, np.round(atlas() * 255).astype(np.uint8).tobytes()
        )
        self._patterns.build_mipmaps()
        self._patterns.filter = (moderngl.LINEAR_MIPMAP_NEAREST, moderngl.LINEAR)
        self._solid: moderngl.Texture3D | None = None
        self._targets: dict[tuple[int, int], moderngl.Framebuffer] = {}
        self._patterns.use(0)
        for program in self._programs:
            _put(program, "patterns", 0)
            _put(program, "solid", 1)
            _put(program, "side", float(SIDE))
        f, n = _FAR_PLANE, NEAR_PLANE
        self._planes = ((f + n) / (f - n), -2 * f * n / (f - n))
        _put(self._programs[1], "planes", self._planes)

    def render(
        self, room: Room, intrinsics: np.ndarray, world_from_camera: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws V views of a room.

        Args:
            room: what to draw.
            intrinsics: (V, 3, 3) K in pixels, pixel centres at integers.
            world_from_camera: (V, 4, 4) OpenCV camera poses.

        Returns:
            Colour (V, H, W, 3) uint8, view depth (V, H, W) float32 metres with 0 where nothing is hit, and instance ids
            (V, H, W) uint8.
        """
        with self._gl:  # a process may have several contexts, and calls go to whichever is current
            self._upload(room, intrinsics, world_from_camera)
            colour, depth, ids = self._pass(intrinsics, world_from_camera, 1)
            if self._fine == 1:
                return colour, depth, ids
            s = self._fine
            sharp = self._pass(_finer(intrinsics, s), world_from_camera, s)[0]
            v, h, w = depth.shape
            colour = sharp.reshape(v, h, s, w, s, 3).mean((2, 4)).round().astype(np.uint8)
        return colour, depth, ids

    def close(self) -> None:
        """Gives the context and everything in it back."""
        with self._gl:
            for target in self._targets.values():
                target.release()
        self._targets.clear()
        self._gl.release()

    def _array(self, k: int) -> moderngl.VertexArray:
        content = [(self._cube, "3f 3f", "corner", "face"), (self._instances[k], _FORMAT, *_NAMES)]
        return self._gl.vertex_array(self._programs[k], content, self._index, skip_errors=True)

    def _upload(self, room: Room, intrinsics: np.ndarray, world_from_camera: np.ndarray) -> None:
        """Sends the room, and for every view the list of what it can see, nearest first."""
        p = room.primitives
        rows = np.concatenate([p.rotation * p.half[:, None, :], p.center[:, :, None]], -1).reshape(-1, 12)
        table = np.concatenate(
            [
                rows,
                p.half,
                p.taper[:, None],
                p.first,
                p.layer[:, None],
                p.second,
                p.repeat[:, None],
                p.shift,
                p.emission[:, None],
                p.instance[:, None],
                p.kind[:, None],
            ],
            -1,
        ).astype(np.float32)
        lists, draws = [], []
        for chosen in (np.flatnonzero(p.kind == 0), np.flatnonzero(p.kind != 0)):
            seen, count = _in_sight(room, chosen, intrinsics, world_from_camera, self.height, self.width)
            start = np.concatenate([[0], np.cumsum(count)[:-1]])
            draws.append(np.array([(36, n, 0, 0, first) for n, first in zip(count, start)], np.uint32))
            lists.append(table[seen])
        for k in range(2):
            if lists[k].nbytes > self._instances[k].size:
                self._instances[k].orphan(2 * lists[k].nbytes)
            if draws[k].nbytes > self._draws[k].size:
                self._draws[k].orphan(2 * draws[k].nbytes)
            self._instances[k].write(lists[k].tobytes())
            self._draws[k].write(draws[k].tobytes())
        if self._solid is None:
            depth, rows_, columns = room.occlusion.shape
            self._solid = self._gl.texture3d((columns, rows_, depth), 1)
            self._solid.repeat_x = self._solid.repeat_y = self._solid.repeat_z = False
            self._solid.use(1)
        self._solid.write(room.occlusion.tobytes())
        for program in self._programs:
            _put(program, "room", (room.plan.width, room.plan.depth, room.plan.height))
            _put(program, "light_at", room.lights.position.tobytes())
            _put(program, "light_colour", room.lights.colour.tobytes())
            _put(program, "light_fade", room.lights.fade.tobytes())
            _put(program, "ambient", tuple(room.lights.ambient))

    def _pass(
        self, intrinsics: np.ndarray, world_from_camera: np.ndarray, scale: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        views, width, height = len(intrinsics), self.width * scale, self.height * scale
        across = math.ceil(math.sqrt(views))
        down = math.ceil(views / across)
        target = self._target(across * width, down * height)
        target.use()
        target.clear()
        for v in range(views):
            target.viewport = ((v % across) * width, (v // across) * height, width, height)
            self._aim(intrinsics[v], world_from_camera[v], width, height)
            self._gl.cull_face = "front"  # the far side of the cube, so that a near one does not swallow the eye
            self._arrays[1].render_indirect(self._draws[1], count=1, first=v)
            self._gl.cull_face = "back"
            self._arrays[0].render_indirect(self._draws[0], count=1, first=v)
        shape = down * height, across * width
        target.viewport = (0, 0, across * width, down * height)
        colour = _tiles(np.frombuffer(target.read(components=4), np.uint8).reshape(*shape, 4), down, across)[:views]
        depth = np.empty(0, np.float32)
        if scale == 1:
            raw = np.frombuffer(target.read(components=1, attachment=1, dtype="f4"), np.float32)
            depth = _tiles(raw.reshape(*shape, 1), down, across)[:views, ..., 0]
        return np.ascontiguousarray(colour[..., :3]), depth, colour[..., 3]

    def _target(self, width: int, height: int) -> moderngl.Framebuffer:
        if (width, height) not in self._targets:
            gl = self._gl
            colour = [gl.texture((width, height), 4), gl.texture((width, height), 1, dtype="f4")]
            self._targets[width, height] = gl.framebuffer(colour, gl.depth_renderbuffer((width, height)))
        return self._targets[width, height]

    def _aim(self, intrinsics: np.ndarray, world_from_camera: np.ndarray, width: int, height: int) -> None:
        rotation, eye = world_from_camera[:3, :3].T, world_from_camera[:3, 3]
        view = np.eye(4)
        view[:3, :3], view[:3, 3] = rotation, -rotation @ eye
        fx, fy, cx, cy, skew = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2], intrinsics[0, 1]
        # Row 0 of the picture is drawn at the bottom of the target, which is where reading it back starts.
        clip = np.array(
            [
                [2 * fx / width, 2 * skew / width, (2 * cx + 1) / width - 1, 0],
                [0, 2 * fy / height, (2 * cy + 1) / height - 1, 0],
                [0, 0, self._planes[0], self._planes[1]],
                [0, 0, 1, 0],
            ]
        )
        matrix = (clip @ view).astype(np.float32).T.tobytes()
        for program in self._programs:
            _put(program, "clip_from_world", matrix)
            _put(program, "depth_row", tuple(view[2]))
            _put(program, "eye", tuple(eye))
            _put(program, "pixel", 1.0 / float(fx))


def _put(program: moderngl.Program, name: str, value: object) -> None:
    """Sets a uniform; the compiler drops those it does not need."""
    if name in program:
        if isinstance(value, bytes):
            program[name].write(value)  # type: ignore[union-attr]
        else:
            program[name].value = value  # type: ignore[union-attr]


def _in_sight(
    room: Room, chosen: np.ndarray, intrinsics: np.ndarray, world_from_camera: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the `chosen` primitives each view may see.

    Returns:
        Their indices, view after view, things before walls and near before far (what they hide is then never shaded),
        and the number of them per view (V,).
    """
    p = room.primitives
    radius = np.linalg.norm(p.half[chosen], axis=-1)
    offset = p.center[chosen][None] - world_from_camera[:, None, :3, 3]
    local = np.einsum("vpi,vij->vpj", offset, world_from_camera[:, :3, :3])
    inside = local[..., 2] > NEAR_PLANE - radius
    for axis, size in ((0, width), (1, height)):
        focal, middle = intrinsics[:, axis, axis, None], intrinsics[:, axis, 2, None]
        low, high = (middle + 0.5) / focal, (size - 0.5 - middle) / focal  # tangents of the two half angles
        inside &= local[..., axis] + low * local[..., 2] > -radius * np.sqrt(1 + low**2)
        inside &= high * local[..., 2] - local[..., axis] > -radius * np.sqrt(1 + high**2)
    structure = np.array([item.structural for item in room.graph.objects])[p.instance[chosen] - 1]
    key = np.where(inside, local[..., 2] + 100.0 * structure, np.inf)
    order = np.argsort(key, axis=1)
    count = inside.sum(1)
    keep = np.arange(len(chosen)) < count[:, None]
    return chosen[order[keep]], count


def _cube() -> tuple[np.ndarray, np.ndarray]:
    """24 corners with face normals, and 36 indices; faces run clockwise because the picture is drawn upside down."""
    corners, index = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            base = len(corners)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                p, n = np.zeros(3), np.zeros(3)
                p[axis], p[u], p[v], n[axis] = sign, a, b, sign
                corners.append(np.concatenate([p, n]))
            quad = (0, 2, 1, 0, 3, 2) if sign > 0 else (0, 1, 2, 0, 2, 3)
            index += [base + k for k in quad]
    return np.array(corners, np.float32), np.array(index, np.int32)


def _finer(intrinsics: np.ndarray, scale: int) -> np.ndarray:
    """K of a picture with `scale` times the pixels along each side, pixel centres at integers."""
    out = intrinsics.copy()
    out[:, :2] *= scale
    out[:, :2, 2] += 0.5 * (scale - 1)
    return out


def _tiles(sheet: np.ndarray, down: int, across: int) -> np.ndarray:
    """(down * H, across * W, C) -> (down * across, H, W, C)."""
    h, w, c = sheet.shape[0] // down, sheet.shape[1] // across, sheet.shape[2]
    return sheet.reshape(down, h, across, w, c).swapaxes(1, 2).reshape(down * across, h, w, c)
