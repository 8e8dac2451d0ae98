"""The assembler with a latency goal: who goes when, and what that does to latencies in a simulated queue."""

import math
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.batching import Assembler, CloseReason, CostCurve, Entry, Pace, Padding

SIZES = [1, 2, 4, 8, 16, 32]


def cheaper_together(rows):
    return 0.004 + 0.001 * rows


def same_together(rows):
    return 0.001 + 0.004 * rows


def dearer_together(rows):
    return 0.004 + 0.001 * rows + 0.003 * max(rows - 8, 0)


def make(cost, goal_s, *, batch_timeout_s=0.0, max_batch_rows=32, max_queue_rows=4096):
    curve = CostCurve({rows: cost(rows) for rows in SIZES if rows <= max_batch_rows}, max_batch_rows)
    pace = Pace(goal_s, max_batch_rows, curve, Padding()) if goal_s else None
    return Assembler(
        max_batch_rows=max_batch_rows, batch_timeout_s=batch_timeout_s, max_queue_rows=max_queue_rows, pace=pace
    ), pace


def offer(assembler, name, at, rows=1, group="g", **options):
    entry = Entry(name, rows, group, at, **options)
    assert assembler.offer(entry)
    return entry


def names(batch):
    return [part.entry.payload for part in batch.slices]


def test_a_batch_ends_at_the_size_beyond_which_rows_get_dearer():
    assembler, _ = make(dearer_together, 0.05)
    for index in range(20):
        offer(assembler, index, 0.0)
    batch = assembler.take(0.0)
    assert (batch.rows, batch.reason) == (8, CloseReason.GOAL)


def test_who_cannot_be_in_time_steps_aside_and_fills_up_calls():
    assembler, _ = make(dearer_together, 0.05)
    for index in range(4):
        offer(assembler, f"late{index}", 0.0)
    for index in range(6):
        offer(assembler, f"fresh{index}", 0.1)
    assert names(assembler.take(0.1)) == [*[f"fresh{index}" for index in range(6)], "late0", "late1"]
    assert not assembler.is_empty
    assert names(assembler.take(0.2)) == ["late2", "late3"]
    assert assembler.is_empty
    assert assembler.queue_rows == 0


def test_one_call_in_eight_begins_with_those_who_wait_apart():
    assembler, _ = make(dearer_together, 0.05)
    offer(assembler, "late", 0.0)
    served = []
    for turn in range(1, 9):
        for _ in range(8):
            offer(assembler, turn, turn * 1.0)
        served = names(assembler.take(turn * 1.0))
        assert ("late" in served) is (turn == 8)
    assert served[0] == "late"


def test_those_who_wait_apart_leave_with_the_others_when_the_queue_closes():
    assembler, _ = make(dearer_together, 0.05)
    for index in range(12):
        offer(assembler, index, 0.0)
    assembler.take(1.0)
    assert {entry.payload for entry in assembler.close()} == set(range(8, 12))
    assert assembler.is_empty


def test_who_leaves_while_waiting_apart_never_runs():
    assembler, _ = make(dearer_together, 0.05)
    entries = [offer(assembler, index, 0.0) for index in range(12)]
    assembler.take(1.0)
    assembler.abandon(entries[9])
    assert assembler.queue_rows == 3
    assert names(assembler.take(1.1)) == [8, 10, 11]


def test_many_who_leave_while_waiting_apart_are_let_go_of():
    assembler, _ = make(dearer_together, 0.05)
    entries = [offer(assembler, index, 0.0) for index in range(100)]
    assembler.take(1.0)
    for entry in entries[8:]:
        assembler.abandon(entry)
    assert assembler.queue_rows == 0
    assert names(assembler.take(1.1)) == []
    assert assembler.is_empty


def test_a_latecomer_that_does_not_fit_whole_keeps_its_place_before_smaller_ones():
    assembler, _ = make(dearer_together, 0.05)
    offer(assembler, "wide", 0.0, rows=6)
    offer(assembler, "small", 0.0)
    for turn in range(1, 9):
        offer(assembler, "fresh", turn * 1.0, rows=4)
        assert names(assembler.take(turn * 1.0)) == (["wide", "small"] if turn == 8 else ["fresh"])


def test_a_latecomer_larger_than_any_call_takes_the_room_there_is_and_comes_first_again():
    assembler, _ = make(dearer_together, 0.05)
    offer(assembler, "huge", 0.0, rows=40)
    offer(assembler, "small", 0.0)
    for turn in range(1, 4):
        offer(assembler, "fresh", turn * 1.0, rows=4)
        batch = assembler.take(turn * 1.0)
        assert [(part.entry.payload, part.start, part.stop) for part in batch.slices] == [
            ("fresh", 0, 4),
            ("huge", 4 * turn - 4, 4 * turn),
        ]


def test_a_deadline_that_passes_while_waiting_apart_is_told():
    assembler, _ = make(dearer_together, 0.05)
    for index in range(9):
        offer(assembler, index, 0.0, deadline=2.0)
    assembler.take(1.0)
    batch = assembler.take(3.0)
    assert names(batch) == []
    assert [entry.payload for entry in batch.expired] == [8]


def test_a_request_that_fits_one_call_goes_whole_and_a_larger_one_in_slices_of_the_limit():
    assembler, _ = make(dearer_together, 0.5)
    offer(assembler, "whole", 0.0, rows=20)
    offer(assembler, "huge", 0.0, rows=40)
    assert [(part.entry.payload, part.start, part.stop) for part in assembler.take(0.0).slices] == [("whole", 0, 20)]
    sizes = []
    while not assembler.is_empty:
        sizes.append(assembler.take(0.0).rows)
    assert sizes == [8] * 5


def test_a_batch_is_held_back_no_longer_than_the_goal_allows():
    assembler, pace = make(cheaper_together, 0.05, batch_timeout_s=1.0)
    offer(assembler, "first", 0.0)
    due_at = assembler.wait_until(0.0)
    assert 0.0 < due_at <= 0.05 - pace.call_s(1, "g")
    offer(assembler, "second", 0.01)
    assert assembler.wait_until(0.01) <= due_at
    assert assembler.take(due_at).rows == 2


def test_without_a_goal_nothing_is_arranged():
    assembler, _ = make(dearer_together, 0)
    for index in range(40):
        offer(assembler, index, -index * 1.0)
    batch = assembler.take(100.0)
    assert (names(batch), batch.reason, batch.calm) == (list(range(32)), CloseReason.FULL, False)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.floats(0, 0.03), st.booleans()), max_size=60),
    st.sampled_from([0.006, 0.02, 0.05, 1.0]),
    st.sampled_from([cheaper_together, same_together, dearer_together]),
)
def test_every_row_leaves_once_and_no_batch_is_too_large(requests, goal_s, cost):
    assembler, pace = make(cost, goal_s, max_queue_rows=10_000)
    now, offered, seen = 0.0, [], {}

    def run():
        nonlocal now
        batch = assembler.take(now)
        assert batch.rows <= 32
        assert len({part.entry.group for part in batch.slices}) <= 1
        for part in batch.slices:
            assert part.start == seen.get(part.entry.payload, 0)
            assert not part.entry.abandoned
            seen[part.entry.payload] = part.stop
        now += cost(max(batch.rows, 1))
        if batch.rows:
            pace.observe(batch.rows, cost(batch.rows), batch.slices[0].entry.group)

    for index, (rows, group, wait_s, leaves) in enumerate(requests):
        entry = offer(assembler, index, now, rows, group)
        offered.append(entry)
        now += wait_s
        if leaves:
            assembler.abandon(offered[index // 2])
        if index % 3 == 0:
            run()
    turns = 0
    while not assembler.is_empty:
        run()
        turns += 1
        assert turns < 500
    assert assembler.queue_rows == 0
    for entry in offered:
        if not entry.abandoned:
            assert entry.gone
            assert seen[entry.payload] == entry.rows


def simulate(cost, goal_s, rate, *, requests=8000, seed=1, max_batch_rows=32):
    """Latencies, in seconds, of single rows that arrive at random ``rate`` times a second."""
    rng = random.Random(seed)
    assembler, pace = make(cost, goal_s, max_batch_rows=max_batch_rows)
    now, next_at, latencies = 0.0, rng.expovariate(rate), []
    until = requests / rate
    while now < until:
        while next_at <= now:
            assembler.offer(Entry(None, 1, "g", next_at))
            next_at += rng.expovariate(rate)
        if assembler.is_empty:
            now = next_at
            continue
        batch = assembler.take(now)
        if not batch.slices:
            continue
        seconds = cost(batch.rows) * math.exp(rng.gauss(0, 0.05))
        now += seconds
        if pace is not None:
            pace.observe(batch.rows, seconds, "g")
        latencies += [now - part.entry.offered_at for part in batch.slices]
    return latencies, until


def p99(latencies):
    return sorted(latencies)[int(0.99 * len(latencies))]


def in_time_rate(latencies, until, goal_s):
    return sum(latency <= goal_s for latency in latencies) / until


@pytest.mark.parametrize(("cost", "goal_s"), [(cheaper_together, 0.1), (same_together, 0.15), (dearer_together, 0.05)])
@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_p99_is_within_a_goal_that_can_be_met(cost, goal_s, load):
    best = max(rows / cost(rows) for rows in range(1, 33))
    latencies, until = simulate(cost, goal_s, load * best)
    assert p99(latencies) <= goal_s
    assert len(latencies) / until == pytest.approx(load * best, rel=0.1)


@pytest.mark.parametrize(("cost", "goal_s"), [(cheaper_together, 0.1), (same_together, 0.15), (dearer_together, 0.05)])
@pytest.mark.parametrize("load", [0.85, 1.2, 2.0])
def test_as_much_is_served_in_time_as_with_the_best_fixed_batch_size(cost, goal_s, load):
    """At 0.85 of what the model can do a fixed size serves nearly all in time, beyond it nearly none."""
    best = max(rows / cost(rows) for rows in range(1, 33))
    latencies, until = simulate(cost, goal_s, load * best)
    fixed = []
    for most in SIZES:
        found, found_until = simulate(cost, 0, load * best, max_batch_rows=most)
        fixed.append(in_time_rate(found, found_until, goal_s))
    assert in_time_rate(latencies, until, goal_s) >= 0.97 * max(fixed)
    if load > 1:
        assert in_time_rate(latencies, until, goal_s) >= 0.75 * best


def test_who_leaves_unanswered_counts_among_those_that_come():
    """Or overload would go unnoticed as soon as requests have deadlines."""
    rng = random.Random(5)
    assembler, pace = make(cheaper_together, 0.1)
    rate = 1.5 * 32 / cheaper_together(32)
    now, next_at, waiting = 0.0, 0.0, deque()
    while now < 20.0:
        while next_at <= now:
            waiting.append(offer(assembler, None, next_at))
            next_at += rng.expovariate(rate)
        while waiting[0].offered_at < now - 0.2:
            assembler.abandon(waiting.popleft())
        now += cheaper_together(assembler.take(now).rows)
    assert pace._arrival_rate == pytest.approx(rate, rel=0.1)


def test_every_row_that_came_is_told_however_it_left():
    assembler, pace = make(cheaper_together, 0.1, max_queue_rows=60)
    told = []
    pace.arrived = lambda rows, _now: told.append(rows)
    offer(assembler, "expires", 0.0, rows=3, deadline=0.5)
    offer(assembler, "expires, of no rows", 0.0, rows=0, deadline=0.5)
    offer(assembler, "runs", 0.0, rows=2)
    assembler.take(1.0)
    large = offer(assembler, "leaves after its first slice", 1.0, rows=40)
    assert assembler.take(1.0).rows == 32
    assembler.abandon(large)
    assembler.abandon(offer(assembler, "leaves", 1.0, rows=5))
    offer(assembler, "waits", 1.0, rows=30)
    assert not assembler.offer(Entry("refused", 40, "g", 1.0))
    assembler.take(3.0)
    assert told == [6, 46, 121]


def overload(draw_rows, goal_s):
    """Requests answered in 40 s of overload, as (offered_at, latency), and those still waiting at the end."""
    rng = random.Random(2)
    assembler, pace = make(cheaper_together, goal_s, max_queue_rows=100_000)
    sizes = [draw_rows(rng) for _ in range(1000)]
    rate = 1.3 * 32 / cheaper_together(32) / (sum(sizes) / len(sizes))
    now, next_at, answered, waiting = 0.0, 0.0, [], {}
    while now < 40.0:
        while next_at <= now:
            waiting[offer(assembler, None, next_at, draw_rows(rng))] = None
            next_at += rng.expovariate(rate)
        if assembler.is_empty:
            now = next_at
            continue
        batch = assembler.take(now)
        now += cheaper_together(batch.rows)
        pace.observe(batch.rows, cheaper_together(batch.rows), "g")
        for part in batch.slices:
            if part.entry.gone:
                del waiting[part.entry]
                answered.append((part.entry.offered_at, now - part.entry.offered_at))
    return answered, list(waiting)


@pytest.mark.parametrize(
    "draw_rows",
    [lambda _: 20, lambda rng: rng.choice([1, 20]), lambda rng: rng.choice([1, 5, 12, 31]), lambda _: 1],
    ids=["20", "1 or 20", "1 to 31", "1"],
)
def test_latecomers_are_answered_in_the_order_in_which_they_came(draw_rows):
    answered, waiting = overload(draw_rows, 0.3)
    late = [offered_at for offered_at, latency in answered if latency > 0.3]
    assert len(late) > 100
    assert late == sorted(late)
    assert min(entry.offered_at for entry in waiting) >= late[-1]


def test_nobody_is_forgotten_in_lasting_overload():
    rng = random.Random(3)
    assembler, pace = make(dearer_together, 0.05)
    now, offered, served = 0.0, [], set()
    for _ in range(400):
        for _ in range(12):
            offered.append(Entry(len(offered), 1, "g", now - rng.random() * 0.01))
            assembler.offer(offered[-1])
        batch = assembler.take(now)
        served |= {part.entry.payload for part in batch.slices}
        now += dearer_together(batch.rows)
        pace.observe(batch.rows, dearer_together(batch.rows), "g")
    # One call in eight is theirs, oldest first.
    assert set(range(100)) <= served
