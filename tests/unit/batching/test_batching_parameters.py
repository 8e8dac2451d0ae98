"""What TensorFlow Serving's batching parameters do to a queue."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_batching_queue import Bench, Model, column, settle

from tensorhost.batching.padding import Padding, spans_to
from tensorhost.batching.ragged import common_shape, elements_filled_up, fill_up
from tensorhost.batching.slots import CallSlots
from tensorhost.core.errors import InvalidRequestError

pytestmark = pytest.mark.looptime


class Sums:
    """Sums up each row; remembers the arrays it was given. A row with 13 in it is bad luck."""

    def __init__(self):
        self.seen = []

    def __call__(self, inputs):
        x = inputs["x"]
        self.seen.append(x.copy())
        if x.dtype != object and 13 in x:
            raise InvalidRequestError("13 is bad luck.")
        return {"y": x.reshape(len(x), -1).sum(axis=1, keepdims=True)}


def test_every_size_is_filled_up_to_the_next_that_is_allowed():
    padding = Padding(spans_to((2, 3, 8)))
    assert [padding.padded(rows) for rows in (0, 1, 2, 3, 4, 7, 8, 9)] == [0, 2, 2, 3, 8, 8, 8, 9]
    assert Padding(spans_to(())).padded(3) == 3


async def test_calls_have_allowed_sizes_and_only_real_rows_are_answered():
    bench = Bench(padding=spans_to((2, 4)), inline_rows=4)
    assert column(await bench.ask(1)) == [2]
    answers = await asyncio.gather(*[bench.ask(value) for value in (1, 2, 3)])
    assert [column(answer) for answer in answers] == [[2], [4], [6]]
    assert bench.model.calls == [[1, 1], [1, 2, 3, 3]]
    assert [batch[0] for batch in bench.batches] == [1, 3]


async def test_the_rest_of_a_large_request_is_filled_up_too():
    bench = Bench(padding=spans_to((2, 4)), inline_rows=4)
    assert column(await bench.ask(1, 2, 3, 4, 5)) == [2, 4, 6, 8, 10]
    assert bench.model.calls == [[1, 2, 3, 4], [5, 5]]


async def test_a_request_of_too_many_rows_is_refused_at_once_and_nobody_else():
    bench = Bench(max_request_rows=4, inline_rows=4)
    large, small = bench.ask(1, 2, 3, 4, 5), bench.ask(6)
    with pytest.raises(InvalidRequestError, match=r"^Task size 5 is larger than maximum input batch size 4$"):
        await large
    assert column(await small) == [12]
    assert column(await bench.ask(1, 2, 3, 4)) == [2, 4, 6, 8]
    assert bench.queue.queue_rows == 0


async def test_requests_of_signatures_that_share_no_calls_may_have_any_number_of_rows():
    bench = Bench(max_request_rows=4, batched=False, inline_rows=8)
    assert column(await bench.ask(1, 2, 3, 4, 5)) == [2, 4, 6, 8, 10]


async def test_requests_may_have_more_rows_than_calls():
    bench = Bench(max_request_rows=6, max_batch_rows=2, inline_rows=2)
    assert column(await bench.ask(1, 2, 3, 4, 5)) == [2, 4, 6, 8, 10]
    assert [len(call) for call in bench.model.calls] == [2, 2, 1]


def rows_of(*values):
    return {"x": np.array(values, np.float32)}


async def test_rows_of_different_sizes_share_a_call_filled_up_with_their_own_first_element():
    bench = Bench(Sums(), pads_inputs=True, inline_rows=4)
    answers = await asyncio.gather(
        bench.ask(inputs=rows_of([1, 2, 3])), bench.ask(inputs=rows_of([5], [6])), bench.ask(inputs=rows_of([7, 8]))
    )
    [seen] = bench.model.seen
    assert seen.tolist() == [[1, 2, 3], [5, 5, 5], [6, 5, 5], [7, 8, 7]]
    assert [column(answer) for answer in answers] == [[6], [15, 16], [22]]


async def test_without_it_they_do_not_meet():
    bench = Bench(Sums(), inline_rows=4)
    await asyncio.gather(bench.ask(inputs=rows_of([1, 2, 3])), bench.ask(inputs=rows_of([5])))
    assert [seen.shape for seen in bench.model.seen] == [(1, 3), (1, 1)]


async def test_rows_are_filled_up_and_so_is_the_call():
    bench = Bench(Sums(), pads_inputs=True, padding=spans_to((4,)), inline_rows=4)
    answers = await asyncio.gather(bench.ask(inputs=rows_of([1, 2])), bench.ask(inputs=rows_of([3])))
    [seen] = bench.model.seen
    assert seen.tolist() == [[1, 2], [3, 3], [3, 3], [3, 3]]
    assert [column(answer) for answer in answers] == [[3], [6]]


async def test_a_bad_row_of_another_size_hurts_nobody_else_and_alone_nobody_is_filled_up():
    bench = Bench(Sums(), pads_inputs=True, inline_rows=4)
    good, bad = bench.ask(inputs=rows_of([1, 2, 3])), bench.ask(inputs=rows_of([13]))
    with pytest.raises(InvalidRequestError, match="bad luck"):
        await bad
    assert column(await good) == [6]
    assert [seen.shape for seen in bench.model.seen] == [(2, 3), (1, 3), (1, 1)]


async def test_one_large_row_makes_no_giant_of_many_small_ones():
    bench = Bench(
        Sums(), pads_inputs=True, max_batch_rows=64, max_queue_rows=64, inline_rows=64, padding=spans_to((4, 64))
    )
    large, small = np.ones((1, 100_000), np.float32), np.ones((50, 1), np.float32)
    answers = await asyncio.gather(*[bench.ask(inputs={"x": x}) for x in (large, small, np.float32([[2, 3]]))])
    assert [column(answer)[-1] for answer in answers] == [100_000, 1, 5]
    assert [seen.shape for seen in bench.model.seen] == [(4, 100_000), (64, 1), (4, 2)]


async def test_texts_are_filled_up_and_not_kept():
    bench = Bench(Sums(), pads_inputs=True, inline_rows=4)
    texts = [np.array([[b"a", b"b"]], object), np.array([[b"c"]], object), np.empty((1, 0), object)]
    answers = await asyncio.gather(*[bench.ask(inputs={"x": text}) for text in texts])
    assert [column(answer) for answer in answers] == [[b"ab"], [b"cc"], [b""]]
    assert not bench.queue._execution._buffers


async def test_the_size_after_filling_up_decides_where_a_call_runs():
    bench = Bench(Sums(), pads_inputs=True, inline_rows=4, inline_elements=4)
    small = [bench.ask(inputs=rows_of([1, 2])), bench.ask(inputs=rows_of([1]))]
    await asyncio.gather(*small)
    large = [bench.ask(inputs=rows_of([1, 2, 3])), bench.ask(inputs=rows_of([1]))]
    await settle()
    assert len(bench.executor.calls) == 1
    await bench.executor.run_next()
    await asyncio.gather(*large)


SHAPES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5)


@given(SHAPES, st.sampled_from([np.float32, np.int8, np.bool_, object]))
def test_every_part_is_found_again_and_the_rest_is_its_first_element(shapes, dtype):
    parts = [np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype) for shape in shapes]
    row = common_shape(parts)
    whole = fill_up(parts, np.empty((sum(map(len, parts)), *row), dtype))
    start = 0
    for part in parts:
        rows = whole[start : start + len(part)].copy()
        assert np.array_equal(rows[:, : part.shape[1], : part.shape[2]], part)
        rows[:, : part.shape[1], : part.shape[2]] = part.flat[0] if part.size else 0
        filler = part.flat[0] if part.size else (b"" if dtype is object else 0)
        assert part.size == 0 or (rows == filler).all()
        start += len(part)
    assert elements_filled_up([{"x": part} for part in parts], 7) == 7 * row[0] * row[1]


def test_no_more_calls_run_at_once_than_there_are_slots():
    slots = CallSlots(2)
    running, most = 0, 0
    lock, enough = threading.Lock(), threading.Barrier(2, timeout=20)

    def call():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        enough.wait()
        with lock:
            running -= 1

    with ThreadPoolExecutor(4) as threads:
        limited = slots.of(threads)
        for future in [limited.submit(call) for _ in range(8)]:
            future.result(20)
    assert most == 2


def test_a_call_that_fails_gives_its_slot_back():
    slots = CallSlots(1)
    with ThreadPoolExecutor(1) as threads:
        limited = slots.of(threads)
        with pytest.raises(ZeroDivisionError):
            limited.submit(lambda: 1 / 0).result(20)
        assert limited.submit(max, 1, 2).result(20) == 2


async def test_models_that_take_one_size_only_are_served():
    class EightOnly(Model):
        def __call__(self, inputs):
            assert len(inputs["x"]) == 8
            return super().__call__(inputs)

    bench = Bench(EightOnly(), padding=spans_to((8,)), max_batch_rows=8, inline_rows=8)
    assert column(await bench.ask(1, 2)) == [2, 4]
