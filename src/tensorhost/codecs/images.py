"""Encoded images to arrays of pixels: JPEG, PNG, WebP, BMP and GIF, and nothing else.

The header alone decides whether an image is decoded at all: its format, and its number of pixels against a limit.
Orientation recorded by a camera is applied. Of an animation the first frame is taken. Transparent parts are laid
on white unless four channels are wanted. 16-bit greyscale is scaled to 8 bits; CMYK and palettes are converted.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tensorhost.core.errors import InvalidInputTypeError, InvalidPreprocessingError, PayloadTooLargeError
from tensorhost.core.tensors import Array

ResizeMethod = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]
Colour = Literal["rgb", "bgr", "gray"]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 64 * 2**20
"""Most pixels of one image, before and after resizing, unless the caller sets another limit."""

# What the parsers of hostile files raise, besides refusals of their own. MemoryError is not the file's fault.
_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)

# Set once, for the process: changing filters around each call would not be safe from several threads. A file's
# oddities (strange EXIF, many pixels) concern neither the log nor the client; the limit on pixels rules.
warnings.filterwarnings("ignore", module=r"PIL\.")

_RESAMPLING: Mapping[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def decode_image(
    data: bytes,
    *,
    height: int | None = None,
    width: int | None = None,
    channels: int | None = None,
    method: ResizeMethod = "bilinear",
    colour: Colour = "rgb",
    max_pixels: int = MAX_PIXELS,
) -> Array:
    """Decode one image.

    Args:
        data: the encoded file.
        height, width: pixels to resize to; None keeps that dimension as it is.
        channels: 1 (grey), 3, or 4 (with alpha, last); None means 1 for ``gray`` and 3 otherwise.
        method: how to resize. Shrinking filters first (all but ``nearest``); ``box`` averages areas.
        colour: order of the colour channels, or ``gray`` (repeated where more than one channel is wanted).
        max_pixels: most pixels of the file and of the result.

    Returns:
        uint8, shape [height, width, channels], C-contiguous, values 0 to 255.

    Raises:
        InvalidInputTypeError: the data is no image of an allowed format, or is truncated or corrupt.
        PayloadTooLargeError: more than ``max_pixels`` pixels, found before decoding.
        InvalidPreprocessingError: channels, method, colour or size make no sense.
    """
    channels = _check_options(height, width, channels, method, colour)
    image = _decode(data, max_pixels)
    size = (width or image.width, height or image.height)
    _check_pixels(*size, max_pixels)
    image = _convert(image, channels, colour)
    if image.size != size:
        image = image.resize(size, _RESAMPLING[method])
    pixels = np.array(image, np.uint8)
    if channels == 1:
        return pixels[:, :, np.newaxis]
    return np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3][:channels]]) if colour == "bgr" else pixels


def _check_options(height: int | None, width: int | None, channels: int | None, method: str, colour: str) -> int:
    if method not in _RESAMPLING:
        raise InvalidPreprocessingError(f"The resize method must be one of {', '.join(_RESAMPLING)}.")
    if colour not in get_args(Colour):
        raise InvalidPreprocessingError(f"The colour must be one of {', '.join(get_args(Colour))}.")
    for name, size in (("height", height), ("width", width)):
        if size is not None and size < 1:
            raise InvalidPreprocessingError(f"The image {name} must be at least 1, not {size}.")
    wanted = channels if channels is not None else (1 if colour == "gray" else 3)
    if wanted not in (1, 3, 4):
        raise InvalidPreprocessingError(f"An image has 1, 3 or 4 channels, not {wanted}.")
    return wanted


def _decode(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_pixels(image.width, image.height, max_pixels)
        image.load()
        return ImageOps.exif_transpose(image)
    except Image.DecompressionBombError:
        raise PayloadTooLargeError("The image has too many pixels.", details={"expected": max_pixels}) from None
    except UnidentifiedImageError as error:
        message = f"The image is in none of the formats {', '.join(FORMATS)}, or its header is corrupt."
        raise InvalidInputTypeError(message, log_detail=repr(error)) from None
    except _FAULTS as error:
        raise InvalidInputTypeError("The image is truncated or corrupt.", log_detail=repr(error)) from None


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PayloadTooLargeError(
            f"The image has {width} x {height} pixels; at most {max_pixels} are allowed.",
            details={"expected": max_pixels, "actual": width * height},
        )


def _convert(image: Image.Image, channels: int, colour: Colour) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey. Its upper byte is what an 8-bit file would hold; plain conversion would clip at 255.
        image = Image.fromarray((np.asarray(image, np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if channels != 4:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if colour == "gray" and channels != 1:
        image = image.convert("LA" if channels == 4 else "L")
    return image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
