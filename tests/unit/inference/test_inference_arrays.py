import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidInputShapeError,
    InvalidInputTypeError,
    MissingInputError,
    RaggedInputError,
    UnknownInputError,
)
from tensorhost.core.tensors import TensorSpec
from tensorhost.inference.arrays import as_tensors


def convert(value, dtype, shape=(None,)):
    return as_tensors(value, {"x": TensorSpec("x", dtype, shape)})["x"]


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype not in (DType.STRING, DType.BOOL)])
def test_numbers_take_the_dtype_of_the_spec(dtype):
    for value in ([0, 1, 2], [0.0, 1.0, 2.0], np.array([0, 1, 2], np.uint8)):
        array = convert(value, dtype)
        assert array.dtype == dtype.numpy
        assert array.astype(np.complex128).tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", list(DType))
def test_a_batch_of_no_rows_has_the_dtype_of_the_spec(dtype):
    array = convert([], dtype)
    assert (array.shape, array.dtype) == ((0,), dtype.numpy)


def test_bools_are_bools_and_nothing_else():
    assert convert([True, False], DType.BOOL).tolist() == [True, False]
    for value, dtype in (([1], DType.BOOL), ([True], DType.INT32), ([True], DType.FLOAT32)):
        with pytest.raises(InvalidInputTypeError):
            convert(value, dtype)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([256], DType.UINT8),
        ([-1], DType.UINT8),
        ([-1], DType.UINT64),
        (np.array([-1], np.int8), DType.UINT8),
        ([2**63], DType.INT64),
        ([float(2**63)], DType.INT64),
        ([2**70], DType.INT64),
        ([1.5], DType.INT32),
        ([float("nan")], DType.INT32),
        ([float("inf")], DType.INT64),
        ([8], DType.INT4),
        ([1e39], DType.FLOAT32),
        ([1e6], DType.FLOAT16),
        ([1e39 + 0j], DType.COMPLEX64),
        ([1j], DType.FLOAT32),
        (["1"], DType.FLOAT32),
        ([None], DType.FLOAT32),
        (np.array(["2020-01-01"], "datetime64[D]"), DType.INT64),
        ([1], DType.STRING),
        ([None], DType.STRING),
        ([{}], DType.STRING),
        (["a", 1], DType.STRING),
        (["\ud800"], DType.STRING),
        (np.array([1.0]), DType.STRING),
    ],
)
def test_values_that_do_not_fit_are_refused_and_the_message_says_what_fits(value, dtype):
    with pytest.raises(InvalidInputTypeError, match=f"'x' must be {dtype}") as refused:
        convert(value, dtype)
    assert refused.value.details["expected"] == dtype.value
    assert "NoneType" not in refused.value.message


def test_only_precision_may_be_lost():
    assert convert([0.1], DType.FLOAT32)[0] == np.float32(0.1)
    assert convert([2**53 + 1], DType.INT64).tolist() == [2**53 + 1]
    assert convert([2**64 - 1], DType.UINT64).tolist() == [2**64 - 1]
    assert np.isinf(convert([float("inf")], DType.FLOAT16)[0])
    assert np.isnan(convert([float("nan")], DType.FLOAT32)[0])


@given(
    st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=3),
    st.sampled_from([dtype for dtype in DType if dtype.is_integer]),
)
def test_integers_arrive_exactly_or_not_at_all(values, dtype):
    try:
        array = convert(values, dtype)
    except InvalidInputTypeError:
        return
    assert array.astype(object).tolist() == values


def test_texts_become_bytes_and_keep_every_byte():
    array = convert([["ä\0", b"\x00\xff\x00"]], DType.STRING, (None, 2))
    assert array.tolist() == [["ä\0".encode(), b"\x00\xff\x00"]]
    assert convert("one", DType.STRING, ()).item() == b"one"
    assert convert(np.array(["a", "bc"]), DType.STRING).tolist() == [b"a", b"bc"]


def test_bytes_for_a_numeric_input_are_encoded_images_left_to_preprocessing():
    array = convert([b"png\x00", b"jpeg\x00\x00"], DType.FLOAT32, (None, 8, 8, 3))
    assert array.dtype == object
    assert array.tolist() == [b"png\x00", b"jpeg\x00\x00"]
    mixed = np.array([b"a\x00", b"b"], dtype=object)
    assert convert(mixed, DType.UINT8, (None, 8, 8, 3)).tolist() == [b"a\x00", b"b"]


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.STRING])
@pytest.mark.parametrize("value", [[["a"], ["b", "c"]], [["a"], "b"], [[["a"]], [["b"], ["c"]]]])
def test_ragged_lists_are_refused(value, dtype):
    if dtype is DType.FLOAT32:
        value = _numbers_of(value)
    with pytest.raises(RaggedInputError, match="'x' is ragged"):
        convert(value, dtype, (None, None))


def _numbers_of(value):
    return [_numbers_of(item) for item in value] if isinstance(value, list) else 1.0


def test_shapes_are_checked():
    with pytest.raises(InvalidInputShapeError):
        convert([[1.0, 2.0]], DType.FLOAT32, (None, 3))
    with pytest.raises(InvalidInputShapeError):
        convert(["a"], DType.STRING, (None, 1))


def test_inputs_go_by_name_in_the_order_of_the_specs():
    specs = {name: TensorSpec(name, DType.FLOAT32, (None,)) for name in ("a", "b")}
    assert list(as_tensors({"b": [1], "a": [2]}, specs)) == ["a", "b"]
    with pytest.raises(MissingInputError, match="'b' is missing"):
        as_tensors({"a": [1]}, specs)
    with pytest.raises(UnknownInputError, match="no input 'c'"):
        as_tensors({"a": [1], "b": [1], "c": [1]}, specs)
    with pytest.raises(MissingInputError, match="by name: 'a', 'b'"):
        as_tensors([1], specs)


def test_an_array_that_fits_is_passed_on_as_it_is():
    array = np.ones((2,), np.float32)
    assert convert(array, DType.FLOAT32) is array
