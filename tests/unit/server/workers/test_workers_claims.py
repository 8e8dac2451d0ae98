from hypothesis import given
from hypothesis import strategies as st

from tensorhost.server.workers.claims import ClaimId, ClaimKind, Claims

LOAD, TRIAL = ClaimKind.LOAD, ClaimKind.TRIAL
A1, A2, B1, B2, C1 = (ClaimId(worker, number) for worker, number in ((0, 1), (0, 2), (1, 1), (1, 2), (2, 1)))


def test_loads_in_the_order_of_asking():
    claims = Claims(loads=1)
    assert claims.claim(LOAD, A1) == [A1]
    assert claims.claim(LOAD, B1) == claims.claim(LOAD, C1) == []
    assert claims.release(A1) == [B1]
    assert claims.release(B1) == [C1]
    assert claims.release(C1) == claims.release(C1) == []


def test_as_many_loads_as_allowed():
    claims = Claims(loads=2)
    assert claims.claim(LOAD, A1) + claims.claim(LOAD, A2) + claims.claim(LOAD, B1) == [A1, A2]
    assert claims.release(A2) == [B1]


def test_trials_are_for_one_worker_until_it_has_none():
    claims = Claims(loads=1)
    assert claims.claim(TRIAL, A1) == [A1]
    assert claims.claim(TRIAL, B1) == claims.claim(TRIAL, C1) == []
    # The same worker has come to its next model: it is preferred to those that would have to start a child process.
    assert claims.claim(TRIAL, A2) == [A2]
    assert claims.release(A1) == []
    assert claims.claim(TRIAL, B2) == []
    assert claims.release(A2) == [B1, B2]
    assert claims.claim(LOAD, A1) == [A1]


def test_what_an_ended_worker_held_goes_to_the_next_and_it_waits_for_nothing_any_more():
    claims = Claims(loads=1)
    claims.claim(LOAD, A1)
    claims.claim(LOAD, A2)
    claims.claim(LOAD, B1)
    assert claims.lost(0) == [B1]
    assert claims.release(A1) == claims.lost(1) == []
    assert claims.claim(LOAD, C1) == [C1]


def test_a_claim_that_waits_can_be_given_up():
    claims = Claims(loads=1)
    claims.claim(LOAD, A1)
    claims.claim(LOAD, B1)
    assert claims.release(B1) == claims.release(A1) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "release", "lost"]), st.integers(0, 2), st.integers(0, 3), st.sampled_from(ClaimKind)
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 3))
def test_every_claim_is_granted_once_and_none_is_forgotten(steps, loads):
    claims = Claims(loads)
    kind_of, waiting, held = {}, set(), set()

    def take(granted):
        for claim in granted:
            waiting.remove(claim)
            held.add(claim)

    def drop(gone):
        waiting.difference_update(gone)
        held.difference_update(gone)

    for step, worker, number, kind in steps:
        claim = ClaimId(worker, number)
        if step == "claim" and claim not in waiting | held:
            kind_of[claim] = kind
            waiting.add(claim)
            take(claims.claim(kind, claim))
        elif step == "release":
            drop({claim})
            take(claims.release(claim))
        elif step == "lost":
            drop({each for each in waiting | held if each.worker == worker})
            take(claims.lost(worker))
        loading = [each for each in held if kind_of[each] is LOAD]
        trying = {each.worker for each in held if kind_of[each] is TRIAL}
        assert len(loading) <= loads
        assert len(trying) <= 1
        for each in waiting:
            assert len(loading) == loads if kind_of[each] is LOAD else trying not in (set(), {each.worker})
