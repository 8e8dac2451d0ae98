import time

import numpy as np
import pytest

from tensorhost.batching import Span
from tensorhost.core.errors import ModelFailedError
from tensorhost.models.padding_trial import find_spans

TIMED = {1: 0.001, 2: 0.001, 4: 0.001, 8: 0.001, 16: 0.001}


class Machine:
    """A clock that calls move: each as long as ``cost`` says, given its rows and those of the call before.

    Making inputs takes ``make_s`` a row.
    """

    def __init__(self, cost, make_s):
        self.now = 0.0
        self.cost = cost
        self.make_s = make_s
        self.calls = []
        self.before = 0

    def make_rows(self, rows):
        self.now += self.make_s * rows
        return {"x": np.zeros((rows, 1))}

    def run(self, inputs):
        rows = len(inputs["x"])
        self.now += self.cost(rows, self.before)
        self.before = rows
        self.calls.append(rows)


@pytest.fixture
def tried(monkeypatch):
    def run(cost, call_s=None, turns=3, make_s=0.0):
        machine = Machine(cost, make_s)
        monkeypatch.setattr(time, "perf_counter", lambda: machine.now)
        return find_spans(machine.run, machine.make_rows, TIMED if call_s is None else call_s, turns), machine

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


def test_what_making_the_inputs_takes_does_not_count(tried):
    spans, _ = tried(lambda rows, _: 0.001 if rows == 8 else 0.005, {1: 0.001, 8: 0.001}, make_s=0.005)
    assert spans == (Span(1, 8),)


@pytest.mark.parametrize("failing", [5, 8])
def test_sizes_at_which_the_model_fails_are_left_as_they_are_and_the_others_tried(tried, failing):
    def cost(rows, _):
        if rows == failing:
            raise ModelFailedError("Not with so many.")
        return 0.001 if rows in TIMED else 0.005

    assert Span(4, 8) not in (spans := tried(cost)[0])
    assert Span(2, 4) in spans
