"""A process around the node: start, signals, and an end within two seconds whatever the model is doing."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from . import names

if TYPE_CHECKING:
    from .node import UniuggNode

__all__ = ["release_entities", "run"]

SWITCH = 0.001  # seconds after which a thread in Python code lets the others go on; Python's default is five times that
PATIENCE = 1.2  # seconds for the model to reach its next step
FAREWELL = 0.3  # seconds for the last answers to leave


def run(make_node: Callable[[], UniuggNode], args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM; returns the process's exit code (2: refused parameters, 1: no middleware).

    The executor has one thread, for no callback takes long: that is faster in rclpy than several, and no wake-up of a
    waiting coroutine can be lost.
    """
    sys.setswitchinterval(SWITCH)
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    except (ValueError, ParameterException) as error:
        return _refuse(error, 2)
    except rclpy_implementation.RCLError as error:  # a name that is none, or security that cannot be enforced
        return _refuse(error, 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stop = threading.Event()
    _stop_on_signals(stop)
    rclpy.get_default_context().on_shutdown(stop.set)
    # Python runs signal handlers in the main thread, which therefore must not sit in rclpy.
    spinner = threading.Thread(target=_spin, args=(executor, node, stop), name="executor")
    spinner.start()
    while not stop.wait(0.5) and spinner.is_alive():
        pass
    returned = node.close(PATIENCE)
    until = time.monotonic() + FAREWELL
    while node.requests.open and time.monotonic() < until:
        time.sleep(0.01)
    stop.set()
    executor.shutdown()
    spinner.join(FAREWELL)
    if not returned or spinner.is_alive():
        # The model is in one long step. Its thread cannot be ended, and the interpreter would abort beneath it.
        get_logger(names.NODE).warning("leaving without waiting for the model")
        _leave(0)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _refuse(error: Exception, code: int) -> int:
    get_logger(names.NODE).fatal(f"cannot start: {error}")
    rclpy.try_shutdown()
    return code


def _spin(executor: SingleThreadedExecutor, node: UniuggNode, stop: threading.Event) -> None:
    while rclpy.ok() and not executor._is_shutdown:
        try:
            executor.spin()
        except ExternalShutdownException:
            break
        except Exception:  # noqa: BLE001  for instance a client that went away before its answer; the others stay
            if not stop.is_set():
                node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")
                release_entities(node)
    stop.set()


def release_entities(node: Node) -> None:
    """Lets every subscription, service and timer of `node` be served again after an exception came out of the executor.

    rclpy marks what it is about to serve; if taking the message itself fails, the mark stays and the entity, and with
    it its whole exclusive group, would be silent for ever. Only for executors of one thread that is not in a callback.
    """
    for entity in (*node.subscriptions, *node.services, *node.clients, *node.timers, *node.guards, *node.waitables):
        entity._executor_event = False
        group = entity.callback_group
        if isinstance(group, MutuallyExclusiveCallbackGroup):
            with group._lock:
                group._active_entity = None


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _leave(128 + number)  # asked for twice
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
