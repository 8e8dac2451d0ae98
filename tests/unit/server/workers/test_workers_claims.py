from hypothesis import given
from hypothesis import strategies as st

from tensorhost.server.workers.claims import ClaimId, Claims, Grant

A1, A2, B1, B2, C1 = (ClaimId(worker, number) for worker, number in ((0, 1), (0, 2), (1, 1), (1, 2), (2, 1)))


def test_one_at_a_time_in_the_order_of_asking():
    claims = Claims()
    assert claims.claim(A1, "load") == [Grant(A1)]
    assert claims.claim(B1, "load") == claims.claim(C1, "load") == []
    assert claims.release(A1) == [Grant(B1)]
    assert claims.release(B1) == [Grant(C1)]
    assert claims.release(C1) == []


def test_as_many_as_the_key_allows():
    claims = Claims({"load": 2})
    assert claims.claim(A1, "load") + claims.claim(A2, "load") + claims.claim(B1, "load") == [Grant(A1), Grant(A2)]
    assert claims.release(A2) == [Grant(B1)]


def test_a_result_settles_all_that_wait_and_if_kept_those_to_come():
    claims = Claims()
    claims.claim(A1, "k")
    claims.claim(B1, "k")
    claims.claim(C1, "k")
    assert claims.release(A1, "done", keep=True) == [Grant(B1, "done"), Grant(C1, "done")]
    assert claims.claim(A2, "k") == [Grant(A2, "done")]
    assert claims.release(B1) == claims.release(A2) == []


def test_a_result_that_is_not_kept_is_found_out_anew():
    claims = Claims()
    claims.claim(A1, "k")
    assert claims.release(A1, "failed") == []
    assert claims.claim(B1, "k") == [Grant(B1)]


def test_what_an_ended_worker_held_goes_to_the_next_and_it_waits_for_nothing_any_more():
    claims = Claims()
    claims.claim(A1, "k")
    claims.claim(A2, "k")
    claims.claim(B1, "k")
    assert claims.lost(0) == [Grant(B1)]
    assert claims.release(A1, "too late") == []
    assert claims.lost(1) == []
    assert claims.claim(C1, "k") == [Grant(C1)]


def test_a_claim_that_waits_can_be_given_up_but_settles_nothing():
    claims = Claims()
    claims.claim(A1, "k")
    claims.claim(B1, "k")
    assert claims.release(B1, "made up", keep=True) == []
    assert claims.release(A1) == []
    assert claims.claim(C1, "k") == [Grant(C1)]


def test_an_exclusive_kind_is_for_one_worker_until_it_holds_none():
    claims = Claims(exclusive=("try",))
    assert claims.claim(A1, "try x") == [Grant(A1)]
    assert claims.claim(B1, "try y") == []
    # The first worker comes to that one, too, and is preferred.
    assert claims.claim(A2, "try y") == [Grant(A2)]
    assert claims.release(A1) == []
    assert claims.release(A2, "y", keep=True) == [Grant(B1, "y")]
    assert claims.claim(A1, "try z") == [Grant(A1)]
    assert claims.claim(B2, "try w") == []
    assert claims.release(A1) == [Grant(B2)]
    assert claims.claim(C1, "other") == [Grant(C1)]


def test_the_oldest_results_are_dropped_when_they_take_too_much():
    claims = Claims(keep_chars=10)
    for number, key in enumerate("abc"):
        claims.claim(ClaimId(0, number), key)
        claims.release(ClaimId(0, number), "four", keep=True)
    assert claims.claim(A1, "a") == [Grant(A1)]
    assert claims.claim(B1, "b") == [Grant(B1, "four")]
    assert claims.claim(C1, "c") == [Grant(C1, "four")]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "release", "settle", "lost"]),
        st.integers(0, 2),
        st.integers(0, 3),
        st.sampled_from(["load", "try x", "try y"]),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_claim_is_granted_at_most_once_and_none_is_forgotten(steps):
    capacity = {"load": 2}
    claims = Claims(capacity, exclusive=("try",))
    key_of, open_claims, held, results = {}, set(), set(), 0

    def take(grants):
        for grant in grants:
            assert grant.claim in open_claims
            open_claims.remove(grant.claim)
            if grant.result is None:
                held.add(grant.claim)

    for step, worker, number, key in steps:
        claim = ClaimId(worker, number)
        if step == "claim" and claim not in open_claims | held:
            key_of[claim] = key
            open_claims.add(claim)
            take(claims.claim(claim, key))
        elif step in ("release", "settle") and claim in open_claims | held:
            open_claims.discard(claim)
            held.discard(claim)
            results += 1
            take(claims.release(claim, f"result {results}" if step == "settle" else None))
        elif step == "lost":
            for mine in [each for each in open_claims | held if each.worker == worker]:
                open_claims.discard(mine)
                held.discard(mine)
            take(claims.lost(worker))
        for name in ("load", "try x", "try y"):
            holders = [each for each in held if key_of[each] == name]
            waiting = [each for each in open_claims if key_of[each] == name]
            assert len(holders) <= capacity.get(name, 1)
            if waiting and not holders:
                # Only another worker that holds one of the same kind may be in the way.
                assert name != "load"
                assert any(key_of[each].startswith("try") for each in held)
        assert len({each.worker for each in held if key_of[each].startswith("try")}) <= 1
