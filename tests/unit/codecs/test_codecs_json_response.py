import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs import JsonObject, decode_inputs, dumps, encode_outputs
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import TensorSpec


def encoded(value: Any) -> Any:
    return json.loads(dumps(encode_outputs({"y": value})))


def test_one_output_is_bare_and_several_are_by_name() -> None:
    one, two = np.array([[1.5]], np.float32), np.array([2], np.int64)
    assert dumps(encode_outputs({"a": one})) == b"[[1.5]]"
    assert dumps(encode_outputs({"a": one, "b": two})) == b'{"a":[[1.5]],"b":[2]}'
    assert dumps(encode_outputs({})) == b"{}"


def test_float32_is_written_shortest() -> None:
    assert dumps(encode_outputs({"y": np.array([0.1, 1 / 3], np.float32)})) == b"[0.1,0.33333334]"
    assert dumps(encode_outputs({"y": np.array([0.1])})) == b"[0.1]"


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype.is_floating or dtype.is_integer])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,), (2, 3)])
def test_every_number_type_comes_back_equal(dtype: DType, shape: tuple[int, ...]) -> None:
    array = np.arange(6, dtype=np.int8)[: int(np.prod(shape))].reshape(shape).astype(dtype.numpy)
    body = b'{"inputs":' + dumps(encode_outputs({"y": array})) + b"}"
    back = decode_inputs(JsonObject.parse(body), {"x": TensorSpec("x", dtype, shape)}, max_elements=9)["x"]
    np.testing.assert_array_equal(back, array, strict=True)


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype.is_floating])
def test_not_a_number_and_infinity_are_null(dtype: DType) -> None:
    # float8_e4m3fn has no infinity: converting one gives NaN.
    with np.errstate(invalid="ignore"):
        array = np.array([np.nan, np.inf, -np.inf, 1.0]).astype(dtype.numpy)
    assert encoded(array) == [None, None, None, 1.0]
    assert encoded(array[0]) is None


def test_extreme_integers_are_exact() -> None:
    assert encoded(np.array([2**64 - 1, 2**53 + 1], np.uint64)) == [2**64 - 1, 2**53 + 1]
    assert encoded(np.array([-(2**63)], np.int64)) == [-(2**63)]
    assert encoded(np.array([-8, 7], np.int8).astype(ml_dtypes.int4)) == [-8, 7]
    assert encoded(np.array([15], np.int8).astype(ml_dtypes.uint4)) == [15]


def test_bool_and_scalars() -> None:
    assert encoded(np.array([[True], [False]])) == [[True], [False]]
    assert encoded(np.array(True)) is True
    assert encoded(np.float32(0.1)) == 0.1
    assert encoded(ml_dtypes.bfloat16(1.5)) == 1.5
    assert encoded(np.int64(3)) == 3


def test_strings_are_text_or_base64() -> None:
    array = np.array([[b"a", "é\0".encode()], [b"\xff\xfe", b""]], object)
    assert encoded(array) == [["a", "é\0"], [{"b64": "//4="}, ""]]
    assert encoded(np.array(b"x", object)) == "x"
    assert encoded(np.array(["u"])) == ["u"]
    assert encoded(np.array([b"s"])) == ["s"]
    assert encoded(b"\xff") == {"b64": "/w=="}
    assert encoded(np.empty((0, 2), object)) == []


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.INT32, DType.FLOAT16, DType.BFLOAT16, DType.BOOL, DType.INT4])
def test_arrays_that_are_not_contiguous(dtype: DType) -> None:
    array = np.arange(2).repeat(6).reshape(3, 4).astype(dtype.numpy)
    for view in (array.T, array[:, ::2], array[::-1], np.broadcast_to(array[0], (2, 4))):
        assert encoded(view) == [[value.item() for value in row] for row in view.astype(np.float32)]


def test_foreign_byte_order() -> None:
    assert encoded(np.array([1, 2], ">i4")) == [1, 2]
    assert encoded(np.array([1.5], ">f8")) == [1.5]


@pytest.mark.parametrize("value", [np.array([1j]), np.array(1j, np.complex64), np.complex128(1j)])
def test_complex_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"Output 'y' is complex.*JSON cannot carry"):
        encode_outputs({"y": value})
    with pytest.raises(TypeError):
        dumps([value])


def test_values_ready_for_json_pass_and_strays_inside_are_written() -> None:
    top = [[{"label": "cat", "index": np.int64(3), "score": np.float32(0.1)}]]
    assert encoded(top) == [[{"label": "cat", "index": 3, "score": 0.1}]]
    strays = {
        "a": np.arange(6).reshape(2, 3).T,
        "b": [ml_dtypes.bfloat16(2)],
        "c": b"\xff",
        "d": np.array([b"z"], object),
    }
    assert json.loads(dumps(strays)) == {"a": [[0, 3], [1, 4], [2, 5]], "b": [2], "c": {"b64": "/w=="}, "d": ["z"]}
    with pytest.raises(TypeError):
        dumps([object()])


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_float32_round_trip(values: list[float]) -> None:
    array = np.array(values, np.float32)
    assert np.array(encoded(array), np.float32).tobytes() == array.tobytes()


@given(st.lists(st.binary(max_size=8)))
def test_bytes_round_trip(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    body = b'{"inputs":' + dumps(encode_outputs({"y": array})) + b"}"
    spec = {"x": TensorSpec("x", DType.STRING, (None,))}
    assert decode_inputs(JsonObject.parse(body), spec, max_elements=999)["x"].tolist() == values
