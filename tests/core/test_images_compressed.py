"""Compressed pictures: what is decoded, what is refused before decoding, and truncated or damaged data."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import (
    decode_compressed,
    decode_compressed_depth,
    load_image,
    read_header,
    save_image,
)

BGR = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 4)
RGB = BGR[..., ::-1]


def encode(image, ending, options=()):
    return cv2.imencode(ending, image, list(options))[1].tobytes()


PNG, JPEG = encode(BGR, ".png"), encode(BGR, ".jpg")


def refused(code, function, *args, **kwargs):
    with pytest.raises(UniuggError) as caught:
        function(*args, **kwargs)
    assert caught.value.code is code, caught.value
    return str(caught.value)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, bits=8, color=2, extra=b"", pixels=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


class TestDecoding:
    @pytest.mark.parametrize("name", ["", "png", "jpeg", "rgb8; png compressed bgr8", "nonsense", None])
    def test_png_is_exact_whatever_its_format_string(self, name):
        assert np.array_equal(decode_compressed(PNG, name), RGB)

    @pytest.mark.parametrize("name", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8"])
    def test_jpeg_is_close(self, name):
        assert np.abs(decode_compressed(JPEG, name).astype(int) - RGB).mean() < 2

    def test_progressive_jpeg(self):
        data = encode(BGR, ".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
        assert np.abs(decode_compressed(data).astype(int) - RGB).mean() < 2

    @pytest.mark.parametrize("ending", [".png", ".jpg"])
    def test_grey_is_repeated(self, ending):
        decoded = decode_compressed(encode(BGR[..., 0], ending))
        assert decoded.shape == RGB.shape
        assert np.array_equal(decoded[..., 0], decoded[..., 2])

    def test_alpha_is_dropped(self):
        bgra = np.concatenate([BGR, np.zeros((48, 64, 1), np.uint8)], axis=2)
        assert np.array_equal(decode_compressed(encode(bgra, ".png")), RGB)

    def test_padding_behind_the_picture_is_ignored(self):
        assert np.array_equal(decode_compressed(PNG + bytes(100)), RGB)
        assert decode_compressed(JPEG + bytes(100)).shape == RGB.shape

    def test_a_camera_picture_is_never_turned_and_a_file_is(self, tmp_path):
        """EXIF orientation 6, a quarter turn: a calibration is of the picture as stored, a person wants it upright."""
        tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
        exif = b"Exif\0\0" + tiff
        data = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + JPEG[2:]
        assert decode_compressed(data).shape == (48, 64, 3)
        (tmp_path / "phone.jpg").write_bytes(data)
        assert load_image(tmp_path / "phone.jpg").shape == (64, 48, 3)


class TestHeaders:
    def test_what_they_say(self):
        assert (read_header(PNG).kind, read_header(PNG).width, read_header(PNG).height) == ("png", 64, 48)
        header = read_header(JPEG)
        assert (header.kind, header.width, header.height, header.channels, header.bits) == ("jpeg", 64, 48, 3, 8)

    def test_a_bomb_is_refused_before_anything_is_unpacked(self):
        bomb = encode(np.zeros((16384, 16384), np.uint8), ".png")
        assert len(bomb) < 400_000
        tracemalloc.start()
        message = refused(ErrorCode.IMAGE_TOO_LARGE, decode_compressed, bomb)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()
        assert "16384 x 16384" in message

    def test_a_jpeg_that_claims_the_largest_size(self):
        at = JPEG.index(b"\xff\xc0") + 5
        huge = JPEG[:at] + b"\xff\xff\xff\xff" + JPEG[at + 4 :]
        refused(ErrorCode.IMAGE_TOO_LARGE, decode_compressed, huge)

    def test_limits(self):
        assert decode_compressed(PNG, max_pixels=64 * 48, max_bytes=len(PNG)).shape == RGB.shape
        refused(ErrorCode.IMAGE_TOO_LARGE, decode_compressed, PNG, max_pixels=64 * 48 - 1)
        refused(ErrorCode.IMAGE_TOO_LARGE, decode_compressed, PNG, max_bytes=len(PNG) - 1)

    def test_no_pixels(self):
        refused(ErrorCode.IMAGE_MALFORMED, decode_compressed, png(0, 5))

    @pytest.mark.parametrize(
        ("data", "word"),
        [
            (encode(BGR.astype(np.uint16) * 257, ".png"), "16 bits"),
            (encode(BGR[..., 0].astype(np.uint16), ".png"), "depth"),
            (png(1, 1, extra=chunk(b"acTL", struct.pack(">II", 2, 0)), pixels=bytes(4)), "animated"),
            (b"GIF89a" + bytes(20), "GIF"),
            (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20), "WebP"),
            (encode(BGR, ".bmp"), "BMP"),
            (encode(BGR, ".tiff"), "TIFF"),
        ],
    )
    def test_kinds_that_are_refused_say_so(self, data, word):
        assert word in refused(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, decode_compressed, data)

    @pytest.mark.parametrize("channels", [2, 4])
    def test_cmyk(self, channels):
        at = JPEG.index(b"\xff\xc0") + 9
        data = JPEG[:at] + bytes([channels]) + JPEG[at + 1 :]
        assert "CMYK" in refused(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, decode_compressed, data)

    def test_depth_topic_on_a_colour_input(self):
        message = refused(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, decode_compressed, PNG, "16UC1; compressedDepth png")
        assert "depth" in message


class TestDamage:
    @pytest.mark.parametrize("data", [b"", b"\0", b"garbage" * 50, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", bytes(1000)])
    def test_garbage(self, data):
        refused(ErrorCode.IMAGE_UNDECODABLE, decode_compressed, data)

    @pytest.mark.parametrize("data", [PNG, JPEG], ids=["png", "jpeg"])
    def test_every_truncation_is_refused(self, data):
        for end in [*range(0, 80), *range(80, len(data), 23), len(data) - 1]:
            refused(ErrorCode.IMAGE_UNDECODABLE, decode_compressed, data[:end])

    def test_no_bytes_at_all(self):
        refused(ErrorCode.IMAGE_MALFORMED, decode_compressed, None)

    @settings(deadline=None, max_examples=150)
    @given(st.sampled_from([PNG, JPEG]), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=6))
    def test_flipped_bytes_give_a_picture_or_a_coded_error(self, data, changes):
        damaged = bytearray(data)
        for at, value in changes:
            damaged[at % len(damaged)] = value
        try:
            decoded = decode_compressed(bytes(damaged), max_pixels=10_000)
        except UniuggError as error:
            assert 100 <= error.code < 200
        else:
            assert decoded.ndim == 3 and decoded.shape[2] == 3

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"]))
    def test_made_up_headers_end(self, tail, start):
        with pytest.raises(UniuggError):
            read_header(start + tail)


class TestDepth:
    MILLIMETRES = np.array([[0, 1000, 2500], [65535, 1, 3000]], np.uint16)

    def test_sixteen_bit_behind_its_header(self):
        data = struct.pack("<iff", 0, 0.0, 0.0) + encode(self.MILLIMETRES, ".png")
        depth = decode_compressed_depth(data, "16UC1; compressedDepth png")
        assert np.allclose(depth, self.MILLIMETRES / 1000)

    def test_a_bare_png(self):
        depth = decode_compressed_depth(encode(self.MILLIMETRES, ".png"), "16UC1; compressedDepth")
        assert np.allclose(depth, self.MILLIMETRES / 1000)

    def test_inverse_depth(self):
        """As compressed_depth_image_transport quantises 32-bit depth: A / depth + B, rounded; 0 is no measurement."""
        metres, a, b = np.array([[0.5, 1.0], [4.0, 9.0]], np.float32), 1000.0, -99.0
        stored = np.rint(a / metres + b).astype(np.uint16)
        stored[0, 0] = 0
        data = struct.pack("<iff", 1, a, b) + encode(stored, ".png")
        depth = decode_compressed_depth(data, "32FC1; compressedDepth png")
        assert depth[0, 0] == 0 and np.allclose(depth[depth > 0], metres[depth > 0], rtol=0.01)

    def test_refusals(self):
        body = encode(self.MILLIMETRES, ".png")
        refused(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, decode_compressed_depth, body, "16UC1; compressedDepth rvl")
        refused(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, decode_compressed_depth, PNG, "16UC1; compressedDepth")
        refused(ErrorCode.IMAGE_UNDECODABLE, decode_compressed_depth, bytes(40), "16UC1; compressedDepth")
        nan = struct.pack("<iff", 1, float("nan"), 0.0) + body
        refused(ErrorCode.IMAGE_MALFORMED, decode_compressed_depth, nan, "32FC1; compressedDepth")


class TestFiles:
    @pytest.mark.parametrize("name", ["a.png", "b.PNG"])
    def test_round_trip(self, tmp_path, name):
        assert np.array_equal(load_image(save_image(tmp_path / name, RGB)), RGB)
        assert np.array_equal(load_image(save_image(tmp_path / name, RGB[..., 0]))[..., 1], RGB[..., 0])

    def test_jpeg(self, tmp_path):
        assert np.abs(load_image(save_image(tmp_path / "a.jpg", RGB)).astype(int) - RGB).mean() < 2

    def test_refusals(self, tmp_path):
        refused(ErrorCode.IMAGE_MISSING, load_image, tmp_path / "none.png")
        refused(ErrorCode.IMAGE_MISSING, load_image, tmp_path)
        (tmp_path / "text.png").write_text("hello")
        assert "text.png" in refused(ErrorCode.IMAGE_UNDECODABLE, load_image, tmp_path / "text.png")
        refused(ErrorCode.IMAGE_TOO_LARGE, load_image, save_image(tmp_path / "a.png", RGB), max_bytes=100)
        refused(ErrorCode.REQUEST_INVALID, save_image, tmp_path / "a.gif", RGB)
        refused(ErrorCode.IMAGE_MALFORMED, save_image, tmp_path / "a.png", RGB.astype(float))
        refused(ErrorCode.INTERNAL, save_image, tmp_path / "nowhere" / "a.png", RGB)
