from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import signature

from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models.synthesis import candidates


def first(contract, rows):
    return next(candidates(contract)).rows(rows)["x"]


@settings(deadline=None)
@given(
    st.sampled_from(list(DType)),
    st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=2).map(tuple),
    st.integers(1, 9),
)
def test_inputs_fit_the_signature(dtype, inner, rows):
    contract = signature((None, *inner), dtype)
    for candidate in candidates(contract):
        array = candidate.rows(min(rows, 3))["x"]
        contract.inputs["x"].check(array)
        assert len(array) == min(rows, 3)


@pytest.mark.parametrize("dtype", list(DType))
def test_the_first_rows_are_the_same_whatever_the_number_of_rows(dtype):
    few, many = first(signature((None, 3), dtype), 2), first(signature((None, 3), dtype), 33)
    np.testing.assert_array_equal(few, many[:2])


@pytest.mark.parametrize("dtype", list(DType))
@pytest.mark.parametrize("inner", [(), (1,), (3,), (4,), (5,), (2, 2)])
def test_rows_differ(dtype, inner):
    rows = first(signature((None, *inner), dtype), 5)
    assert len({str(row) for row in rows.tolist()}) > 1


def test_texts_differ_and_an_empty_one_is_tried_too():
    texts = [candidate.rows(4)["x"].tolist() for candidate in candidates(signature((None,), DType.STRING))]
    assert [len(set(rows)) for rows in texts] == [4, 1]
    assert texts[1] == [b""] * 4


def test_indices_are_small():
    assert set(first(signature((None, 50), DType.INT64), 4).ravel().tolist()) == {0, 1}


def test_a_fixed_first_dimension_a_scalar_and_no_input_at_all():
    assert first(signature((2, 3)), 7).shape == (2, 3)
    assert first(signature(()), 7).shape == ()
    assert next(candidates(Signature("none", {}, {}))).rows(3) == {}


def test_free_dimensions_are_tried_at_several_sizes():
    shapes = [candidate.rows(1)["x"].shape for candidate in candidates(signature((None, None, None, 3)))]
    assert shapes == [(1, 8, 8, 3), (1, 32, 32, 3), (1, 224, 224, 3), (1, 1, 1, 3)]


def test_an_unknown_rank_is_tried_at_several():
    shapes = {candidate.rows(1)["x"].shape for candidate in candidates(signature(None))}
    assert shapes == {(1,), (1, 8), (1, 8, 8, 3)}


def test_what_would_fill_the_memory_is_never_made():
    five_free = [candidate.rows(1)["x"].shape[1] for candidate in candidates(signature((None,) * 6))]
    assert five_free == [8, 1]
    assert list(candidates(signature((None, 10**6, 10**6)))) == []
    wide = Signature("wide", {"x": TensorSpec("x", DType.INT8, (10**10,))}, {})
    assert list(candidates(wide)) == []
