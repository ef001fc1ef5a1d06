"""Just enough of the packages ``launch`` and ``launch_ros`` to run a launch file where there is no ROS installation.

Every class keeps its arguments; :func:`resolve` gives a substitution's text for given arguments, as `launch` would.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

CLASSES = {
    "launch": ("LaunchContext", "LaunchDescription"),
    "launch.actions": ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable"),
    "launch.conditions": ("IfCondition",),
    "launch.substitutions": ("LaunchConfiguration", "PathJoinSubstitution"),
    "launch_ros": (),
    "launch_ros.actions": ("LifecycleNode", "Node"),
    "launch_ros.parameter_descriptions": ("ParameterValue",),
    "launch_ros.substitutions": ("FindPackageShare",),
}


class Recorded:
    """An object of the launch system: its class's name and what it was made with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.kind = type(self).__name__
        self.args = args
        self.kwargs = kwargs

    def perform(self, context: dict[str, str]) -> str:
        """A launch argument's text, when the context is the arguments by name."""
        return context[self.args[0]]


def modules() -> dict[str, ModuleType]:
    """Stand-ins by name, for ``sys.modules``; a name that is not here fails to import, as it should."""
    made = {}
    for name, classes in CLASSES.items():
        made[name] = ModuleType(name)
        made[name].__path__ = []  # type: ignore[attr-defined]
        for class_name in classes:
            setattr(made[name], class_name, type(class_name, (Recorded,), {}))
    return made


def resolve(value: Any, arguments: dict[str, str], share: str) -> str:
    """The text of a substitution, or of a list of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return "".join(resolve(part, arguments, share) for part in value)
    if value.kind == "LaunchConfiguration":
        return arguments[value.args[0]]
    if value.kind == "FindPackageShare":
        return share
    if value.kind == "PathJoinSubstitution":
        return "/".join(resolve(part, arguments, share) for part in value.args[0])
    if value.kind == "ParameterValue":
        return resolve(value.args[0], arguments, share)
    raise TypeError(f"no text for {value.kind}")


if any(name in sys.modules for name in ("launch", "launch_ros")):  # a real installation: nothing may hide it
    CLASSES.clear()
