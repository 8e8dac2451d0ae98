import itertools

import pytest

from tensorhost.server.workers.slots import Phase, Slot, assign, is_hopeless, is_ready

DOWN, LOADING, READY = Phase.DOWN, Phase.LOADING, Phase.READY


@pytest.mark.parametrize("phases", list(itertools.product(Phase, repeat=3)))
def test_every_socket_has_one_worker_and_no_connection_waits_for_one_that_is_not_ready(phases):
    taken = assign([Slot(phase) for phase in phases])
    able = [index for index, phase in enumerate(phases) if phase is READY] or [
        index for index, phase in enumerate(phases) if phase is LOADING
    ]
    assert sorted(socket for each in taken for socket in each) == (list(range(3)) if able else [])
    assert {index for index, each in enumerate(taken) if each} <= set(able)
    for index in able:
        assert index in taken[index]


def test_the_sockets_of_the_missing_are_spread():
    taken = assign([Slot(READY), Slot(DOWN), Slot(READY), Slot(LOADING)])
    assert taken == [{0}, set(), {1, 2, 3}, set()] or taken == [{0, 1}, set(), {2, 3}, set()]


@pytest.mark.parametrize(
    ("slots", "ready"),
    [
        ([Slot(READY), Slot(READY)], True),
        ([Slot(READY), Slot(LOADING)], False),
        ([Slot(READY), Slot(DOWN)], False),
        ([Slot(READY), Slot(DOWN, deaths=1)], True),
        ([Slot(READY), Slot(LOADING, deaths=1)], True),
        ([Slot(LOADING, deaths=1), Slot(DOWN, deaths=1)], False),
    ],
)
def test_ready_is_one_that_is_and_none_on_its_first_way(slots, ready):
    assert is_ready(slots) is ready


def test_a_worker_that_ends_again_and_again_is_started_less_and_less_often():
    slot, waits, now = Slot(), [], 0.0
    for _ in range(12):
        slot.started_at = now
        slot.died(now := now + 1.0)
        waits.append(slot.restart_after_s)
        now += slot.restart_after_s
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert slot.deaths == 12


def test_one_that_served_for_long_is_started_at_once():
    slot = Slot(READY, quick_deaths=9, started_at=100.0)
    slot.died(now=161.0)
    assert (slot.phase, slot.quick_deaths, slot.restart_after_s) == (DOWN, 0, 0.0)
    slot.phase, slot.started_at = LOADING, 200.0
    slot.died(now=1000.0)
    assert slot.quick_deaths == 1


def test_hopeless_is_only_what_never_served():
    assert is_hopeless([Slot(deaths=3), Slot(deaths=4)])
    assert not is_hopeless([Slot(deaths=3), Slot(deaths=2)])
    assert not is_hopeless([Slot(deaths=9), Slot(deaths=9, served=True)])
