"""Whether two runtimes compute the same: run on the same inputs, one signature after the other.

What must stay true: inputs go to both in the same order, so that models that keep state can be compared; a model that
does not repeat itself is never called equal on the strength of its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from tensorhost.core.closeness import agree, scale_of, widened
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError, TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors, format_shape
from tensorhost.models.synthesis import Ranges, candidates, edge_draws
from tensorhost.models.warmup import ExampleRows, RowSource
from tensorhost.runtimes.base import Runtime

BATCH_ROWS = (1, 3, 8)
"""Batch sizes compared where a signature has any; where it has none, as many different inputs are."""


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How far an output of one runtime is from that of the other.

    Attributes:
        largest: largest absolute difference; 0 where the values are not numbers.
        scale: largest magnitude of the reference's values.
    """

    largest: float = 0.0
    scale: float = 0.0

    def joined(self, other: OutputDifference) -> OutputDifference:
        """The worse of both."""
        return OutputDifference(max(self.largest, other.largest), max(self.scale, other.scale))


@dataclass(frozen=True, slots=True)
class SignatureComparison:
    """What comparing one signature has shown.

    Attributes:
        signature: its name.
        calls: inputs on which both gave the same answer; 0 where no input could be made up.
        outputs: by name, how far apart they are.
        note: why values were not compared; empty when they were.
    """

    signature: str
    calls: int
    outputs: Mapping[str, OutputDifference] = field(default_factory=dict)
    note: str = ""


def compare(
    reference: Runtime,
    other: Runtime,
    signature: Signature,
    examples: Sequence[Tensors],
    tolerance: float | None,
    ranges: Ranges | None = None,
    *,
    edges: bool = False,
) -> SignatureComparison:
    """Run ``signature`` on both.

    Args:
        reference: the runtime that is right.
        other: the runtime to be judged; it must have the signature.
        signature: one of ``reference``'s.
        examples: inputs shipped with the model; without any they are made up.
        tolerance: largest difference allowed, relative to a value and to an output's largest value; None for any.
        ranges: of the values that are made up.
        edges: compare at the edges of what may come as well. What the reference refuses there, the other must refuse.

    Raises:
        ModelFailedError: they differ; the message says where and by how much.
    """
    found = _sources(reference, other, signature, examples, ranges)
    if isinstance(found, str):
        return SignatureComparison(signature.name, 0, note=found)
    outputs: dict[str, OutputDifference] = {}
    calls = 0
    note = ""
    like: Tensors = {}
    for inputs in found:
        like = inputs
        expected = reference.run(signature.name, inputs)
        try:
            actual = other.run(signature.name, inputs)
        except TensorhostError as error:
            raise _differs(signature, f"one answers and the other says: {error.message}") from error
        for name, array in expected.items():
            _check_kind(signature, name, array, actual)
            difference = difference_of(array, actual[name])
            if tolerance is None and not _as_finite(array, actual[name]):
                raise _differs(signature, f"values of output '{name}' are not finite in one of them")
            if tolerance is not None and not agree(array, actual[name], tolerance):
                if _repeats(reference, signature, inputs, name, array):
                    raise _differs(signature, _by_how_much(name, array, difference, tolerance))
                note = "the model gives another answer each time; only element types and shapes were compared"
            outputs[name] = outputs.get(name, OutputDifference()).joined(difference)
        calls += 1
    if edges and not note:
        calls += _compare_edges(reference, other, signature, edge_draws(signature, like, ranges), tolerance)
    return SignatureComparison(signature.name, calls, outputs, note)


def _compare_edges(
    reference: Runtime, other: Runtime, signature: Signature, draws: Iterator[Tensors], tolerance: float | None
) -> int:
    """How many draws both answered alike. Raises ModelFailedError where they differ, or one refuses what the other
    answers."""
    answered = 0
    for inputs in draws:
        try:
            expected = reference.run(signature.name, inputs)
        except TensorhostError as refusal:
            _check_refuses(other, signature, inputs, refusal)
            continue
        try:
            actual = other.run(signature.name, inputs)
        except TensorhostError as error:
            raise _differs(signature, f"one answers unusual values and the other says: {error.message}") from error
        for name, array in expected.items():
            _check_kind(signature, name, array, actual)
            if tolerance is not None and not agree(array, actual[name], tolerance):
                difference = difference_of(array, actual[name])
                raise _differs(signature, f"{_by_how_much(name, array, difference, tolerance)}, for unusual values")
        answered += 1
    return answered


def _check_refuses(other: Runtime, signature: Signature, inputs: Tensors, refusal: TensorhostError) -> None:
    if not isinstance(refusal, InvalidRequestError):
        return  # the reference broke down, which nobody need do as well
    try:
        other.run(signature.name, inputs)
    except TensorhostError:
        return
    raise _differs(signature, f"one answers values that the other refuses: {refusal.message}")


def difference_of(expected: Array, actual: Array) -> OutputDifference:
    """Largest difference and scale of two arrays of one dtype and shape; both 0 for strings."""
    if DType.of(expected) is DType.STRING:
        return OutputDifference()
    first, second = widened(expected), widened(actual)
    both = np.isfinite(first) & np.isfinite(second)
    gaps = np.abs(first[both] - second[both])
    return OutputDifference(float(gaps.max(initial=0.0)), scale_of(first))


def _sources(
    reference: Runtime, other: Runtime, signature: Signature, examples: Sequence[Tensors], ranges: Ranges | None
) -> Iterator[Tensors] | str:
    """Inputs for both, or why there are none."""
    if examples:
        return _rows([ExampleRows(examples, signature)] * len(BATCH_ROWS), signature)
    refusal = ""
    for index, candidate in enumerate(candidates(signature, ranges=ranges)):
        inputs = candidate.rows(1)
        with suppress(TensorhostError):  # it is judged later; state that a call changes must change in both
            other.run(signature.name, inputs)
        try:
            reference.run(signature.name, inputs)
        except InvalidRequestError as error:
            refusal = refusal or error.message
            continue
        seeds = range(1, len(BATCH_ROWS) + 1)
        return _rows([next(islice(candidates(signature, seed, ranges), index, None)) for seed in seeds], signature)
    return f"the model refused every made-up input; add warm-up examples ({refusal or 'too large'})"


def _rows(sources: Sequence[RowSource], signature: Signature) -> Iterator[Tensors]:
    batched = any(spec.is_batchable for spec in signature.inputs.values())
    for source, rows in zip(sources, BATCH_ROWS, strict=True):
        yield source.rows(rows if batched else 1)


def _check_kind(signature: Signature, name: str, expected: Array, actual: Tensors) -> None:
    if name not in actual:
        raise _differs(signature, f"output '{name}' is missing")
    other = actual[name]
    if expected.dtype != other.dtype or expected.shape != other.shape:
        raise _differs(
            signature,
            f"output '{name}' is {expected.dtype} {format_shape(expected.shape)} in one and {other.dtype} "
            f"{format_shape(other.shape)} in the other",
        )


def _as_finite(expected: Array, actual: Array) -> bool:
    """Whether both have numbers, infinities and no numbers in the same places."""
    dtype = DType.of(expected)
    if not (dtype.is_floating or dtype.is_complex):
        return True
    return bool(np.array_equal(np.isfinite(widened(expected)), np.isfinite(widened(actual))))


def _repeats(reference: Runtime, signature: Signature, inputs: Tensors, name: str, before: Array) -> bool:
    """Whether the reference answers the same again. One that keeps state may not, and is told by its call path."""
    if "variables" in reference.call_path(signature.name):
        return True
    again = reference.run(signature.name, inputs)[name]
    return again.shape == before.shape and agree(before, again, 0.0)


def _by_how_much(name: str, expected: Array, difference: OutputDifference, tolerance: float) -> str:
    dtype = DType.of(expected)
    if not (dtype.is_floating or dtype.is_complex):
        return f"output '{name}' has other values"
    return (
        f"output '{name}' is off by up to {difference.largest:.3g} where its largest value is {difference.scale:.3g} "
        f"(allowed: {tolerance:g} of it)"
    )


def _differs(signature: Signature, what: str) -> ModelFailedError:
    return ModelFailedError(f"The result differs from the model in signature '{signature.name}': {what}.")
