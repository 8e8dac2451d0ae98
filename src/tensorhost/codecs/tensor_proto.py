"""TensorProto to array, as TensorFlow reads it; ``tensor_writing.py`` is the way back.

Works on the wire view (``tensorhost.wire.TensorProto``), whose lists of numbers are bytes: an array is a view of
them, or one pass of numpy over them. As in TensorFlow ``tensor_content`` comes before the lists; a list with fewer
values than the shape has elements repeats its last, without any it means zeros, and what it has too many is ignored.

What must stay true: nothing of the size that a shape claims is allocated before that size was compared with the limit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tensor_forms import DT_STRING, FORMS, TensorForm
from tensorhost.core.errors import InvalidRequestError, PayloadTooLargeError
from tensorhost.core.tensors import Array, element_count

WireTensor: type[Message] = message_class("tensorhost.wire.TensorProto")
"""The wire view of a TensorProto: construct or parse it from the bytes of one."""

_TrueTensor: Any = message_class("tensorflow.TensorProto")
_ShapeMessage: Any = message_class("tensorflow.TensorShapeProto")
_LONGEST_KNOWN_SHAPE_BYTES = 128
_MOST_DIMENSIONS = 254
_REFERENCE_BYTES = 8


def decode_tensor(tensor: Any, name: str, *, max_elements: int) -> Array:
    """The array that a TensorProto describes, in the dtype and shape it states.

    Args:
        tensor: a ``tensorhost.wire.TensorProto``.
        name: of the tensor, for errors.
        max_elements: most elements it may have.

    Returns:
        An array that is not to be written to; strings as objects of bytes.

    Raises:
        InvalidRequestError: ``tensor parsing error: NAME``; what is wrong is under ``reason`` in its details.
        PayloadTooLargeError: more than ``max_elements``.
    """
    try:
        shape = _shape(_joined(tensor.tensor_shape))
        count = element_count(shape)
        if count > max_elements:
            raise PayloadTooLargeError(
                f"Input '{name}' has more than {max_elements} elements.",
                details={"input": name, "expected": max_elements},
            )
        if tensor.dtype == DT_STRING:
            return _strings(tensor, count).reshape(shape)
        form = FORMS.get(tensor.dtype)
        if form is None:
            raise ValueError("a dtype that cannot be fed")
        return _numbers(tensor, form, count).reshape(shape)
    except (ValueError, DecodeError) as error:
        raise InvalidRequestError(
            f"tensor parsing error: {name}", details={"input": name, "reason": str(error)}, log_detail=str(error)
        ) from None


def stated_bytes(tensor: Any, *, max_elements: int) -> int:
    """The memory that the array of a TensorProto takes, by its shape and dtype; 0 for what ``decode_tensor`` refuses.

    Strings count as the references to them.
    """
    form = FORMS.get(tensor.dtype)
    if form is None and tensor.dtype != DT_STRING:
        return 0
    try:
        count = element_count(_shape(_joined(tensor.tensor_shape)))
    except (ValueError, DecodeError):
        return 0
    if count > max_elements:
        return 0
    return count * (_REFERENCE_BYTES if form is None else form.dtype.numpy.itemsize)


def is_quick_to_read(tensor: Any, received_bytes: int, *, few_elements: int) -> bool:
    """Whether ``decode_tensor`` goes through few values or none, however many there are.

    Args:
        tensor: a ``tensorhost.wire.TensorProto``.
        received_bytes: size of the message it came in. Values that were not in it would have to be made up.
        few_elements: so many may be gone through.
    """
    try:
        count = element_count(_shape(_joined(tensor.tensor_shape)))
    except (ValueError, DecodeError):
        return True  # refusing it takes no time
    if count <= few_elements:
        return True
    form = FORMS.get(tensor.dtype)
    if form is None or not (form.is_plain or tensor.tensor_content):
        return False
    return count * form.dtype.numpy.itemsize <= received_bytes


def _shape(data: bytes) -> tuple[int, ...]:
    """The sizes in a TensorShapeProto; raises ValueError, DecodeError."""
    # Most requests have the shapes of others. A long one is not worth keeping, and could be made to fill memory.
    return _known_shape(data) if len(data) <= _LONGEST_KNOWN_SHAPE_BYTES else _read_shape(data)


def _read_shape(data: bytes) -> tuple[int, ...]:
    dims = _ShapeMessage.FromString(data).dim
    if len(dims) > _MOST_DIMENSIONS:
        raise ValueError(f"{len(dims)} dimensions")
    shape = tuple(dim.size for dim in dims)
    if any(size < 0 for size in shape):
        raise ValueError("a size below zero")
    return shape


_known_shape = lru_cache(maxsize=1024)(_read_shape)


def _numbers(tensor: Any, form: TensorForm, count: int) -> Array:
    content = tensor.tensor_content
    if content and count:
        values = form.read_content(content)
        if values.size != count:
            raise ValueError(f"content of {values.size} elements, where the shape has {count}")
        return values
    unknown: Any = UnknownFieldSet(tensor)
    if len(unknown) and any(field.field_number == form.field_number for field in unknown):
        values = _unpacked(tensor, form)
    else:
        values = form.read(_joined(getattr(tensor, form.field)))
    return _fitted(values, count)


def _joined(pieces: Any) -> bytes:
    """The value of a field of the wire view that may come in pieces; nearly always it is one."""
    if isinstance(pieces, bytes):
        return pieces
    if len(pieces) == 1:
        piece: bytes = pieces[0]
        return piece
    return b"".join(pieces)


def _unpacked(tensor: Any, form: TensorForm) -> Array:
    """Values that were sent one field each, as only hand-made encoders do; read through the true message.

    Raises ValueError where some were sent packed as well: their order is lost.
    """
    if len(getattr(tensor, form.field)):
        raise ValueError("values both packed and unpacked")
    whole = _TrueTensor.FromString(tensor.SerializeToString())
    # The true message packs them: written and read once more they are bytes.
    return form.read(_joined(getattr(WireTensor.FromString(whole.SerializeToString()), form.field)))


def _fitted(values: Array, count: int) -> Array:
    """``count`` values: the first of too many; of too few the last again and again, zeros where there is none."""
    size = values.size
    if size == count:
        return values
    if size > count:
        return values[:count]
    if not size:
        return np.zeros(count, values.dtype)
    fitted = np.empty(count, values.dtype)
    fitted[:size] = values
    fitted[size:] = values[-1]
    return fitted


def _strings(tensor: Any, count: int) -> Array:
    content = tensor.tensor_content
    values = _split(content, count) if content and count else tensor.string_val[:count]
    array = np.empty(count, object)
    array[: len(values)] = values
    array[len(values) :] = values[-1] if len(values) else b""
    return array


def _split(content: bytes, count: int) -> list[bytes]:
    """``count`` strings from content that holds all their lengths, then all their bytes."""
    if len(content) < count:
        raise ValueError("fewer lengths than elements")
    lengths, position = [], 0
    for _ in range(count):
        length, position = _length(content, position)
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError("the lengths are not those of the content")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings


def _length(content: bytes, position: int) -> tuple[int, int]:
    """The 32-bit length at ``position``, and where the next one begins."""
    value = 0
    for shift in range(0, 35, 7):
        if position == len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a length that does not end")
