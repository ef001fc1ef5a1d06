"""A lifecycle node whose transitions may take long: they are coroutines, and no executor thread waits for them.

rclpy runs a transition's callback inside the service that asks for it, so that loading a model there would silence the
whole node (and ``get_state`` with it). Here the service itself is a coroutine: while a transition waits for the worker,
everything else goes on and the state reads "configuring" or "activating".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import Executor
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.task import Future

from uniugg_core.errors import ErrorCode, UniuggError

from .worker import Job, coded

__all__ = ["SLOW_TRANSITIONS", "ManagedNode", "finished", "wake"]

# what can be asked for, and the coroutine that does it
SLOW_TRANSITIONS = {
    Transition.TRANSITION_CONFIGURE: "configure",
    Transition.TRANSITION_ACTIVATE: "activate",
    Transition.TRANSITION_DEACTIVATE: "deactivate",
    Transition.TRANSITION_CLEANUP: "cleanup",
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: "shutdown",
    Transition.TRANSITION_INACTIVE_SHUTDOWN: "shutdown",
    Transition.TRANSITION_ACTIVE_SHUTDOWN: "shutdown",
}


def wake(executor: Executor | None) -> None:
    """Makes the executor look at its waiting coroutines; from any thread, also while it is being shut down."""
    if executor is not None:
        try:
            executor.wake()
        except Exception:  # noqa: BLE001  the executor is gone, so nobody waits
            return


async def finished(job: Job[Any], executor: Executor | None) -> Job[Any]:
    """Waits for a job's end without holding a thread."""
    future: Future = Future()

    def end(_job: Job[Any]) -> None:
        future.set_result(None)
        wake(executor)

    job.add_done_callback(end)
    await future
    return job


class ManagedNode(LifecycleNodeMixin, Node):
    """A lifecycle node with coroutines for transitions.

    Subclasses override :meth:`configure`, :meth:`activate`, :meth:`deactivate`, :meth:`cleanup` and :meth:`shutdown`;
    each raises :class:`UniuggError` to refuse, which ends the transition as FAILURE and leaves the state as it was.
    """

    def __init__(self, name: str, **options: Any) -> None:
        Node.__init__(self, name, **options)
        self.lifecycle_group = ReentrantCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self.lifecycle_group)
        self._service_change_state.callback = self._change_state_requested
        self._in_transition = False

    async def configure(self) -> None:
        """Unconfigured to inactive."""

    async def activate(self) -> None:
        """Inactive to active."""

    async def deactivate(self) -> None:
        """Active to inactive."""

    async def cleanup(self) -> None:
        """Inactive to unconfigured."""

    async def shutdown(self) -> None:
        """Any of the three to finalized."""

    @property
    def state_label(self) -> str:
        """unconfigured, inactive, active, finalized, or a transition's name."""
        return self._state_machine.current_state[1]

    @property
    def is_active(self) -> bool:
        """Whether the node is in the state active."""
        return self._state_machine.current_state[0] == State.PRIMARY_STATE_ACTIVE

    async def change_state(self, transition: int) -> UniuggError | None:
        """Makes a transition; returns why it failed, or None.

        Args:
            transition: a number of ``lifecycle_msgs/Transition``.
        """
        machine = self._state_machine
        if self._in_transition:
            return UniuggError(ErrorCode.BUSY, f"the node is {machine.current_state[1]} already")
        before = LifecycleState(state_id=machine.current_state[0], label=machine.current_state[1])
        name = SLOW_TRANSITIONS.get(transition)
        try:
            if name is None:
                raise ValueError
            machine.trigger_transition_by_id(transition, True)
        except Exception:  # noqa: BLE001  rclpy's RCLError has no public name
            return UniuggError(
                ErrorCode.REQUEST_INVALID, f"transition {name or transition} is not possible in state {before.label}"
            )
        self._in_transition = True
        problem: UniuggError | None = None
        try:
            await getattr(self, name)()
            managed: Callable[..., TransitionCallbackReturn] = getattr(self, f"on_{name}")
            outcome = managed(before)  # the publishers
        except Exception as error:  # noqa: BLE001  whatever happens, the state machine must leave the transition
            problem, outcome = coded(error), TransitionCallbackReturn.FAILURE
        finally:
            self._in_transition = False
        machine.trigger_transition_by_label(outcome.to_label(), True)
        if problem is not None:
            self.get_logger().error(f"{name} failed: {problem}")
        else:
            self.get_logger().info(f"{name}: {before.label} -> {machine.current_state[1]}")
        return problem

    async def _change_state_requested(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        transition = int(request.transition.id)
        if request.transition.label:
            labels = {label: number for number, label in _labels(self._state_machine.available_transitions).items()}
            transition = labels.get(request.transition.label, 255)
        problem = await self.change_state(transition)
        if problem is not None and not self._in_transition:
            self.get_logger().warning(f"transition refused: {problem}")
        response.success = problem is None
        return response


def _labels(transitions: Any) -> dict[int, str]:
    return {int(entry[0]): str(entry[1]) for entry in transitions}
