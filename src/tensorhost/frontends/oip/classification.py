"""The classification extension: the highest values of an output as strings ``value:index:label``. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tensorhost.core.tensors import Array


def classes(scores: Array, count: int, labels: Sequence[str], *, by_row: bool) -> Array:
    """The highest ``count`` values of each row of ``scores``, the highest first.

    Args:
        scores: numbers or booleans of any shape; what comes after the first dimension is taken as flat.
        count: at least 1; all of them where there are fewer.
        labels: of the indices, as far as they go.
        by_row: whether the first dimension is of rows; else all of it is one.

    Returns:
        Object array of bytes, shape [rows, classes], or [classes] without rows. Of equal values the one of the lower
        index comes first; NaN comes last.
    """
    width = math.prod(scores.shape[1:]) if by_row else scores.size
    rows = scores.reshape(scores.shape[0] if by_row else 1, width)
    most = min(count, width)
    found = np.empty((rows.shape[0], most), object)
    for row, values in enumerate(rows):
        for place, index in enumerate(_highest(values, most)):
            found[row, place] = _text(values[index], int(index), labels)
    return found if by_row else found.reshape(most)


def _highest(values: Array, count: int) -> Array:
    # Reversed, a stable sort puts the lower index first among equals once it is reversed again.
    flipped = values[::-1]
    if flipped.dtype.kind in "biu":
        order = np.argsort(flipped, kind="stable")
    else:
        numbers = flipped.astype(np.float64)
        order = np.lexsort((numbers, ~np.isnan(numbers)))
    return len(values) - 1 - order[::-1][:count]


def _text(value: np.generic, index: int, labels: Sequence[str]) -> bytes:
    text = f"{float(value):f}" if value.dtype.kind not in "biu" else str(int(value))
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{text}:{index}{label}".encode()
