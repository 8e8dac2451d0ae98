from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.ids import ModelId, check_name, is_valid_name, version_key

NAMES = st.text("abcv0123456789._-", min_size=1, max_size=12)


@pytest.mark.parametrize(
    "ordered",
    [
        ["1", "2", "10"],
        ["v1", "v2", "v10"],
        ["1.2.0", "1.10.0", "2.0"],
        ["2024-01-31", "2024-02-01", "2024-10-01"],
        ["1", "1.0", "1.0.1"],
        ["9" * 100, "1" + "0" * 100],
    ],
)
def test_versions_have_a_natural_order(ordered):
    assert sorted([*ordered[1:], ordered[0]], key=version_key) == ordered


@settings(deadline=None)
@given(st.lists(NAMES, max_size=8, unique=True))
def test_the_order_is_total_and_tells_all_versions_apart(versions):
    assert sorted(versions, key=version_key) == sorted([*versions[3:], *versions[:3]], key=version_key)
    assert len({version_key(version) for version in versions}) == len(versions)


@settings(deadline=None)
@given(st.integers(0, 10**30), st.integers(0, 10**30))
def test_whole_numbers_are_ordered_as_numbers(first, second):
    assert (version_key(str(first)) < version_key(str(second))) == (first < second)


def test_leading_zeros_are_equal_but_told_apart():
    assert sorted(["8", "007", "7", "6"], key=version_key) == ["6", "007", "7", "8"]


@pytest.mark.parametrize("name", ["a", "A-b_c.d9", "1", "..a", "x" * 128])
def test_a_valid_name(name):
    assert is_valid_name(name)
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a b", "ä", "a\n", "\0", "x" * 129, "٣", "%2e%2e"])
def test_an_invalid_name_is_refused(name):
    assert not is_valid_name(name)
    with pytest.raises(InvalidRequestError, match="model version"):
        check_name(name, "model version")


def test_the_error_does_not_repeat_a_long_name():
    with pytest.raises(InvalidRequestError) as raised:
        check_name("/" * 10_000)
    assert raised.value.details == {"field": "modelName", "actual": "/" * 128}


def test_an_id_reads_as_name_and_version():
    assert str(ModelId("digits", "2")) == "digits/2"
