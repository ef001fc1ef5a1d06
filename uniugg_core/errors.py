"""Typed, coded errors: the one vocabulary of refusals for Python callers, the command line and ROS clients.

The numbers are those of ``uniugg_interfaces/msg/Status`` (a test keeps the two equal), so that a caller sees the
same code whether the refusal came from the model, from a file or from the node.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ErrorCode", "UniuggError"]


class ErrorCode(IntEnum):
    """Why a request was refused; the hundreds group them by what the caller should look at."""

    OK = 0

    # 1xx: the picture
    IMAGE_MISSING = 100  # none received yet and none attached
    IMAGE_MALFORMED = 101  # width, height, step and data length disagree
    IMAGE_ENCODING_UNSUPPORTED = 102
    IMAGE_TOO_LARGE = 103  # more pixels or bytes than the limit
    IMAGE_UNDECODABLE = 104  # compressed data that is no picture
    IMAGE_STALE = 105  # the newest picture is older than the limit

    # 2xx: the camera
    CAMERA_INFO_MISSING = 200
    CAMERA_INFO_INVALID = 201  # zero or non-finite K, wrong number of distortion coefficients
    CAMERA_INFO_MISMATCH = 202  # calibration of another picture size
    CAMERA_MODEL_UNSUPPORTED = 203

    # 3xx: the pose
    POSE_INVALID = 300  # NaN, infinite, or a quaternion that is not of unit length
    FRAME_UNKNOWN = 301
    TRANSFORM_UNAVAILABLE = 302  # frames known, but not connected or not at that time
    POSE_OUT_OF_RANGE = 303  # farther or more turned than the configured limit

    # 4xx: the request
    QUESTION_EMPTY = 400
    QUESTION_TOO_LONG = 401
    TOO_MANY_IMAGES = 402
    REQUEST_INVALID = 403  # steps, samples, guidance, scheduler or limits out of range
    SESSION_LIMIT = 404

    # 5xx: the state of the node
    NOT_ACTIVE = 500
    BUSY = 501  # as many requests waiting as allowed
    CANCELLED = 502
    DEADLINE_EXCEEDED = 503
    PREEMPTED = 504  # a newer request took its place

    # 6xx: the model's files
    CHECKPOINT_MISSING = 600
    CHECKPOINT_INVALID = 601  # not readable, truncated, or not of the layout it claims
    CHECKPOINT_UNSAFE = 602  # a pickle where only safetensors are taken, or a pickle with a forbidden global
    CHECKPOINT_MISMATCH = 603  # tensors missing, left over, or of another shape

    # 7xx: the machine
    OUT_OF_MEMORY = 700
    NON_FINITE = 701  # the model produced NaN or infinity
    INTERNAL = 799


class UniuggError(ValueError):
    """A refusal with a code; ``str(error)`` names the offending value.

    Args:
        code: what is wrong, from :class:`ErrorCode`.
        message: one sentence that names the offending value and the limit or the remedy.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = ErrorCode(code)

    def __str__(self) -> str:
        return f"{self.code.name}: {self.args[0]}"

    @property
    def message(self) -> str:
        """The sentence without the code's name."""
        return str(self.args[0])

    def __reduce__(self) -> tuple:
        return type(self), (self.code, self.message)
