"""What the demo asks of the node, in order: every way in, poses along and off the recorded path, questions, mistakes.

Poses along the path are those of other recorded pictures, given in the bag's fixed frame: what was really seen from
there can stand beside the prediction. Poses off the path are motions in words, given in the camera's optical frame.
"""

from __future__ import annotations

import array
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, CompressedImage

from uniugg_core.cameras import inverse_rigid, parse_motion
from uniugg_core.errors import ErrorCode
from uniugg_interfaces.action import AskSpatial as AskAction
from uniugg_interfaces.action import Imagine as ImagineAction
from uniugg_interfaces.srv import AskSpatial, Imagine

from .client import DemoClient, NoReply, pose_message
from .outcome import Outcome
from .play import BagPlayer
from .recorded import SAMPLE_TOPICS, BagTopics, Known, Picture, relative_pose

__all__ = ["Tour", "attachment"]

NOT_THERE = "a_frame_that_does_not_exist"
LONG_QUESTION = "Where is the door? " * 400
SAMPLES = 3
CANCEL_AFTER = 3  # feedback messages
LONG = 200  # denoising steps of what is cancelled on the way, whatever the model's default is
AWAY_FROM_SEAM = 4  # pictures: requests along the path wait until the loop's seam is this far

SHORT = (  # the titles of a short tour: one of each kind
    "three recorded poses further, on the topic",
    "four recorded poses further",
    "round a point ahead, with progress",
    "a frame that does not exist",
    "with evidence",
    "streamed",
)

Run = Callable[[Outcome], None]
Step = tuple[Outcome, Run]


class Tour:
    """Runs the requests one after the other and keeps what came of them.

    Args:
        client: sends them.
        player: plays the bag meanwhile.
        pictures: of the bag.
        say: called with a line for a person after each request.
        known: questions about the bag with their answers: a bag that has them is a rendered room, and gets a tour of
            its own.
        first: number of the first request.
        topics: of the bag.
    """

    def __init__(
        self,
        client: DemoClient,
        player: BagPlayer,
        pictures: Sequence[Picture],
        say: Callable[[str], None],
        known: Sequence[Known] = (),
        first: int = 1,
        topics: BagTopics = SAMPLE_TOPICS,
    ) -> None:
        self._client, self._player, self._pictures = client, player, pictures
        self._say, self._known, self._first, self._topics = say, known, first, topics
        self._by_stamp = {picture.stamp: number for number, picture in enumerate(pictures)}

    def run(self, *, short: bool = False) -> list[Outcome]:
        """All requests, or with `short` one of each kind. Stops early when the node is gone."""
        outcomes = []
        steps = self._room_steps() if self._known else self._short_steps() if short else self._steps()
        for number, (outcome, ask) in enumerate(steps, start=self._first):
            outcome.number, outcome.pictures = number, self._pictures
            outcomes.append(outcome)
            try:
                ask(outcome)
            except NoReply as error:
                outcome.message = str(error)
            self._locate(outcome)
            self._say(_line(outcome))
            if outcome.code is None and "process has ended" in outcome.message:
                break
        return outcomes

    def _steps(self) -> list[Step]:
        return [*self._imagine_steps(), *self._ask_steps()]

    def _imagine_steps(self) -> list[Step]:
        cancelled, unknown, invalid = ErrorCode.CANCELLED, ErrorCode.FRAME_UNKNOWN, ErrorCode.POSE_INVALID
        return [
            _imagine("three recorded poses further, on the topic", "topic", self._along(3)),
            _imagine("the next recorded pose", "service", self._along(1)),
            _imagine("four recorded poses further", "service", self._along(4)),
            _imagine("three recorded poses back", "topic", self._along(-3)),
            _imagine("turned right", "service", self._moved("yaw right 30")),
            _imagine("turned left", "topic", self._moved("yaw left 30")),
            _imagine("a step forward", "service", self._moved("forward 0.5")),
            _imagine("a step back", "topic", self._moved("back 0.4")),
            _imagine("an attached picture, three samples", "service", self._attached),
            _imagine("round a point ahead, with progress", "action", self._moved("orbit right 25 around 1.5")),
            _imagine("cancelled on the way", "action", self._moved("yaw right 10", CANCEL_AFTER), cancelled),
            _imagine("a frame that does not exist", "service", self._posed(NOT_THERE, x=0.0), unknown),
            _imagine("a pose that is not a number", "service", self._posed(self._topics.fixed, x=math.nan), invalid),
            _imagine("looking up, after the refusals", "service", self._moved("look up 15")),
        ]

    def _ask_steps(self) -> list[Step]:
        evidence = self._asked("How far away is the table?", evidence=True)
        second = self._asked("Which side of the table is it on?", session="demo")
        elsewhere = self._asked("What is to the right of the window?", words="yaw right 30")
        return [
            _ask("the first question", "service", self._asked("What is in front of the camera?")),
            _ask("with evidence", "service", evidence),
            _ask("first of a conversation", "service", self._asked("Is there a chair?", session="demo")),
            _ask("second of a conversation", "service", second),
            _ask("about two attached pictures", "service", self._ask_attached),
            _ask("about the view imagined to the right", "service", elsewhere),
            _ask("streamed", "action", self._asked("Describe where the furniture is.")),
            _ask("an over-long question", "service", self._asked(LONG_QUESTION), ErrorCode.QUESTION_TOO_LONG),
        ]

    def _room_steps(self) -> list[Step]:
        return [
            _imagine("in a room: the next recorded pose", "service", self._along(1)),
            _imagine("in a room: three recorded poses further", "topic", self._along(3)),
            _imagine("in a room: four recorded poses back", "service", self._along(-4)),
            _imagine("in a room: turned right", "service", self._moved("yaw right 30")),
            _imagine("in a room: turned left", "service", self._moved("yaw left 30")),
            _imagine("in a room: a step forward", "service", self._moved("forward 0.5")),
            _imagine("in a room: round a point ahead", "action", self._moved("orbit right 25 around 1.5")),
            *[_ask("in a room: the answer is known", "service", self._ask_known(known)) for known in self._known],
        ]

    def _short_steps(self) -> list[Step]:
        return [step for step in self._steps() if step[0].title in SHORT]

    # --- imagine ---

    def _along(self, ahead: int) -> Run:
        """From the pose, in the fixed frame, of the picture `ahead` of the one that is being played."""

        def run(outcome: Outcome) -> None:
            outcome.target = self._wait_for_picture() + ahead
            pose = self._pictures[outcome.target].fixed_from_camera
            self._send(outcome, pose_message(self._topics.fixed, pose))

        return run

    def _moved(self, words: str, cancel_after: int | None = None) -> Run:
        """From a pose in the camera's own frame."""

        def run(outcome: Outcome) -> None:
            self._send(outcome, self._moved_pose(outcome, words), cancel_after)

        return run

    def _posed(self, frame: str, x: float) -> Run:
        def run(outcome: Outcome) -> None:
            message = pose_message(frame, np.eye(4))
            message.pose.position.x = x
            self._send(outcome, message)

        return run

    def _attached(self, outcome: Outcome) -> None:
        outcome.reference, outcome.target = 5, 6
        reference, target = self._pictures[5], self._pictures[6]
        outcome.target_from_reference = relative_pose(reference, target)
        picture, info = attachment(reference)
        request = Imagine.Request(
            target_pose=pose_message(reference.frame, inverse_rigid(outcome.target_from_reference)),
            compressed_image=[picture],
            camera_info=[info],
            samples=SAMPLES,
            seed=outcome.number,
        )
        self._client.imagine_by_service(outcome, request)

    def _send(self, outcome: Outcome, pose: PoseStamped, cancel_after: int | None = None) -> None:
        if outcome.via == "topic":
            self._client.imagine_by_topic(outcome, pose)
        elif outcome.via == "service":
            self._client.imagine_by_service(outcome, Imagine.Request(target_pose=pose, seed=outcome.number))
        else:
            steps = 0 if cancel_after is None else LONG
            goal = ImagineAction.Goal(target_pose=pose, seed=outcome.number, steps=steps)
            self._client.imagine_by_action(outcome, goal, cancel_after)

    def _moved_pose(self, outcome: Outcome, words: str) -> PoseStamped:
        outcome.target_from_reference = parse_motion(words)
        return pose_message(self._pictures[0].frame, inverse_rigid(outcome.target_from_reference))

    def _wait_for_picture(self) -> int:
        """The number of the picture being played, once it is not near the seam of the loop."""
        last = len(self._pictures) - 1 - AWAY_FROM_SEAM
        while True:
            here = self._by_stamp.get(self._player.newest(self._topics.image) or -1)
            if here is not None and (AWAY_FROM_SEAM <= here <= last or last < AWAY_FROM_SEAM):
                return here
            time.sleep(0.02)

    # --- ask ---

    def _asked(self, question: str, session: str = "", words: str = "", evidence: bool = False) -> Run:
        """About the picture being played, or about the view imagined from a motion in words."""

        def run(outcome: Outcome) -> None:
            outcome.question = question
            pose = [self._moved_pose(outcome, words)] if words else []
            kind = AskAction.Goal if outcome.via == "action" else AskSpatial.Request
            send = self._client.ask_by_action if outcome.via == "action" else self._client.ask_by_service
            request = kind(question=question, session_id=session, with_evidence=evidence, target_pose=pose)
            send(outcome, request)

        return run

    def _ask_known(self, known: Known) -> Run:
        """About one picture, attached."""

        def run(outcome: Outcome) -> None:
            outcome.question, outcome.truth, outcome.reference = known.question, known.answer, known.picture
            picture, info = attachment(self._pictures[known.picture])
            request = AskSpatial.Request(question=known.question, compressed_images=[picture], camera_infos=[info])
            self._client.ask_by_service(outcome, request)

        return run

    def _ask_attached(self, outcome: Outcome) -> None:
        outcome.question = "How far apart were the two pictures taken?"
        outcome.reference = 8
        pairs = [attachment(self._pictures[number]) for number in (8, 9)]
        request = AskSpatial.Request(
            question=outcome.question,
            compressed_images=[picture for picture, _ in pairs],
            camera_infos=[info for _, info in pairs],
        )
        self._client.ask_by_service(outcome, request)

    # --- afterwards ---

    def _locate(self, outcome: Outcome) -> None:
        """Finds which recorded picture the reply speaks of, and with it the pose between the two."""
        if outcome.reference is None and outcome.stamp is not None:
            original = self._player.original_stamp(outcome.stamp)
            outcome.reference = self._by_stamp.get(original if original is not None else -1)
        if outcome.target_from_reference is None and outcome.reference is not None and outcome.target is not None:
            outcome.target_from_reference = relative_pose(
                self._pictures[outcome.reference], self._pictures[outcome.target]
            )


def _imagine(title: str, via: str, run: Run, expected: ErrorCode = ErrorCode.OK) -> Step:
    return Outcome(0, title, via, "imagine", expected), run


def _ask(title: str, via: str, run: Run, expected: ErrorCode = ErrorCode.OK) -> Step:
    return Outcome(0, title, via, "ask", expected), run


def attachment(picture: Picture) -> tuple[CompressedImage, CameraInfo]:
    """A recorded picture as it is attached to a request."""
    image, info = CompressedImage(format="jpeg"), CameraInfo()
    image.header.frame_id = info.header.frame_id = picture.frame
    data = array.array("B")
    data.frombytes(picture.jpeg)
    image.data = data
    camera = picture.camera
    info.width, info.height, info.distortion_model = camera.width, camera.height, "plumb_bob"
    info.d = [float(value) for value in camera.distortion]
    info.k = [float(value) for value in camera.matrix.reshape(-1)]
    return image, info


def _line(outcome: Outcome) -> str:
    how = f"{outcome.job} by {outcome.via}"
    if outcome.code is None:
        return f"FAILED  {how}: {outcome.title}: {outcome.message}"
    if not outcome.good:
        return f"FAILED  {how}: {outcome.title}: {outcome.code.name}: {outcome.message}"
    if outcome.refused_on_purpose:
        return f"refused {how}: {outcome.title}: {outcome.code.name}, as it should be"
    what = f"{len(outcome.scene):,} points" if outcome.scene is not None else f"{outcome.tokens} tokens"
    return f"{outcome.milliseconds / 1000:5.2f} s {how}: {outcome.title}: {what}"
