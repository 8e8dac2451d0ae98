from __future__ import annotations

import time

import numpy as np
import pytest
from model_fakes import FakeRuntime, signature

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError, OutOfMemoryError
from tensorhost.core.tensors import TensorSpec
from tensorhost.models import warmup
from tensorhost.models.warmup import WarmupOptions, warm_up

ROWS = signature((None, 4))


def options(**changes):
    return WarmupOptions(**({"iterations": 2, "max_batch_rows": 8, "batching": True, "threshold_s": 1.0} | changes))


def warmed(run, contract=ROWS, examples=(), **changes):
    runtime = FakeRuntime(run, contract)
    return warm_up(runtime, contract, options(**changes), examples), runtime


def test_rows_that_do_not_know_of_each_other_may_be_batched():
    plan, _ = warmed(lambda x: x * 2)
    assert plan.batched
    assert plan.warmed
    assert not plan.reason
    assert not plan.problem
    assert sorted(plan.call_s) == [1, 2, 4, 8]
    assert plan.inline_rows == 8


def test_rounding_is_no_disagreement():
    plan, _ = warmed(lambda x: x * np.float32(1 + 1e-6 * len(x)))
    assert plan.batched


def random_outputs():
    rng = np.random.default_rng(1)
    return lambda x: rng.random(x.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda x: x - x.mean(axis=0), "Rows of output 'y' depend on what else is in the batch."),
        (lambda x: x[::-1], "Rows of output 'y' depend"),
        (random_outputs(), "Rows of output 'y' depend"),
        (lambda x: x + np.float32(len(x) > 5), "Rows of output 'y' depend"),
        (lambda x: np.argsort(x.sum(axis=1)), "Rows of output 'y' depend"),
        (lambda x: x.sum(), "Output 'y' does not have one row for each row of input."),
        (lambda x: x.sum(axis=0), "Output 'y' does not have one row"),
        (lambda x: np.concatenate([x, x]), "Output 'y' does not have one row"),
        (lambda x: np.where(len(x) > 1, np.float32(np.nan), x), "Rows of output 'y' depend"),
        (lambda x: x if x.sum() > 0 else -x, "Rows of output 'y' depend"),
    ],
)
def test_rows_that_depend_on_each_other_are_never_batched(run, reason):
    plan, _ = warmed(lambda x: np.asarray(run(x)))
    assert not plan.batched
    assert plan.reason.startswith(reason)
    assert plan.warmed
    assert not plan.problem
    assert sorted(plan.call_s) == [1]


def refuses_several(x):
    if len(x) > 1:
        raise InvalidRequestError("The model takes one row.")
    return x


def test_a_model_that_fails_at_a_size_between_those_that_are_timed_is_served():
    def run(x):
        if len(x) in {3, 6, 7}:
            raise ModelFailedError("Not with so many.")
        return x

    plan, _ = warmed(run)
    assert plan.batched
    assert plan.padding == ()
    assert sorted(plan.call_s) == [1, 2, 4, 8]


def test_a_model_that_takes_one_row_only_is_served_unbatched():
    plan, _ = warmed(refuses_several)
    assert not plan.batched
    assert plan.reason == "The model takes rows alone and refuses them together: The model takes one row."
    assert plan.warmed
    assert sorted(plan.call_s) == [1]


def test_equal_nans_and_infinities_agree():
    plan, _ = warmed(lambda x: np.where(x > 0.5, np.float32(np.nan), np.float32(np.inf)))
    assert plan.batched


@pytest.mark.parametrize("dtype", [DType.STRING, DType.BOOL, DType.INT4, DType.BFLOAT16, DType.COMPLEX64, DType.INT64])
def test_every_kind_of_output_is_compared(dtype):
    contract = signature((None, 4), dtype)
    assert warmed(lambda x: x, contract)[0].batched
    assert not warmed(lambda x: np.roll(x, 1, axis=0), contract)[0].batched


@pytest.mark.parametrize(
    ("changes", "contract", "reason"),
    [
        ({"batching": False}, ROWS, "Batching is switched off for this model."),
        ({"max_batch_rows": 1}, ROWS, "The largest batch is one row."),
        ({}, signature((2, 4)), "Not every input and output has a free first dimension."),
        ({}, signature((None, 4), outputs={"y": TensorSpec("y", DType.FLOAT32, ())}), "Not every input and output"),
        ({}, signature(()), "Not every input and output"),
    ],
)
def test_what_may_not_be_batched_is_warmed_by_single_calls(changes, contract, reason):
    plan, runtime = warmed(lambda x: x, contract, **changes)
    assert not plan.batched
    assert plan.reason.startswith(reason)
    assert plan.warmed
    assert sorted(plan.call_s) == [1]
    assert set(runtime.calls) <= {1, 2}


def test_without_iterations_nothing_is_timed_but_batching_is_proved():
    plan, runtime = warmed(lambda x: x, iterations=0)
    assert plan.batched
    assert plan.call_s == {}
    assert plan.inline_rows == 0
    assert runtime.calls


@pytest.mark.parametrize("iterations", [1, 3, 7])
def test_each_size_is_run_as_often_as_asked(iterations):
    _, few = warmed(lambda x: x, iterations=0)
    _, runtime = warmed(lambda x: x, iterations=iterations)
    # Besides, three odd sizes between 4 and 8 and one between 2 and 4 are tried against being filled up.
    assert len(runtime.calls) - len(few.calls) == 4 * iterations + 2 * 4 * (iterations + 1)


def test_a_slow_call_is_timed_once(monkeypatch):
    now = iter(np.arange(0.0, 1e6, 2.0).tolist())
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    _, few = warmed(lambda x: x, iterations=0)
    plan, runtime = warmed(lambda x: x, iterations=100)
    assert len(runtime.calls) - len(few.calls) == 4
    assert plan.call_s == dict.fromkeys([1, 2, 4, 8], 2.0)
    assert plan.inline_rows == 0


def test_calls_run_inline_up_to_the_first_size_that_is_too_slow():
    assert warmup._inline_rows({8: 0.001, 1: 0.001, 4: 0.1, 2: 0.002}, 0.01) == 2
    assert warmup._inline_rows({1: 0.01}, 0.01) == 0


def test_the_first_call_does_not_count_where_there_are_more(monkeypatch):
    durations = [0.3, 0.05, 0.1]
    ticks = iter([tick for second in durations for tick in (0.0, second)])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    seconds = warmup._time(FakeRuntime(lambda x: x, ROWS), ROWS, {"x": np.zeros((1, 4), np.float32)}, 3)
    assert seconds == pytest.approx(0.075)


@pytest.mark.parametrize(("largest", "sizes"), [(2, [1, 2]), (5, [1, 2, 4, 5]), (32, [1, 2, 4, 8, 16, 32])])
def test_the_sizes_warmed_end_with_the_largest_batch(largest, sizes):
    assert sorted(warmed(lambda x: x, max_batch_rows=largest)[0].call_s) == sizes


def test_a_huge_largest_batch_is_not_made_up_in_full(monkeypatch):
    monkeypatch.setattr(warmup, "_MAX_INPUT_BYTES", 1600)
    plan, runtime = warmed(lambda x: x, max_batch_rows=65536)
    assert plan.batched
    assert max(runtime.calls) == 100


def refuses_everything(_x):
    raise InvalidRequestError("It must be a JPEG.")


def test_a_model_that_refuses_made_up_input_is_served_unbatched_with_a_problem():
    plan, _ = warmed(refuses_everything)
    assert not plan.batched
    assert not plan.warmed
    assert plan.problem == "the model refused every made-up input; ship warm-up examples (It must be a JPEG.)"
    assert plan.reason == "Not proved: " + plan.problem


def test_an_input_too_large_to_make_up_is_a_problem_not_a_failure():
    plan, runtime = warmed(lambda x: x, signature((None, 10**6, 10**6)))
    assert "would be too large" in plan.problem
    assert runtime.calls == []


def test_another_made_up_input_is_tried_when_one_is_refused():
    def needs_images(x):
        if x.shape[1] < 100:
            raise InvalidRequestError("Too small.")
        return x

    plan, _ = warmed(needs_images, signature((None, None, None, 3)))
    assert plan.batched


@pytest.mark.parametrize("error", [ModelFailedError("It broke."), OutOfMemoryError("Too big.")])
def test_a_model_that_fails_fails_its_load(error):
    def fail(_x):
        raise error

    with pytest.raises(type(error)):
        warmed(fail)


def example(*rows):
    return {"x": np.array(rows, np.float32)}


def test_examples_are_used_instead_of_made_up_input():
    def knows_its_examples(x):
        assert set(x.ravel().tolist()) <= {7.0, 8.0, 9.0}
        return x

    plan, _ = warmed(knows_its_examples, examples=[example([7] * 4, [8] * 4), example([9] * 4)])
    assert plan.batched


def test_a_refused_example_fails_the_load():
    with pytest.raises(ModelFailedError, match="refused its own warm-up example: It must be a JPEG"):
        warmed(refuses_everything, examples=[example([1] * 4)])


def test_an_example_without_rows_fails_the_load():
    with pytest.raises(ModelFailedError, match="no rows"):
        warmed(lambda x: x, examples=[{"x": np.zeros((0, 4), np.float32)}])


def test_one_example_alone_proves_nothing():
    """All its copies are alike, and a mean over them is each of them: made-up rows must find it out."""
    plan, _ = warmed(lambda x: x - x.mean(axis=0), examples=[example([7] * 4)])
    assert not plan.batched
    assert plan.reason.startswith("Rows of output 'y' depend")


def test_one_example_where_made_up_input_is_refused_leaves_batching_unproved():
    def only_sevens(x):
        if not (x == 7).all():
            raise InvalidRequestError("Sevens only.")
        return x

    plan, _ = warmed(only_sevens, examples=[example([7] * 4)])
    assert not plan.batched
    assert plan.reason.startswith("Not proved: all rows of input are alike")
    assert plan.warmed


@pytest.mark.parametrize(("shape", "limit"), [((None, 3), None), ((None, None), 8)])
def test_where_rows_may_be_of_any_size_calls_run_inline_up_to_the_size_that_was_timed(shape, limit):
    plan, _ = warmed(lambda x: x, signature(shape), max_batch_rows=1, threshold_s=10.0)
    assert (plan.inline_rows, plan.inline_elements) == (1, limit)
