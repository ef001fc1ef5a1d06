"""The browser page: a cloud to walk around in, sliders for the new pose, a field for questions (viser)."""

from __future__ import annotations

import math

import numpy as np
import viser
from PIL import Image
from viser.transforms import SO3

from uniugg_core.cameras import inverse_rigid, square_crop
from uniugg_core.commands.common import UNTRAINED_NOTE
from uniugg_core.errors import UniuggError
from uniugg_core.outputs import Progress
from uniugg_core.render import IMAGINED_TINT
from uniugg_core.scene import IMAGINED, OBSERVED, Scene, up_direction
from uniugg_core.sheet import describe_motion, imagined_view

from .session import Look, ViewSession

__all__ = ["Viewer"]

LIVE = "live"
SIDE = 224  # pixels of each of the two pictures in the panel
OBSERVED_COLOR = (70, 74, 82)
TINT_SHARE = 0.25
FRUSTUM = 0.15  # metres
MAX_POINTS = 600_000  # sent to the browser; more are thinned evenly


class Viewer:
    """Serves the page until :meth:`stop`.

    Args:
        session: what there is to show and to ask.
        host: address to listen on; this machine only by default.
        port: 0 takes a free one.

    Attributes:
        answer: the answer area's handle; a test reads it.
    """

    def __init__(self, session: ViewSession, host: str = "127.0.0.1", port: int = 8080) -> None:
        self.session = session
        self._scene: Scene | None = None
        self._frusta: dict[str, viser.CameraFrustumHandle] = {}
        self._server = viser.ViserServer(host=host, port=port, label="UniUGG", verbose=False)
        self._server.gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
        self._server.gui.main_panel.dock_right()
        self._build()
        self._stand_behind()
        if session.can_ask:
            self._change_picture()
        if session.scenes:
            self._choice.value = next(iter(session.scenes))
            self.show(session.saved(self._choice.value))

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self._server.get_host()}:{self._server.get_port()}"

    @property
    def scene(self) -> Scene | None:
        """What is shown."""
        return self._scene

    @property
    def note(self) -> str:
        """The note at the top of the panel; empty if there is none."""
        return self._note.content

    def stop(self) -> None:
        """Ends the server."""
        self._server.stop()

    def show(self, scene: Scene) -> None:
        """Shows a scene in place of the one before."""
        self._scene = scene
        self._server.scene.set_up_direction(tuple(float(value) for value in up_direction(scene.frame)))
        self._draw()
        self._say(_counts(scene))
        view = imagined_view(scene)
        if view is not None:
            observed = next((view.image for view in scene.views if view.source == OBSERVED), None)
            self._pair.image = _side_by_side(observed, view.image)

    # --- the page ---

    def _build(self) -> None:
        gui = self._server.gui
        gui.set_panel_label("UniUGG")
        self._note = gui.add_markdown("", visible=False)
        self._pair = gui.add_image(_side_by_side(None, None), label="picture, and predicted from the new pose")
        if self.session.can_ask:
            self._build_live()
        with gui.add_folder("Show"):
            self._choice = gui.add_dropdown("scene", [*self.session.scenes, LIVE], initial_value=LIVE)
            self._observed = gui.add_checkbox("observed", True)
            self._imagined = gui.add_checkbox("imagined", True, hint="tinted magenta")
            self._hidden = gui.add_slider("hide least sure %", 0, 95, 5, 0)
            self._size = gui.add_slider("point size mm", 1, 40, 1, 10)
        self._choice.on_update(lambda _: self._choose())
        for handle in (self._observed, self._imagined, self._hidden, self._size):
            handle.on_update(lambda _: self._draw())

    def _build_live(self) -> None:
        gui, last = self._server.gui, len(self.session.pictures) - 1
        self._picture = gui.add_slider("picture", 0, last, 1, min(8, last))
        with gui.add_folder("Imagine from"):
            self._yaw = gui.add_slider("yaw right °", -90, 90, 1, 30)
            self._pitch = gui.add_slider("pitch up °", -45, 45, 1, 0)
            self._forward = gui.add_slider("forward m", -1.0, 2.0, 0.05, 0.0)
            self._right = gui.add_slider("right m", -1.0, 1.0, 0.05, 0.0)
            self._up = gui.add_slider("up m", -1.0, 1.0, 0.05, 0.0)
            self._samples = gui.add_slider("samples", 1, 8, 1, 1)
            self._steps = gui.add_slider("steps", 0, 50, 1, 0, hint="denoising steps; 0: the model's default")
            self._imagine_button = gui.add_button("Imagine")
            self._progress = gui.add_progress_bar(0.0, visible=False)
            self._status = gui.add_markdown("")
        with gui.add_folder("Ask about the picture"):
            self.question = gui.add_text("question", "What is in front of the camera?")
            self._ask_button = gui.add_button("Ask")
            self.answer = gui.add_text("answer", "", multiline=True, disabled=True)
            self._answer_facts = gui.add_markdown("")
        self._picture.on_update(lambda _: self._change_picture())
        for handle in (self._yaw, self._pitch, self._forward, self._right, self._up):
            handle.on_update(lambda _: self._move_target())
        self._imagine_button.on_click(lambda _: self.imagine())
        self._ask_button.on_click(lambda _: self.ask())

    # --- what a person does ---

    def imagine(self) -> None:
        """Imagines from where the sliders say, and shows it; what goes wrong is said in the panel."""
        self._imagine_button.disabled, self._progress.visible = True, True
        try:
            scene = self.session.imagine(
                int(self._picture.value),
                self._look(),
                samples=int(self._samples.value),
                steps=int(self._steps.value) or None,
                callback=self._show_progress,
            )
            self._choice.value = LIVE
            self.show(scene)
            self._say(f"{_counts(scene)}, seed {scene.seed}")
        except UniuggError as error:
            self._say(f"**{error}**")
        finally:
            self._imagine_button.disabled, self._progress.visible = False, False
            self._say_if_untrained()

    def ask(self) -> None:
        """Asks what stands in the field; the answer appears as it is written."""
        self._ask_button.disabled = True
        self.answer.value, self._answer_facts.content = "...", ""
        try:
            answer = self.session.ask(int(self._picture.value), self.question.value, self._show_answer)
            self._show_answer(answer.text)
            facts = f"confidence {answer.confidence:.2f}, {answer.tokens} tokens"
            if answer.value is not None:
                facts += f", value {answer.value:g} {answer.unit}"
            self._answer_facts.content = facts
        except UniuggError as error:
            self.answer.value = str(error)
        finally:
            self._ask_button.disabled = False
            self._say_if_untrained()

    def _choose(self) -> None:
        if self._choice.value != LIVE:
            self.show(self.session.saved(self._choice.value))

    def _change_picture(self) -> None:
        picture = self.session.pictures[int(self._picture.value)]
        self._pair.image = _side_by_side(square_crop(picture.image, picture.camera, SIDE).image, None)
        self._move_target()

    def _show_progress(self, progress: Progress) -> None:
        share = progress.step / progress.steps if progress.steps else 0.0
        self._progress.value = 100 * (progress.sample + share) / max(int(self._samples.value), 1)

    def _show_answer(self, text: str) -> None:
        self.answer.value = text or "(empty)"

    def _say_if_untrained(self) -> None:
        if self.session.trained is False:
            self._note.content, self._note.visible = f"*{UNTRAINED_NOTE}*", True

    def _say(self, line: str) -> None:
        if self.session.can_ask:
            self._status.content = line

    # --- drawing ---

    def _draw(self) -> None:
        """The two clouds and the cameras, as the switches say."""
        scene = self._scene
        if scene is None:
            return
        quantile = float(self._hidden.value) / 100
        for source, name, switch in ((OBSERVED, "observed", self._observed), (IMAGINED, "imagined", self._imagined)):
            cloud = scene.filter(source=source, quantile=quantile or None)
            if len(cloud) > MAX_POINTS:
                cloud = cloud.select(np.linspace(0, len(cloud) - 1, MAX_POINTS).astype(np.int64))
            colors = cloud.colors.astype(np.float32)
            if source == IMAGINED:
                colors += TINT_SHARE * (np.array(IMAGINED_TINT, np.float32) - colors)
            self._server.scene.add_point_cloud(
                f"/{name}",
                cloud.points,
                colors.astype(np.uint8),
                point_size=float(self._size.value) / 1000,
                point_shape="circle",
                precision="float32",
                visible=bool(switch.value) and len(cloud) > 0,
            )
        for frustum in self._frusta.values():
            frustum.visible = bool(scene.views)  # a saved cloud does not say where its cameras stood
        for view in scene.views:
            if view.sample == 0:
                name = "target" if view.source == IMAGINED else "reference"
                self._frustum(name, view.scene_from_camera, view.camera.matrix[1, 1] / view.camera.height, view.image)

    def _move_target(self) -> None:
        """The outlines of the camera and of where the sliders look from, before anything is imagined."""
        picture = self.session.pictures[int(self._picture.value)]
        crop = square_crop(picture.image, picture.camera, SIDE)
        focal = crop.camera.matrix[1, 1] / SIDE
        pose = self._look().target_from_reference
        self._frustum("reference", np.eye(4), focal, crop.image)
        self._frustum("target", inverse_rigid(pose), focal, None)
        self._say(describe_motion(pose))

    def _frustum(self, name: str, scene_from_camera: np.ndarray, focal: float, image: np.ndarray | None) -> None:
        self._frusta[name] = self._server.scene.add_camera_frustum(
            f"/{name}",
            fov=2 * math.atan(0.5 / focal),
            aspect=1.0,
            scale=FRUSTUM,
            color=IMAGINED_TINT if name == "target" else OBSERVED_COLOR,
            image=image,
            wxyz=SO3.from_matrix(scene_from_camera[:3, :3]).wxyz,
            position=scene_from_camera[:3, 3],
        )

    def _look(self) -> Look:
        return Look(
            yaw=float(self._yaw.value),
            pitch=float(self._pitch.value),
            forward=float(self._forward.value),
            right=float(self._right.value),
            up=float(self._up.value),
        )

    def _stand_behind(self) -> None:
        """Where a visitor starts: a step behind and above the camera, looking as it does."""
        start = self._server.initial_camera
        start.position, start.look_at, start.up = (-0.8, -0.9, -1.8), (0.0, 0.2, 2.0), (0.0, -1.0, 0.0)


def _side_by_side(left: np.ndarray | None, right: np.ndarray | None) -> np.ndarray:
    """Two square pictures (SIDE, 2 SIDE + gap, 3); grey where there is none."""
    squares = []
    for picture in (left, right):
        if picture is None:
            squares.append(np.full((SIDE, SIDE, 3), 232, np.uint8))
        else:
            squares.append(np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
    return np.concatenate([squares[0], np.full((SIDE, 8, 3), 255, np.uint8), squares[1]], axis=1)


def _counts(scene: Scene) -> str:
    imagined = int((scene.source == IMAGINED).sum())
    return f"{len(scene) - imagined:,} points observed, {imagined:,} imagined"
