"""What a version goes through before it serves: warm-up runs, the proof that rows may be batched, and timing.

Runs on the loader's thread, against a runtime nobody else calls yet. It decides nothing about loading; it returns a
plan per signature, and the plan says why.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from tensorhost.batching.padding import Span, spans_to
from tensorhost.core.closeness import agree
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError, TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.models.padding_trial import find_spans
from tensorhost.models.synthesis import Ranges, candidates
from tensorhost.runtimes.base import Runtime

_PROOF_ROWS = 5
_MAX_INPUT_BYTES = 2**28
_SIZE_BUDGET_S = 0.5
"""No further run of a batch size begins after this long, whatever the number of iterations asked for."""

_TOLERANCE = {DType.FLOAT64: 1e-9, DType.FLOAT32: 1e-4, DType.FLOAT16: 2e-2, DType.BFLOAT16: 5e-2}
"""Relative to the largest value: rounding depends on how many rows are computed together."""


class RowSource(Protocol):
    """Gives inputs of any number of rows."""

    def rows(self, count: int) -> Tensors:
        """Inputs of ``count`` rows; the first rows are always the same."""


@dataclass(frozen=True, slots=True)
class WarmupOptions:
    """How to warm up one signature. ``threshold_s``: calls faster than this run on the event loop.

    With no iterations nothing is timed, and every call runs on the servable's thread. ``ranges`` are of made-up inputs.
    ``record_iterations`` is how often each recorded request of the version is run first; 0 leaves them unread.
    ``allowed_sizes`` are the rows that calls may have, rising; empty for any.
    """

    iterations: int
    max_batch_rows: int
    batching: bool
    threshold_s: float
    ranges: Ranges = field(default_factory=dict)
    record_iterations: int = 0
    allowed_sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SignaturePlan:
    """What warm-up found out about one signature.

    Attributes:
        batched: whether rows of several requests share a call.
        reason: why not; empty when batched.
        inline_rows: calls of at most this many rows are fast enough for the event loop.
        inline_elements: and of at most this many elements, where rows may be of any size; None where they may not.
        call_s: median seconds per call, by rows.
        padding: which batches are filled up to a size that the runtime likes better.
        warmed: whether the model has run.
        problem: why warm-up could not be done; empty when it could.
    """

    batched: bool
    reason: str = ""
    inline_rows: int = 0
    inline_elements: int | None = None
    call_s: dict[int, float] = field(default_factory=dict)
    warmed: bool = False
    problem: str = ""
    padding: tuple[Span, ...] = ()


class ExampleRows:
    """Rows from examples the model ships, those of one inner shape together, repeated as often as needed."""

    def __init__(self, examples: Sequence[Tensors], signature: Signature) -> None:
        first = examples[0]
        alike = [
            example
            for example in examples
            if all(array.shape[1:] == first[name].shape[1:] for name, array in example.items())
        ]
        self._signature = signature
        self._inputs = {
            name: np.concatenate([example[name] for example in alike]) if spec.is_batchable else first[name]
            for name, spec in signature.inputs.items()
        }

    def rows(self, count: int) -> Tensors:
        """The examples' rows, cut or repeated to ``count``; inputs without a free first dimension as they are."""
        return {
            name: array[np.arange(count) % len(array)] if self._signature.inputs[name].is_batchable else array
            for name, array in self._inputs.items()
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
    reason = _batching_refused(signature, options)
    source = _find_source(runtime, signature, options.ranges, examples)
    if isinstance(source, str):
        return SignaturePlan(batched=False, reason=reason or "Not proved: " + source, problem=source)
    if not reason:
        reason = _disproof(runtime, signature, source, options)
    sizes = [1] if reason else _sizes_to_serve(source, options)
    if options.iterations == 0:
        # Not timed, so nothing is known to be fast enough for the event loop; the proof is never skipped.
        sizes = []
    if sizes:
        runtime.tune(signature.name, [source.rows(size) for size in sizes])
    call_s = {size: _time(runtime, signature, source.rows(size), options.iterations) for size in sizes}
    inline_rows = _inline_rows(call_s, options.threshold_s)
    if options.allowed_sizes and not reason:
        padding = spans_to(options.allowed_sizes)
    else:
        run = partial(runtime.run, signature.name)
        padding = find_spans(run, source.rows, call_s, options.iterations)
    return SignaturePlan(
        batched=not reason,
        reason=reason,
        inline_rows=inline_rows,
        inline_elements=_element_limit(signature, source, inline_rows),
        call_s=call_s,
        warmed=True,
        padding=padding,
    )


def run_first(runtime: Runtime, signature: Signature, options: WarmupOptions, examples: Sequence[Tensors] = ()) -> None:
    """Run ``signature`` as warm-up will first: with each example or made-up input, then with the largest batch.

    For finding out whether that crashes and how much memory it takes; nothing is proved or timed. Arguments and
    errors are those of ``warm_up``.
    """
    source = _find_source(runtime, signature, options.ranges, examples)
    if isinstance(source, str) or _batching_refused(signature, options):
        return
    with contextlib.suppress(TensorhostError):  # a model that refuses rows together is served row by row
        runtime.run(signature.name, source.rows(_affordable_rows(source, options.max_batch_rows)))


def sample_sizes(
    runtime: Runtime, signature: Signature, options: WarmupOptions, examples: Sequence[Tensors] = ()
) -> dict[int, Tensors]:
    """Inputs of each batch size that will be timed, by rows; nothing where none can be made up.

    Arguments and errors are those of ``warm_up``.
    """
    source = _find_source(runtime, signature, options.ranges, examples)
    if isinstance(source, str):
        return {}
    if _batching_refused(signature, options):
        return {1: source.rows(1)}
    return {size: source.rows(size) for size in _sizes_to_serve(source, options)}


def _batching_refused(signature: Signature, options: WarmupOptions) -> str:
    if not options.batching:
        return "Batching is switched off for this model."
    if options.max_batch_rows == 1:
        return "The largest batch is one row."
    if not signature.may_batch:
        return "Not every input and output has a free first dimension."
    return ""


def _find_source(
    runtime: Runtime, signature: Signature, ranges: Ranges, examples: Sequence[Tensors]
) -> RowSource | str:
    """Where warm-up rows come from, or why there are none."""
    for example in examples:
        if any(spec.is_batchable and not len(example[name]) for name, spec in signature.inputs.items()):
            raise ModelFailedError("A warm-up example has no rows.")
        try:
            runtime.run(signature.name, example)
        except TensorhostError as error:
            raise ModelFailedError(f"The model refused its own warm-up example: {error.message}") from error
    return ExampleRows(examples, signature) if examples else _made_up_source(runtime, signature, ranges)


def _made_up_source(runtime: Runtime, signature: Signature, ranges: Ranges) -> RowSource | str:
    refusal = ""
    takes_strings = any(spec.dtype.is_string for spec in signature.inputs.values())
    features = runtime.example_features(signature.name) if takes_strings else ()
    for candidate in candidates(signature, ranges=ranges, features=features):
        try:
            runtime.run(signature.name, candidate.rows(1))
        except InvalidRequestError as error:
            refusal = refusal or error.message
            continue
        return candidate
    refusal = refusal or "they would be too large"
    return f"the model refused every made-up input; ship warm-up examples ({refusal})"


def _affordable_rows(source: RowSource, max_batch_rows: int) -> int:
    """How many rows may be made up at once: the largest batch, unless that takes a lot of memory."""
    row_bytes = sum(array.nbytes for array in source.rows(1).values())
    return min(max_batch_rows, max(_PROOF_ROWS, _MAX_INPUT_BYTES // max(row_bytes, 1)))


def _sizes_to_serve(source: RowSource, options: WarmupOptions) -> list[int]:
    """The sizes that are tried: those that calls may have, or one and its doubles up to the largest."""
    largest = _affordable_rows(source, options.max_batch_rows)
    if options.allowed_sizes:
        return [size for size in options.allowed_sizes if size <= largest] or [options.allowed_sizes[0]]
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return [*sizes, largest]


def _time(runtime: Runtime, signature: Signature, inputs: Tensors, iterations: int) -> float:
    durations: list[float] = []
    while len(durations) < iterations and sum(durations) < _SIZE_BUDGET_S:
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


def _element_limit(signature: Signature, source: RowSource, rows: int) -> int | None:
    """Numbers in the inputs of the calls that were timed, where a request may bring rows of another size."""
    if all(spec.shape is not None and None not in spec.shape[1:] for spec in signature.inputs.values()):
        return None
    return sum(array.size for array in source.rows(max(rows, 1)).values())


def _disproof(runtime: Runtime, signature: Signature, source: RowSource, options: WarmupOptions) -> str:
    """Why rows may not share a call; empty when rows alone and rows together agree."""
    rows = source.rows(_affordable_rows(source, options.max_batch_rows))
    if not _rows_differ(rows):
        # Rows that are all alike prove nothing: a mean over the batch, say, is the same with one of them.
        made_up = _made_up_source(runtime, signature, options.ranges)
        if not isinstance(made_up, str):
            rows = made_up.rows(_affordable_rows(made_up, options.max_batch_rows))
        if not _rows_differ(rows):
            return "Not proved: all rows of input are alike; ship warm-up examples with different rows."
    try:
        return _disagreement(runtime, signature, rows)
    except TensorhostError as error:
        return f"The model takes rows alone and refuses them together: {error.message}"


def _rows_differ(rows: Tensors) -> bool:
    return any(not np.array_equal(array[0], row) for array in rows.values() for row in array[1:_PROOF_ROWS])


def _disagreement(runtime: Runtime, signature: Signature, rows: Tensors) -> str:
    largest = len(next(iter(rows.values())))
    count = min(_PROOF_ROWS, largest)
    alone = [
        runtime.run(signature.name, {name: array[i : i + 1] for name, array in rows.items()}) for i in range(count)
    ]
    for size in sorted({count, largest}):
        together = runtime.run(signature.name, {name: array[:size] for name, array in rows.items()})
        for name, array in together.items():
            if array.ndim == 0 or array.shape[0] != size:
                return f"Output '{name}' does not have one row for each row of input."
            for index in range(count):
                if not _agree(alone[index][name][0:1], array[index : index + 1]):
                    return f"Rows of output '{name}' depend on what else is in the batch."
    return ""


def _agree(alone: Array, together: Array) -> bool:
    dtype = DType.of(alone)
    tolerance = _TOLERANCE.get(dtype, 1e-4 if dtype.is_complex else 0.25)
    return alone.shape == together.shape and agree(alone, together, tolerance)
