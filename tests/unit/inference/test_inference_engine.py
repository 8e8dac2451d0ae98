import asyncio
import threading

import numpy as np
import pytest
from engine_bench import EngineBench, rows

from tensorhost.core.errors import (
    DeadlineExceededError,
    InvalidInputShapeError,
    InvalidInputTypeError,
    InvalidPostprocessingError,
    InvalidPreprocessingError,
    InvalidRequestError,
    MissingInputError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    OverloadedError,
    ShuttingDownError,
    SignatureNotFoundError,
    VersionNotFoundError,
)

pytestmark = pytest.mark.looptime


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_request_is_answered_timed_and_counted():
    bench = EngineBench()
    result = await bench.ask([[1.0, 2.0], [3.0, 4.0]])
    assert result.predictions.tolist() == [[2, 4], [6, 8]]
    assert (result.model_name, result.model_version) == ("m", "1")
    assert bench.counted() == (1, {})
    assert bench.metrics.total.count == bench.metrics.queue.count == 1
    bench.check_idle()


async def test_callers_share_batches():
    bench = EngineBench()
    results = await asyncio.gather(*[bench.ask(rows(value)) for value in range(8)])
    assert [result.predictions[0, 0] for result in results] == [2 * value for value in range(8)]
    assert bench.runtime.calls == 1


async def test_what_is_in_flight_is_counted_while_it_is():
    bench = EngineBench(batch_timeout_s=2.0)
    request = bench.ask()
    await settle()
    assert (bench.engine.in_flight, bench.metrics.in_flight, bench.servable.leases) == (1, 1, 1)
    await request
    bench.check_idle()


async def test_one_too_many_is_refused_and_counted_and_the_others_are_answered():
    bench = EngineBench(batch_timeout_s=2.0, max_in_flight=2)
    requests = [bench.ask(), bench.ask()]
    await settle()
    with pytest.raises(OverloadedError) as refused:
        await bench.ask()
    assert refused.value.retry_after_s
    await asyncio.gather(*requests)
    await bench.ask()
    assert bench.counted() == (4, {"OVERLOADED": 1})
    bench.check_idle()


async def test_a_closed_engine_refuses_the_new_and_answers_those_inside():
    bench = EngineBench(batch_timeout_s=2.0)
    inside = bench.ask()
    await settle()
    bench.engine.close()
    with pytest.raises(ShuttingDownError):
        await bench.ask()
    assert (await inside).predictions.tolist() == [[2, 4]]
    assert bench.counted() == (2, {"SHUTTING_DOWN": 1})
    bench.check_idle()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"signature": "other"}, SignatureNotFoundError),
        ({"preprocessing": {"unknown": 1}}, InvalidPreprocessingError),
        ({"postprocessing": {"unknown": 1}}, InvalidPostprocessingError),
        ({"inputs": {"x": [[1, 2]], "z": 1}, "signature": "pair"}, MissingInputError),
        ({"inputs": [[1, 2, 3]]}, InvalidInputShapeError),
        ({"inputs": [["a", "b"]]}, InvalidInputTypeError),
        ({"inputs": [[-1.0, 2.0]]}, InvalidRequestError),
        ({"inputs": {"a": rows(1), "b": rows(1, 2)}, "signature": "pair"}, InvalidInputShapeError),
    ],
)
async def test_every_failure_is_counted_once_and_leaves_nothing_behind(options, error):
    bench = EngineBench(failure=InvalidRequestError("Negative."))
    with pytest.raises(error):
        await bench.ask(**options)
    assert bench.counted() == (1, {error.code.value: 1})
    bench.check_idle()
    assert (await bench.ask()).predictions.tolist() == [[2, 4]]


async def test_rows_of_the_inputs_must_agree_and_the_message_says_which_do_not():
    bench = EngineBench()
    with pytest.raises(InvalidInputShapeError, match="'b' has 2 rows where another input has 1"):
        await bench.ask({"a": rows(1), "b": rows(1, 2)}, signature="pair")
    assert bench.runtime.calls == 0


async def test_a_model_that_fails_unexpectedly_says_nothing_of_its_insides():
    bench = EngineBench(failure=RuntimeError("/secret/path"))
    with pytest.raises(ModelFailedError) as failed:
        await bench.ask([[-1.0, 0.0]])
    assert "secret" not in failed.value.message
    assert "secret" in (failed.value.log_detail or "")
    assert bench.counted() == (1, {"MODEL_FAILED": 1})


async def test_a_full_queue_refuses_and_is_counted():
    bench = EngineBench(batch_timeout_s=2.0, max_queue_rows=2)
    waiting = bench.ask(rows(1, 2))
    await settle()
    with pytest.raises(OverloadedError):
        await bench.ask()
    await waiting
    assert bench.counted() == (2, {"OVERLOADED": 1})
    bench.check_idle()


async def test_a_cancelled_request_is_counted_and_its_neighbours_are_answered():
    bench = EngineBench(batch_timeout_s=2.0)
    requests = [bench.ask(rows(value)) for value in (1, 2, 3, 4)]
    await settle()
    requests[1].cancel()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert [answers[index].predictions[0, 0] for index in (0, 2, 3)] == [2, 6, 8]
    assert bench.counted() == (4, {"CANCELLED": 1})
    bench.check_idle()


async def test_a_deadline_that_passes_in_the_queue_is_answered_then():
    bench = EngineBench()
    bench.servable.queue("serving_default")._busy = True
    start = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceededError):
        await bench.ask(timeout_s=1.5)
    assert asyncio.get_running_loop().time() - start == pytest.approx(1.5)
    assert bench.counted() == (1, {"DEADLINE_EXCEEDED": 1})
    assert bench.runtime.calls == 0
    bench.check_idle()


async def test_the_default_timeout_is_for_requests_that_set_none():
    bench = EngineBench(request_timeout_s=1.0)
    bench.servable.queue("serving_default")._busy = True
    start = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceededError):
        await bench.ask()
    assert asyncio.get_running_loop().time() - start == pytest.approx(1.0)
    with pytest.raises(DeadlineExceededError):
        await bench.ask(timeout_s=3.0)
    assert asyncio.get_running_loop().time() - start == pytest.approx(4.0)


async def test_a_deadline_already_past_is_refused_without_running():
    bench = EngineBench()
    with pytest.raises(DeadlineExceededError):
        await bench.ask(timeout_s=0.0)
    assert bench.runtime.calls == 0
    bench.check_idle()


async def test_a_deadline_that_passes_on_the_way_out_is_exceeded_too(monkeypatch):
    bench = EngineBench()
    late = asyncio.get_running_loop().time() + 9.0
    run = bench.runtime.run

    def slow(signature, inputs):
        bench.engine._clock = lambda: late
        return run(signature, inputs)

    monkeypatch.setattr(bench.runtime, "run", slow)
    bench.servable.queue("serving_default")._execution._run = lambda inputs: slow("serving_default", inputs)
    with pytest.raises(DeadlineExceededError):
        await bench.ask(timeout_s=5.0)
    assert bench.counted() == (1, {"DEADLINE_EXCEEDED": 1})
    bench.check_idle()


class SlowStep:
    """A custom step that stands still until the test lets it go."""

    def __init__(self):
        self.go_on = threading.Event()

    def __call__(self, tensors):
        assert self.go_on.wait(30)
        return tensors


@pytest.mark.parametrize(("how", "code"), [("cancel", "CANCELLED"), ("deadline", "DEADLINE_EXCEEDED")])
async def test_a_request_may_end_while_it_is_preprocessed(how, code):
    step = SlowStep()
    bench = EngineBench(custom=step)
    try:
        request = bench.ask(timeout_s=0.02 if how == "deadline" else None)
        await settle()
        assert bench.engine.in_flight == 1
        if how == "cancel":
            request.cancel()
        answer = (await asyncio.gather(request, return_exceptions=True))[0]
        assert isinstance(answer, DeadlineExceededError if how == "deadline" else asyncio.CancelledError)
        bench.check_idle()
    finally:
        step.go_on.set()
    assert bench.counted() == (1, {code: 1})
    assert bench.runtime.calls == 0


@pytest.mark.parametrize("name", ["nobody", "x" * 5000, "../etc", "m\n"])
async def test_unknown_models_are_counted_without_a_label_of_their_own(name):
    bench = EngineBench()
    labels = set(bench.manager.metrics._table.named)
    with pytest.raises(ModelNotFoundError):
        await bench.ask(model=name)
    with pytest.raises(VersionNotFoundError):
        await bench.ask(version=name)
    assert set(bench.manager.metrics._table.named) == labels
    assert bench.manager.metrics._unattributed.requests == 2
    assert bench.counted() == (0, {})
    bench.check_idle()


async def test_a_refusal_does_not_make_an_unloaded_version_visible_for_ever():
    bench = EngineBench()
    with pytest.raises(ModelNotReadyError):
        await bench.ask(version="0")
    table = bench.manager.metrics._table
    assert table.named["m", "0"].requests == 1
    assert ("m", "0") in table.forgotten_at
    bench.check_idle()


async def test_options_of_a_request_are_its_own():
    bench = EngineBench()
    plain, scaled = bench.ask([[2.0, 4.0]]), bench.ask([[2.0, 4.0]], preprocessing={"scale": 0.5})
    assert (await plain).predictions.tolist() == [[4, 8]]
    assert (await scaled).predictions.tolist() == [[8, 16]]
    best = await bench.ask([[2.0, 4.0]], postprocessing={"argmax": True})
    assert np.asarray(best.predictions).tolist() == [1]
    assert bench.runtime.calls == 2


async def test_arrays_of_the_caller_are_not_written_to():
    bench = EngineBench()
    mine = rows(3)
    await bench.ask(mine, preprocessing={"scale": 0.5})
    assert mine.tolist() == [[3, 3]]


async def test_unloading_answers_those_who_wait():
    bench = EngineBench(batch_timeout_s=2.0)
    request = bench.ask()
    await settle()
    bench.servable.refuse_all()
    with pytest.raises(ModelNotReadyError):
        await request
    assert bench.counted() == (1, {"MODEL_NOT_READY": 1})
    bench.check_idle()


async def test_a_request_cancelled_while_a_lazy_model_loads_is_counted_and_forgotten(monkeypatch):
    bench = EngineBench()

    async def never(*_args):
        await asyncio.Event().wait()

    monkeypatch.setattr(bench.manager, "lease", never)
    request = bench.ask(version="0")
    await settle()
    assert bench.engine.in_flight == 1
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    assert bench.manager.metrics._table.named["m", "0"].errors["CANCELLED"] == 1
    bench.check_idle()


async def test_a_batch_of_no_rows_is_answered_without_the_model():
    bench = EngineBench()
    result = await bench.ask(np.empty((0, 2), np.float32))
    assert result.predictions.shape == (0, 2)
    assert result.predictions.dtype == np.float32
    assert bench.runtime.calls == 0
    assert bench.counted() == (1, {})
    bench.check_idle()
