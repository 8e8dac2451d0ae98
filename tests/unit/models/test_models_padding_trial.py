import time

import pytest

from tensorhost.batching import Span
from tensorhost.models.padding_trial import find_spans

TIMED = {1: 0.001, 2: 0.001, 4: 0.001, 8: 0.001, 16: 0.001}


class Machine:
    """A clock that calls move: each as long as ``cost`` says, given its rows and those of the call before."""

    def __init__(self, cost):
        self.now = 0.0
        self.cost = cost
        self.calls = []
        self.before = 0

    def run(self, rows):
        self.now += self.cost(rows, self.before)
        self.before = rows
        self.calls.append(rows)


@pytest.fixture
def tried(monkeypatch):
    def run(cost, call_s=None, turns=3):
        machine = Machine(cost)
        monkeypatch.setattr(time, "perf_counter", lambda: machine.now)
        return find_spans(machine.run, TIMED if call_s is None else call_s, turns), machine

    return run


def test_a_runtime_that_does_not_mind_sizes_gets_batches_as_they_are(tried):
    assert tried(lambda rows, _: 0.001 * rows)[0] == ()


def test_sizes_that_are_slow_in_themselves_are_filled_up(tried):
    spans, _ = tried(lambda rows, _: 0.001 if rows in TIMED else 0.005)
    assert spans == (Span(2, 4), Span(4, 8), Span(8, 16))


def test_only_where_it_pays(tried):
    spans, _ = tried(lambda rows, _: 0.005 if 4 < rows < 8 else 0.001)
    assert spans == (Span(4, 8),)


def test_that_every_change_of_size_costs_the_same_is_no_reason(tried):
    assert tried(lambda rows, before: 0.001 if rows == before else 0.005)[0] == ()


def test_a_gain_of_microseconds_is_no_reason(tried):
    assert tried(lambda rows, _: 1e-5 if rows in TIMED else 4e-5)[0] == ()


def test_the_first_call_of_a_size_does_not_count(tried):
    seen = set()

    def cost(rows, _):
        first = rows not in seen
        seen.add(rows)
        return 0.1 if first else 0.001

    assert tried(cost)[0] == ()


def test_long_calls_are_not_tried(tried):
    spans, machine = tried(lambda rows, _: 1.0, dict.fromkeys(TIMED, 1.0))
    assert (spans, machine.calls) == ((), [])


def test_without_turns_nothing_is_tried(tried):
    assert tried(lambda rows, _: 0.001 if rows in TIMED else 0.005, turns=0)[0] == ()


def test_the_trial_ends_when_its_time_is_up(tried):
    _, machine = tried(lambda rows, _: 0.2, {1: 0.01, 3: 0.01}, turns=1000)
    assert len(machine.calls) == 4


def test_nothing_timed_is_nothing_tried(tried):
    assert tried(lambda rows, _: 1.0, {})[0] == ()
    assert tried(lambda rows, _: 1.0, {1: 0.001})[0] == ()
