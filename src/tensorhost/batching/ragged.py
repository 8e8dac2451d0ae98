"""Rows of different sizes in one array: the smaller are filled up with their own first element. Pure.

What that element means to the model is the operator's to know; TensorFlow Serving fills up with the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tensorhost.core.tensors import Array, Tensors, element_count

_FEW_ELEMENTS = 2**20
_MOST_GROWTH = 8
"""Times what was sent that a call of more than ``_FEW_ELEMENTS`` may have."""


def common_shape(parts: Sequence[Array]) -> tuple[int, ...]:
    """The smallest shape of a row that every row of ``parts``, all of one rank, fits in."""
    return tuple(map(max, zip(*[part.shape[1:] for part in parts], strict=True)))


def elements_filled_up(requests: Sequence[Tensors], rows: int) -> int:
    """How many elements ``rows`` rows of these requests' inputs have once they are filled up."""
    return sum(rows * prod(common_shape([inputs[name] for inputs in requests])) for name in requests[0])


def is_mostly_filling(requests: Sequence[Tensors], rows: Sequence[int]) -> bool:
    """Whether a call of these requests would be large, and most of it elements that nobody sent.

    Args:
        requests: the inputs of each.
        rows: how many rows of each take part.
    """
    filled_up = elements_filled_up(requests, sum(rows))
    if filled_up <= _FEW_ELEMENTS:
        return False
    sent: int = sum(
        count * element_count(array.shape[1:])
        for inputs, count in zip(requests, rows, strict=True)
        for array in inputs.values()
    )
    return filled_up > _MOST_GROWTH * sent


def fill_up(parts: Sequence[Array], whole: Array) -> Array:
    """Write ``parts`` into ``whole``, one after the other along the first dimension, and return it.

    Args:
        parts: arrays of the rank and dtype of ``whole``, none of them larger in any other dimension; their first
            dimensions add up to that of ``whole``.
        whole: is overwritten.
    """
    start = 0
    for part in parts:
        rows = whole[start : start + len(part)]
        if part.shape[1:] != whole.shape[1:]:
            rows[...] = part.flat[0] if element_count(part.shape) else _nothing(whole)
        rows[(slice(None), *map(slice, part.shape[1:]))] = part
        start += len(part)
    return whole


def _nothing(like: Array) -> object:
    """What fills rows up that have no element of their own."""
    return b"" if like.dtype == object else np.zeros((), like.dtype)
