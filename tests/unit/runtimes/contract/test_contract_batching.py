"""The proof that rows may share a call: found for models whose rows are independent, refused for the others."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from contract_case import PROVED

from tensorhost.batching import BatchQueue, QueueOptions, Span
from tensorhost.core.closeness import agree
from tensorhost.core.requests import Timings
from tensorhost.models.warmup import WarmupOptions, warm_up

MAX_ROWS = 8


@pytest.mark.parametrize("iterations", [0, 2])
def test_rows_are_proved_independent_or_refused_with_a_reason(bench, batch_case, iterations):
    runtime = bench.tuned(batch_case)
    options = WarmupOptions(iterations=iterations, max_batch_rows=MAX_ROWS, batching=True, threshold_s=1.0)
    for name, signature in runtime.signatures.items():
        plan = warm_up(runtime, signature, options)
        assert runtime.call_path(name)
        reason = batch_case.proof(name)
        if reason is None:
            continue
        assert (plan.problem, plan.warmed) == ("", True)
        assert plan.batched is (reason == PROVED)
        assert reason in plan.reason
        assert bool(reason) == bool(plan.reason)
        sizes = [1, 2, 4, MAX_ROWS] if plan.batched else [1]
        assert sorted(plan.call_s) == (sizes if iterations else [])


async def test_batches_that_are_filled_up_answer_as_those_that_are_not(bench, batch_case):
    runtime = bench.tuned(batch_case)
    for name, signature in runtime.signatures.items():
        if batch_case.proof(name) != PROVED or not signature.may_batch:
            continue
        inputs = batch_case.inputs(name, 3)
        answers = []
        for padding in ((), (Span(2, MAX_ROWS),)):
            options = QueueOptions(
                batched=True,
                max_batch_rows=MAX_ROWS,
                batch_timeout_s=0.0,
                max_queue_rows=MAX_ROWS,
                inline_rows=MAX_ROWS,
                padding=padding,
            )
            sizes: list[int] = []

            def run(merged, name=name, sizes=sizes):
                sizes.append(len(next(iter(merged.values()))))
                return runtime.run(name, merged)

            with ThreadPoolExecutor(1) as executor:
                queue = BatchQueue(run, options, executor, lambda *_batch: None)
                rows = [{key: array[row : row + 1] for key, array in inputs.items()} for row in range(3)]
                asked = [queue.call(row, rows=1, deadline=math.inf, timings=Timings()) for row in rows]
                answers.append(await asyncio.gather(*asked))
            assert sizes == [MAX_ROWS if padding else 3]
        for plain, filled_up in zip(*answers, strict=True):
            for key, array in plain.items():
                assert filled_up[key].shape == array.shape
                assert agree(array, filled_up[key], 1e-4)
