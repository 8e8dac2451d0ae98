"""What a batch queue is told: how requests are batched, and whom it tells of what it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tensorhost.batching.entries import Batch
from tensorhost.batching.execution import Waiter
from tensorhost.batching.padding import Span
from tensorhost.batching.rows import Outcome
from tensorhost.core.requests import MergeTimes

OnBatch = Callable[[int, str, float, MergeTimes | None], None]
"""Told of each call: rows, why the batch closed, seconds, and those of them for merging if there was anything to."""

OnCall = Callable[[Batch[Waiter], Sequence[Outcome], float, float], None]
"""Told of each call with everything in it: the batch, what became of its slices, when it began, seconds."""

OnLate = Callable[[int], None]
"""Told how many requests a call has answered with outputs after the latency goal."""

OnMove = Callable[[int, int, float], None]
"""Told when other calls than before run on the event loop: of how many rows at most, before and now, and the seconds of
the call that brought it about."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How a signature is batched.

    Calls of at most ``inline_rows`` rows, and of at most ``inline_elements`` elements unless that is None, run on the
    event loop, as long as they keep to about ``inline_s`` seconds (``inlining``). ``target_latency_s`` is the latency
    goal, 0 for none; ``call_s`` the seconds a call took at warm-up, by rows; batches are filled up as ``padding`` says.
    Of more rows than ``max_request_rows`` no request is taken, unless that is None or the signature is not batched.
    ``pads_inputs``: rows of different sizes share calls, the smaller filled up.
    """

    batched: bool
    max_batch_rows: int
    batch_timeout_s: float
    max_queue_rows: int
    inline_rows: int
    inline_elements: int | None = None
    inline_s: float = math.inf
    target_latency_s: float = 0.0
    call_s: Mapping[int, float] = field(default_factory=dict)
    padding: Sequence[Span] = ()
    max_request_rows: int | None = None
    pads_inputs: bool = False
