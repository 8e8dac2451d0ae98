"""Typed contents, against protobuf's own reading and writing of the true messages."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tensorhost.codecs.oip import DATATYPES, datatype_of
from tensorhost.codecs.oip.contents import decode_contents, encode_contents, has_contents
from tensorhost.codecs.oip.raw import object_array
from tensorhost.codecs.protobuf import message_class
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidInputTypeError,
    InvalidRequestError,
    PayloadTooLargeError,
    UnsupportedTypeError,
)

True_: Any = message_class("inference.InferTensorContents")
Wire: Any = message_class("tensorhost.wire.InferTensorContents")
LIMIT = 100_000
FIELDS = {
    DType.BOOL: "bool_contents",
    DType.INT8: "int_contents",
    DType.INT16: "int_contents",
    DType.INT32: "int_contents",
    DType.INT64: "int64_contents",
    DType.UINT8: "uint_contents",
    DType.UINT16: "uint_contents",
    DType.UINT32: "uint_contents",
    DType.UINT64: "uint64_contents",
    DType.FLOAT32: "fp32_contents",
    DType.FLOAT64: "fp64_contents",
    DType.STRING: "bytes_contents",
}
WITHOUT = [DType.FLOAT16, DType.BFLOAT16]


def decode(dtype, shape, message, max_elements=LIMIT):
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return decode_contents(dtype, shape, Wire.FromString(data), "x", max_elements=max_elements)


@st.composite
def arrays_of(draw, dtypes=tuple(FIELDS)):
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12))
    if dtype is DType.STRING:
        count = int(np.prod(shape))
        return object_array(draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count))).reshape(shape)
    return draw(arrays.arrays(dtype.numpy, shape))


@given(arrays_of())
def test_contents_are_what_protobuf_makes_of_them(array):
    dtype = DType.of(array)
    message = True_(**{FIELDS[dtype]: array.reshape(-1).tolist()})
    read = decode(dtype, array.shape, message)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(read, array)
    written = True_.FromString(b"".join(encode_contents(array)))
    np.testing.assert_array_equal(np.array(getattr(written, FIELDS[dtype]), array.dtype), array.reshape(-1))
    assert len(written.ListFields()) == bool(array.size)


def test_which_datatypes_have_contents():
    assert {dtype for dtype in DATATYPES.values() if has_contents(dtype)} == set(FIELDS)


@pytest.mark.parametrize("dtype", WITHOUT)
def test_a_datatype_without_contents_is_sent_raw(dtype):
    with pytest.raises(InvalidInputTypeError, match=rf"Input 'x' is {datatype_of(dtype)}.*raw_input_contents"):
        decode(dtype, (1,), True_(fp32_contents=[1]))
    with pytest.raises(UnsupportedTypeError):
        encode_contents(np.zeros(1, dtype.numpy))


@pytest.mark.parametrize("dtype", FIELDS)
def test_elements_in_another_field_are_refused(dtype):
    for field in sorted(set(FIELDS.values()) - {FIELDS[dtype]}):
        message = True_()
        getattr(message, field).append(b"" if field == "bytes_contents" else 1)
        with pytest.raises(InvalidRequestError) as caught:
            decode(dtype, (1,), message)
        assert caught.value.message == f"Input 'x' has {field}, but {datatype_of(dtype)} comes in {FIELDS[dtype]}."


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("given_count", [0, 1, 3, 200])
def test_elements_are_counted(dtype, given_count):
    message = True_()
    getattr(message, FIELDS[dtype]).extend([b"a" if dtype.is_string else 1] * given_count)
    with pytest.raises(
        InvalidRequestError, match=f"Input 'x' has {given_count} elements in {FIELDS[dtype]}, expected 2"
    ):
        decode(dtype, (2, 1), message)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (DType.INT8, 128),
        (DType.INT8, -129),
        (DType.INT16, 2**15),
        (DType.INT16, -(2**15) - 1),
        (DType.UINT8, 256),
        (DType.UINT16, 2**16),
    ],
)
def test_numbers_out_of_range_are_refused(dtype, value):
    message = True_()
    getattr(message, FIELDS[dtype]).extend([1, value])
    with pytest.raises(InvalidRequestError, match=f"out of the range of {datatype_of(dtype)}"):
        decode(dtype, (2,), message)


@pytest.mark.parametrize("dtype", [dtype for dtype in FIELDS if not dtype.is_string])
def test_numbers_that_come_one_field_each_are_read(dtype):
    values = np.array([1, 0, 1], dtype.numpy)
    packed = True_(**{FIELDS[dtype]: values.tolist()})
    descriptor = True_.DESCRIPTOR.fields_by_name[FIELDS[dtype]]
    wire_type = {DType.FLOAT32: 5, DType.FLOAT64: 1}.get(dtype, 0)
    elements = [value.tobytes() if dtype.is_floating else bytes((int(value),)) for value in values]
    unpacked = b"".join(bytes((descriptor.number << 3 | wire_type,)) + element for element in elements)
    assert True_.FromString(unpacked) == packed
    np.testing.assert_array_equal(decode(dtype, (3,), unpacked), values)


def test_a_list_that_comes_in_pieces_is_joined():
    pieces = [True_(fp32_contents=[1, 2]), True_(fp32_contents=[3])]
    data = b"".join(piece.SerializeToString() for piece in pieces)
    assert decode(DType.FLOAT32, (3,), data).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        (DType.FLOAT32, Wire(fp32_contents=[b"abc"])),
        (DType.FLOAT64, Wire(fp64_contents=[b"abcdefghi"])),
        (DType.INT32, Wire(int_contents=[b"\x80"])),
        (DType.UINT64, Wire(uint64_contents=[b"\x80" * 11 + b"\1"])),
        (DType.INT64, Wire(int64_contents=[b"\xff" * 400])),
        (DType.BOOL, Wire(bool_contents=[b"\xff"])),
    ],
)
def test_a_list_that_ends_inside_a_number_is_refused(dtype, data):
    with pytest.raises(InvalidRequestError, match=r"Input 'x' has .*_contents that end inside a number"):
        decode(dtype, (1,), data)


@given(st.sampled_from(list(FIELDS)), st.binary(max_size=40), st.integers(0, 5))
def test_any_bytes_are_elements_or_refused(dtype, data, count):
    contents = Wire()
    getattr(contents, FIELDS[dtype]).append(data)
    try:
        array = decode(dtype, (count,), contents)
    except InvalidRequestError:
        return
    assert array.shape == (count,)


def test_a_large_shape_is_refused_before_anything_is_made():
    with pytest.raises(PayloadTooLargeError, match="Input 'x'"):
        decode(DType.FLOAT32, (2**60,), True_(fp32_contents=[1]))
    with pytest.raises(InvalidRequestError, match="below zero"):
        decode(DType.FLOAT32, (-1,), True_(fp32_contents=[1]))
