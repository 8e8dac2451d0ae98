import io
import random
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tensorhost.codecs import decode_image
from tensorhost.core.errors import (
    InvalidInputTypeError,
    InvalidPreprocessingError,
    PayloadTooLargeError,
    TensorhostError,
)

# The tests' own filter overrides the one the codec sets; that one is tested in a separate process.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\..*")


def picture(mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> Image.Image:
    width, height = size
    rows = np.linspace(0, 255, width * height * 3).astype(np.uint8).reshape(height, width, 3)
    return Image.fromarray(rows).convert(mode)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [("PNG", {}, 0), ("BMP", {}, 0), ("WEBP", {"lossless": True}, 0), ("JPEG", {"quality": 100, "subsampling": 0}, 4)],
)
def test_every_format_gives_the_pixels(kind: str, options: dict[str, Any], tolerance: int) -> None:
    array = decode_image(encode(picture(), kind, **options))
    assert (array.shape, array.dtype) == ((6, 8, 3), np.uint8)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert np.abs(array.astype(int) - np.asarray(picture()).astype(int)).max() <= tolerance


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP"):
        array = decode_image(encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
        assert array[0, 0].tolist() == [255, 0, 0]


def test_channels_and_colours() -> None:
    red = encode(Image.new("RGB", (2, 1), (255, 10, 0)))
    assert decode_image(red)[0, 0].tolist() == [255, 10, 0]
    assert decode_image(red, colour="bgr")[0, 0].tolist() == [0, 10, 255]
    assert decode_image(red, channels=4)[0, 0].tolist() == [255, 10, 0, 255]
    assert decode_image(red, channels=4, colour="bgr")[0, 0].tolist() == [0, 10, 255, 255]
    grey = decode_image(red, colour="gray")
    assert grey.shape == (1, 2, 1)
    assert int(grey[0, 0, 0]) == 82
    assert decode_image(red, channels=1)[0, 0].tolist() == [82]
    assert decode_image(red, channels=3, colour="gray")[0, 0].tolist() == [82, 82, 82]
    assert decode_image(red, channels=4, colour="gray")[0, 0].tolist() == [82, 82, 82, 255]


def test_transparency_is_laid_on_white_or_kept() -> None:
    clear = encode(Image.new("RGBA", (1, 1), (255, 0, 0, 0)))
    assert decode_image(clear)[0, 0].tolist() == [255, 255, 255]
    assert decode_image(clear, channels=1)[0, 0].tolist() == [255]
    assert decode_image(clear, channels=4)[0, 0].tolist() == [255, 0, 0, 0]
    half = encode(Image.new("LA", (1, 1), (0, 128)))
    assert decode_image(half)[0, 0].tolist() == [127, 127, 127]
    palette = encode(Image.new("P", (1, 1), 0), transparency=0)
    assert decode_image(palette)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_modes_of_png(mode: str) -> None:
    expected = np.asarray(picture().convert(mode).convert("RGB"))
    np.testing.assert_array_equal(decode_image(encode(picture(mode))), expected)


def test_16_bit_grey_is_scaled() -> None:
    wide = Image.fromarray(np.array([[0, 256, 32768, 65535]], np.uint16))
    assert decode_image(encode(wide), channels=1)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert decode_image(encode(wide))[0, :, 1].tolist() == [0, 1, 128, 255]


def test_cmyk_jpeg() -> None:
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(decode_image(encode(ink, "JPEG"))[4, 4].astype(int) - [255, 0, 0]).max() < 10


def test_orientation_is_applied_before_resizing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (4, 2))
    image.paste((255, 255, 255), (0, 0, 2, 2))
    array = decode_image(encode(image, exif=exif))
    assert array.shape == (4, 2, 3)
    assert array[:, 0, 0].tolist() == [255, 255, 0, 0]
    assert decode_image(encode(image, exif=exif), height=8).shape == (8, 2, 3)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos", "box"])
def test_resizing(method: Any) -> None:
    assert decode_image(encode(picture()), height=5, width=3, method=method).shape == (5, 3, 3)
    assert decode_image(encode(picture()), width=3, channels=1, method=method).shape == (6, 3, 1)
    flat = decode_image(encode(Image.new("RGB", (5, 5), (7, 8, 9))), height=3, width=9, method=method)
    assert (flat == np.array([7, 8, 9])).all()


def test_box_averages() -> None:
    board = Image.fromarray(np.array([[0, 100], [100, 200]], np.uint8))
    assert decode_image(encode(board), height=1, width=1, channels=1, method="box").item() == 100


@pytest.mark.parametrize(
    "options",
    [{"method": "cubic"}, {"colour": "hsv"}, {"height": 0}, {"width": -1}, {"channels": 2}, {"channels": 0}],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidPreprocessingError):
        decode_image(encode(picture()), **options)


def test_too_many_pixels_are_refused_by_header() -> None:
    with pytest.raises(PayloadTooLargeError, match="8 x 6 pixels; at most 47"):
        decode_image(encode(picture()), max_pixels=47)
    with pytest.raises(PayloadTooLargeError, match="100 x 6 pixels"):
        decode_image(encode(picture()), width=100, max_pixels=48)
    assert decode_image(encode(picture()), max_pixels=48).shape == (6, 8, 3)


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000, 2**31 - 1])
def test_bombs_are_refused_without_decoding(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    with pytest.raises(PayloadTooLargeError, match="pixels"):
        decode_image(bomb)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"GIF89a", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM" + b"\0" * 60, b"%PDF-1.4"],
)
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(InvalidInputTypeError, match="image") as caught:
        decode_image(data)
    assert "BytesIO" not in caught.value.message


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "TGA", "PCX", "EPS"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(InvalidInputTypeError, match="none of the formats JPEG, PNG, WEBP, BMP, GIF"):
        decode_image(encode(picture(size=(32, 32)), kind))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_truncated_files(kind: str) -> None:
    data = encode(picture(size=(64, 64)), kind)
    for length in (len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(InvalidInputTypeError, match=r"truncated or corrupt|none of the formats"):
            decode_image(data[:length])


def test_damaged_files_never_crash() -> None:
    chance = random.Random(7)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "description"
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        options = {} if kind in ("BMP", "GIF") else {"exif": exif}
        whole = encode(picture("P" if kind == "GIF" else "RGB", (16, 16)), kind, **options)
        for _ in range(300):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                outcome = str(decode_image(bytes(data), height=4, width=4).shape)
            except TensorhostError as error:
                outcome = error.code.value
            assert outcome in {"(4, 4, 3)", "INVALID_INPUT_TYPE", "PAYLOAD_TOO_LARGE"}


def test_odd_files_warn_nobody() -> None:
    code = """
import io
from PIL import Image
from tensorhost.codecs import decode_image
buffer = io.BytesIO()
Image.new("RGB", (10_000, 9_500)).save(buffer, "PNG", compress_level=1)
assert decode_image(buffer.getvalue(), height=1, width=1, max_pixels=10**9).shape == (1, 1, 3)
buffer = io.BytesIO()
Image.new("RGB", (2, 2)).save(buffer, "JPEG", exif=b"Exif\\0\\0MM\\0*\\0\\0\\0\\x08\\0\\x05\\x01\\x12")
assert decode_image(buffer.getvalue()).shape == (2, 2, 3)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
