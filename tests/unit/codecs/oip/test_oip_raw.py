"""Raw bytes of tensors, against what Triton's client writes and reads."""

import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tritonclient import utils as tritonclient

from tensorhost.codecs.oip import (
    DATATYPES,
    check_answerable,
    config_type_of,
    datatype_of,
    decode_raw,
    dtype_of,
    encode_raw,
)
from tensorhost.codecs.oip.raw import object_array
from tensorhost.codecs.protobuf import POOL
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidInputTypeError,
    InvalidRequestError,
    PayloadTooLargeError,
    UnsupportedTypeError,
)

LIMIT = 100_000
NUMBERS = [dtype for dtype in DATATYPES.values() if not dtype.is_string]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def decode(dtype, shape, data, max_elements=LIMIT):
    return decode_raw(dtype, shape, data, "x", max_elements=max_elements)


def any_array(dtype: DType, shape: tuple[int, ...], raw: bytes):
    """An array whose elements have any bits at all, NaNs with payloads among them; ``raw`` is used over and over."""
    bits = np.resize(np.frombuffer(raw, np.uint8), int(np.prod(shape)) * dtype.numpy.itemsize)
    return (bits % 2 if dtype is DType.BOOL else bits).view(dtype.numpy).reshape(shape)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_datatypes_are_what_tritons_client_calls_them(datatype):
    dtype = dtype_of(datatype, "x")
    assert np.dtype(tritonclient.triton_to_np_dtype(datatype)) == dtype.numpy
    assert tritonclient.np_to_triton_dtype(dtype.numpy) == datatype
    assert datatype_of(dtype) == datatype
    types = POOL.FindEnumTypeByName("inference.DataType").values_by_name
    assert config_type_of(dtype) in types
    check_answerable(dtype, "y")


def test_every_datatype_of_a_configuration_has_an_element_type():
    types = set(POOL.FindEnumTypeByName("inference.DataType").values_by_name) - {"TYPE_INVALID"}
    assert {config_type_of(dtype) for dtype in DATATYPES.values()} == types


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype not in DATATYPES.values()])
def test_types_that_the_protocol_does_not_have_are_shown_but_not_sent(dtype):
    assert datatype_of(dtype) == dtype.value.upper()
    assert config_type_of(dtype) == "TYPE_INVALID"
    with pytest.raises(UnsupportedTypeError, match=f"Output 'y' is {dtype.value}"):
        check_answerable(dtype, "y")


@pytest.mark.parametrize("datatype", ["", "fp32", "FLOAT", "FP8", "X" * 5000])
def test_an_unknown_datatype_is_named(datatype):
    with pytest.raises(InvalidInputTypeError, match="Input 'x' has an invalid datatype") as caught:
        dtype_of(datatype, "x")
    assert datatype[:32] in caught.value.message
    assert len(caught.value.message) < 300


@given(st.sampled_from(NUMBERS), SHAPES, st.binary(min_size=1, max_size=64), st.integers(0, 7))
def test_numbers_are_read_and_written_as_they_lie_in_memory(dtype, shape, raw, offset):
    array = any_array(dtype, shape, raw)
    data = bytes(offset) + array.tobytes()
    read = decode(dtype, shape, memoryview(data)[offset:])
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert not read.size or not read.flags.writeable
    assert decode(dtype, shape, bytearray(array.tobytes())).flags.writeable
    assert bytes(encode_raw(array)) == array.tobytes()
    assert bytes(encode_raw(array.T)) == array.T.tobytes()


def test_many_numbers_are_copied_neither_in_nor_out():
    data = np.arange(10_000, dtype=np.float32).tobytes()
    array = decode(DType.FLOAT32, (100, 100), memoryview(data))
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert np.shares_memory(np.frombuffer(encode_raw(array), np.uint8), array)


@given(st.lists(st.binary(max_size=20), max_size=30))
def test_strings_are_those_of_tritons_client(values):
    array = object_array(values)
    theirs = tritonclient.serialize_byte_tensor(array)
    data = theirs.item() if theirs.size else b""
    assert encode_raw(array) == data
    for form in (data, memoryview(data), bytearray(data)):
        assert decode(DType.STRING, (len(values),), form).tolist() == values
    assert tritonclient.deserialize_bytes_tensor(encode_raw(array)).tolist() == values


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_text_is_written_as_utf8(texts):
    wanted = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    assert encode_raw(np.array(texts, object)) == wanted
    if not any(text.endswith("\0") for text in texts):  # numpy drops them
        assert encode_raw(np.array(texts)) == wanted


def test_strings_of_any_shape():
    array = object_array([b"a", b"", b"ccc", b"\xff\0"]).reshape(2, 1, 2)
    assert decode(DType.STRING, (2, 1, 2), encode_raw(array)).tolist() == array.tolist()
    assert decode(DType.STRING, (), encode_raw(object_array([b"one"]).reshape(()))).item() == b"one"
    assert decode(DType.STRING, (0, 3), b"").shape == (0, 3)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("surplus", [-1, 1, 1000])
def test_bytes_that_are_too_few_or_too_many_are_counted(dtype, surplus):
    size = 4 * dtype.numpy.itemsize
    with pytest.raises(InvalidRequestError, match=f"^Input 'x' has {size + surplus} bytes of data, expected {size}.$"):
        decode(dtype, (2, 2), bytes(size + surplus))


@pytest.mark.parametrize(
    ("shape", "data", "message"),
    [
        ((1,), b"", "Input 'x' has 0 bytes of data, expected at least 4."),
        ((2,), struct.pack("<I", 0), "Input 'x' has 4 bytes of data, expected at least 8."),
        ((1,), struct.pack("<I", 5) + b"abcd", "Input 'x': its bytes end inside element 0 of 1."),
        ((1,), struct.pack("<I", 2**32 - 1), "Input 'x': its bytes end inside element 0 of 1."),
        ((2,), struct.pack("<I", 3) + b"abc" + b"\1", "Input 'x': its bytes end inside element 1 of 2."),
        ((1,), struct.pack("<I", 1) + b"ab", "Input 'x' has 1 bytes behind its 1 elements."),
        ((0,), b"a", "Input 'x' has 1 bytes behind its 0 elements."),
    ],
)
def test_strings_that_do_not_fit_their_bytes(shape, data, message):
    with pytest.raises(InvalidRequestError) as caught:
        decode(DType.STRING, shape, data)
    assert caught.value.message == message


@given(st.integers(0, 40), st.binary(max_size=60))
def test_any_bytes_are_strings_or_refused(count, data):
    try:
        array = decode(DType.STRING, (count,), data)
    except InvalidRequestError:
        return
    assert encode_raw(array) == data


@pytest.mark.parametrize("data", [b"\0\1\0\1", b"\0\2\0\xff"])
def test_a_bool_that_is_no_0_is_true(data):
    array = decode(DType.BOOL, (2, 2), data)
    assert array.tolist() == [[False, True], [False, True]]
    assert array.tobytes() == b"\0\1\0\1"


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.STRING])
@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((LIMIT + 1,), PayloadTooLargeError),
        ((2**62, 2**62, 2**62), PayloadTooLargeError),
        ((0, 2**62), PayloadTooLargeError),
        ((0, 2**40, 2**40), PayloadTooLargeError),
        ((-1,), InvalidRequestError),
        ((-2, -2), InvalidRequestError),
        ((1,) * 65, InvalidRequestError),
    ],
)
def test_shapes_that_no_array_has(dtype, shape, error):
    with pytest.raises(error, match="Input 'x'"):
        decode(dtype, shape, b"")


def test_shapes_with_nothing_in_them():
    assert decode(DType.FLOAT32, (0, 224, 3), b"").shape == (0, 224, 3)
    assert decode(DType.BOOL, (0,), b"").shape == (0,)
    assert decode(DType.FLOAT32, (1,) * 64, bytes(4)).ndim == 64


def test_bfloat16_keeps_its_bits():
    array = np.array([1.5, -0.0, np.nan], ml_dtypes.bfloat16)
    assert decode(DType.BFLOAT16, (3,), encode_raw(array)).view(np.uint16).tolist() == array.view(np.uint16).tolist()
