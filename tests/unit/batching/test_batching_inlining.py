import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.batching import Inlining
from tensorhost.batching.inlining import BURST_S, HAND_OVER_S, MOST_DEBT_S

BUDGET_S = 0.001
ROWS = 32


def state(inlining):
    return inlining.limit_rows, inlining.debt_rows, [(size.debt_s, size.has_moved) for size in inlining._sizes]


def calls_until(inlining, rows, seconds, condition, most=10_000):
    """How many calls like this it takes."""
    for made in range(most):
        if condition(inlining):
            return made
        inlining.observe(rows, seconds)
    raise AssertionError(f"not after {most}")


def moved(inlining):
    return inlining.limit_rows < inlining.rows


def back(inlining):
    return not moved(inlining)


def test_a_stall_moves_nothing_and_is_forgotten():
    inlining = Inlining(ROWS, BUDGET_S)
    inlining.observe(1, BUDGET_S + BURST_S)
    assert (inlining.limit_rows, inlining.debt_rows) == (ROWS, 1)
    calls = calls_until(inlining, ROWS, 0.0001, lambda it: it.debt_rows == math.inf)
    assert calls == pytest.approx(BURST_S / HAND_OVER_S, abs=1)


@pytest.mark.parametrize("rows", [1, 7, 32])
def test_after_one_call_of_five_seconds_the_next_does_not_run_on_the_event_loop(rows):
    inlining = Inlining(ROWS, BUDGET_S)
    inlining.observe(rows, 5.0)
    assert inlining.limit_rows == 0


def test_the_longer_a_call_took_the_more_quick_ones_bring_its_size_back():
    inlining = Inlining(ROWS, BUDGET_S)
    inlining.observe(ROWS, 0.5)
    assert calls_until(inlining, ROWS, 0.0001, back) == pytest.approx(0.5 / HAND_OVER_S, rel=0.01)


@pytest.mark.parametrize(("seconds", "calls"), [(0.0012, 501), (0.003, 51), (0.02, 6), (0.15, 1)])
def test_calls_that_are_slow_throughout_move_before_they_have_taken_much(seconds, calls):
    assert calls_until(Inlining(ROWS, BUDGET_S), 1, seconds, moved) == pytest.approx(calls, abs=1)


def test_a_mixture_moves_as_soon_as_its_average_is_too_much():
    inlining = Inlining(1, BUDGET_S)
    made = 0
    while not moved(inlining):
        inlining.observe(1, 0.005 if made % 10 == 0 else 0.0005)
        made += 1
    assert made == 311


@pytest.mark.parametrize(
    ("slow_s", "one_in", "moves"), [(0.005, 100, False), (0.005, 10, True), (0.05, 100, True), (0.0015, 10, False)]
)
def test_few_slow_calls_among_many_move_once_they_cost_more_than_handing_all_over(slow_s, one_in, moves):
    inlining = Inlining(ROWS, BUDGET_S)
    for number in range(5_000):
        inlining.observe(1, slow_s if number % one_in == 0 else 0.0005)
    assert moved(inlining) is moves


def test_stalls_of_small_calls_do_not_add_up_for_large_ones_that_nobody_makes():
    inlining = Inlining(ROWS, BUDGET_S)
    for _ in range(10):
        inlining.observe(1, BURST_S / 2)
        calls_until(inlining, 1, 0.0001, lambda it: it.debt_rows == math.inf)
    assert inlining.limit_rows == ROWS


def test_what_moved_for_small_calls_returns_with_them():
    inlining = Inlining(ROWS, BUDGET_S)
    inlining.observe(1, 0.5)
    assert inlining.limit_rows == 0
    assert calls_until(inlining, 1, 0.0001, back) == pytest.approx(0.5 / HAND_OVER_S, rel=0.01)


def test_calls_at_the_budget_do_not_go_back_and_forth():
    for seconds in (0.00099, 0.00101):
        inlining = Inlining(1, BUDGET_S)
        limits = []
        for _ in range(12_000):
            inlining.observe(1, seconds)
            limits.append(inlining.limit_rows)
        assert limits == sorted(limits, reverse=True)
        assert moved(inlining) is (seconds > BUDGET_S)


def test_large_calls_move_and_small_ones_stay():
    inlining = Inlining(ROWS, BUDGET_S)
    for _ in range(1000):
        inlining.observe(32, 0.003)
        inlining.observe(4, 0.0004)
    # Of 3 ms for 32 rows, 16 must be expected to take 1.5, and 8 no more than the budget.
    assert inlining.limit_rows == 15
    assert inlining.debt_rows == 16


def test_what_small_calls_take_larger_ones_take_too():
    inlining = Inlining(ROWS, BUDGET_S)
    calls_until(inlining, 4, 0.003, moved)
    # A share of what four rows take says nothing against one row; what they take says all against eight.
    assert inlining.limit_rows == 3
    # Larger ones pay for them, being quick, and have no debt of their own.
    assert [size.has_moved for size in inlining._sizes] == [False, False, True, False, False, False]


def test_a_large_call_within_the_budget_speaks_for_the_small_ones():
    inlining = Inlining(ROWS, BUDGET_S)
    calls_until(inlining, 1, 0.003, moved)
    calls_until(inlining, 8, 0.003, lambda it: it._sizes[3].has_moved)
    assert inlining.limit_rows == 0
    calls_until(inlining, 8, 0.0001, lambda it: it.limit_rows > 0)
    assert inlining.limit_rows == ROWS


def test_what_was_never_quick_stays_where_it_is():
    inlining = Inlining(0, BUDGET_S)
    assert (inlining.limit_rows, inlining.rows) == (0, 0)


def test_without_a_budget_nothing_moves():
    inlining = Inlining(ROWS, math.inf)
    inlining.observe(1, 1000.0)
    assert state(inlining) == state(Inlining(ROWS, math.inf))


def test_a_process_that_was_stopped_for_an_hour_comes_back():
    inlining = Inlining(1, BUDGET_S)
    inlining.observe(1, 3600.0)
    [size] = inlining._sizes
    assert size.debt_s == MOST_DEBT_S


rows = st.integers(0, 100)
seconds = st.one_of(
    st.floats(0, 2 * BUDGET_S), st.floats(0, 0.2), st.floats(0, 5.0), st.sampled_from([0.0, BUDGET_S, BURST_S])
)
calls = st.lists(st.tuples(rows, seconds), max_size=200)


@given(st.integers(1, 100), calls)
def test_what_the_event_loop_loses_has_a_limit(most_rows, made):
    inlining = Inlining(most_rows, BUDGET_S)
    lost_s, last_s, count = {}, {}, 0
    for asked, took in made:
        size = max(asked, 1).bit_length()
        if asked > most_rows:
            continue
        count += 1
        if max(asked, 1) <= inlining.limit_rows:
            lost_s[size] = lost_s.get(size, 0.0) + max(took - BUDGET_S, 0.0)
            last_s[size] = max(took - BUDGET_S, 0.0)
            assert lost_s[size] <= BURST_S + count * HAND_OVER_S + last_s[size] + 1e-6
        inlining.observe(asked, took)


@given(st.integers(1, 100), calls)
def test_a_call_beyond_what_is_tolerated_is_the_last_of_its_size_and_of_larger_ones(most_rows, made):
    inlining = Inlining(most_rows, BUDGET_S)
    for asked, took in made:
        if asked > most_rows:
            continue
        inlining.observe(asked, took)
        assert inlining.limit_rows == most_rows or (inlining.limit_rows + 1).bit_count() == 1
        assert 0 <= inlining.limit_rows <= most_rows
        if took > BUDGET_S + BURST_S:
            assert inlining.limit_rows < max(asked, 1)


@given(st.integers(1, 100), calls)
def test_calls_that_need_not_be_observed_change_nothing(most_rows, made):
    inlining = Inlining(most_rows, BUDGET_S)
    for asked, took in made:
        if asked > most_rows:
            continue
        before = state(inlining)
        inlining.observe(asked, took)
        if took <= BUDGET_S and max(asked, 1) < before[1]:
            assert state(inlining) == before


@given(st.integers(1, 100), st.lists(st.tuples(rows, st.floats(0, BUDGET_S)), max_size=200))
def test_calls_within_the_budget_never_move(most_rows, made):
    inlining = Inlining(most_rows, BUDGET_S)
    for asked, took in made:
        inlining.observe(min(asked, most_rows), took)
    assert state(inlining) == state(Inlining(most_rows, BUDGET_S))


@given(st.integers(1, 100), calls)
def test_whatever_has_moved_comes_back_when_calls_are_quick_again(most_rows, made):
    inlining = Inlining(most_rows, BUDGET_S)
    for asked, took in made:
        inlining.observe(min(asked, most_rows), took)
    for size in inlining._sizes:
        assert size.debt_s <= MOST_DEBT_S
        # A hundred thousand quick calls pay that; here only the last few are made.
        size.debt_s = min(size.debt_s, 3 * HAND_OVER_S)
    assert calls_until(inlining, most_rows, 0.0, back) <= 4
