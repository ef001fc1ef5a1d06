"""Raw image buffers: every encoding's known answer, padding, and each way a message can be malformed."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import COLOR_ENCODINGS, decode_raw, decode_raw_depth

RGB = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
ALPHA = np.full((6, 10, 1), 7, np.uint8)
GREY = RGB[..., :1]


def refused(code, function, *args, **kwargs):
    with pytest.raises(UniuggError) as caught:
        function(*args, **kwargs)
    assert caught.value.code is code, caught.value
    return str(caught.value)


def padded(pixels, padding, fill=0xAB):
    rows = pixels.reshape(pixels.shape[0], -1)
    tail = np.full((rows.shape[0], padding), fill, np.uint8)
    return np.concatenate([rows, tail], axis=1).tobytes(), rows.shape[1] + padding


@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("8UC3", RGB[..., ::-1], RGB),
        ("rgba8", np.concatenate([RGB, ALPHA], 2), RGB),
        ("bgra8", np.concatenate([RGB[..., ::-1], ALPHA], 2), RGB),
        ("8UC4", np.concatenate([RGB[..., ::-1], ALPHA], 2), RGB),
        ("mono8", GREY, np.repeat(GREY, 3, 2)),
        ("8UC1", GREY, np.repeat(GREY, 3, 2)),
    ],
)
@pytest.mark.parametrize("padding", [0, 1, 5, 64])  # an odd step is not a multiple of the pixel's size
def test_known_answers_with_any_padding(encoding, pixels, expected, padding):
    data, step = padded(np.ascontiguousarray(pixels), padding)
    decoded = decode_raw(data, 10, 6, encoding, step)
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous
    assert np.array_equal(decoded, expected)


@pytest.mark.parametrize(
    ("encoding", "corner"), [("bayer_rggb8", "rg"), ("bayer_bggr8", "bg"), ("bayer_gbrg8", "gb"), ("bayer_grbg8", "gr")]
)
def test_bayer_patterns_by_what_they_say(encoding, corner):
    """A sensor under pure red light answers only at its red sites, and so on; each must come out in its colour."""
    second = {"rg": "gb", "bg": "gr", "gb": "rg", "gr": "bg"}[corner]
    for channel, color in enumerate("rgb"):
        tile = np.array([[255 * (site == color) for site in row] for row in (corner, second)], np.uint8)
        decoded = decode_raw(np.tile(tile, (8, 8)).tobytes(), 16, 16, encoding, 16)[2:-2, 2:-2]
        assert decoded[..., channel].mean() > 250, (encoding, color)
        assert np.delete(decoded, channel, axis=2).max() == 0, (encoding, color)


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv_of_a_red_picture(encoding):
    y, u, v = 82, 90, 240  # ITU-R BT.601, studio range: pure red
    pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
    decoded = decode_raw(np.tile(np.array(pair, np.uint8), (4, 3)).tobytes(), 6, 4, encoding, 12)
    assert np.abs(decoded.astype(int) - (255, 0, 0)).max() <= 3


def test_tight_rgb_is_not_copied_and_cannot_be_written():
    message = array.array("B", RGB.tobytes())
    decoded = decode_raw(message, 10, 6, "rgb8", 30)
    assert np.shares_memory(decoded, np.frombuffer(message, np.uint8))
    with pytest.raises(ValueError):
        decoded[0, 0, 0] = 1


@pytest.mark.parametrize("container", [bytes, bytearray, memoryview, lambda b: array.array("B", b)])
def test_containers(container):
    assert np.array_equal(decode_raw(container(RGB.tobytes()), 10, 6, "rgb8", 30), RGB)
    assert np.array_equal(decode_raw(RGB.reshape(-1), np.uint32(10), np.uint32(6), "rgb8", np.uint32(30)), RGB)


GOOD = {"data": RGB.tobytes(), "width": 10, "height": 6, "encoding": "rgb8", "step": 30}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"width": 0}, ErrorCode.IMAGE_MALFORMED),
        ({"height": 0}, ErrorCode.IMAGE_MALFORMED),
        ({"width": -1}, ErrorCode.IMAGE_MALFORMED),
        ({"width": 10.0}, ErrorCode.IMAGE_MALFORMED),
        ({"height": None}, ErrorCode.IMAGE_MALFORMED),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, ErrorCode.IMAGE_TOO_LARGE),
        ({"width": 65536, "height": 65536, "step": 196608}, ErrorCode.IMAGE_TOO_LARGE),  # wraps to 0 in 32 bits
        ({"width": np.uint32(65536), "height": np.uint32(65536)}, ErrorCode.IMAGE_TOO_LARGE),
        ({"max_pixels": 59}, ErrorCode.IMAGE_TOO_LARGE),
        ({"step": 0}, ErrorCode.IMAGE_MALFORMED),
        ({"step": 29}, ErrorCode.IMAGE_MALFORMED),
        ({"step": 31}, ErrorCode.IMAGE_MALFORMED),
        ({"step": 2**32 - 1}, ErrorCode.IMAGE_MALFORMED),
        ({"data": RGB.tobytes()[:-1]}, ErrorCode.IMAGE_MALFORMED),
        ({"data": RGB.tobytes() + b"\0"}, ErrorCode.IMAGE_MALFORMED),
        ({"data": b""}, ErrorCode.IMAGE_MALFORMED),
        ({"data": None}, ErrorCode.IMAGE_MALFORMED),
        ({"data": "text"}, ErrorCode.IMAGE_MALFORMED),
        ({"data": RGB[:, ::2]}, ErrorCode.IMAGE_MALFORMED),
        ({"encoding": ""}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": "RGB8"}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": "rgb16"}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": "mono16"}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": "16UC1"}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": "nv12"}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": None}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": "x" * 100_000}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": "yuyv", "width": 9, "step": 30}, ErrorCode.IMAGE_MALFORMED),
        ({"encoding": "bayer_rggb8", "height": 5, "data": RGB.tobytes()[:150]}, ErrorCode.IMAGE_MALFORMED),
    ],
)
def test_malformed(change, code):
    assert decode_raw(**GOOD).shape == (6, 10, 3)
    assert len(refused(code, decode_raw, **(GOOD | change))) < 400


@pytest.mark.parametrize(
    ("encoding", "advice"),
    [("Bgr8", "'bgr8'"), ("rgb16", "8 bits"), ("bayer_rggb16", "8 bits"), ("16UC1", "depth"), ("nv12", "rgb8, bgr8")],
)
def test_refusals_help(encoding, advice):
    message = refused(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, decode_raw, **(GOOD | {"encoding": encoding}))
    assert advice in message and encoding in message


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([*COLOR_ENCODINGS, "rgb16", "16UC1"]),
    st.integers(-1, 20),
    st.integers(-1, 20),
    st.integers(-1, 90),
    st.binary(max_size=400),
)
def test_whatever_comes_gives_a_picture_or_a_coded_error(encoding, width, height, step, data):
    try:
        decoded = decode_raw(data, width, height, encoding, step)
    except UniuggError as error:
        assert 100 <= error.code < 200
    else:
        assert decoded.shape == (height, width, 3) and len(data) == step * height


class TestDepth:
    VALUES = np.array([[0, 1, 1000], [65535, 256, 2500]], np.uint16)

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("padding", [0, 1, 6])
    @pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
    def test_millimetres_in_either_byte_order(self, order, padding, encoding):
        raw = self.VALUES.astype(f"{order}u2").view(np.uint8)
        data, step = padded(raw, padding)
        depth = decode_raw_depth(data, 3, 2, encoding, step, order == ">")
        assert depth.dtype == np.float32 and np.allclose(depth, self.VALUES / 1000)

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_metres_and_what_is_no_measurement(self, order):
        values = np.array([[1.5, np.nan, np.inf], [-1.0, 0.0, 7.25]], np.float32)
        data = values.astype(f"{order}f4").tobytes()
        depth = decode_raw_depth(data, 3, 2, "32FC1", 12, order == ">")
        assert depth.tolist() == [[1.5, 0, 0], [0, 0, 7.25]]

    def test_malformed(self):
        data = self.VALUES.tobytes()
        refused(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, decode_raw_depth, data, 3, 2, "rgb8", 6)
        refused(ErrorCode.IMAGE_MALFORMED, decode_raw_depth, data, 3, 2, "16UC1", 5)
        refused(ErrorCode.IMAGE_MALFORMED, decode_raw_depth, data[:-1], 3, 2, "16UC1", 6)
        refused(ErrorCode.IMAGE_TOO_LARGE, decode_raw_depth, data, 65536, 65536, "16UC1", 131072)


def test_mono_agrees_with_opencv_grey():
    assert np.array_equal(decode_raw(GREY.tobytes(), 10, 6, "mono8", 10), cv2.cvtColor(GREY, cv2.COLOR_GRAY2RGB))
