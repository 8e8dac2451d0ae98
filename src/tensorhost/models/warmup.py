"""What a version goes through before it serves: warm-up runs, the proof that rows may be batched, and timing.

Runs on the loader's thread, against a runtime nobody else calls yet. It decides nothing about loading; it returns a
plan per signature, and the plan says why.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError, TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.models.synthesis import candidates
from tensorhost.runtimes.base import Runtime

_PROOF_ROWS = 5
_SLOW_CALL_S = 1.0
"""A call slower than this is warmed once, whatever the number of iterations asked for."""

_TOLERANCE = {DType.FLOAT64: 1e-9, DType.FLOAT32: 1e-4, DType.FLOAT16: 2e-2, DType.BFLOAT16: 5e-2}
"""Relative to the largest value: rounding depends on how many rows are computed together."""


class RowSource(Protocol):
    """Gives inputs of any number of rows."""

    def rows(self, count: int) -> Tensors:
        """Inputs of ``count`` rows; the first rows are always the same."""


@dataclass(frozen=True, slots=True)
class WarmupOptions:
    """How to warm up one signature. ``threshold_s``: calls faster than this run on the event loop.

    With no iterations nothing is timed, and every call runs on the servable's thread.
    """

    iterations: int
    max_batch_rows: int
    batching: bool
    threshold_s: float


@dataclass(frozen=True, slots=True)
class SignaturePlan:
    """What warm-up found out about one signature.

    Attributes:
        batched: whether rows of several requests share a call.
        reason: why not; empty when batched.
        inline_rows: calls of at most this many rows are fast enough for the event loop.
        call_s: median seconds per call, by rows.
        warmed: whether the model has run.
        problem: why warm-up could not be done; empty when it could.
    """

    batched: bool
    reason: str = ""
    inline_rows: int = 0
    call_s: dict[int, float] = field(default_factory=dict)
    warmed: bool = False
    problem: str = ""


class ExampleRows:
    """Rows from examples the model ships, repeated as often as needed."""

    def __init__(self, example: Tensors, signature: Signature) -> None:
        self._example = example
        self._signature = signature

    def rows(self, count: int) -> Tensors:
        """The example's rows, cut or repeated to ``count``; inputs without a free first dimension as they are."""
        return {
            name: np.resize(array, (count, *array.shape[1:])) if self._signature.inputs[name].is_batchable else array
            for name, array in self._example.items()
        }


def warm_up(
    runtime: Runtime, signature: Signature, options: WarmupOptions, examples: Sequence[Tensors] = ()
) -> SignaturePlan:
    """Run ``signature`` at the batch sizes it will serve, prove or refuse batching, and time it.

    Args:
        runtime: the loaded version.
        signature: one of its signatures.
        options: what to do.
        examples: inputs shipped with the model; without any they are made up from the signature.

    Raises:
        ModelFailedError, OutOfMemoryError: the model itself failed, or refused an example of its own.
    """
    batching, reason = _batching_asked(signature, options)
    source = _find_source(runtime, signature, examples)
    if isinstance(source, str):
        return SignaturePlan(batched=False, reason=reason or "Not proved: " + source, problem=source)
    sizes = _batch_sizes(options.max_batch_rows) if batching else [1]
    if options.iterations == 0:
        # Not timed, so nothing is known to be fast enough for the event loop; the proof is never skipped.
        sizes = []
    call_s = {size: _time(runtime, signature, source.rows(size), options.iterations) for size in sizes}
    if batching:
        reason = _disproof(runtime, signature, source, options.max_batch_rows)
    return SignaturePlan(
        batched=not reason,
        reason=reason,
        inline_rows=_inline_rows(call_s, options.threshold_s),
        call_s=call_s,
        warmed=True,
    )


def _batching_asked(signature: Signature, options: WarmupOptions) -> tuple[bool, str]:
    if not options.batching:
        return False, "Batching is switched off for this model."
    if options.max_batch_rows == 1:
        return False, "The largest batch is one row."
    if not signature.may_batch:
        return False, "Not every input and output has a free first dimension."
    return True, ""


def _find_source(runtime: Runtime, signature: Signature, examples: Sequence[Tensors]) -> RowSource | str:
    """Where warm-up rows come from, or why there are none."""
    for example in examples:
        try:
            runtime.run(signature.name, example)
        except TensorhostError as error:
            raise ModelFailedError(f"The model refused its own warm-up example: {error.message}") from error
        return ExampleRows(example, signature)
    refusal = ""
    for candidate in candidates(signature):
        try:
            runtime.run(signature.name, candidate.rows(1))
        except InvalidRequestError as error:
            refusal = refusal or error.message
            continue
        return candidate
    return f"the model refused every made-up input; ship warm-up examples ({refusal})"


def _batch_sizes(largest: int) -> list[int]:
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return [*sizes, largest]


def _time(runtime: Runtime, signature: Signature, inputs: Tensors, iterations: int) -> float:
    durations: list[float] = []
    while len(durations) < iterations and not (durations and durations[-1] > _SLOW_CALL_S):
        start = time.perf_counter()
        runtime.run(signature.name, inputs)
        durations.append(time.perf_counter() - start)
    # The first call pays for allocation and for kernels chosen at run time.
    return statistics.median(durations[1:] or durations)


def _inline_rows(call_s: dict[int, float], threshold_s: float) -> int:
    inline_rows = 0
    for rows, seconds in sorted(call_s.items()):
        if seconds >= threshold_s:
            break
        inline_rows = rows
    return inline_rows


def _disproof(runtime: Runtime, signature: Signature, source: RowSource, max_batch_rows: int) -> str:
    """Why rows may not share a call; empty when rows alone and rows together agree."""
    count = min(_PROOF_ROWS, max_batch_rows)
    rows = source.rows(max_batch_rows)
    alone = [
        runtime.run(signature.name, {name: array[i : i + 1] for name, array in rows.items()}) for i in range(count)
    ]
    for size in sorted({count, max_batch_rows}):
        together = runtime.run(signature.name, {name: array[:size] for name, array in rows.items()})
        for name, array in together.items():
            if array.ndim == 0 or array.shape[0] != size:
                return f"Output '{name}' does not have one row for each row of input."
            for index in range(count):
                if not _agree(alone[index][name][0:1], array[index : index + 1]):
                    return f"Rows of output '{name}' depend on what else is in the batch."
    return ""


def _agree(alone: Array, together: Array) -> bool:
    if alone.shape != together.shape:
        return False
    dtype = DType.of(alone)
    if not (dtype.is_floating or dtype.is_complex):
        return bool(np.array_equal(alone, together))
    tolerance = _TOLERANCE.get(dtype, 1e-4 if dtype.is_complex else 0.25)
    wide = np.complex128 if dtype.is_complex else np.float64
    first, second = alone.astype(wide), together.astype(wide)
    finite = np.abs(first[np.isfinite(first)])
    scale = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(first, second, rtol=tolerance, atol=tolerance * scale, equal_nan=True))
