"""Inputs made up from a signature, for warming a model that ships no examples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors, TensorSpec, element_count
from tensorhost.models.made_up_examples import made_up_example
from tensorhost.runtimes.base import ExampleFeature

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
"""Least and largest value of an input, by its name."""

_FREE_DIMENSIONS = (8, 32, 224, 1)
"""Sizes tried for dimensions the signature leaves open: short sequences, then images, then one."""

_STRINGS = (b"tensorhost warms up", b"")
"""Text for text models; an empty string is a valid, empty tf.Example."""

_EVERYDAY = (0.0, 255.0)
_EDGES = (-1, 7, 2**24 - 1, 2**24 + 1, 2**24 + 3)

_MAX_ROW_ELEMENTS = 2**24
"""A row larger than this is not made up: five free dimensions at 224 would be four terabytes."""

_UNKNOWN_RANKS: tuple[tuple[int, ...], ...] = ((), (8,), (8, 8, 3))


def candidates(
    signature: Signature, seed: int = 0, ranges: Ranges | None = None, features: Sequence[ExampleFeature] = ()
) -> Iterator[Candidate]:
    """Ways of making inputs up, the most usual first: a model may refuse one and take another.

    Args:
        signature: what for.
        seed: of the random numbers.
        ranges: of inputs whose values are known to lie between others than is usual.
        features: what the model parses out of strings, which are then Examples.
    """
    if features:
        yield Candidate(signature, _FREE_DIMENSIONS[0], (), b"", seed, ranges or {}, features)
    has_strings = any(spec.dtype is DType.STRING for spec in signature.inputs.values())
    has_free = any(spec.shape is None or None in spec.shape[1:] for spec in signature.inputs.values())
    sizes = _FREE_DIMENSIONS if has_free else _FREE_DIMENSIONS[:1]
    ranks = _UNKNOWN_RANKS if any(spec.shape is None for spec in signature.inputs.values()) else _UNKNOWN_RANKS[:1]
    strings = _STRINGS if has_strings else _STRINGS[:1]
    for text, size, inner in itertools.product(strings, sizes, ranks):
        candidate = Candidate(signature, size, inner, text, seed, ranges or {})
        if candidate.row_elements <= _MAX_ROW_ELEMENTS:
            yield candidate


def edge_draws(signature: Signature, like: Tensors, ranges: Ranges | None = None) -> Iterator[Tensors]:
    """Inputs at the edges of what may come, in the shapes of ``like``: where runtimes differ that agree in the middle.

    Pixels instead of shares; whole numbers below zero, around the largest that float32 holds exactly, and at the ends
    of their type; the ends of ``ranges`` and one beyond. A model may refuse any of them.
    """
    for seed, edges in enumerate((_small, _at_edges), start=1):
        rng = np.random.default_rng(seed)
        yield {
            name: edges(signature.inputs[name].dtype, array, rng, (ranges or {}).get(name))
            for name, array in like.items()
        }


def _small(dtype: DType, like: Array, rng: np.random.Generator, limits: tuple[float, float] | None) -> Array:
    """Numbers as large as pixels are, or within ``limits``."""
    if not (dtype.is_floating or dtype.is_integer):
        return like
    low, high = limits or _EVERYDAY
    if dtype.is_integer:
        low, high = max(low, _info(dtype).min), min(high, _info(dtype).max)
        return _between(dtype, like.shape, rng, low, high)
    drawn = _between(dtype, like.shape, rng, low, high)
    if limits is None:
        drawn[rng.random(like.shape) < 0.5] *= -1  # in place: an array without dimensions stays one
    return drawn


def _at_edges(dtype: DType, like: Array, rng: np.random.Generator, limits: tuple[float, float] | None) -> Array:
    """Whole numbers that are seldom tried; others as ``_small`` has them."""
    if not dtype.is_integer:
        return _small(dtype, like, rng, limits)
    least, most = _info(dtype).min, _info(dtype).max
    wanted = (int(limits[0]) - 1, int(limits[0]), int(limits[1]), int(limits[1]) + 1) if limits else _EDGES
    found = [value for value in (*wanted, *(() if limits else (least, most))) if least <= value <= most]
    drawn = np.empty(like.shape, dtype.numpy)
    drawn[...] = np.array(found, dtype.numpy)[rng.integers(0, len(found), size=like.shape)]
    return drawn


def _info(dtype: DType) -> Any:
    return ml_dtypes.iinfo(dtype.numpy)  # type: ignore[no-untyped-call]


class Candidate:
    """One way of making inputs up. The first rows are the same whatever the number of rows."""

    def __init__(
        self,
        signature: Signature,
        size: int,
        inner: tuple[int, ...],
        text: bytes,
        seed: int,
        ranges: Ranges,
        features: Sequence[ExampleFeature] = (),
    ) -> None:
        self._signature = signature
        self._size = size
        self._inner = inner
        self._text = text
        self._seed = seed
        self._ranges = ranges
        self._features = features

    def rows(self, count: int) -> Tensors:
        """Inputs of ``count`` rows where the signature has a free first dimension."""
        return {name: self._tensor(spec, count) for name, spec in self._signature.inputs.items()}

    @property
    def row_elements(self) -> int:
        """Elements of the largest input of one row, without making it."""
        return max((element_count(self._shape(spec, 1)) for spec in self._signature.inputs.values()), default=0)

    def _tensor(self, spec: TensorSpec, rows: int) -> Array:
        rng, shape = np.random.default_rng(self._seed), self._shape(spec, rows)
        if spec.name in self._ranges and (spec.dtype.is_floating or spec.dtype.is_integer):
            return _between(spec.dtype, shape, rng, *self._ranges[spec.name])
        if self._features and spec.dtype.is_string:
            return self._examples(shape)
        return _fill(spec.dtype, shape, rng, self._text)

    def _examples(self, shape: tuple[int, ...]) -> Array:
        array = np.empty(shape, dtype=object)
        flat = array.reshape(-1)
        for row in range(flat.size):
            flat[row] = made_up_example(self._features, self._seed, row)
        return array

    def _shape(self, spec: TensorSpec, rows: int) -> tuple[int, ...]:
        if spec.shape is None:
            return (rows, *self._inner)
        if not spec.shape:
            return ()
        first = rows if spec.shape[0] is None else spec.shape[0]
        return (first, *(self._size if size is None else size for size in spec.shape[1:]))


def _between(dtype: DType, shape: tuple[int, ...], rng: np.random.Generator, low: float, high: float) -> Array:
    """Values from ``low`` to ``high``, both included; whole numbers where the type has no others."""
    if dtype.is_integer:
        return np.asarray(rng.integers(int(low), int(high), size=shape, endpoint=True)).astype(dtype.numpy)
    return np.asarray(low + (high - low) * rng.random(shape)).astype(dtype.numpy)


def _fill(dtype: DType, shape: tuple[int, ...], rng: np.random.Generator, text: bytes) -> Array:
    if dtype is DType.STRING:
        array = np.empty(shape, dtype=object)
        for position in np.ndindex(shape):
            array[position] = text[: max(len(text) - sum(position) % 4, 0)]
        return array
    if dtype is DType.BOOL or dtype.is_integer:
        # 0 and 1 are valid indices of almost any table, and differ enough to tell rows apart.
        return rng.integers(0, 2, size=shape).astype(dtype.numpy)
    if dtype.is_complex:
        # Both parts from one draw: two would depend on how many rows there are.
        return rng.random((*shape, 2)).view(np.complex128).reshape(shape).astype(dtype.numpy)
    values = rng.random(shape)
    if values.ndim:
        # Every third row is negative: a model may decide by the sign of a sum over all rows, which shows only then.
        values[2::3] *= -1
    return values.astype(dtype.numpy)
