"""How the values of each element type lie in a TensorProto: in which field, and written how.

Types that DType does not list (quantised ones, resources, variants) cannot be fed and have no form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tensorhost.codecs.varints import decode_varints, encode_varints
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array

Octets: TypeAlias = bytes | memoryview
"""Bytes, or where they lie: what ``bytes.join`` takes without a copy before."""


@dataclass(frozen=True, slots=True)
class TensorForm:
    """The form of one element type.

    Attributes:
        number: the value of ``tensorflow.DataType``.
        field: the TensorProto's field of values.
        field_number: that field's.
        read: the bytes of the field to a flat array of ``dtype``; ValueError where they are not whole.
        write: an array of ``dtype`` to the bytes of the field.
        read_content, write_content: the same for ``tensor_content``.
        is_plain: whether values lie in the field as they do in memory, so that neither takes a pass over them.
    """

    dtype: DType
    number: int
    field: str
    field_number: int
    read: Callable[[bytes], Array]
    write: Callable[[Array], Octets]
    read_content: Callable[[bytes], Array]
    write_content: Callable[[Array], Octets]
    is_plain: bool = False


def _memory(array: Array) -> Octets:
    """The bytes of the elements, in order; not copied where they lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _plain(dtype: DType, number: int, field: str, field_number: int) -> TensorForm:
    """Values of a fixed size, as they lie in memory; in the field and in the content alike."""
    numpy, size = dtype.numpy, dtype.numpy.itemsize

    def read(data: bytes) -> Array:
        if len(data) % size:
            raise ValueError("ends inside a number")
        return np.frombuffer(data, numpy)

    return TensorForm(dtype, number, field, field_number, read, _memory, read, _memory, is_plain=True)


def _complex(dtype: DType, number: int, field: str, field_number: int) -> TensorForm:
    """A real and an imaginary part after each other. A last one without its partner means nothing."""
    numpy, size = dtype.numpy, dtype.numpy.itemsize
    plain = _plain(dtype, number, field, field_number)

    def read(data: bytes) -> Array:
        if len(data) % (size // 2):
            raise ValueError("ends inside a number")
        return np.frombuffer(data, numpy, len(data) // size)

    return TensorForm(dtype, number, field, field_number, read, _memory, plain.read, _memory, is_plain=True)


def _integer(dtype: DType, number: int, field: str, field_number: int) -> TensorForm:
    """Whole numbers; what is too large for the type loses its upper bits, as in TensorFlow."""
    numpy = dtype.numpy
    plain = _plain(dtype, number, field, field_number)

    def read(data: bytes) -> Array:
        return decode_varints(data).astype(numpy)

    return TensorForm(dtype, number, field, field_number, read, encode_varints, plain.read, _memory)


def _half_byte(dtype: DType, number: int, field: str, field_number: int) -> TensorForm:
    """Four bits; in the content one element a byte, whose upper half means nothing."""
    is_signed = dtype is DType.INT4

    def from_bytes(raw: Array) -> Array:
        low = raw.astype(np.uint8) & 0x0F
        if is_signed:
            return ((low ^ 8).astype(np.int8) - 8).astype(dtype.numpy)
        return low.astype(dtype.numpy)

    def read(data: bytes) -> Array:
        return from_bytes(decode_varints(data))

    def write(array: Array) -> bytes:
        return encode_varints(array.astype(np.int8))

    def read_content(data: bytes) -> Array:
        return from_bytes(np.frombuffer(data, np.uint8))

    def write_content(array: Array) -> bytes:
        return array.astype(np.int8).tobytes()

    return TensorForm(dtype, number, field, field_number, read, write, read_content, write_content)


def _half_float(dtype: DType, number: int, field: str, field_number: int) -> TensorForm:
    """The 16 bits of a small float as a whole number."""
    numpy = dtype.numpy
    plain = _plain(dtype, number, field, field_number)

    def read(data: bytes) -> Array:
        return decode_varints(data).astype(np.uint16).view(numpy)

    def write(array: Array) -> bytes:
        return encode_varints(array.view(np.uint16))

    return TensorForm(dtype, number, field, field_number, read, write, plain.read, _memory)


def _bool(dtype: DType, number: int, field: str, field_number: int) -> TensorForm:
    def read(data: bytes) -> Array:
        return decode_varints(data).astype(np.bool_)

    def read_content(data: bytes) -> Array:
        raw = np.frombuffer(data, np.uint8)
        if raw.size and raw.max() > 1:
            raise ValueError("a bool that is neither 0 nor 1")
        return raw.view(np.bool_)

    return TensorForm(dtype, number, field, field_number, read, encode_varints, read_content, _memory)


FORMS: dict[int, TensorForm] = {
    form.number: form
    for form in (
        _plain(DType.FLOAT32, 1, "float_val", 5),
        _plain(DType.FLOAT64, 2, "double_val", 6),
        _integer(DType.INT32, 3, "int_val", 7),
        _integer(DType.UINT8, 4, "int_val", 7),
        _integer(DType.INT16, 5, "int_val", 7),
        _integer(DType.INT8, 6, "int_val", 7),
        _complex(DType.COMPLEX64, 8, "scomplex_val", 9),
        _integer(DType.INT64, 9, "int64_val", 10),
        _bool(DType.BOOL, 10, "bool_val", 11),
        _half_float(DType.BFLOAT16, 14, "half_val", 13),
        _integer(DType.UINT16, 17, "int_val", 7),
        _complex(DType.COMPLEX128, 18, "dcomplex_val", 12),
        _half_float(DType.FLOAT16, 19, "half_val", 13),
        _integer(DType.UINT32, 22, "uint32_val", 16),
        _integer(DType.UINT64, 23, "uint64_val", 17),
        _plain(DType.FLOAT8_E5M2, 24, "float8_val", 18),
        _plain(DType.FLOAT8_E4M3FN, 25, "float8_val", 18),
        _half_byte(DType.INT4, 29, "int_val", 7),
        _half_byte(DType.UINT4, 30, "int_val", 7),
    )
}
"""The forms of numbers by ``tensorflow.DataType``. Strings, which are no numbers, have ``DT_STRING``."""

DT_STRING = 7

FORM_OF: dict[DType, TensorForm] = {form.dtype: form for form in FORMS.values()}
"""The same by dtype."""
