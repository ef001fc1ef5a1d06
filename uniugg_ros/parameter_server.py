"""The parameters on the node: declared from the table, checked on every change, handed out as snapshots."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from .parameters import ON_ACTIVATE, ON_START, SPECS, Settings, Spec, unknown_parameter

__all__ = ["FOREIGN", "ParameterServer", "unknown_overrides"]

FOREIGN = ("qos_overrides.", "use_sim_time", "start_type_description_service")  # rclpy's own names begin so


def unknown_overrides(names: list[str]) -> list[str]:
    """A sentence for each name that a parameter file sets and that does not exist."""
    return [unknown_parameter(name) for name in sorted(names) if name not in SPECS and not name.startswith(FOREIGN)]


class ParameterServer:
    """Declares every parameter on `node` and keeps :attr:`settings` current.

    Args:
        node: has no parameters of ours yet.

    Raises:
        ValueError: a value from the command line or a parameter file is not taken, or (unless strict_parameters is
            off) a name is unknown. The message names it.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._locked = False
        overrides: dict[str, Any] = {name: given.value for name, given in node._parameter_overrides.items()}
        values = {}
        for spec in SPECS.values():
            value = overrides.get(spec.name, spec.default)
            if spec.kind is float and type(value) is int:
                value = float(value)  # `timeout: 30` in a file is an integer to ROS
            reason = spec.refusal(value)
            if reason:
                raise ValueError(reason)
            values[spec.name] = value
        self.unknown = unknown_overrides(list(overrides))
        if self.unknown and values["strict_parameters"]:
            raise ValueError("; ".join(self.unknown) + " (strict_parameters: false only warns)")
        node.declare_parameters(
            "", [(name, value, _descriptor(SPECS[name])) for name, value in values.items()], ignore_override=True
        )
        self.settings = Settings.checked(values)
        node.add_on_set_parameters_callback(self._check)
        self._applies_late = hasattr(node, "add_post_set_parameters_callback")  # not in Humble
        if self._applies_late:
            node.add_post_set_parameters_callback(self._apply)

    def lock_model(self, locked: bool) -> None:
        """While locked, parameters that take effect with the next activation cannot be changed."""
        self._locked = locked

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            spec = SPECS.get(change.name)
            if spec is None:
                continue
            reason = spec.refusal(change.value)
            if reason is None and spec.when == ON_ACTIVATE and self._locked:
                reason = f"{spec.name} takes effect with the next activation: deactivate the node first"
            if reason is None and spec.when == ON_START:
                reason = f"{spec.name} can only be set at the start of the node"
            if reason is not None:
                return SetParametersResult(successful=False, reason=reason)
        if not self._applies_late:
            self._apply(changes)
        return SetParametersResult(successful=True)

    def _apply(self, changes: list[Parameter]) -> None:
        known = {change.name: change.value for change in changes if change.name in SPECS}
        if known:
            current = {name: getattr(self.settings, name) for name in SPECS}
            self.settings = Settings.checked({**current, **known})


def _descriptor(spec: Spec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=spec.description,
        read_only=spec.read_only,
        additional_constraints=spec.constraint if spec.choices else "",
    )
    if spec.low is not None and spec.high is not None:
        if spec.kind is int:
            descriptor.integer_range = [IntegerRange(from_value=int(spec.low), to_value=int(spec.high), step=0)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(spec.low), to_value=float(spec.high), step=0.0)
            ]
    return descriptor
