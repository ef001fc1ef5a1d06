"""Every parameter of the node, declared once: :class:`Settings`.

From its fields come the declaration on the node, the validation, the default YAML file, the table in the documentation
and a JSON Schema. A `Settings` object is an immutable snapshot, so that a request sees one consistent set of values
however often they are changed while it runs. Nothing of ROS is imported here.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "NOW",
    "ON_ACTIVATE",
    "ON_START",
    "SPECS",
    "Settings",
    "Spec",
    "Value",
    "json_schema",
    "markdown_table",
    "unknown_parameter",
    "yaml_defaults",
]

Value = bool | int | float | str

NOW = "now"  # a change holds from the next request on
ON_ACTIVATE = "activate"  # can be changed while the node is not active
ON_START = "start"  # read-only once the node runs


@dataclass(frozen=True)
class Spec:
    """What is known of one parameter besides its value."""

    name: str
    default: Value
    description: str
    group: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    when: str = NOW

    @property
    def kind(self) -> type:
        """``bool``, ``int``, ``float`` or ``str``."""
        return type(self.default)

    @property
    def read_only(self) -> bool:
        """Whether it keeps the value it had at the start of the node."""
        return self.when == ON_START

    @property
    def constraint(self) -> str:
        """The values taken, in words; empty when all of the type are."""
        if self.choices:
            return " or ".join(repr(choice) for choice in self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.kind(self.low)} to {self.kind(self.high)}"
        return ""

    def refusal(self, value: Any) -> str | None:
        """Why `value` is not taken, naming it; None if it is."""
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            return f"{self.name} is {value!r} of type {type(value).__name__}, expected {self.kind.__name__}"
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}, expected {self.constraint}"
        if self.low is not None and self.high is not None:
            if not math.isfinite(value) or not self.low <= value <= self.high:
                return f"{self.name} is {value!r}, expected {self.constraint}"
        return None


def _parameter(default: Value, description: str, **details: Any) -> Any:
    return field(default=default, metadata={"description": description, **details})


@dataclass(frozen=True)
class Settings:
    """The parameters of the node, by name. Lengths in metres, times in seconds, angles in degrees."""

    # the model
    model: str = _parameter(
        "",
        "Checkpoint folder, or the name of a preset (untrained). Empty: the model that ships.",
        group="model",
        when=ON_ACTIVATE,
    )
    device: str = _parameter(
        "cpu",
        "Where the model runs: cpu, cuda, cuda:1, or auto (cuda where there is one).",
        group="model",
        when=ON_ACTIVATE,
    )
    dtype: str = _parameter(
        "float32",
        "Number format of the weights.",
        group="model",
        choices=("float32", "bfloat16", "float16"),
        when=ON_ACTIVATE,
    )
    threads: int = _parameter(
        0, "Threads of torch on the CPU; 0: torch's own choice.", group="model", low=0, high=256, when=ON_ACTIVATE
    )
    warmup: bool = _parameter(
        True,
        "Run the model once on a grey picture before becoming active, so that the first request is not slow.",
        group="model",
        when=ON_ACTIVATE,
    )
    autostart: bool = _parameter(
        True, "Configure and activate by itself; off: a lifecycle manager does it.", group="model", when=ON_START
    )
    strict_parameters: bool = _parameter(
        True,
        "Refuse to start when a parameter file names a parameter that does not exist; off: only warn.",
        group="model",
        when=ON_START,
    )

    # the camera
    image_transport: str = _parameter(
        "raw",
        "raw subscribes to `image`, compressed to `image/compressed`.",
        group="camera",
        choices=("raw", "compressed"),
        when=ON_START,
    )
    camera_frame: str = _parameter(
        "", "Optical frame of the camera. Empty: the frame_id of the picture.", group="camera"
    )
    image_max_age: float = _parameter(
        2.0,
        "A picture that arrived longer ago than this is refused as stale; 0: never.",
        group="camera",
        low=0.0,
        high=86400.0,
    )
    missing_camera_info: str = _parameter(
        "refuse",
        "What to do with a picture whose calibration has not been received.",
        group="camera",
        choices=("refuse", "assume_fov"),
    )
    assumed_fov: float = _parameter(
        60.0,
        "Horizontal field of view that is assumed when `missing_camera_info` is assume_fov.",
        group="camera",
        low=5.0,
        high=160.0,
    )
    rectified: bool = _parameter(
        False, "The pictures are already undistorted (image_rect): take P of the calibration.", group="camera"
    )
    scale_camera_info: bool = _parameter(
        False, "Take a calibration of another size when the picture is a plain resize of it.", group="camera"
    )
    max_pixels: int = _parameter(
        16_000_000,
        "Pictures with more pixels are refused before they are decoded.",
        group="camera",
        low=64,
        high=268_435_456,
    )
    max_bytes: int = _parameter(
        67_108_864, "Compressed pictures with more bytes are refused.", group="camera", low=64, high=1_073_741_824
    )
    max_images: int = _parameter(4, "Pictures that may be attached to one question.", group="camera", low=1, high=64)

    # frames
    tf_tolerance: float = _parameter(
        0.1,
        "How far the newest (or oldest) transform may be from the picture's stamp.",
        group="frames",
        low=0.0,
        high=60.0,
    )
    tf_cache: float = _parameter(
        10.0, "How long transforms are remembered.", group="frames", low=0.1, high=600.0, when=ON_START
    )
    max_distance: float = _parameter(
        5.0, "Target poses farther from the camera are refused.", group="frames", low=0.0, high=1e6
    )
    max_angle: float = _parameter(
        180.0, "Target poses turned more against the camera are refused.", group="frames", low=0.0, high=180.0
    )

    # imagining
    steps: int = _parameter(0, "Denoising steps; 0: the model's own default.", group="imagine", low=0, high=1000)
    samples: int = _parameter(1, "Independent samples; more give a spread per point.", group="imagine", low=1, high=32)
    scheduler: str = _parameter(
        "",
        "Sampler of the diffusion. Empty: the model's own default.",
        group="imagine",
        choices=("", "ddim", "dpm++", "ddpm"),
    )
    guidance: float = _parameter(
        0.0, "Classifier-free guidance; 0: the model's own default.", group="imagine", low=0.0, high=50.0
    )
    seed: int = _parameter(
        -1, "Seed of the pose topic's scenes; -1: a new one each time.", group="imagine", low=-1, high=2**63 - 1
    )
    max_steps: int = _parameter(250, "Most denoising steps a request may ask for.", group="imagine", low=1, high=1000)
    max_samples: int = _parameter(8, "Most samples a request may ask for.", group="imagine", low=1, high=64)

    # answering
    max_new_tokens: int = _parameter(
        0, "Length of an answer in tokens; 0: the model's own default.", group="ask", low=0, high=4096
    )
    max_new_tokens_limit: int = _parameter(512, "Most tokens a request may ask for.", group="ask", low=1, high=4096)
    max_question_chars: int = _parameter(1000, "Longer questions are refused.", group="ask", low=1, high=100_000)
    max_sessions: int = _parameter(32, "Conversations remembered at once.", group="ask", low=1, high=10_000)
    max_session_turns: int = _parameter(
        8, "Rounds of a conversation that are remembered, the oldest is forgotten first.", group="ask", low=1, high=100
    )
    session_expiry: float = _parameter(
        600.0, "Conversations without a question for this long are forgotten.", group="ask", low=1.0, high=86400.0
    )

    # serving
    queue_size: int = _parameter(
        8,
        "Requests that may wait for the model; further ones are answered with BUSY.",
        group="serving",
        low=1,
        high=1000,
    )
    timeout: float = _parameter(
        30.0, "Deadline of a request that sets none, from its arrival.", group="serving", low=0.05, high=86400.0
    )
    max_timeout: float = _parameter(
        600.0, "Longest deadline a request may ask for.", group="serving", low=0.05, high=86400.0
    )
    preempt: bool = _parameter(
        False, "A new target pose also stops a scene that is being made, not only one that waits.", group="serving"
    )
    continuous: bool = _parameter(
        False, "Imagine the newest target pose again with each new picture, as fast as the model goes.", group="serving"
    )

    # outputs
    output_frame: str = _parameter(
        "", "Frame of the clouds, from TF. Empty: the camera's optical frame.", group="output"
    )
    min_confidence_quantile: float = _parameter(
        -1.0,
        "Points below this quantile of their view's confidence are left out; -1: the model's own default.",
        group="output",
        low=-1.0,
        high=0.99,
    )
    voxel_size: float = _parameter(
        0.0, "Clouds are thinned to one point in each cube of this side; 0: not.", group="output", low=0.0, high=10.0
    )
    publish_observed: bool = _parameter(
        True, "Publish what the camera sees itself as a cloud beside what is imagined.", group="output"
    )
    diagnostics_period: float = _parameter(
        1.0, "Seconds between two diagnostics messages.", group="output", low=0.1, high=60.0, when=ON_START
    )
    input_timeout: float = _parameter(
        2.0, "Inputs silent for this long are reported as stale.", group="output", low=0.1, high=3600.0
    )

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Settings:
        """Settings with `values` over the defaults.

        Raises:
            ValueError: for an unknown name or a value that is not taken, naming it.
        """
        for name, value in values.items():
            if name not in SPECS:
                raise ValueError(unknown_parameter(name))
            reason = SPECS[name].refusal(value)
            if reason:
                raise ValueError(reason)
        return cls(**{name: SPECS[name].kind(value) for name, value in values.items()})


def _specs() -> dict[str, Spec]:
    return {f.name: Spec(name=f.name, default=f.default, **f.metadata) for f in dataclasses.fields(Settings)}


SPECS: dict[str, Spec] = _specs()


def unknown_parameter(name: str) -> str:
    """A sentence that says `name` is not a parameter, with the nearest one that is."""
    near = difflib.get_close_matches(name, SPECS, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"there is no parameter {name!r}{hint}"


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) for the ``ros__parameters`` of a parameter file."""
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    properties: dict[str, Any] = {}
    for spec in SPECS.values():
        entry: dict[str, Any] = {"type": kinds[spec.kind], "default": spec.default, "description": spec.description}
        if spec.choices:
            entry["enum"] = list(spec.choices)
        if spec.low is not None:
            entry["minimum"], entry["maximum"] = spec.low, spec.high
        properties[spec.name] = entry
    properties["use_sim_time"] = {"type": "boolean", "default": False, "description": "Take the time from /clock."}
    properties["qos_overrides"] = {"type": "object", "description": "QoS of single topics, as rclpy takes it."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Parameters of the UniUGG node",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def yaml_defaults() -> str:
    """A parameter file with every default and its description as a comment."""
    lines = ["# Every parameter of the UniUGG node with its default; generated from uniugg_ros/parameters.py.", "/**:"]
    lines.append("  ros__parameters:")
    group = ""
    for spec in SPECS.values():
        if spec.group != group:
            group = spec.group
            lines.append(f"    # --- {group}")
        limits = f" [{spec.constraint}]" if spec.constraint else ""
        lines.append(f"    # {spec.description}{limits}")
        lines.append(f"    {spec.name}: {json.dumps(spec.default)}")
    return "\n".join(lines) + "\n"


def markdown_table() -> str:
    """The parameter table of the documentation."""
    changes = {NOW: "at any time", ON_ACTIVATE: "while not active", ON_START: "no (read-only)"}
    rows = ["| parameter | type | default | values | can change | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    for spec in SPECS.values():
        default = json.dumps(spec.default)
        values = spec.constraint.replace("'", "`")
        rows.append(
            f"| `{spec.name}` | {spec.kind.__name__} | `{default}` | {values} | {changes[spec.when]} "
            f"| {spec.description} |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    import sys

    # python -m uniugg_ros.parameters [yaml | markdown | schema]
    _TEXTS = {
        "yaml": yaml_defaults,
        "markdown": markdown_table,
        "schema": lambda: json.dumps(json_schema(), indent=2) + "\n",
    }
    sys.stdout.write(_TEXTS[sys.argv[1] if len(sys.argv) > 1 else "yaml"]())
