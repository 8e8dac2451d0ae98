import asyncio
import gc
import math
import weakref
from concurrent.futures import Executor, Future

import numpy as np
import pytest

from tensorhost.batching import BatchQueue, QueueOptions
from tensorhost.core.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    ModelFailedError,
    ModelNotReadyError,
    OutOfMemoryError,
    OverloadedError,
)
from tensorhost.core.requests import MergeTimes, Timings

pytestmark = pytest.mark.looptime


class HandExecutor(Executor):
    """Runs what it was given when, and only when, the test says so."""

    def __init__(self):
        self.calls = []
        self.closed = False

    def submit(self, fn, /, *args, **kwargs):
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = Future()
        self.calls.append((future, fn, args))
        return future

    async def run_next(self, afterwards=lambda: None):
        future, fn, args = self.calls.pop(0)
        assert future.set_running_or_notify_cancel()
        result = fn(*args)
        afterwards()
        future.set_result(result)
        await settle()


class Clock:
    """Each look at it takes a second."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now

    def pass_by(self, seconds):
        self.now += seconds


class Model:
    """Doubles its input, and remembers what it was called with. A row of 13 is bad luck."""

    def __init__(self):
        self.calls = []

    def __call__(self, inputs):
        x = inputs["x"]
        self.calls.append(x[:, 0].tolist())
        if 13 in x[:, 0].tolist():
            raise InvalidRequestError("13 is bad luck.")
        return {"y": x * 2}


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


class Bench:
    """A queue with everything around it in the test's hands."""

    def __init__(self, run=None, clock=None, **options):
        self.model = run or Model()
        self.executor = HandExecutor()
        self.batches = []
        self.moves = []
        values = {"batched": True, "max_batch_rows": 4, "batch_timeout_s": 0.0, "max_queue_rows": 16, "inline_rows": 0}
        self.queue = BatchQueue(
            self.model,
            QueueOptions(**(values | options)),
            self.executor,
            lambda *batch: self.batches.append(batch),
            clock or asyncio.get_running_loop().time,
            on_move=lambda before, now, _seconds: self.moves.append((before, now)),
        )

    def ask(self, *values, inputs=None, deadline=math.inf, timings=None, **options):
        inputs = {"x": np.array([[value] for value in values], np.float32)} if inputs is None else inputs
        rows = len(next(iter(inputs.values())))
        return asyncio.ensure_future(
            self.queue.call(inputs, rows=rows, deadline=deadline, timings=timings or Timings(), **options)
        )


def column(outputs):
    return outputs["y"][:, 0].tolist()


@pytest.fixture(autouse=True)
async def no_complaints():
    """Nothing may reach the event loop as an exception that nobody handled."""
    seen = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context["message"]))
    yield
    await settle()
    assert seen == []


async def test_requests_of_one_turn_of_the_loop_share_a_batch():
    bench = Bench(inline_rows=4)
    answers = await asyncio.gather(*[bench.ask(value) for value in (1, 2, 3)])
    assert [column(answer) for answer in answers] == [[2], [4], [6]]
    assert bench.model.calls == [[1, 2, 3]]
    assert [batch[:2] for batch in bench.batches] == [(3, "drained")]


async def test_requests_gather_while_a_call_runs():
    bench = Bench()
    first = bench.ask(1)
    await settle()
    later = [bench.ask(value) for value in (2, 3, 4, 5, 6)]
    await settle()
    assert len(bench.executor.calls) == 1
    assert bench.queue.queue_rows == 5
    await bench.executor.run_next()
    assert column(await first) == [2]
    await bench.executor.run_next()
    await bench.executor.run_next()
    assert [column(await request) for request in later] == [[4], [6], [8], [10], [12]]
    assert bench.model.calls == [[1], [2, 3, 4, 5], [6]]
    assert [batch[:2] for batch in bench.batches] == [(1, "drained"), (4, "full"), (1, "drained")]


@pytest.mark.parametrize(("width", "on_thread"), [(3, False), (4, True)])
async def test_rows_larger_than_those_that_were_timed_leave_the_loop(width, on_thread):
    bench = Bench(inline_rows=4, inline_elements=6)
    request = bench.ask(inputs={"x": np.zeros((2, width), np.float32)})
    await settle()
    assert bool(bench.executor.calls) is on_thread
    if on_thread:
        await bench.executor.run_next()
    assert (await request)["y"].shape == (2, width)


@pytest.mark.parametrize(("rows", "on_thread"), [(2, False), (3, True)])
async def test_small_calls_run_on_the_loop_and_larger_ones_on_the_thread(rows, on_thread):
    bench = Bench(inline_rows=2)
    request = bench.ask(*range(rows))
    await settle()
    assert bool(bench.executor.calls) is on_thread
    if on_thread:
        await bench.executor.run_next()
    assert len(column(await request)) == rows


async def test_a_batch_is_held_for_the_batch_timeout():
    bench = Bench(batch_timeout_s=2.0, inline_rows=4)
    loop = asyncio.get_running_loop()
    start = loop.time()
    timings = Timings()
    first = bench.ask(1, timings=timings)
    await asyncio.sleep(1.5)
    second = bench.ask(2)
    await asyncio.gather(first, second)
    assert loop.time() - start == pytest.approx(2.0)
    assert timings.queue_s == pytest.approx(2.0)
    assert bench.model.calls == [[1, 2]]
    assert bench.batches[0][1] == "timeout"


async def test_a_held_batch_goes_as_soon_as_it_is_full():
    bench = Bench(batch_timeout_s=2.0, inline_rows=4)
    loop = asyncio.get_running_loop()
    start = loop.time()
    first = bench.ask(1)
    await asyncio.sleep(0.5)
    await asyncio.gather(first, bench.ask(2, 3, 4))
    assert loop.time() - start == pytest.approx(0.5)
    assert bench.batches[0][:2] == (4, "full")


async def test_a_deadline_that_passes_in_the_queue_is_answered_then_and_the_model_is_not_asked():
    bench = Bench()
    loop = asyncio.get_running_loop()
    start = loop.time()
    first = bench.ask(1)
    await settle()
    # The virtual clock keeps to real time while a thread is at work, so this is short.
    second = bench.ask(2, deadline=start + 0.02)
    third = bench.ask(3)
    with pytest.raises(DeadlineExceededError):
        await second
    assert loop.time() - start == pytest.approx(0.02, abs=0.01)
    assert bench.queue.queue_rows == 1
    await bench.executor.run_next()
    await bench.executor.run_next()
    assert (column(await first), column(await third)) == ([2], [6])
    assert bench.model.calls == [[1], [3]]


async def test_a_deadline_already_past_is_answered_without_running():
    bench = Bench(inline_rows=4)
    await asyncio.sleep(1.0)
    with pytest.raises(DeadlineExceededError):
        await bench.ask(1, deadline=asyncio.get_running_loop().time())
    assert bench.model.calls == []
    assert bench.batches == []


async def test_a_deadline_that_passes_during_the_call_is_answered_then_and_the_others_get_their_answers():
    bench = Bench()
    requests = [bench.ask(1), bench.ask(2, deadline=asyncio.get_running_loop().time() + 0.02)]
    await settle()
    with pytest.raises(DeadlineExceededError):
        await requests[1]
    await bench.executor.run_next()
    assert column(await requests[0]) == [2]


async def test_a_timer_of_an_answered_request_does_nothing():
    bench = Bench(inline_rows=4)
    assert column(await bench.ask(1, deadline=asyncio.get_running_loop().time() + 1.0)) == [2]
    await asyncio.sleep(2.0)


async def test_of_four_with_one_cancelled_before_the_call_three_are_answered():
    bench = Bench()
    blocker = bench.ask(9)
    await settle()
    requests = [bench.ask(value) for value in (1, 2, 3, 4)]
    await settle()
    requests[1].cancel()
    await settle()
    assert bench.queue.queue_rows == 3
    await bench.executor.run_next()
    await bench.executor.run_next()
    assert requests[1].cancelled()
    assert [column(await requests[index]) for index in (0, 2, 3)] == [[2], [6], [8]]
    assert bench.model.calls == [[9], [1, 3, 4]]
    await blocker


async def test_of_four_with_one_cancelled_during_the_call_three_are_answered():
    bench = Bench()
    requests = [bench.ask(value) for value in (1, 2, 3, 4)]
    await settle()
    requests[1].cancel()
    await settle()
    await bench.executor.run_next()
    assert requests[1].cancelled()
    assert [column(await requests[index]) for index in (0, 2, 3)] == [[2], [6], [8]]


async def test_everybody_cancelled_leaves_a_queue_that_works():
    bench = Bench()
    requests = [bench.ask(value) for value in (1, 2, 3)]
    await settle()
    for request in requests:
        request.cancel()
    await settle()
    future, fn, args = bench.executor.calls.pop(0)
    future.set_result(fn(*args))
    await settle()
    last = bench.ask(4)
    await settle()
    await bench.executor.run_next()
    assert column(await last) == [8]


async def test_a_request_answered_and_cancelled_in_one_turn_leaves_no_forgotten_error():
    bench = Bench()
    request = bench.ask(13)
    await settle()
    future, fn, args = bench.executor.calls.pop(0)
    future.set_result(fn(*args))
    # One turn brings the outcome to the loop, the next the error to the waiter: the cancellation comes between.
    await asyncio.sleep(0)
    request.cancel()
    await settle()
    assert request.cancelled() or isinstance(request.exception(), InvalidRequestError)


async def test_only_the_guilty_request_gets_the_error():
    bench = Bench(inline_rows=4)
    requests = [bench.ask(value) for value in (1, 13, 3)]
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert column(answers[0]) == [2]
    assert isinstance(answers[1], InvalidRequestError)
    assert column(answers[2]) == [6]
    assert bench.model.calls == [[1, 13, 3], [1], [13], [3]]
    assert len(bench.batches) == 1


async def test_a_request_that_left_is_not_repeated_after_a_failed_batch():
    bench = Bench()
    requests = [bench.ask(value) for value in (1, 13, 3)]
    await settle()
    requests[0].cancel()
    await settle()
    await bench.executor.run_next()
    assert column(await requests[2]) == [6]
    with pytest.raises(InvalidRequestError):
        await requests[1]
    assert bench.model.calls == [[1, 13, 3], [13], [3]]


@pytest.mark.parametrize(
    ("raised", "told"), [(KeyError("secret"), ModelFailedError), (MemoryError(), OutOfMemoryError)]
)
async def test_an_exception_of_no_known_family_becomes_one_that_is(raised, told):
    def run(_inputs):
        raise raised

    bench = Bench(run, inline_rows=4)
    for answer in await asyncio.gather(bench.ask(1), bench.ask(2), return_exceptions=True):
        assert type(answer) is told
        assert "secret" not in answer.message


@pytest.mark.parametrize("outputs", [{"y": np.zeros((3, 1))}, {"y": np.float32(1)}, {"y": np.zeros((0, 1))}])
async def test_a_model_that_loses_or_makes_rows_fails(outputs):
    bench = Bench(lambda _inputs: {name: np.asarray(array) for name, array in outputs.items()}, inline_rows=4)
    for answer in await asyncio.gather(bench.ask(1), bench.ask(2), return_exceptions=True):
        assert isinstance(answer, ModelFailedError)
        assert "rows" in answer.message


async def test_an_unbatched_model_may_return_what_it_likes():
    bench = Bench(lambda _inputs: {"y": np.float32(7)}, batched=False, inline_rows=4)
    answers = await asyncio.gather(bench.ask(1), bench.ask(2))
    assert [float(answer["y"]) for answer in answers] == [7, 7]
    assert [batch[:2] for batch in bench.batches] == [(1, "unbatched"), (1, "unbatched")]


async def test_answers_survive_the_batches_after_theirs():
    bench = Bench(inline_rows=4)
    kept = []
    for start in range(20, 60, 4):
        kept += await asyncio.gather(*[bench.ask(start + index) for index in range(4)])
    assert [column(answer) for answer in kept] == [[2 * value] for value in range(20, 60)]


async def test_batches_are_fed_from_one_aligned_buffer():
    fed = []

    def run(inputs):
        fed.append(inputs["x"].ctypes.data)
        return {"y": inputs["x"].copy()}

    bench = Bench(run, inline_rows=4)
    for _ in range(3):
        await asyncio.gather(*[bench.ask(value) for value in range(4)])
    assert len(set(fed)) == 1
    assert fed[0] % 64 == 0


async def test_inner_shapes_do_not_meet_and_each_is_answered():
    def run(inputs):
        return {"y": inputs["x"].sum(axis=1, keepdims=True)}

    bench = Bench(run, inline_rows=4)
    wide = [bench.ask(inputs={"x": np.full((1, 5), value, np.float32)}) for value in (1, 2)]
    narrow = [bench.ask(value) for value in (3, 4)]
    answers = [column(answer) for answer in await asyncio.gather(*wide, *narrow)]
    assert answers == [[5], [10], [3], [4]]
    assert [batch[0] for batch in bench.batches] == [2, 2]


async def test_a_large_request_is_split_and_joined():
    bench = Bench(inline_rows=4)
    timings = Timings()
    answers = await asyncio.gather(bench.ask(*range(10), timings=timings), bench.ask(77))
    assert column(answers[0]) == [2 * value for value in range(10)]
    assert column(answers[1]) == [154]
    assert [len(call) for call in bench.model.calls] == [4, 4, 3]


async def test_merging_and_splitting_are_timed_apart_from_the_model():
    bench = Bench(inline_rows=4, clock=Clock())
    timings = [Timings(), Timings()]
    await asyncio.gather(*[bench.ask(value, timings=each) for value, each in enumerate(timings)])
    # Between taking the batch and having its outcomes the clock is looked at before and after either.
    assert bench.batches == [(2, "drained", 5.0, MergeTimes(1.0, 1.0))]
    assert {each.inference_s for each in timings} == {5.0}
    assert [each.merging for each in timings] == [MergeTimes(1.0, 1.0)] * 2


async def test_who_runs_alone_has_nothing_to_merge():
    bench = Bench(inline_rows=4, clock=Clock())
    timings = Timings()
    await bench.ask(1, 2, timings=timings)
    assert bench.batches == [(2, "drained", 1.0, None)]
    assert (timings.inference_s, timings.merging) == (1.0, None)


async def test_a_request_that_ran_in_parts_has_the_times_of_all_its_calls_and_of_joining_them():
    bench = Bench(inline_rows=4, clock=Clock())
    timings = Timings()
    await asyncio.gather(bench.ask(*range(6), timings=timings), bench.ask(77))
    assert [batch[2:] for batch in bench.batches] == [(1.0, None), (5.0, MergeTimes(1.0, 1.0))]
    assert (timings.inference_s, timings.merging) == (1.0 + 5.0 + 1.0, MergeTimes(1.0, 1.0 + 1.0))


async def test_a_call_repeated_request_by_request_is_all_the_models():
    bench = Bench(inline_rows=4, clock=Clock())
    timings = Timings()
    await asyncio.gather(bench.ask(1, timings=timings), bench.ask(13), return_exceptions=True)
    [(rows, _, seconds, merging)] = bench.batches
    assert (rows, merging, timings.merging) == (2, None, None)
    assert timings.inference_s == seconds


async def test_waiting_for_the_thread_is_waiting_and_the_way_back_is_no_model_call():
    clock = Clock()
    bench = Bench(clock=clock)
    timings = Timings()
    request = bench.ask(1, timings=timings)
    await settle()
    assert timings.queue_s < 10
    clock.pass_by(100)
    await bench.executor.run_next(afterwards=lambda: clock.pass_by(1000))
    await request
    assert 100 < timings.queue_s < 110
    assert timings.inference_s == bench.batches[0][2] == 1.0


async def test_requests_wait_until_a_call_begins_with_the_last_of_their_rows():
    seen = []
    bench = Bench(lambda inputs: seen.append(bench.queue.waiting_requests) or {"y": inputs["x"]})
    large = bench.ask(*range(6))
    await settle()
    # Its first four rows are on their way to the thread, the others wait.
    assert (bench.queue.waiting_requests, bench.queue.queue_rows) == (1, 2)
    others = [bench.ask(value) for value in (1, 2, 3)]
    await settle()
    assert bench.queue.waiting_requests == 4
    await bench.executor.run_next()
    # Now the last two are, with two of the others; the third waits.
    assert bench.queue.waiting_requests == 4
    others[0].cancel()
    await settle()
    assert bench.queue.waiting_requests == 3
    await bench.executor.run_next()
    await bench.executor.run_next()
    await asyncio.gather(large, *others[1:])
    assert (seen, bench.queue.waiting_requests) == ([4, 1, 0], 0)


async def test_strings_are_split_and_joined():
    def run(inputs):
        return {"y": np.array([[text[0] + b"!"] for text in inputs["x"]], object).reshape(-1, 1)}

    bench = Bench(run, inline_rows=4)
    texts = [bytes([65 + index]) for index in range(6)]
    big = bench.ask(inputs={"x": np.array([[text] for text in texts], object)})
    small = bench.ask(inputs={"x": np.array([[b"z"]], object)})
    assert column(await big) == [text + b"!" for text in texts]
    assert column(await small) == [b"z!"]


async def test_requests_of_no_rows_are_answered():
    bench = Bench(inline_rows=4)
    nothing = np.zeros((0, 1), np.float32)
    answers = await asyncio.gather(bench.ask(inputs={"x": nothing}), bench.ask(1), bench.ask(inputs={"x": nothing}))
    assert [column(answer) for answer in answers] == [[], [2], []]
    assert column(await bench.ask(inputs={"x": nothing})) == []


async def test_parts_that_do_not_fit_together_are_an_error_and_the_queue_goes_on():
    """As from a model that pads to the longest row of its call."""

    def run(inputs):
        x = inputs["x"]
        return {"y": np.zeros((len(x), int(x.max()) + 1))}

    bench = Bench(run, inline_rows=4)
    answers = await asyncio.gather(bench.ask(1, 1, 1, 1, 2), bench.ask(0), return_exceptions=True)
    assert isinstance(answers[0], ModelFailedError)
    assert answers[1]["y"].shape == (1, 3)
    assert (await bench.ask(1))["y"].shape == (1, 2)


async def test_a_failing_part_ends_the_whole_request_and_the_rest_of_it_does_not_run():
    bench = Bench(inline_rows=4)
    with pytest.raises(InvalidRequestError):
        await bench.ask(1, 2, 3, 13, 5, 6, 7, 8)
    await settle()
    assert bench.model.calls == [[1, 2, 3, 13]]
    assert bench.queue.queue_rows == 0


async def test_a_request_may_ask_for_smaller_calls():
    bench = Bench(inline_rows=4)
    assert column(await bench.ask(1, 2, 3, max_batch_rows=2)) == [2, 4, 6]
    assert bench.model.calls == [[1, 2], [3]]


async def test_a_full_queue_refuses_at_once():
    bench = Bench(max_queue_rows=2)
    running = bench.ask(0)
    await settle()
    waiting = [bench.ask(1), bench.ask(2)]
    await settle()
    with pytest.raises(OverloadedError) as refused:
        await bench.ask(3)
    assert refused.value.retry_after_s
    await bench.executor.run_next()
    await bench.executor.run_next()
    assert [column(await request) for request in (running, *waiting)] == [[0], [2], [4]]


def unloaded():
    return ModelNotReadyError("It was unloaded.")


async def test_closing_refuses_what_waits_and_what_comes_while_the_running_call_answers():
    bench = Bench()
    running = bench.ask(1)
    await settle()
    waiting = [bench.ask(2), bench.ask(3)]
    await settle()
    bench.queue.close(unloaded)
    bench.queue.close(unloaded)
    refused = await asyncio.gather(*waiting, bench.ask(4), return_exceptions=True)
    assert [type(error) for error in refused] == [ModelNotReadyError] * 3
    assert len({id(error) for error in refused}) == 3
    await bench.executor.run_next()
    assert column(await running) == [2]
    assert bench.model.calls == [[1]]


async def test_closing_while_a_batch_is_held_back_refuses_it():
    bench = Bench(batch_timeout_s=5.0)
    request = bench.ask(1)
    await settle()
    bench.queue.close(unloaded)
    with pytest.raises(ModelNotReadyError):
        await request
    await asyncio.sleep(10.0)
    assert bench.model.calls == []


async def test_closing_refuses_a_request_of_which_a_part_is_running():
    bench = Bench()
    request = bench.ask(*range(6))
    await settle()
    bench.queue.close(unloaded)
    with pytest.raises(ModelNotReadyError):
        await request
    await bench.executor.run_next()


async def test_a_thread_that_is_gone_fails_the_waiters_and_no_more():
    bench = Bench()
    running = [bench.ask(1), bench.ask(2)]
    await settle()
    later = [bench.ask(3), bench.ask(4)]
    await settle()
    bench.executor.calls.pop(0)[0].cancel()
    bench.executor.closed = True
    errors = await asyncio.gather(*running, *later, return_exceptions=True)
    assert [type(error) for error in errors] == [ModelFailedError] * 4
    assert len({id(error) for error in errors}) == 4


async def test_a_thread_that_dies_fails_the_waiters():
    bench = Bench()
    request = bench.ask(1)
    await settle()
    bench.executor.calls.pop(0)[0].set_exception(SystemExit(1))
    with pytest.raises(ModelFailedError):
        await request


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("raised", [InvalidRequestError("No."), ValueError("No.")])
async def test_an_error_does_not_keep_the_tensors_alive(count, raised):
    class Tracked(np.ndarray):
        pass

    def run(_inputs):
        raise raised.__class__("No.")

    bench = Bench(run, inline_rows=4)
    gc.disable()
    try:
        arrays = [np.zeros((1, 1), np.float32).view(Tracked) for _ in range(count)]
        seen = [weakref.ref(array) for array in arrays]
        requests = [bench.ask(inputs={"x": array}) for array in arrays]
        del arrays
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert all(isinstance(answer, Exception) for answer in answers)
        del requests, answers
        await settle()
        assert [reference() for reference in seen] == [None] * count
    finally:
        gc.enable()


async def test_a_busy_queue_is_served_in_turns_and_everybody_is_answered():
    bench = Bench(max_queue_rows=1000)
    generator = np.random.default_rng(7)
    requests = []
    for _ in range(120):
        values = generator.integers(0, 20, generator.integers(0, 9)).tolist()
        inputs = {"x": np.array(values, np.float32).reshape(-1, 1)}
        requests.append((values, bench.ask(inputs=inputs)))
        if generator.random() < 0.15:
            requests[generator.integers(len(requests))][1].cancel()
        if generator.random() < 0.5:
            await settle()
            if bench.executor.calls:
                await bench.executor.run_next()
    await settle()
    while bench.executor.calls:
        await bench.executor.run_next()
    for values, request in requests:
        assert request.done()
        if request.cancelled():
            continue
        if 13 in values:
            assert isinstance(request.exception(), InvalidRequestError)
        else:
            assert column(request.result()) == [2 * value for value in values]
    assert bench.queue.queue_rows == 0


async def test_a_request_held_back_runs_before_its_deadline():
    bench = Bench(batch_timeout_s=2.0, inline_rows=4)
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert column(await bench.ask(1, deadline=started + 1.0)) == [2]
    assert loop.time() < started + 1.0


async def test_who_waits_for_calls_on_the_event_loop_is_told_when_the_time_is_up():
    bench = Bench(inline_rows=4)
    loop = asyncio.get_running_loop()
    late = bench.ask(1, deadline=loop.time() - 0.001)
    in_time = bench.ask(2, deadline=loop.time() + 1.0)
    with pytest.raises(DeadlineExceededError):
        await late
    assert column(await in_time) == [4]
    assert bench.model.calls == [[2.0]]


class SlowOnLoop(Bench):
    """Every call takes 0.8 ms, or ``call_s``, of the loop's time, which stands still otherwise."""

    def __init__(self, monkeypatch, **options):
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.spent_s = 0.0
        self.call_s = 0.0008
        monkeypatch.setattr(loop, "time", lambda: started + self.spent_s)
        model = Model()

        def run(inputs):
            self.spent_s += self.call_s
            return model(inputs)

        super().__init__(run, **({"inline_rows": 4, "max_queue_rows": 4096} | options))
        self.model = model
        self.timers = 0
        call_at = loop.call_at

        def counted(*arguments, **keywords):
            self.timers += 1
            return call_at(*arguments, **keywords)

        monkeypatch.setattr(loop, "call_at", counted)

    async def told_after(self, request):
        """The time spent when ``request`` was told that its deadline had passed, some turns of the loop later."""
        with pytest.raises(DeadlineExceededError):
            await request
        return self.spent_s


async def test_behind_many_whose_calls_run_on_the_event_loop_a_deadline_is_answered_in_time(monkeypatch):
    bench = SlowOnLoop(monkeypatch)
    ahead = [bench.ask(1) for _ in range(2000)]
    asked = bench.ask(2, deadline=asyncio.get_running_loop().time() + 0.01)
    assert await bench.told_after(asked) == pytest.approx(0.012, abs=0.0025)
    assert bench.queue.queue_rows > 1900
    await asyncio.gather(*ahead)
    assert all(2 not in call for call in bench.model.calls)


async def test_behind_other_inner_shapes_a_deadline_is_answered_in_time(monkeypatch):
    bench = SlowOnLoop(monkeypatch)
    ahead = [bench.ask(inputs={"x": np.zeros((1, width), np.float32)}) for width in range(2, 200)]
    asked = bench.ask(2, deadline=asyncio.get_running_loop().time() + 0.01)
    assert await bench.told_after(asked) == pytest.approx(0.012, abs=0.0025)
    await asyncio.gather(*ahead)


async def test_behind_requests_that_ask_for_smaller_calls_a_deadline_is_answered_in_time(monkeypatch):
    bench = SlowOnLoop(monkeypatch, max_batch_rows=400, inline_rows=400)
    ahead = [bench.ask(1, max_batch_rows=1) for _ in range(200)]
    asked = bench.ask(2, deadline=asyncio.get_running_loop().time() + 0.01)
    assert await bench.told_after(asked) == pytest.approx(0.012, abs=0.0025)
    await asyncio.gather(*ahead)
    # The ceiling has left with those that asked for it.
    bench.timers = 0
    await asyncio.gather(*[bench.ask(1, deadline=asyncio.get_running_loop().time() + 0.01) for _ in range(2)])
    assert bench.timers == 0


@pytest.mark.parametrize(
    ("rows", "timers"), [((1,), 0), ((1, 1, 1, 1), 0), ((1, 1, 1, 1, 1), 1), ((3, 2), 1), ((6,), 1)]
)
async def test_only_who_may_miss_the_next_call_on_the_event_loop_has_a_timer(monkeypatch, rows, timers):
    bench = SlowOnLoop(monkeypatch)
    deadline = asyncio.get_running_loop().time() + 1.0
    await asyncio.gather(*[bench.ask(*range(count), deadline=deadline) for count in rows])
    assert bench.timers == timers
