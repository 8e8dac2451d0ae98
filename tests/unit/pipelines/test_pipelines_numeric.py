"""Arithmetic on inputs against its formulas, and conversion that loses nothing."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidPreprocessingError
from tensorhost.pipelines.numeric import (
    divide_by_std,
    integer_limits,
    min_max,
    scale,
    subtract_mean,
    to_signature_dtype,
    working_dtype,
)

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
WIDE32 = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
TAME = hnp.arrays(np.float64, SHAPES, elements=st.floats(-1e6, 1e6))


@given(WIDE32)
def test_min_max_stays_within_0_and_1(x):
    before = x.copy()
    result = min_max(x)
    assert result.dtype == np.float32
    assert result.shape == x.shape
    assert np.array_equal(x, before)
    assert ((result >= 0) & (result <= 1)).all()


@given(TAME)
def test_min_max_is_per_example(x):
    result = min_max(x)
    for row, scaled in zip(x, result, strict=True):
        if row.size and row.max() > row.min():
            np.testing.assert_allclose(scaled, (row - row.min()) / (row.max() - row.min()))
        else:
            assert not scaled.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_min_max_refuses_what_has_no_bounds(value):
    with pytest.raises(InvalidPreprocessingError, match="NaN or infinity"):
        min_max(np.array([[0, 1], [value, 2]], np.float32))


def test_min_max_of_the_widest_range_and_of_scalars():
    limit = np.finfo(np.float32).max
    np.testing.assert_allclose(min_max(np.array([[-limit, 0, limit]], np.float32)), [[0, 0.5, 1]])
    assert min_max(np.array([3.0, 4.0])).tolist() == [0.0, 0.0]
    assert min_max(np.array(3.0)).tolist() == 0.0


@given(TAME, st.sampled_from([1, 3]))
def test_mean_and_std_follow_the_formula(x, wanted):
    size = x.shape[-1] if wanted == 3 and x.shape[-1] else 1
    vector = np.linspace(0.5, 2.5, size)
    np.testing.assert_array_equal(subtract_mean(x, vector), x - vector)
    np.testing.assert_array_equal(divide_by_std(x, vector), x / vector)


@pytest.mark.parametrize("order", ["C", "F"])
def test_out_receives_the_result_whatever_its_layout(order):
    x = np.asarray(np.arange(24.0, dtype=np.float32).reshape(2, 2, 2, 3), order=order)
    expected = (x / np.float32(3) - np.array([1, 2, 3], np.float32)) / np.array([2, 4, 8], np.float32)
    result = scale(x, 3, x)
    result = subtract_mean(result, np.array([1, 2, 3], np.float32), result)
    result = divide_by_std(result, np.array([2, 4, 8], np.float32), result)
    assert result is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize(
    ("dtype", "working"),
    [
        (DType.FLOAT16, np.float32),
        (DType.BFLOAT16, np.float32),
        (DType.FLOAT32, np.float32),
        (DType.FLOAT64, np.float64),
        (DType.INT8, np.float64),
    ],
)
def test_working_types(dtype, working):
    assert working_dtype(dtype) == working


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype.is_integer])
def test_integer_limits_agree_with_ml_dtypes(dtype):
    limits = ml_dtypes.iinfo(dtype.numpy)
    assert integer_limits(dtype) == (int(limits.min), int(limits.max))


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype.is_integer])
def test_whole_numbers_in_range_become_integers(dtype):
    low, high = integer_limits(dtype)
    exact = np.array([low, 0, min(high, 2**53)], np.float64)
    result = to_signature_dtype(exact, dtype, "x")
    assert result.dtype == dtype.numpy
    assert [int(value) for value in result] == [low, 0, min(high, 2**53)]
    for lost in (0.5, np.nan, np.inf, float(high + 1), float(low - 1) if low > -(2**53) else -(2.0**64)):
        with pytest.raises(InvalidPreprocessingError, match=f"which {dtype} cannot hold") as caught:
            to_signature_dtype(np.array([[0, lost]]), dtype, "x")
        assert caught.value.details["input"] == "x"


def test_integers_narrow_only_in_range():
    assert to_signature_dtype(np.array([0, 127], np.uint8), DType.INT8, "x").tolist() == [0, 127]
    with pytest.raises(InvalidPreprocessingError, match="holds 200, which int8"):
        to_signature_dtype(np.array([0, 200], np.uint8), DType.INT8, "x")
    assert to_signature_dtype(np.array([0, 1], np.int64), DType.BOOL, "x").dtype == bool
    with pytest.raises(InvalidPreprocessingError):
        to_signature_dtype(np.array([2], np.int64), DType.BOOL, "x")


def test_floats_round_but_never_overflow():
    x = np.array([0.1, np.nan, np.inf], np.float32)
    assert to_signature_dtype(x, DType.FLOAT32, "x") is x
    for dtype in (DType.FLOAT16, DType.BFLOAT16):
        assert to_signature_dtype(x, dtype, "x").dtype == dtype.numpy
    with pytest.raises(InvalidPreprocessingError, match="float16 cannot hold"):
        to_signature_dtype(np.array([1e6], np.float32), DType.FLOAT16, "x")
    with pytest.raises(InvalidPreprocessingError, match="float8_e4m3fn cannot hold"):
        to_signature_dtype(np.array([1e6], np.float32), DType.FLOAT8_E4M3FN, "x")
