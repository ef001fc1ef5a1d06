"""The UniUGG node: what it subscribes to and offers, and how its parts hang together.

Every callback of the executor is short: pictures and poses are put away, requests become jobs. The model runs on the
worker's thread, and so do decoding, transforms and packing. See `lifecycle` for the states and `serving` for requests.
"""

from __future__ import annotations

import time
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from uniugg_core.errors import ErrorCode, UniuggError

from . import conversions, names, qos
from .diagnostics import Diagnostics, Timings, diagnostic_message
from .engine import Engine, PipelineFactory, load_pipeline
from .inputs import CameraInput, InputStats
from .lifecycle import ManagedNode, finished
from .parameter_server import ParameterServer
from .parameters import Settings
from .publishing import ScenePublishers
from .refusals import Refusals
from .serving import RequestServer
from .sessions import SessionStore
from .tasks import Host, PoseTask
from .tf import make_frames
from .worker import Job, Priority, Worker, coded

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

__all__ = ["UniuggNode", "main"]

POSE_SLOT = "target pose"


class UniuggNode(ManagedNode):
    """The node.

    Args:
        pipeline_factory: makes the model from the settings; another one in tests.
        options: of :class:`rclpy.node.Node`.

    Raises:
        ValueError: a parameter is unknown or has a value that is not taken.
    """

    def __init__(self, *, pipeline_factory: PipelineFactory = load_pipeline, **options: Any) -> None:
        super().__init__(names.NODE, **options)
        logger = self.get_logger()
        self.parameters = ParameterServer(self)
        for sentence in self.parameters.unknown:
            logger.error(f"parameter file: {sentence}")
        self.refusals = Refusals(logger.warning)
        self.worker = Worker(self.settings.queue_size, on_failure=lambda job: logger.error(job.traceback))
        self.engine = Engine(pipeline_factory)
        self.camera = CameraInput(self.refusals)
        self.pose = InputStats(names.TARGET_POSE)
        self.timings = Timings()
        self._target: PoseStamped | None = None

        self._inputs = MutuallyExclusiveCallbackGroup()
        self.frames = make_frames(self, self.settings.tf_cache, self._inputs)
        self.sessions = SessionStore()
        self.host = Host(self.engine, self.camera, self.frames, self.sessions, self.timings.add)
        self.scenes = ScenePublishers(self.create_lifecycle_publisher)
        self.diagnostics = Diagnostics(
            engine=self.engine,
            worker=self.worker,
            camera=self.camera,
            pose=self.pose,
            frames=self.frames,
            refusals=self.refusals,
            timings=self.timings,
            settings=lambda: self.settings,
            lifecycle=lambda: self.state_label,
        )
        self.diagnostics.unknown_parameters = self.parameters.unknown
        self._subscribe()
        self.requests = RequestServer(self, self.host, self.worker, lambda: self.settings, self._refusal, self.refusals)
        self._report_regularly()
        self._jump = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._time_jumped,
        )
        if self.settings.autostart:
            # A guard condition, not a timer: it fires once, as soon as somebody spins the node.
            self.create_guard_condition(self._autostart, callback_group=self.lifecycle_group).trigger()

    @property
    def settings(self) -> Settings:
        """A snapshot of the parameters."""
        return self.parameters.settings

    def close(self, timeout: float = 1.0) -> bool:
        """Answers everybody who waits, and ends the worker; False if the model did not come back in `timeout` s."""
        return self.worker.close(timeout)

    # --- transitions -------------------------------------------------------------------------------------------

    async def configure(self) -> None:
        """Looks at the model's files."""
        self.engine.check(self.settings)

    async def activate(self) -> None:
        """Loads the model, on the worker's thread."""
        self.parameters.lock_model(True)
        try:
            settings = self.settings
            await self._on_worker("load", lambda: self.engine.load(settings))
        except UniuggError:
            self.parameters.lock_model(False)
            raise
        self.get_logger().info(f"model: {self.engine.description}, loaded in {self.engine.load_seconds:.1f} s")

    async def deactivate(self) -> None:
        """Ends every request and frees the model."""
        self.worker.stop_all(ErrorCode.NOT_ACTIVE, "the node is being deactivated")
        await self._on_worker("free", self.engine.unload)
        self.parameters.lock_model(False)

    async def cleanup(self) -> None:
        """Forgets conversations, pictures and poses."""
        self.sessions.clear()
        self.camera.clear()
        self._target = None

    async def shutdown(self) -> None:
        """Ends every request and frees the model, whatever the state."""
        await self.deactivate()
        await self.cleanup()

    async def _autostart(self) -> None:
        from lifecycle_msgs.msg import Transition

        if await self.change_state(Transition.TRANSITION_CONFIGURE) is None:
            await self.change_state(Transition.TRANSITION_ACTIVATE)

    async def _on_worker(self, label: str, work: Any) -> None:
        job: Job[None] = Job(lambda _job: work(), label=label, priority=Priority.CONTROL)
        await finished(self.worker.submit(job), self.executor)
        if job.error is not None:
            raise job.error

    def _refusal(self) -> UniuggError | None:
        """Why requests cannot be answered now."""
        if self.is_active:
            return self.engine.refusal()
        return self.engine.failure or UniuggError(ErrorCode.NOT_ACTIVE, f"the node is {self.state_label}")

    # --- inputs ------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        image: tuple[Any, str] = (Image, names.IMAGE)
        if self.settings.image_transport == "compressed":
            image = (CompressedImage, self._compressed_topic())
        for kind, topic, name, callback, profile in (
            (*image, names.IMAGE, self._take_image, qos.CAMERA),
            (CameraInfo, names.CAMERA_INFO, names.CAMERA_INFO, self._take_info, qos.CAMERA),
            (PoseStamped, names.TARGET_POSE, names.TARGET_POSE, self._take_pose, qos.POSE),
        ):
            self.create_subscription(
                kind,
                topic,
                callback,
                profile,
                callback_group=self._inputs,
                event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._incompatible(name)),
                qos_overriding_options=qos.overridable(),
            )

    def _compressed_topic(self) -> str:
        """`image/compressed`, which follows a remapping of `image` as image_transport does it."""
        own = names.IMAGE + names.COMPRESSED_SUFFIX
        remapped = self.resolve_topic_name(own)
        if remapped != names.expand(own, namespace=self.get_namespace()):
            return remapped
        return self.resolve_topic_name(names.IMAGE) + names.COMPRESSED_SUFFIX

    def _take_image(self, message: Image | CompressedImage) -> None:
        settings = self.settings
        good = self.camera.take_image(message, settings)
        if good and settings.continuous and self._target is not None and not self.worker.has_waiting(POSE_SLOT):
            self._imagine_target(preempt=False)

    def _take_info(self, message: CameraInfo) -> None:
        self.camera.take_info(message, self.settings)

    def _take_pose(self, message: PoseStamped) -> None:
        self.pose.arrived(time.monotonic())
        try:
            conversions.transform_from_pose(message.pose)
        except UniuggError as error:
            self.pose.judged(error)
            self.refusals.add(names.TARGET_POSE, error)
            return
        self.pose.judged(None)
        self._target = message
        self._imagine_target(preempt=self.settings.preempt)

    def _imagine_target(self, *, preempt: bool) -> None:
        """Queues the newest target pose; one that still waits gives way."""
        try:
            problem = self._refusal()
            if problem is not None:
                raise problem
            task = PoseTask(self._target, self.settings)
            job: Job[None] = Job(
                lambda job: self._publish_scene(task, job),
                label=POSE_SLOT,
                priority=Priority.TOPIC,
                timeout=task.timeout,
                slot=POSE_SLOT,
            )
            job.add_done_callback(self._pose_ended)
            self.worker.submit(job, preempt=preempt)
        except UniuggError as error:
            self.refusals.add(names.TARGET_POSE, error)

    def _publish_scene(self, task: PoseTask, job: Job[Any]) -> None:
        try:
            scene = task.run(self.host, job)
        except Exception as error:
            self.engine.recover(coded(error))
            raise
        self.scenes.publish(scene, observed=task.settings.publish_observed)

    def _pose_ended(self, job: Job[Any]) -> None:
        # A newer pose is no fault; the worker counts those.
        if job.error is not None and job.error.code is not ErrorCode.PREEMPTED:
            self.refusals.add(names.TARGET_POSE, job.error)

    def _incompatible(self, name: str) -> Any:
        def event(info: Any) -> None:
            policy = str(info.last_policy_kind).rpartition(".")[2]
            problem = f"a publisher's {policy} does not fit ours (see qos_overrides); {info.total_count} in all"
            self.diagnostics.qos_problems[name] = problem
            self.get_logger().warning(f"{name}: {problem}")

        return event

    def _time_jumped(self, jump: Any) -> None:
        self.get_logger().info("the time was set back: forgetting transforms and pictures")
        self.frames.clear()
        self.camera.clear()

    # --- diagnostics -------------------------------------------------------------------------------------------

    def _report_regularly(self) -> None:
        try:
            from diagnostic_msgs.msg import DiagnosticArray
        except ImportError:
            self.get_logger().info("diagnostic_msgs is not installed: there will be no /diagnostics")
            return
        publisher = self.create_publisher(DiagnosticArray, names.DIAGNOSTICS, 10)
        node = self.get_fully_qualified_name().lstrip("/")

        def report() -> None:
            message = diagnostic_message(self.diagnostics.report(), node, self.get_clock().now().to_msg())
            publisher.publish(message)

        # on a clock that never stops, so that a paused simulation is reported as well
        self.create_timer(self.settings.diagnostics_period, report, clock=Clock(clock_type=ClockType.STEADY_TIME))


def main(args: list[str] | None = None) -> int:
    """The console script ``uniugg_node``."""
    from .process import run

    return run(UniuggNode, args)


if __name__ == "__main__":
    import sys

    sys.exit(main())
