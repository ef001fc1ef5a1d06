"""The services and actions. Each is a coroutine: it makes a task, hands it to the worker, and waits without a thread.

A service and its action share everything but how they end; whatever happens, the caller gets a response with a code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Progress
from uniugg_interfaces.action import AskSpatial as AskAction
from uniugg_interfaces.action import Imagine as ImagineAction
from uniugg_interfaces.srv import AskSpatial, Imagine

from . import names, qos
from .lifecycle import finished
from .parameters import Settings
from .refusals import Refusals
from .responses import refusal_response
from .tasks import AskTask, Host, ImagineTask, Task, Token
from .worker import Job, Worker, coded

__all__ = ["RequestServer"]

RESULT_TIMEOUT = 30  # seconds that the result of an action is kept for a client that asks late

MakeTask = Callable[[Settings], Task[Any]]


class RequestServer:
    """Offers services and actions on `node`.

    Args:
        refusal: why requests cannot be taken now, or None.
    """

    def __init__(
        self,
        node: Node,
        host: Host,
        worker: Worker,
        settings: Callable[[], Settings],
        refusal: Callable[[], UniuggError | None],
        refusals: Refusals,
    ) -> None:
        self._node, self._host, self._worker = node, host, worker
        self._settings, self._refusal, self._refusals = settings, refusal, refusals
        self._goals: dict[bytes, Job[Any]] = {}
        self.open = 0  # requests that have not been answered yet
        # Reentrant, or a group would take no second request while the first one waits for the model.
        group = ReentrantCallbackGroup()
        for kind, name, task in ((Imagine, names.IMAGINE, ImagineTask), (AskSpatial, names.ASK, AskTask)):
            node.create_service(kind, name, self._service(name, task), qos_profile=qos.SERVICE, callback_group=group)
        for kind, name, task in (
            (ImagineAction, names.IMAGINE_STREAM, ImagineTask),
            (AskAction, names.ASK_STREAM, AskTask),
        ):
            ActionServer(
                node,
                kind,
                name,
                self._action(name, kind, task),
                cancel_callback=self._cancel,
                callback_group=group,
                goal_service_qos_profile=qos.SERVICE,
                result_service_qos_profile=qos.SERVICE,
                cancel_service_qos_profile=qos.SERVICE,
                result_timeout=RESULT_TIMEOUT,
            )

    def _service(self, name: str, task: type[Task[Any]]) -> Callable[[Any, Any], Any]:
        async def serve(request: Any, response: Any) -> Any:
            self.open += 1
            try:
                job = self._submit(name, lambda settings: task(request, settings, type(response)))
                await finished(job, self._node.executor)
                return self._outcome(name, job, response)
            finally:
                self.open -= 1

        return serve

    def _action(self, name: str, kind: Any, task: type[Task[Any]]) -> Callable[[ServerGoalHandle], Any]:
        async def execute(goal: ServerGoalHandle) -> Any:
            self.open += 1
            key = bytes(goal.goal_id.uuid)
            try:
                feedback = _feedback(goal, kind.Feedback)
                job = self._submit(name, lambda settings: task(goal.request, settings, kind.Result, feedback))
                self._goals[key] = job
                if goal.is_cancel_requested:  # before there was a job
                    self._stop(job)
                await finished(job, self._node.executor)
                result = self._outcome(name, job, kind.Result())
                _end(goal, job)
                return result
            finally:
                self._goals.pop(key, None)
                self.open -= 1

        return execute

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        job = self._goals.get(bytes(goal.goal_id.uuid))
        if job is not None:
            self._stop(job)
        return CancelResponse.ACCEPT

    def _stop(self, job: Job[Any]) -> None:
        self._worker.stop(job, ErrorCode.CANCELLED, "cancelled by the client")

    def _submit(self, name: str, make: MakeTask) -> Job[Any]:
        """A job in the worker's queue, or one that has ended already with the reason why it was not taken."""
        job: Job[Any]
        try:
            problem = self._refusal()
            if problem is not None:
                raise problem
            settings = self._settings()
            task = make(settings)
            self._worker.capacity = settings.queue_size
            job = Job(lambda job: self._run(task, job), label=task.kind, timeout=task.timeout)
            return self._worker.submit(job)
        except Exception as error:  # noqa: BLE001  a request that trips our own checks must not stop the executor
            job = Job(_nothing, label=name)
            job.finish(error=coded(error))
            return job

    def _run(self, task: Task[Any], job: Job[Any]) -> Any:
        try:
            return task.run(self._host, job)
        except Exception as error:
            self._host.engine.recover(coded(error))
            raise

    def _outcome(self, name: str, job: Job[Any], empty: Any) -> Any:
        if job.error is None:
            return job.result
        self._refusals.add(name, job.error)
        return refusal_response(empty, job.error)


def _nothing(_job: Job[Any]) -> None:
    return None


def _feedback(goal: ServerGoalHandle, kind: Any) -> Callable[[Progress | Token], None]:
    def send(progress: Progress | Token) -> None:
        if isinstance(progress, Token):
            message = kind(text=progress.text, tokens=int(progress.tokens))
        else:
            message = kind(
                stage=progress.stage,
                sample=int(progress.sample),
                step=int(progress.step),
                steps=int(progress.steps),
            )
        if goal.is_active:
            goal.publish_feedback(message)

    return send


def _end(goal: ServerGoalHandle, job: Job[Any]) -> None:
    if not goal.is_active:
        return
    if job.error is None:
        goal.succeed()
    elif job.error.code is ErrorCode.CANCELLED and goal.is_cancel_requested:
        goal.canceled()
    else:
        goal.abort()
