"""What Python values look like on the wire."""

from __future__ import annotations

import base64
import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tensorhost.client import InvalidInputTypeError, InvalidRequestError
from tensorhost.client.encoding import to_json
from tensorhost.core.dtypes import DType


def sent(value):
    return json.loads(to_json({"inputs": value}))["inputs"]


@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.uint64, np.bool_]),
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=3),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_arrays_come_back_as_they_were(array):
    back = np.asarray(sent(array), array.dtype)
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    "dtype", [dtype for dtype in DType if dtype is not DType.STRING and not dtype.is_complex], ids=str
)
def test_every_number_format_can_be_sent(dtype):
    array = np.array([[0, 1], [1, 0]]).astype(dtype.numpy)
    np.testing.assert_array_equal(np.asarray(sent(array), np.float64), [[0, 1], [1, 0]])


def test_a_view_is_sent_in_its_own_order():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert sent(array.T) == [[0, 3], [1, 4], [2, 5]]
    assert sent(array[:, ::-1]) == [[2, 1, 0], [5, 4, 3]]
    assert sent(array.astype(">i4")) == [[0, 1, 2], [3, 4, 5]]


def test_bytes_become_base64_wherever_they_stand():
    b64 = {"b64": base64.b64encode(b"\xff\x00").decode()}
    assert sent(b"\xff\x00") == b64
    assert sent([b"\xff\x00", bytearray(b"\xff\x00"), memoryview(b"\xff\x00")]) == [b64] * 3
    assert sent({"image": [[b"\xff\x00"]]}) == {"image": [[b64]]}


def test_arrays_of_strings():
    assert sent(np.array([["a", "é"]])) == [["a", "é"]]
    assert sent(np.array([b"a"], dtype=object)) == [{"b64": "YQ=="}]
    assert sent(np.array("a")) == "a"


def test_scalars_and_arrays_inside_lists():
    assert sent([np.float32(0.5), np.array([1]), (1, 2), "x", None]) == [0.5, [1], [1, 2], "x", None]
    assert sent(ml_dtypes.bfloat16(0.5)) == 0.5


class Tensor:
    """What the tensors of other libraries have in common."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_tensors_of_other_libraries_are_their_arrays():
    assert sent(Tensor(np.ones((2, 1), np.float32))) == [[1], [1]]
    assert sent({"x": [Tensor(np.array(3))]}) == {"x": [3]}
    with pytest.raises(InvalidInputTypeError):
        to_json(Tensor(np.array([np.inf])))


@pytest.mark.parametrize(
    "value",
    [
        np.array([np.nan]),
        np.array([[1.0, -np.inf]], np.float16),
        np.float32("inf"),
        np.array([np.nan], ml_dtypes.bfloat16),
        np.array([1j]),
        np.array(["2020-01-01"], "datetime64[D]"),
    ],
)
def test_what_json_cannot_carry_is_refused(value):
    with pytest.raises(InvalidInputTypeError, match="JSON cannot carry"):
        to_json({"inputs": value})


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70])
def test_what_is_no_tensor_is_refused(value):
    with pytest.raises(InvalidRequestError, match="cannot be written as JSON"):
        to_json({"inputs": value})
