"""Whether a signature whose file says one row takes any number of them.

Converters write a first dimension of 1 into most files, though the operations would compute more rows as well; some
graphs refuse that, some compute nonsense. So it is tried: two rows together must answer as each alone. What must stay
true: in doubt the answer is no, since then the model merely serves one row a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from tensorhost.core.closeness import agree
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, TensorhostError
from tensorhost.core.tensors import Array, Tensors, TensorSpec, element_count
from tensorhost.runtimes.litert.signatures import BoundSignature, Port

Run = Callable[[Tensors], dict[str, Array]]
"""Calls the signature."""

_FREE_DIMENSIONS = (8, 32, 224, 1)
"""Sizes tried for the other dimensions that a file leaves open."""

_SCALES = (1.0, 255.0)
"""Largest value of made-up inputs: models expect numbers up to one, or pixels."""

_LARGEST_ROW_ELEMENTS = 2**24
_TOLERANCE = 1e-4
"""Relative to the largest value: rounding depends on how many rows are computed together."""


def rows_are_free(bound: BoundSignature, run: Run) -> bool:
    """Whether ``bound``, called by ``run``, computes two rows together as it does each alone."""
    if not _may_be_free(bound):
        return False
    for pair in _pairs(bound):
        try:
            alone = [run({name: array[row : row + 1] for name, array in pair.items()}) for row in (0, 1)]
        except InvalidRequestError:
            continue
        except TensorhostError:
            return False
        if all(np.array_equal(array, alone[1][name]) for name, array in alone[0].items()):
            continue  # rows that answer alike would not show that they were mixed up
        try:
            together = run(pair)
        except TensorhostError:
            return False
        return all(_agree(array, [answer[name] for answer in alone]) for name, array in together.items())
    return False


def _may_be_free(bound: BoundSignature) -> bool:
    specs = [port.spec for port in (*bound.inputs, *bound.outputs)]
    if not bound.inputs or all(spec.is_batchable for spec in specs):
        return False
    return all(spec.shape and spec.shape[0] in (1, None) for spec in specs)


def _pairs(bound: BoundSignature) -> Iterator[Tensors]:
    """Two rows of made-up inputs, in several ways."""
    open_ended = any(None in (port.spec.shape or ())[1:] for port in bound.inputs)
    for size, scale in product(_FREE_DIMENSIONS if open_ended else _FREE_DIMENSIONS[:1], _SCALES):
        shapes = {port.spec.name: _shape(port.spec, size) for port in bound.inputs}
        if max(map(element_count, shapes.values())) <= _LARGEST_ROW_ELEMENTS:
            rng = np.random.default_rng(0)
            yield {port.spec.name: _made_up(port, shapes[port.spec.name], scale, rng) for port in bound.inputs}


def _shape(spec: TensorSpec, size: int) -> tuple[int, ...]:
    return (2, *(size if wanted is None else wanted for wanted in (spec.shape or ())[1:]))


def _made_up(port: Port, shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Array:
    dtype = port.spec.dtype
    if dtype is DType.STRING:
        texts = np.empty(shape, dtype=object)
        for position in np.ndindex(shape):
            texts[position] = b"tensorhost warms up"[: 19 - sum(position) % 4]
        return texts
    if dtype is DType.BOOL or dtype.is_integer:
        # 0 and 1 are valid indices of almost any table; what stands for real values may be anything.
        limits = np.iinfo(dtype.numpy) if port.is_quantised and dtype.is_integer else None
        low, high = (0, 1) if limits is None else (limits.min, limits.max)
        return rng.integers(low, high, size=shape, endpoint=True).astype(dtype.numpy)
    return (rng.random(shape) * scale).astype(dtype.numpy)


def _agree(together: Array, alone: list[Array]) -> bool:
    if together.shape[:1] != (2,) or any(array.shape != (1, *together.shape[1:]) for array in alone):
        return False
    return agree(np.concatenate(alone), together, _TOLERANCE)
