"""A loaded TensorFlow Lite model: signatures called on interpreters from pools.

Two pools where it may pay: one whose interpreters use every core inside an operation, one whose interpreters keep to
the calling thread; ``tune`` finds out up to how many rows the latter is as good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.base import LoadedModel
from tensorhost.runtimes.litert.calls import SignatureCall
from tensorhost.runtimes.litert.interpreter import Pool

CALLS_AT_ONCE = 2
"""Calls that a server makes at once of a model with several signatures: a long one in the model's own thread, a short
one on the event loop, which must neither wait for the other nor make an interpreter. Of one signature it makes one."""

_CLEARLY_FASTER = 1.3
_RACE_TURNS = 9
_LONGEST_RACE_S = 0.2


class LiteRTRuntime(LoadedModel):
    """A loaded model. See ``Runtime``.

    Args:
        calls: by signature, the default one first.
        refused: signatures left out, with the reason.
        pool: interpreters with as many threads as asked for.
        sequential: interpreters with one thread, None where ``pool`` is that already.
        path: how signatures are called, for the metadata.
        weights_bytes: bytes of the file's constants.
    """

    name = "litert"

    def __init__(
        self,
        calls: Sequence[SignatureCall],
        refused: Mapping[str, str],
        pool: Pool,
        sequential: Pool | None,
        path: str,
        weights_bytes: int,
    ) -> None:
        super().__init__({call.bound.signature.name: call.bound.signature for call in calls}, refused, weights_bytes)
        self._calls = {call.bound.signature.name: call for call in calls}
        self._pool = pool
        self._sequential = sequential
        self._path = path

    def call_path(self, signature: str) -> str:
        """How this signature is called."""
        rows = self._calls[signature].sequential_rows
        return f"{self._path}, operations in one thread up to {rows} rows" if rows else self._path

    def tune(self, signature: str, samples: Sequence[Tensors]) -> None:
        """Keep to one thread up to the first sample that several serve clearly faster; see ``Runtime.tune``.

        Clearly, since one thread leaves the other cores to other requests. Interpreters for calls at once are made too.
        """
        for pool in (self._pool, self._sequential):
            if pool is not None and len(self._calls) > 1:
                pool.reserve(CALLS_AT_ONCE)
        call = self._calls[signature]
        call.sequential_rows = 0
        if self._sequential is None:
            return
        for sample in samples:
            inputs = call.prepare(sample)
            alone_s, together_s = _race(call, (self._sequential, self._pool), inputs)
            if alone_s > _CLEARLY_FASTER * together_s:
                break
            call.sequential_rows = call.rows(inputs)

    def run(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call; see ``Runtime.run``."""
        call = self._calls[signature]
        pool = self._pool
        if self._sequential is not None and call.rows(inputs) <= call.sequential_rows:
            pool = self._sequential
        return run_on(pool, call, call.prepare(inputs))

    def close(self) -> None:
        """Drop the interpreters and the file. No call may be running or follow."""
        self._calls.clear()
        self._pool.close()
        if self._sequential is not None:
            self._sequential.close()


def run_on(pool: Pool, call: SignatureCall, prepared: Tensors) -> dict[str, Array]:
    """Call with inputs that were prepared, on a lane of ``pool``. Raises what ``call`` raises."""
    lane = pool.take()
    try:
        outputs = call.run(lane, prepared)
    except BaseException:
        pool.discard()
        raise
    pool.give(lane)
    return outputs


def _race(call: SignatureCall, pools: tuple[Pool, Pool], inputs: Tensors) -> tuple[float, float]:
    """Seconds that a call takes on a lane of each pool, the least of several turns."""
    best = [math.inf, math.inf]
    started = time.perf_counter()
    for turn in range(_RACE_TURNS):
        for number, pool in enumerate(pools):
            before = time.perf_counter()
            run_on(pool, call, inputs)
            best[number] = min(best[number], time.perf_counter() - before)
        if turn and time.perf_counter() - started > _LONGEST_RACE_S:
            break
    return best[0], best[1]
