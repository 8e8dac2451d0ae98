"""From encoded or raw pictures to the array an image input wants.

Which axes of a signature are height, width and channels is decided here, once, from the shape alone: rank 4 is
[N, H, W, C]; rank 3 whose last axis has 1, 3 or 4 elements is one image [H, W, C], any other rank 3 is [N, H, W].
Sizes are checked before memory is taken for them. Decoding itself is the codec's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from PIL import Image

from tensorhost.codecs.images import decode_image
from tensorhost.core.errors import (
    InvalidInputShapeError,
    InvalidInputTypeError,
    InvalidPreprocessingError,
    TensorhostError,
)
from tensorhost.core.tensors import Array, Shape, TensorSpec, format_shape
from tensorhost.pipelines.numeric import integer_limits
from tensorhost.pipelines.options import PreprocessingOptions, ResizeOptions

_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """Where an image input has its axes. A size is None where the signature allows any.

    ``batched``: the first axis counts images. ``has_channels``: the last axis is the channels.
    """

    batched: bool
    has_channels: bool
    height: int | None
    width: int | None
    channels: int | None

    @property
    def height_axis(self) -> int:
        """Index of the height; the width follows it."""
        return 1 if self.batched else 0


def image_layout(spec: TensorSpec) -> ImageLayout | None:
    """The axes of ``spec``, or None where it is not the shape of an image or a batch of them."""
    shape = spec.shape
    if shape is None or not (spec.dtype.is_floating or spec.dtype.is_integer):
        return None
    if len(shape) == 4 and (shape[3] is None or shape[3] in _CHANNELS):
        return ImageLayout(True, True, shape[1], shape[2], shape[3])
    if len(shape) == 3 and shape[2] in _CHANNELS:
        return ImageLayout(False, True, shape[0], shape[1], shape[2])
    if len(shape) == 3:
        return ImageLayout(True, False, shape[1], shape[2], 1)
    return None


def target_size(layout: ImageLayout, resize: ResizeOptions | None) -> tuple[int | None, int | None]:
    """Height and width an image is brought to; None leaves that side as it is.

    Raises:
        InvalidPreprocessingError: ``resize`` asks for a size the signature does not take.
    """
    sides = {"height": layout.height, "width": layout.width}
    for side, fixed in sides.items():
        wanted = getattr(resize, side) if resize else None
        if wanted is not None and fixed is not None and wanted != fixed:
            raise InvalidPreprocessingError(
                f"'preprocessing.resize.{side}' is {wanted}, but the model takes {fixed}.",
                details={"field": f"preprocessing.resize.{side}", "expected": fixed, "actual": wanted},
            )
        sides[side] = wanted if wanted is not None else fixed
    return sides["height"], sides["width"]


def relaxed_shape(spec: TensorSpec, layout: ImageLayout) -> Shape:
    """The shape of ``spec`` with height and width left open."""
    shape = list(spec.shape or ())
    shape[layout.height_axis : layout.height_axis + 2] = [None, None]
    return tuple(shape)


@dataclass(frozen=True, slots=True)
class ImageStep:
    """Decodes and resizes what comes for one input.

    Attributes:
        spec: the input.
        layout: its axes, or None where it cannot take images.
        options: ``decode``, ``resize`` and ``colour`` are used.
        max_elements: most elements of the resulting array.
    """

    spec: TensorSpec
    layout: ImageLayout | None
    options: PreprocessingOptions
    max_elements: int

    def decode(self, encoded: Array, dtype: np.dtype[Any]) -> Array:
        """Encoded images (bytes) of shape [N], or [] where the input is one image, to pixels 0 to 255 of ``dtype``.

        The result has the input's layout: [N, H, W, C], [N, H, W] or [H, W, C], and belongs to the caller.

        Raises:
            InvalidInputTypeError: the input takes no images, or an element is not bytes.
            InvalidInputShapeError: not one image per row.
            InvalidPreprocessingError: ``decode`` is false, images of one request differ in size, or the result
                would be too large. Errors of the image codec keep their code and gain the input and the row.
        """
        layout = self._layout_for(encoded)
        images = encoded.ravel().tolist()
        if not images:
            return np.empty(self._empty_shape(layout), dtype)
        height, width = target_size(layout, self.options.resize)
        self._check_size((len(images), height or 1, width or 1, layout.channels or 1))
        first = self._decode_one(0, images[0], layout)
        self._check_size((len(images), *first.shape))
        result = np.empty((len(images), *first.shape), dtype)
        result[0] = first
        for row, data in enumerate(images[1:], start=1):
            pixels = self._decode_one(row, data, layout)
            if pixels.shape != first.shape:
                raise InvalidPreprocessingError(
                    f"The images of input '{self.spec.name}' differ in size: {format_shape(first.shape)} and "
                    f"{format_shape(pixels.shape)}; 'preprocessing.resize' brings them to one.",
                    details={"field": "preprocessing.resize", "input": self.spec.name, "row": row},
                )
            result[row] = pixels
        if not layout.batched:
            return np.asarray(result[0])
        return result if layout.has_channels else np.asarray(result[..., 0])

    def resize(self, x: Array) -> Array:
        """Numeric images of the input's layout to the size wanted, each channel interpolated in float32 by Pillow.

        Integer inputs come out rounded to the nearest whole number within their dtype's range; the dtype of the
        result is that of ``x``. Returns ``x`` itself where the size is already right.

        Raises:
            InvalidPreprocessingError: an empty image, or a result that would be too large.
        """
        layout = self.layout
        if layout is None or self.options.resize is None:
            return x
        axis = layout.height_axis
        have = (x.shape[axis], x.shape[axis + 1])
        height, width = target_size(layout, self.options.resize)
        want = (have[0] if height is None else height, have[1] if width is None else width)
        if want == have:
            return x
        if 0 in have:
            raise InvalidPreprocessingError(
                f"'preprocessing.resize' cannot resize input '{self.spec.name}' of shape {format_shape(x.shape)}.",
                details={"field": "preprocessing.resize", "input": self.spec.name, "actual": list(x.shape)},
            )
        shape = (*x.shape[:axis], *want, *x.shape[axis + 2 :])
        self._check_size(shape)
        result = np.empty(shape, x.dtype)
        planes, resized = (_planes(array, axis, has_channels=layout.has_channels) for array in (x, result))
        method = Image.Resampling[self.options.resize.method.upper()]
        for index in np.ndindex(planes.shape[:-2]):
            plane = Image.fromarray(np.ascontiguousarray(planes[index], np.float32))
            resized[index] = self._rounded(np.asarray(plane.resize((want[1], want[0]), method)))
        return result

    def _rounded(self, plane: Array) -> Array:
        if not self.spec.dtype.is_integer:
            return plane
        return np.asarray(np.clip(np.rint(plane.astype(np.float64)), *integer_limits(self.spec.dtype)))

    def _layout_for(self, encoded: Array) -> ImageLayout:
        name = self.spec.name
        if self.layout is None:
            raise InvalidInputTypeError(
                f"Input '{name}' takes {self.spec.dtype} of shape {format_shape(self.spec.shape)}, not images or text.",
                details={"input": name, "expected": self.spec.dtype.value},
            )
        if self.options.decode is False:
            raise InvalidPreprocessingError(
                f"Input '{name}' came as an encoded image, but 'preprocessing.decode' is false.",
                details={"field": "preprocessing.decode", "input": name},
            )
        rows = self.spec.shape[0] if self.spec.shape else None
        expected: Shape = (rows,) if self.layout.batched else ()
        if not TensorSpec(name, self.spec.dtype, expected).admits(encoded.shape):
            raise InvalidInputShapeError(
                f"Input '{name}' has encoded images of shape {format_shape(encoded.shape)}, "
                f"expected {format_shape(expected)}.",
                details={"input": name, "expected": list(expected), "actual": list(encoded.shape)},
            )
        return self.layout

    def _decode_one(self, row: int, data: object, layout: ImageLayout) -> Array:
        if not isinstance(data, bytes):
            raise InvalidInputTypeError(
                f"Input '{self.spec.name}' takes numbers or encoded images, not text.",
                details={"input": self.spec.name, "expected": self.spec.dtype.value},
            )
        height, width = target_size(layout, self.options.resize)
        method = self.options.resize.method if self.options.resize else "bilinear"
        colour = self.options.colour
        try:
            return decode_image(
                data, height=height, width=width, channels=layout.channels, method=method, colour=colour
            )
        except TensorhostError as error:
            details = {**error.details, "input": self.spec.name, "row": row}
            message = f"Image {row} of input '{self.spec.name}': {error.message}"
            raise type(error)(message, details=details, log_detail=error.log_detail) from None

    def _empty_shape(self, layout: ImageLayout) -> tuple[int, ...]:
        height, width = target_size(layout, self.options.resize)
        sides = (0, height or 0, width or 0)
        return (*sides, layout.channels or 0) if layout.has_channels else sides

    def _check_size(self, shape: tuple[int, ...]) -> None:
        if prod(shape) > self.max_elements:
            raise InvalidPreprocessingError(
                f"Input '{self.spec.name}' would have {prod(shape)} elements, more than {self.max_elements}.",
                details={"input": self.spec.name, "expected": self.max_elements, "actual": prod(shape)},
            )


def _planes(x: Array, height_axis: int, *, has_channels: bool) -> Array:
    """``x`` as a view [..., H, W]: channels, where there are any, moved in front of the height."""
    return np.moveaxis(x, -1, height_axis) if has_channels else x
