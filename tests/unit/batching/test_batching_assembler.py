import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tensorhost.batching import Assembler, CloseReason, Entry


def make(max_batch_rows=4, batch_timeout_s=0.0, max_queue_rows=100, *, batched=True):
    return Assembler(
        max_batch_rows=max_batch_rows,
        batch_timeout_s=batch_timeout_s,
        max_queue_rows=max_queue_rows,
        batched=batched,
    )


def offer(assembler, name, rows, *, group="g", at=0.0, accepted=True, **options):
    entry = Entry(name, rows, group, at, **options)
    assert assembler.offer(entry) is accepted
    return entry


def taken(batch):
    return [(part.entry.payload, part.start, part.stop) for part in batch.slices]


def test_everything_that_fits_goes_at_once():
    assembler = make()
    offer(assembler, "a", 1)
    offer(assembler, "b", 2)
    assert assembler.wait_until(5.0) == 5.0
    batch = assembler.take(5.0)
    assert taken(batch) == [("a", 0, 1), ("b", 0, 2)]
    assert (batch.rows, batch.reason) == (3, CloseReason.DRAINED)
    assert assembler.is_empty
    assert assembler.queue_rows == 0


def test_nothing_waits_for_nothing():
    assembler = make()
    assert assembler.wait_until(0.0) is None
    assert taken(assembler.take(0.0)) == []


@pytest.mark.parametrize("rows", [[4], [1, 3], [2, 2, 1], [3, 2]])
def test_a_full_batch_says_so(rows):
    assembler = make()
    for index, size in enumerate(rows):
        offer(assembler, index, size)
    assert assembler.take(0.0).reason is CloseReason.FULL


def test_a_request_that_would_fit_whole_in_a_batch_is_not_split():
    assembler = make()
    offer(assembler, "a", 3)
    offer(assembler, "b", 2)
    assert taken(assembler.take(0.0)) == [("a", 0, 3)]
    assert taken(assembler.take(0.0)) == [("b", 0, 2)]


def test_a_request_larger_than_a_batch_is_split_and_its_last_slice_shares():
    assembler = make()
    offer(assembler, "big", 9)
    assert taken(assembler.take(0.0)) == [("big", 0, 4)]
    assert assembler.queue_rows == 5
    assert taken(assembler.take(0.0)) == [("big", 4, 8)]
    offer(assembler, "small", 3)
    batch = assembler.take(0.0)
    assert taken(batch) == [("big", 8, 9), ("small", 0, 3)]
    assert batch.reason is CloseReason.FULL


def test_the_first_slice_of_a_large_request_fills_what_is_left_of_a_batch():
    assembler = make()
    offer(assembler, "small", 3)
    offer(assembler, "big", 5)
    assert taken(assembler.take(0.0)) == [("small", 0, 3), ("big", 0, 1)]
    assert taken(assembler.take(0.0)) == [("big", 1, 5)]


def test_those_behind_a_large_request_do_not_wait_for_all_of_its_batches():
    assembler = make()
    offer(assembler, "huge", 400)
    assert taken(assembler.take(0.0)) == [("huge", 0, 4)]
    offer(assembler, "late", 1, accepted=False)
    assembler = make(max_queue_rows=1000)
    offer(assembler, "huge", 400)
    offer(assembler, "small", 3)
    assert taken(assembler.take(0.0)) == [("huge", 0, 4)]
    assert taken(assembler.take(0.0)) == [("small", 0, 3), ("huge", 4, 5)]


def test_a_large_request_gets_its_share_of_a_queue_that_never_runs_dry():
    assembler = make(max_queue_rows=1000)
    offer(assembler, "huge", 12)
    batches = 0
    while not assembler.is_empty and batches < 20:
        offer(assembler, f"a{batches}", 2)
        assembler.take(0.0)
        batches += 1
        if not any(e.payload == "huge" for group in assembler._groups.values() for e in group):
            break
    assert batches < 10


def test_a_request_with_a_ceiling_of_its_own_lowers_that_of_its_batch():
    assembler = make()
    offer(assembler, "a", 1, max_batch_rows=2)
    offer(assembler, "b", 1)
    offer(assembler, "c", 1)
    batch = assembler.take(0.0)
    assert taken(batch) == [("a", 0, 1), ("b", 0, 1)]
    assert batch.reason is CloseReason.FULL


def test_a_request_with_a_low_ceiling_does_not_join_a_batch_already_above_it():
    assembler = make()
    offer(assembler, "a", 3)
    offer(assembler, "b", 1, max_batch_rows=2)
    assert taken(assembler.take(0.0)) == [("a", 0, 3)]
    assert taken(assembler.take(0.0)) == [("b", 0, 1)]


def test_a_request_is_split_by_its_own_ceiling():
    assembler = make()
    offer(assembler, "a", 3, max_batch_rows=1)
    assert [taken(assembler.take(0.0)) for _ in range(3)] == [[("a", i, i + 1)] for i in range(3)]
    assert assembler.is_empty


def test_groups_never_meet_and_take_turns():
    assembler = make()
    for index in range(3):
        offer(assembler, f"a{index}", 4, group="a")
    offer(assembler, "b0", 1, group="b")
    first = taken(assembler.take(0.0))
    offer(assembler, "a3", 4, group="a")
    assert [first, taken(assembler.take(0.0)), taken(assembler.take(0.0))] == [
        [("a0", 0, 4)],
        [("b0", 0, 1)],
        [("a1", 0, 4)],
    ]


def test_unbatched_requests_run_one_by_one_and_whole():
    assembler = make(batched=False, batch_timeout_s=5.0)
    offer(assembler, "a", 9)
    offer(assembler, "b", 1)
    assert assembler.wait_until(0.0) == 0.0
    batch = assembler.take(0.0)
    assert taken(batch) == [("a", 0, 9)]
    assert batch.reason is CloseReason.UNBATCHED
    assert taken(assembler.take(0.0)) == [("b", 0, 1)]


def test_a_held_batch_goes_when_its_oldest_request_has_waited_long_enough():
    assembler = make(batch_timeout_s=1.0)
    offer(assembler, "a", 1, at=10.0)
    offer(assembler, "b", 1, at=10.5)
    assert assembler.wait_until(10.6) == 11.0
    assert taken(assembler.take(10.9)) == []
    batch = assembler.take(11.0)
    assert taken(batch) == [("a", 0, 1), ("b", 0, 1)]
    assert batch.reason is CloseReason.TIMEOUT


def test_a_held_batch_goes_at_once_when_it_is_full():
    assembler = make(batch_timeout_s=1.0)
    offer(assembler, "a", 4, at=10.0)
    assert assembler.wait_until(10.0) <= 10.0
    assert assembler.take(10.0).reason is CloseReason.FULL


def test_a_request_that_would_expire_while_held_back_is_not_held():
    assembler = make(batch_timeout_s=1.0)
    offer(assembler, "a", 1, at=10.0, deadline=10.5)
    assert assembler.wait_until(10.0) <= 10.0
    assert taken(assembler.take(10.0)) == [("a", 0, 1)]


def test_a_request_that_has_run_in_part_is_not_held_back():
    assembler = make(batch_timeout_s=1.0)
    offer(assembler, "a", 5, at=10.0)
    assembler.take(10.0)
    assert assembler.wait_until(10.0) <= 10.0
    assert taken(assembler.take(10.0)) == [("a", 4, 5)]


def test_abandoned_requests_neither_hold_back_nor_release_a_batch():
    assembler = make(batch_timeout_s=1.0)
    gone = offer(assembler, "gone", 3, at=9.0, deadline=9.5)
    offer(assembler, "a", 1, at=10.0)
    offer(assembler, "b", 1, at=10.0)
    assembler.abandon(gone)
    assert assembler.wait_until(10.0) == 11.0


def test_a_group_of_abandoned_requests_alone_is_removed_and_never_waited_for():
    assembler = make(batch_timeout_s=1.0)
    gone = offer(assembler, "gone", 1, group="a")
    for index in range(4):
        offer(assembler, index, 1, group="b")
    assembler.abandon(gone)
    while not assembler.is_empty:
        assert assembler.wait_until(0.0) <= 0.0
        assembler.take(0.0)


def test_any_hashable_value_may_name_a_group():
    assembler = make()
    for group in (None, (), 0):
        offer(assembler, repr(group), 1, group=group)
    assert [taken(assembler.take(0.0)) for _ in range(3)] == [[("None", 0, 1)], [("()", 0, 1)], [("0", 0, 1)]]


def test_the_expired_are_told_and_do_not_run():
    assembler = make()
    offer(assembler, "a", 1, deadline=1.0)
    offer(assembler, "b", 1, deadline=3.0)
    batch = assembler.take(1.0)
    assert [entry.payload for entry in batch.expired] == ["a"]
    assert taken(batch) == [("b", 0, 1)]
    assert assembler.queue_rows == 0


def test_the_abandoned_free_their_place_at_once_and_do_not_run():
    assembler = make(max_queue_rows=2)
    first = offer(assembler, "a", 1)
    offer(assembler, "b", 1)
    offer(assembler, "c", 1, accepted=False)
    assembler.abandon(first)
    assembler.abandon(first)
    assert assembler.queue_rows == 1
    offer(assembler, "c", 1)
    assert taken(assembler.take(0.0)) == [("b", 0, 1), ("c", 0, 1)]


def test_abandoning_what_has_left_changes_nothing():
    assembler = make()
    entry = offer(assembler, "a", 1)
    offer(assembler, "b", 4)
    assembler.take(0.0)
    assembler.abandon(entry)
    assert assembler.queue_rows == 4


def test_abandoning_what_has_run_in_part_drops_the_rest():
    assembler = make()
    entry = offer(assembler, "a", 9)
    assembler.take(0.0)
    assembler.abandon(entry)
    assert assembler.queue_rows == 0
    assert taken(assembler.take(0.0)) == []
    assert assembler.is_empty


def test_offering_and_abandoning_for_ever_holds_no_memory():
    assembler = make(max_queue_rows=1000)
    kept = [offer(assembler, index, 1, group=index) for index in range(3)]
    for index in range(500):
        assembler.abandon(offer(assembler, index, 1, group=index))
        assert sum(map(len, assembler._groups.values())) <= 2 * len(kept)
    assert assembler.queue_rows == 3


def test_the_queue_is_bounded_in_rows_and_a_request_of_none_counts_as_one():
    assembler = make(max_queue_rows=5)
    offer(assembler, "a", 3)
    offer(assembler, "b", 0)
    assert assembler.queue_rows == 4
    offer(assembler, "c", 2, accepted=False)
    offer(assembler, "d", 1)
    offer(assembler, "e", 0, accepted=False)
    batch = assembler.take(0.0)
    assert taken(batch) == [("a", 0, 3), ("b", 0, 0), ("d", 0, 1)]
    assert assembler.queue_rows == 0


def test_a_request_larger_than_the_bound_enters_an_empty_queue_only():
    assembler = make(max_queue_rows=5)
    offer(assembler, "huge", 8)
    assembler.take(0.0)
    offer(assembler, "a", 2, accepted=False)
    offer(assembler, "b", 1)
    offer(assembler, "huge too", 8, accepted=False)


def test_closing_gives_back_what_waits_once_but_not_the_abandoned():
    assembler = make()
    offer(assembler, "part", 6)
    assembler.take(0.0)
    offer(assembler, "a", 1)
    offer(assembler, "b", 1, group="other")
    assembler.abandon(offer(assembler, "gone", 1))
    given_back = assembler.close()
    assert sorted(entry.payload for entry in given_back) == ["a", "b", "part"]
    assert assembler.close() == []
    assert (assembler.queue_rows, assembler.is_empty) == (0, True)
    for entry in given_back:
        assembler.abandon(entry)
    assert assembler.queue_rows == 0


def test_urgent_requests_go_before_others_that_wait_and_keep_their_order():
    assembler = make(max_batch_rows=2)
    # The first two are told that they are next, and are.
    for name, priority in [("a", 2), ("b", 2), ("c", 2), ("low", 3), ("d", 2), ("high", 1), ("high too", 1)]:
        offer(assembler, name, 1, priority=priority)
    order = [[part.entry.payload for part in assembler.take(0.0).slices] for _ in range(4)]
    assert order == [["a", "b"], ["high", "high too"], ["c", "d"], ["low"]]
    assert assembler.is_empty


def test_the_group_of_the_most_urgent_request_has_the_next_turn():
    assembler = make()
    for name, group, priority in [("a", "g", 3), ("b", "h", 2), ("c", "g", 1)]:
        offer(assembler, name, 1, group=group, priority=priority)
    assert [taken(assembler.take(0.0)) for _ in range(2)] == [[("c", 0, 1), ("a", 0, 1)], [("b", 0, 1)]]


def test_a_large_urgent_request_goes_on_before_less_urgent_ones():
    assembler = make(max_batch_rows=4)
    offer(assembler, "low", 1, priority=3)
    offer(assembler, "normal", 1)
    offer(assembler, "high", 9, priority=1)
    names = [[part.entry.payload for part in assembler.take(0.0).slices] for _ in range(3)]
    assert names == [["high"], ["high"], ["high", "normal", "low"]]


def test_without_batches_the_urgent_go_first_too():
    assembler = make(batched=False)
    for name, priority in [("a", 2), ("b", 2), ("c", 1)]:
        offer(assembler, name, 1, priority=priority)
    assert [assembler.take(0.0).slices[0].entry.payload for _ in range(3)] == ["c", "a", "b"]


def test_nobody_is_told_to_be_next_while_urgent_requests_may_pass():
    assembler = make()
    offer(assembler, "a", 1)
    assert assembler.last_is_next
    offer(assembler, "b", 1, priority=1)
    assert not assembler.last_is_next
    assembler.take(0.0)
    offer(assembler, "c", 1)
    assert assembler.last_is_next


class Schedules(RuleBasedStateMachine):
    """Any order of offers, turns, departures and closings; every entry leaves once, whole and in order."""

    LIMIT = 5
    BOUND = 12

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.waiting = []
        self.promised = []
        self.batched = True
        self.assembler = make(self.LIMIT, 2.0, self.BOUND)

    @precondition(lambda self: not self.waiting)
    @rule(batched=st.booleans(), timeout_s=st.sampled_from([0.0, 2.0]))
    def restart(self, batched, timeout_s):
        self.batched = batched
        self.assembler = make(self.LIMIT, timeout_s, self.BOUND, batched=batched)

    @rule(
        rows=st.integers(0, 14),
        group=st.sampled_from(["a", None]),
        ceiling=st.sampled_from([1, 3, 100]),
        time_left_s=st.sampled_from([0.0, 1.0, 3.0, math.inf]),
        priority=st.sampled_from([1, 2, 2, 2, 3]),
    )
    def offer(self, rows, group, ceiling, time_left_s, priority):
        entry = Entry([], rows, group, self.now, self.now + time_left_s, ceiling, priority)
        fits = not self.waiting or self.queued() + max(rows, 1) <= self.BOUND
        assert self.assembler.offer(entry) is fits
        if fits:
            self.waiting.append(entry)
            if self.assembler.last_is_next:
                self.promised.append(entry)

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @rule()
    def take(self):
        due_at = self.assembler.wait_until(self.now)
        batch = self.assembler.take(self.now)
        if due_at is None or due_at > self.now:
            assert not batch.slices
            assert not batch.expired
        for entry in batch.expired:
            assert entry.deadline <= self.now
            self.waiting.remove(entry)
        assert batch.rows == sum(part.stop - part.start for part in batch.slices)
        assert len({part.entry.group for part in batch.slices}) <= 1
        if self.batched:
            assert batch.rows <= min([self.LIMIT, *(part.entry.max_batch_rows for part in batch.slices)])
        else:
            assert len(batch.slices) <= 1
        leaving = [*batch.expired, *(part.entry for part in batch.slices)]
        if due_at is not None and due_at <= self.now:
            assert all(entry in leaving for entry in self.promised if not entry.abandoned)
            self.promised.clear()
        for first in batch.slices[:1]:
            others = [other for other in self.waiting if other.group == first.entry.group and other.deadline > self.now]
            assert all(first.entry.priority <= other.priority for other in others)
        for entry, start, stop in batch.slices:
            assert entry in self.waiting
            assert entry.deadline > self.now
            assert start == (entry.payload[-1] if entry.payload else 0)
            assert stop > start or entry.rows == 0
            entry.payload.append(stop)
            if stop == entry.rows:
                self.waiting.remove(entry)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def abandon(self, data):
        entry = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(entry)
        self.assembler.abandon(entry)

    @rule()
    def close(self):
        given_back = self.assembler.close()
        assert sorted(map(id, given_back)) == sorted(map(id, self.waiting))
        self.waiting.clear()
        self.promised.clear()
        assert self.assembler.is_empty

    @invariant()
    def counts_agree(self):
        assert self.assembler.queue_rows == self.queued()
        held = [entry for group in self.assembler._groups.values() for entry in group]
        assert self.assembler._held == len(held)
        assert self.assembler._abandoned == len(held) - len(self.waiting)

    def queued(self):
        return sum(max(entry.rows - (entry.payload[-1] if entry.payload else 0), 1) for entry in self.waiting)

    def teardown(self):
        self.now += 10.0
        for _ in range(200):
            if self.assembler.is_empty:
                break
            self.take()
        assert not self.waiting


TestSchedules = Schedules.TestCase
