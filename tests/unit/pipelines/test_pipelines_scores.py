"""Arithmetic on outputs against scipy and plain sorting; NaN, infinities, small floats, shared arrays."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from tensorhost.pipelines.scores import argmax, best_entries, round_to, sigmoid, softmax, threshold

ROWS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6), elements=st.floats(-80, 80, width=32)
)
ANY_ROW = hnp.arrays(np.float32, st.integers(1, 12), elements=st.floats(width=32))


@given(ROWS)
def test_softmax_is_scipys_and_sums_to_1(x):
    result = softmax(x)
    np.testing.assert_allclose(result, special.softmax(x.astype(np.float64), axis=-1), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(result.sum(axis=-1), 1, rtol=1e-5)


@given(ROWS, st.integers(-1000, 1000))
def test_softmax_is_invariant_to_a_shift(x, shift):
    x = np.round(x).astype(np.float64)
    np.testing.assert_allclose(softmax(x + shift), softmax(x), atol=1e-12)


@given(hnp.arrays(np.float64, 5, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_sigmoid_is_scipys(x):
    np.testing.assert_allclose(sigmoid(x), special.expit(x), rtol=1e-12, atol=1e-300)


def test_extremes_neither_overflow_nor_leak_into_other_rows():
    x = np.array([[1e38, -1e38], [np.nan, 0], [np.inf, 0], [-np.inf, -np.inf], [0, 0]], np.float32)
    result = softmax(x)
    assert result[0].tolist() == [1, 0]
    assert np.isnan(result[1:4]).all()
    assert result[4].tolist() == [0.5, 0.5]
    assert sigmoid(np.array([-1e4, 1e4, -np.inf, np.inf, np.nan], np.float32))[:4].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("step", [softmax, sigmoid, lambda x: threshold(x, 0.5), lambda x: round_to(x, 1)])
def test_steps_keep_the_dtype_and_never_write(step, dtype):
    x = np.array([[0.25, 1.5, -3]]).astype(dtype)
    x.flags.writeable = False
    result = step(x)
    assert result.dtype == dtype
    assert result.shape == x.shape
    assert step(x[:0]).shape == (0, 3)


@given(ANY_ROW)
def test_argmax_is_the_first_of_the_best(x):
    index = int(argmax(x))
    order = sorted(range(x.size), key=lambda i: (math.isnan(x[i]), -x[i] if not math.isnan(x[i]) else 0, i))
    assert index == order[0]
    assert argmax(np.stack([x, x])).dtype == np.int64
    assert argmax(np.empty((0, 4), np.float32)).shape == (0,)


@given(ANY_ROW, st.integers(1, 14))
def test_top_k_is_plain_sorting(x, k):
    order = sorted(range(x.size), key=lambda i: (math.isnan(x[i]), -x[i] if not math.isnan(x[i]) else 0, i))
    entries = best_entries(x, top_k=k)
    assert [entry["index"] for entry in entries] == order[:k]
    np.testing.assert_array_equal(np.array([entry["score"] for entry in entries], np.float32), x[order[:k]])


def test_entries_are_json_ready_with_short_decimals():
    x = np.array([[0.1, 0.7, 0.2]], np.float32)
    labels = ("a", "b", "c")
    assert best_entries(x, top_k=2, labels=labels) == [
        [{"label": "b", "index": 1, "score": 0.7}, {"label": "c", "index": 2, "score": 0.2}]
    ]
    assert best_entries(x, lowest=0.2, labels=labels, digits=0) == [
        [{"label": "b", "index": 1, "score": 1.0}, {"label": "c", "index": 2, "score": 0.0}]
    ]
    (row,) = best_entries(x.astype(ml_dtypes.bfloat16), top_k=1)
    assert type(row[0]["score"]) is float
    assert type(row[0]["index"]) is int
    assert best_entries(np.array([0.1]), top_k=1) == [{"index": 0, "score": 0.1}]


def test_entries_of_nested_and_empty_batches():
    x = np.zeros((2, 3, 4), np.float32)
    assert best_entries(x, top_k=1) == [[[{"index": 0, "score": 0.0}]] * 3] * 2
    assert best_entries(x[:0], top_k=1) == []


def test_entries_below_the_threshold_and_nan_are_dropped():
    row = np.array([np.nan, 0.5, 0.4, 0.5], np.float32)
    assert [entry["index"] for entry in best_entries(row, lowest=0.5)] == [1, 3]
    assert [entry["index"] for entry in best_entries(row, lowest=0.4, top_k=2)] == [1, 3]
    assert best_entries(row, lowest=9.0) == []
    assert [entry["index"] for entry in best_entries(np.array([0.1], np.float32), lowest=0.1)] == [0]


def test_threshold_compares_in_the_dtype_of_the_scores():
    x = np.array([0.1, 0.09, np.nan], np.float32)
    result = threshold(x, 0.1)
    assert result[:2].tolist() == [x[0], 0]
    assert np.isnan(result[2])
    assert threshold(x, 1e300)[0] == 0
    assert threshold(x, -1e300)[0] == x[0]


def test_rounding_leaves_what_has_no_such_decimals():
    assert round_to(np.array([2.5, 3.14159, -0.5]), 0).tolist() == [2, 3, 0]
    assert round_to(np.array([3.14159], np.float32), 2)[0] == np.float32(3.14)
    big = np.array([3e38, np.inf], np.float32)
    assert round_to(big, 5).tolist() == big.tolist()
    assert np.isnan(round_to(np.array([np.nan]), 1)[0])
