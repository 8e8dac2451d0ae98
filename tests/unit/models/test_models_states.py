from __future__ import annotations

import itertools

import pytest

from tensorhost.models.states import TRANSITIONS, VersionState, advance


def test_every_state_has_its_moves():
    assert set(TRANSITIONS) == set(VersionState)


def test_every_state_can_be_reached_from_new_and_leads_to_the_end():
    def reachable(start):
        seen, todo = {start}, [start]
        while todo:
            new = TRANSITIONS[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    assert reachable(VersionState.NEW) == set(VersionState)
    assert all(VersionState.END in reachable(state) for state in VersionState)


@pytest.mark.parametrize(("current", "to"), list(itertools.product(VersionState, repeat=2)))
def test_a_move_is_made_or_raises(current, to):
    if to in TRANSITIONS[current]:
        assert advance(current, to) is to
    else:
        with pytest.raises(RuntimeError, match=f"illegal version state change: {current} to {to}"):
            advance(current, to)


@pytest.mark.parametrize("to", [state for state in VersionState if state is not VersionState.DRAINING])
def test_what_serves_is_never_dropped_without_draining(to):
    assert to not in TRANSITIONS[VersionState.AVAILABLE]
