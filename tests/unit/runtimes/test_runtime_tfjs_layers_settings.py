"""The settings of one layer."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.tfjs.layers_settings import MAX_SIZE, Settings, snake_case


def settings(**values):
    return Settings("named", "Dense", values)


@pytest.mark.parametrize(
    ("camel", "snake"),
    [("returnSequences", "return_sequences"), ("units", "units"), ("channels_first", "channels_first")],
)
def test_camel_case_is_snake_case(camel, snake):
    assert snake_case(camel) == snake
    assert settings(**{camel: True}).flag(snake)


def test_null_is_the_same_as_absent():
    assert settings(units=None).whole("units", 7) == 7
    assert settings(units=None).is_null("units")
    assert not settings().is_null("units")
    assert settings(use_bias=None).flag("use_bias", True)


def test_numbers_of_javascript_may_be_floats():
    assert settings(units=4.0).whole("units") == 4


@pytest.mark.parametrize(
    ("value", "rank", "expected"), [(3, 2, (3, 3)), ([3], 2, (3, 3)), ([2, 3], 2, (2, 3)), ([1, 2, 3], 3, (1, 2, 3))]
)
def test_spatial(value, rank, expected):
    assert settings(size=value).spatial("size", rank) == expected


@pytest.mark.parametrize("value", [[1, 2, 3], [], 0, -1, "3", True, [1, None], 2.5, MAX_SIZE + 1])
def test_spatial_refuses(value):
    with pytest.raises(ModelFailedError, match=r"The layer 'named' \(Dense\): size must be"):
        settings(size=value).spatial("size", 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, ((1, 1), (1, 1))), ([1, 2], ((1, 1), (2, 2))), ([[1, 0], [0, 2]], ((1, 0), (0, 2))), (None, ((5, 5), (5, 5)))],
)
def test_margins(value, expected):
    assert settings(padding=value).margins("padding", 5) == expected


@pytest.mark.parametrize("value", [[1], [[1], [2]], [[1, 2, 3], [1, 2]], -1, [[-1, 0], [0, 0]], "1", [1, 2, 3]])
def test_margins_refuse(value):
    with pytest.raises(ModelFailedError, match="padding must be"):
        settings(padding=value).margins("padding", 5)


@pytest.mark.parametrize("value", ["elsewhere", 5, ["same"], {"class_name": "same"}])
def test_words_refuse(value):
    with pytest.raises(ModelFailedError, match="padding must be one of same, valid"):
        settings(padding=value).word("padding", {"valid", "same"})


@pytest.mark.parametrize("value", [True, "1", [1.0], 1e301])
def test_number_refuses(value):
    with pytest.raises(ModelFailedError, match="epsilon must be a finite number"):
        settings(epsilon=value).number("epsilon", 0.5)


def test_flag_refuses():
    with pytest.raises(ModelFailedError, match='use_bias must be true or false, not "yes"'):
        settings(use_bias="yes").flag("use_bias")


def test_long_values_are_cut():
    with pytest.raises(ModelFailedError) as caught:
        settings(units="x" * 10_000).whole("units")
    assert len(caught.value.message) < 250


_VALUES = st.none() | st.booleans() | st.integers(-(10**19), 10**19) | st.floats(allow_nan=False) | st.text()
_READERS = [
    lambda it: it.whole("v"),
    lambda it: it.wholes("v"),
    lambda it: it.spatial("v", 2),
    lambda it: it.margins("v"),
    lambda it: it.number("v"),
    lambda it: it.flag("v"),
    lambda it: it.word("v", {"a"}),
    lambda it: it.shape("v"),
]


@given(
    value=st.recursive(_VALUES, lambda inner: st.lists(inner, max_size=3), max_leaves=6),
    reader=st.sampled_from(_READERS),
)
def test_no_value_does_more_than_fail(value, reader):
    with contextlib.suppress(ModelFailedError):
        reader(settings(v=value))
