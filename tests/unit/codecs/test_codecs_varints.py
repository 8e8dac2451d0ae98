import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.varints import decode_varints, encode_varints

Tensor = message_class("tensorflow.TensorProto")
LENGTHS = st.sampled_from([1, 3, 31, 33, 200, 40_000])
"""Few numbers, more than are done one by one, and more than one block."""
INT64 = st.integers(-(2**63), 2**63 - 1)


def packed(values: list[int]) -> bytes:
    """``values`` as protobuf itself packs them."""
    data = Tensor(uint64_val=values).SerializeToString()
    return data[len(data) - sum(max(1, -(-value.bit_length() // 7)) for value in values) :]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=300))
@example([2**64 - 1] * 300)
@example([0x7F] * 40 + [0x80])
def test_unsigned_numbers_are_written_and_read_as_protobuf_does(values):
    array = np.array(values, np.uint64)
    data = encode_varints(array)
    assert data == packed(values)
    assert decode_varints(data).astype(np.uint64).tolist() == values


@given(st.lists(INT64, min_size=1, max_size=40), LENGTHS)
def test_signed_numbers_come_back(values, length):
    array = np.resize(np.array(values, np.int64), length)
    assert (decode_varints(encode_varints(array)).astype(np.int64) == array).all()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "bool"])
def test_narrow_types_come_back(dtype):
    for length in (1, 20, 1000):
        array = np.resize(np.array([0, 1, 127, 128, 255, 300, 70_000, -1]), length).astype(dtype)
        assert (decode_varints(encode_varints(array)).astype(dtype) == array).all()


@pytest.mark.parametrize("repeats", [0, 1000])
@pytest.mark.parametrize("end", [b"\x80", b"\xff" * 9, b"\xff" * 10 + b"\x01", b"\x80" * 11 + b"\x00"])
def test_bytes_that_are_no_numbers_are_refused(end, repeats):
    with pytest.raises(ValueError, match=r"ends inside a number|more than ten bytes"):
        decode_varints(b"\x05" * repeats + end)


@pytest.mark.parametrize("repeats", [1, 1000])
def test_bits_beyond_the_64th_are_dropped(repeats):
    assert set(decode_varints((b"\xff" * 9 + b"\x7f") * repeats).tolist()) == {2**64 - 1}


def test_nothing_is_no_numbers():
    assert decode_varints(b"").size == 0
    assert encode_varints(np.empty(0, np.int32)) == b""
