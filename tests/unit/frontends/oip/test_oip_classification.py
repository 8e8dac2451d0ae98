"""Classes of scores as texts."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tensorhost.frontends.oip.classification import classes

f32 = np.float32


def listed(array):
    return [[text.decode() for text in row] for row in array]


def test_the_highest_come_first_with_their_labels():
    scores = f32([[0.25, 0.5, 0.125], [1, 2, 3]])
    assert listed(classes(scores, 2, ["cat", "dog"], by_row=True)) == [
        ["0.500000:1:dog", "0.250000:0:cat"],
        ["3.000000:2", "2.000000:1:dog"],
    ]


def test_more_classes_than_there_are_give_all():
    assert classes(f32([[1, 2]]), 10**18, [], by_row=True).shape == (1, 2)


def test_without_rows_everything_is_one():
    found = classes(f32([[1, 2], [4, 3]]), 3, [], by_row=False)
    assert found.tolist() == [b"4.000000:2", b"3.000000:3", b"2.000000:1"]


def test_equal_values_come_by_index_and_nan_last():
    scores = f32([[1, np.nan, 1, -np.inf, np.inf]])
    assert listed(classes(scores, 5, [], by_row=True)) == [
        ["inf:4", "1.000000:0", "1.000000:2", "-inf:3", "nan:1"],
    ]


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_whole_numbers_are_written_as_such(dtype):
    assert listed(classes(np.array([[0, 1]], dtype), 1, [], by_row=True)) == [["1:1"]]


def test_large_integers_keep_their_order():
    scores = np.array([[2**62, 2**62 + 1]])
    assert listed(classes(scores, 1, [], by_row=True)) == [[f"{2**62 + 1}:1"]]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_every_floating_type_has_classes(dtype):
    assert listed(classes(np.array([[0.5, 2]], dtype), 1, [], by_row=True)) == [["2.000000:1"]]


@pytest.mark.parametrize(("shape", "expected"), [((0, 3), (0, 3)), ((2, 0), (2, 0)), ((0,), (0, 1))])
def test_nothing_has_no_classes(shape, expected):
    assert classes(np.zeros(shape, f32), 3, [], by_row=True).shape == expected


@given(hnp.arrays(f32, (3, 7), elements=st.floats(width=32, allow_nan=False)), st.integers(1, 9))
def test_they_are_the_highest(scores, count):
    found = classes(scores, count, [], by_row=True)
    for row, texts in zip(scores, found, strict=True):
        indices = [int(text.split(b":")[1]) for text in texts]
        assert len(set(indices)) == len(indices) == min(count, 7)
        np.testing.assert_array_equal(row[indices], np.sort(row)[::-1][: len(indices)])
