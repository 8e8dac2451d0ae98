"""Finds out, while a version warms up, whether batches should be filled up to the sizes that were timed.

Some runtimes prepare anew whenever the shape changes. So odd sizes and the next larger timed size are called in turns,
as they would come while serving, and filling up is chosen only where it is clearly faster than calling the odd sizes as
they are. A call that takes long is not tried: there the rows added cost more than any preparation. What the model fails
at here is no reason against it: batches of those sizes stay as they are.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from itertools import pairwise

from tensorhost.batching.padding import Span
from tensorhost.core.errors import TensorhostError
from tensorhost.core.tensors import Tensors

Run = Callable[[Tensors], object]
MakeRows = Callable[[int], Tensors]

_CLEARLY = 1.25
_LEAST_GAIN_S = 5e-5
_LONGEST_CALL_S = 0.05
_TRIAL_BUDGET_S = 0.25
"""No further turn begins after this long on one pair of sizes."""


def find_spans(run: Run, make_rows: MakeRows, call_s: Mapping[int, float], turns: int) -> tuple[Span, ...]:
    """Between which of the timed sizes batches should be filled up to the larger one.

    Args:
        run: makes one call.
        make_rows: inputs of so many rows.
        call_s: seconds by rows, of the sizes that were timed.
        turns: how often each size is timed, as far as time allows; the first turn does not count.
    """
    return tuple(
        Span(low, high)
        for low, high in pairwise(sorted(call_s))
        if high - low > 1 and call_s[high] <= _LONGEST_CALL_S and _pays(run, make_rows, low, high, turns)
    )


def _pays(run: Run, make_rows: MakeRows, low: int, high: int, turns: int) -> bool:
    odd = sorted({low + 1, (low + high) // 2, high - 1})
    as_they_are: list[float] = []
    filled_up: list[float] = []
    began = time.perf_counter()
    for turn in range(turns + 1):
        for rows in odd:
            try:
                seconds, filled_s = _timed(run, make_rows(rows)), _timed(run, make_rows(high))
            except TensorhostError:
                return False
            if turn:
                as_they_are.append(seconds)
                filled_up.append(filled_s)
        if turn and time.perf_counter() - began > _TRIAL_BUDGET_S:
            break
    if not filled_up:
        return False
    filled_s = statistics.median(filled_up)
    return statistics.median(as_they_are) > max(_CLEARLY * filled_s, filled_s + _LEAST_GAIN_S)


def _timed(run: Run, inputs: Tensors) -> float:
    before = time.perf_counter()
    run(inputs)
    return time.perf_counter() - before
