from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.ids import version_key
from tensorhost.models.policy import VersionPolicy, removable

VERSIONS = st.sets(st.integers(1, 20).map(str), max_size=8)


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        ("latest", {"10"}),
        ("latest:2", {"10", "9"}),
        ("latest:9", {"1", "2", "9", "10"}),
        ("all", {"1", "2", "9", "10"}),
        (["2", "1", "77"], {"1", "2"}),
        ([], set()),
    ],
)
def test_what_each_policy_chooses(value, chosen):
    assert VersionPolicy.parse(value).choose(["1", "10", "9", "2"]) == chosen


@pytest.mark.parametrize("value", ["", "newest", "latest:", "latest:0", "latest:-1", "latest:1.5", "LATEST", "all:1"])
def test_an_unknown_policy_is_refused(value):
    with pytest.raises(InvalidRequestError, match="latest, latest:N, all or a list"):
        VersionPolicy.parse(value)


@pytest.mark.parametrize(
    ("value", "failed", "chosen"),
    [
        ("latest", {"3"}, {"3", "2"}),
        ("latest", {"3", "2"}, {"3", "2", "1"}),
        ("latest", {"1"}, {"3"}),
        ("latest", {"3", "2", "1"}, {"3", "2", "1"}),
        ("latest:2", {"3"}, {"3", "2", "1"}),
        ("latest:2", {"2"}, {"3", "2", "1"}),
        ("all", {"2"}, {"1", "2", "3"}),
        (["2"], {"2"}, {"2"}),
    ],
)
def test_a_failed_version_uses_up_no_place_and_stays_wanted_where_it_would_have_one(value, failed, chosen):
    assert VersionPolicy.parse(value).choose(["1", "2", "3"], failed) == chosen


@settings(deadline=None)
@given(VERSIONS, st.data())
def test_as_many_working_versions_as_asked_for_are_chosen_and_they_are_the_newest(versions, data):
    count = data.draw(st.integers(1, 5))
    failed = data.draw(st.sets(st.sampled_from(sorted(versions)))) if versions else set()
    chosen = VersionPolicy(latest=count).choose(versions, failed)
    working = sorted(versions - failed, key=version_key, reverse=True)
    assert chosen - failed == set(working[:count])
    assert chosen <= versions


def test_nothing_goes_before_everything_wanted_serves():
    assert removable({"1", "2"}, {"3"}, {"1", "2"}) == set()
    assert removable({"1", "2", "3"}, {"3"}, {"1", "2", "3"}) == {"1", "2"}


def test_what_nothing_replaces_may_go():
    assert removable({"1"}, set(), {"1"}) == {"1"}


@settings(deadline=None)
@given(VERSIONS, VERSIONS, VERSIONS)
def test_what_is_wanted_never_goes(loaded, desired, available):
    assert not removable(loaded, desired, available) & desired
