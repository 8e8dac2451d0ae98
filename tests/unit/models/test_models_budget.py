from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tensorhost.core.ids import ModelId
from tensorhost.models.budget import Evictable, make_room


def idle(*sizes):
    """Versions by size, the least recently used first."""
    return [Evictable(ModelId("m", str(number)), size, float(number)) for number, size in enumerate(sizes)]


def names(going):
    return None if going is None else [model_id.version for model_id in going]


def test_without_a_budget_everything_fits():
    assert make_room(10**18, used_bytes=10**18, budget_bytes=None, evictable=[]) == []


def test_what_fits_evicts_nothing():
    assert make_room(40, used_bytes=60, budget_bytes=100, evictable=idle(60)) == []


def test_the_least_recently_used_goes_first():
    in_disorder = list(reversed(idle(30, 30, 30)))
    assert names(make_room(30, used_bytes=90, budget_bytes=100, evictable=in_disorder)) == ["0"]
    assert names(make_room(60, used_bytes=90, budget_bytes=100, evictable=in_disorder)) == ["0", "1"]


def test_what_cannot_fit_evicts_nothing():
    assert make_room(101, used_bytes=90, budget_bytes=100, evictable=idle(90)) is None
    assert make_room(50, used_bytes=90, budget_bytes=100, evictable=idle(10, 20)) is None


SIZES = st.lists(st.integers(0, 100), max_size=8)


@settings(deadline=None)
@given(SIZES, st.integers(0, 200), st.integers(0, 200), st.integers(1, 400))
def test_no_more_is_evicted_than_needed_and_none_means_impossible(sizes, held, need, budget):
    used = held + sum(sizes)
    going = names(make_room(need, used_bytes=used, budget_bytes=budget, evictable=idle(*sizes)))
    if going is None:
        assert held + need > budget
        return
    assert going == [str(number) for number in range(len(going))]
    freed = [sizes[int(name)] for name in going]
    assert used - sum(freed) + need <= budget
    if freed:
        assert used - sum(freed[:-1]) + need > budget
