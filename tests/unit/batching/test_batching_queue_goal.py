"""The queue with a latency goal, and with batches that are filled up."""

import asyncio
import math
from concurrent.futures import Executor, Future

import numpy as np
import pytest

from tensorhost.batching import BatchQueue, QueueOptions, Span
from tensorhost.core.errors import DeadlineExceededError, InvalidRequestError
from tensorhost.core.requests import Timings

pytestmark = pytest.mark.looptime


class Model:
    """Doubles its input and takes as long as ``cost`` says of its rows, on a clock of its own. 13 is bad luck."""

    def __init__(self, cost=lambda rows: 0.0):
        self.now = 0.0
        self.cost = cost
        self.calls = []

    def clock(self):
        return self.now

    def __call__(self, inputs):
        x = inputs["x"]
        self.calls.append(x[:, 0].tolist())
        self.now += self.cost(len(x))
        if 13 in self.calls[-1]:
            raise InvalidRequestError("13 is bad luck.")
        return {"y": x * 2 if x.dtype != object else x.copy()}


class Bench:
    """A queue whose calls run on the event loop."""

    def __init__(self, cost=lambda rows: 0.0, **options):
        self.model = Model(cost)
        self.batches, self.late = [], []
        values = {"batched": True, "max_batch_rows": 8, "batch_timeout_s": 0.0, "max_queue_rows": 64, "inline_rows": 8}
        self.queue = BatchQueue(
            self.model,
            QueueOptions(**(values | options)),
            None,
            lambda rows, reason, *_: self.batches.append((rows, reason)),
            self.model.clock,
            self.late.append,
        )

    def ask(self, *values, dtype=np.float32, deadline=math.inf):
        inputs = {"x": np.array([[value] for value in values], dtype)}
        return asyncio.ensure_future(self.queue.call(inputs, rows=len(values), deadline=deadline, timings=Timings()))


def column(outputs):
    return outputs["y"][:, 0].tolist()


def dearer_together(rows):
    return 0.01 if rows <= 4 else 0.01 * rows


GOAL = {"target_latency_s": 0.1, "call_s": {rows: dearer_together(rows) for rows in (1, 2, 4, 8)}}


async def test_without_a_goal_there_is_nothing_to_report():
    bench = Bench()
    assert bench.queue.pace_report() is None
    assert bench.queue.limit_rows == 8
    assert Bench(batched=False, **GOAL).queue.pace_report() is None
    assert Bench(batched=False).queue.limit_rows == 1


async def test_a_goal_keeps_batches_to_the_size_that_serves_most():
    bench = Bench(dearer_together, **GOAL)
    answers = await asyncio.gather(*[bench.ask(value) for value in range(6)])
    assert [column(answer) for answer in answers] == [[2 * value] for value in range(6)]
    assert bench.batches == [(4, "goal"), (2, "drained")]
    assert bench.queue.limit_rows == 4
    assert bench.late == []


async def test_answers_after_the_goal_are_counted_and_the_curve_learns():
    bench = Bench(lambda rows: 0.2, **GOAL)
    await asyncio.gather(bench.ask(1), bench.ask(2))
    assert sum(bench.late) == 2
    for _ in range(60):
        await bench.ask(1)
    report = bench.queue.pace_report()
    assert report.call_s[1] == pytest.approx(0.2, rel=0.1)
    assert not report.reachable


async def test_only_who_was_answered_with_outputs_counts_as_late():
    bench = Bench(lambda rows: 0.2, **GOAL)
    answers = await asyncio.gather(bench.ask(13), bench.ask(1), bench.ask(*range(20, 30)), return_exceptions=True)
    assert [isinstance(answer, InvalidRequestError) for answer in answers] == [True, False, False]
    assert sum(bench.late) == 2


async def test_who_was_told_during_the_call_that_its_deadline_had_passed_does_not_count_as_late():
    class Thread(Executor):
        def submit(self, fn, /, *arguments):
            self.answer, self.call = Future(), lambda: fn(*arguments)
            return self.answer

    bench = Bench(lambda rows: 0.2, **(GOAL | {"inline_rows": 0}))
    thread = bench.queue._executor = Thread()
    # The virtual clock keeps to real time while a thread is at work, so this is short.
    told, left, answered = bench.ask(1, deadline=asyncio.get_running_loop().time() + 0.01), bench.ask(2), bench.ask(3)
    with pytest.raises(DeadlineExceededError):
        await told
    left.cancel()
    thread.answer.set_result(thread.call())
    assert column(await answered) == [6]
    assert bench.late == [1]


async def test_a_call_that_failed_teaches_nothing():
    bench = Bench(lambda rows: 0.5, **GOAL)
    before = bench.queue.pace_report().call_s
    for _ in range(20):
        answers = await asyncio.gather(bench.ask(13), bench.ask(1), return_exceptions=True)
        assert isinstance(answers[0], InvalidRequestError)
        assert column(answers[1]) == [2]
    assert bench.queue.pace_report().call_s == before


@pytest.mark.parametrize("requests", [[[1, 2, 3]], [[1], [2], [3]], [[1, 2], [3]]])
async def test_a_batch_is_filled_up_with_its_last_row_and_nobody_gets_more_than_their_own(requests):
    bench = Bench(padding=(Span(2, 4),))
    answers = await asyncio.gather(*[bench.ask(*values) for values in requests])
    assert [column(answer) for answer in answers] == [[2 * value for value in values] for values in requests]
    assert bench.model.calls == [[1, 2, 3, 3]]
    assert bench.batches == [(3, "drained")]


@pytest.mark.parametrize("values", [np.float32, object])
async def test_a_batch_that_ends_with_a_request_of_no_rows_is_filled_up_with_the_row_before(values):
    bench = Bench(padding=(Span(2, 4),))
    nothing = {"x": np.zeros((0, 1), values)}
    asked = bench.ask(1, 2, 3, dtype=values)
    empty = asyncio.ensure_future(bench.queue.call(nothing, rows=0, deadline=math.inf, timings=Timings()))
    assert [column(await asked), column(await empty)] == [[1, 2, 3] if values is object else [2, 4, 6], []]
    assert bench.model.calls == [[1, 2, 3, 3]]


async def test_strings_are_filled_up_as_well():
    bench = Bench(padding=(Span(2, 4),))
    answers = await asyncio.gather(bench.ask(b"a", b"b", dtype=object), bench.ask(b"c", dtype=object))
    assert [column(answer) for answer in answers] == [[b"a", b"b"], [b"c"]]
    assert bench.model.calls == [[b"a", b"b", b"c", b"c"]]


async def test_what_fails_filled_up_is_run_as_it_is():
    bench = Bench(padding=(Span(2, 4),))
    answers = await asyncio.gather(bench.ask(1, 2), bench.ask(13), return_exceptions=True)
    assert column(answers[0]) == [2, 4]
    assert isinstance(answers[1], InvalidRequestError)
    assert bench.model.calls == [[1, 2, 13, 13], [1, 2], [13]]


async def test_what_is_filled_up_beyond_the_rows_that_may_run_on_the_loop_does_not():
    class Refusing:
        def submit(self, *_arguments):
            raise RuntimeError("the call left the loop")

    bench = Bench(padding=(Span(2, 4),), inline_rows=3)
    bench.queue._executor = Refusing()
    with pytest.raises(Exception, match="thread ended"):
        await bench.ask(1, 2, 3)
    assert column(await bench.ask(1, 2)) == [2, 4]
